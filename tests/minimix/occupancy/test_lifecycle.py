"""The table of an occupancy's life: every phase and every input, in the table and with a whole occupancy around it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.occupancy.lifecycle import RULES, STAY, TABLE, TIMEOUTS
from minimixproxy.minimix.occupancy.occupancy import Occupancy
from minimixproxy.minimix.occupancy.phases import Input, Phase, State
from minimixproxy.minimix.room.waiting_joins import JoinRequest, join_request
from minimixproxy.wire.stanza import parse_stanza
from minimixproxy.xep import muc
from tests.minimix.fakes import ROOM, STREAM, World
from tests.minimix.occupancy import waiting
from tests.minimix.occupancy.waiting import Step, ask, join_error, not_answered, phone_of, wait_long

#: Phases without a time of their own: why nobody waits in them for ever is written in `lifecycle`.
WITHOUT_TIMEOUT = {Phase.NEW, Phase.JOINED, Phase.INTERRUPTED, Phase.CATCHING_UP, Phase.ENDED}

#: How to come into each phase in which somebody can meet an occupancy.
WAYS: dict[Phase, Step] = {
    Phase.JOINING: waiting.joining,
    Phase.ENTERED: waiting.entered,
    Phase.JOINED: waiting.joined,
    Phase.ASKED_OUT: waiting.asked_out,
    Phase.INTERRUPTED: waiting.interrupted,
    Phase.REJOINING: waiting.rejoining,
    Phase.CHECKING: waiting.checking,
    Phase.CATCHING_UP: waiting.catching_up,
    Phase.LEAVING: waiting.leaving,
    Phase.PAUSING: waiting.pausing,
}

#: Where an action goes on at once: its turn comes without a wait while few rooms are rejoined.
AT_ONCE = {Phase.INTERRUPTED: {Phase.REJOINING}}


class TableTests(SynchronousTestCase):
    def test_every_input_in_every_phase_is_defined_once(self) -> None:
        self.assertEqual(set(RULES), set(Input))
        for what, rules in RULES.items():
            times = Counter(phase for phases, _to, _action in rules for phase in phases)
            self.assertEqual(times, Counter(Phase), what)

    def test_the_end_is_the_end(self) -> None:
        for what in Input:
            self.assertIs(TABLE[Phase.ENDED, what].to, STAY, what)

    def test_an_end_can_be_reached_from_everywhere(self) -> None:
        for phase in set(Phase) - {Phase.ENDED}:
            self.assertIs(TABLE[phase, Input.ABANDON].to, Phase.ENDED, phase)

    def test_every_phase_can_be_reached(self) -> None:
        reached = {Phase.NEW}  # INTERRUPTED is the other beginning, and reached from here, too
        while more := {to for (phase, _what), (to, _action) in TABLE.items() if phase in reached and to} - reached:
            reached |= more
        self.assertEqual(reached, set(Phase))

    def test_which_phases_have_a_time(self) -> None:
        self.assertEqual(set(Phase) - set(TIMEOUTS), WITHOUT_TIMEOUT)
        for phase in Phase:
            self.assertEqual(TABLE[phase, Input.TIMEOUT].to is STAY, phase not in TIMEOUTS, phase)

    def test_time_alone_brings_everybody_to_rest(self) -> None:
        for phase in TIMEOUTS:
            seen = [phase]
            while seen[-1] in TIMEOUTS:
                to = TABLE[seen[-1], Input.TIMEOUT].to
                assert to is not None
                self.assertNotIn(to, seen)
                seen.append(to)

    def test_what_users_are_told(self) -> None:
        """The words of the commands and of `minimixproxy status`."""
        shown = {phase.state.value for phase in Phase}
        self.assertEqual(shown, {"joining", "joined", "interrupted", "rejoining", "leaving", "ended"})
        self.assertEqual({phase.state for phase in Phase}, set(State))


def _request(world: World) -> JoinRequest:
    """A laptop asks to join under another nick, and waits for it."""
    presence = f"<presence to='{ROOM}/lap' id='j'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
    return join_request(world.session("laptop"), "lap", parse_stanza(presence), world.clock.seconds())


def _waiting_request(world: World) -> JoinRequest:
    request = _request(world)
    occupancy = world.account.rooms[ROOM]
    (occupancy._attendance.next if occupancy.leaving else occupancy._attendance.waiting).add(request)
    return request


def _own(kind: str, status: str) -> Any:
    item = "<item affiliation='member' role='participant'/>"
    codes = "".join(f"<status code='{code}'/>" for code in status.split())
    x = f"<x xmlns='http://jabber.org/protocol/muc#user'>{item}{codes}</x>"
    return parse_stanza(f"<presence from='{ROOM}/alice' to='{STREAM}'{kind}>{x}</presence>")


def _lose_stream(world: World) -> tuple[()]:
    world.stream.jid = ""
    return ()


def _open_stream(world: World) -> tuple[()]:
    world.stream.jid = STREAM
    return ()


def _error(condition: str) -> Callable[[World], tuple[Any, ...]]:
    return lambda _world: (parse_stanza(join_error(condition)),)


def _gone(status: str) -> Callable[[World], tuple[Any, ...]]:
    return lambda _world: (_own(" type='unavailable'", status),)


def _nothing(_world: World) -> tuple[Any, ...]:
    return ()


#: What comes with each input.
WITH: dict[Input, Callable[[World], tuple[Any, ...]]] = {
    Input.JOIN: lambda world: (_waiting_request(world),),
    Input.JOIN_DROPPED: lambda world: (_request(world),),
    Input.LEAVE: lambda _world: (None, "because"),
    Input.ABANDON: _nothing,
    Input.REJECTED: lambda world: (phone_of(world), parse_stanza(f"<presence type='error' to='{ROOM}/alice'/>")),
    Input.OWN_SHOWN: lambda _world: (_own("", "110"), "alice"),
    Input.SUBJECT: _nothing,
    Input.REMOVED: _gone("110 307"),
    Input.PUT_OUT: _gone("110 332"),
    Input.AWAITED_OUT: _gone("110"),
    Input.SILENTLY_OUT: _nothing,
    Input.REFUSED: _error("item-not-found"),
    Input.NEXT_REFUSED: lambda world: (_waiting_request(world),),
    Input.NICK_REFUSED: _error("conflict"),
    Input.SHUT_OUT: _error("registration-required"),
    Input.FORBIDDEN: _error("forbidden"),
    Input.SERVICE_DOWN: _nothing,
    Input.SERVICE_UP: _nothing,
    Input.BANNED: _error("forbidden"),
    Input.STREAM_LOST: _lose_stream,
    Input.STREAM_OPENED: _open_stream,
    Input.GIVEN_UP: _lose_stream,
    Input.TIMEOUT: _nothing,
    Input.TURN: lambda _world: ("alice",),
    Input.CAUGHT_UP: lambda _world: (True,),
}


class WalkTests(SynchronousTestCase):
    """Each cell of the table that somebody can meet."""

    def test_it_goes_where_the_table_says(self) -> None:
        for phase, come_there in WAYS.items():
            for what in Input:
                world, occupancy = self.come(phase, come_there)
                occupancy._happens(what, *WITH[what](world))
                then = TABLE[phase, what].to or phase
                self.assertIn(_phase(occupancy), {then} | AT_ONCE.get(then, set()), f"{phase}, {what}")
                is_there = world.account.rooms.get(ROOM) is occupancy
                self.assertEqual(is_there, then is not Phase.ENDED, f"{phase}, {what}")

    def test_who_waits_is_answered(self) -> None:
        """Whatever happens next, and then nothing more."""
        missing: list[str] = []
        for phase, come_there in WAYS.items():
            for what in Input:
                world, occupancy = self.come(phase, come_there, iq_timeout=100.0)
                asked = ask(world)
                occupancy._happens(what, *WITH[what](world))
                wait_long(world)
                missing += [f"{phase}, {what}: {kind}" for kind in not_answered(world, asked)]
        self.assertEqual(missing, [])

    def test_whose_room_is_silent_waits_no_longer_than_the_phases_last(self) -> None:
        """Without anything that happens: every wait is one of the time-outs, after which another begins or none."""
        for phase, come_there in WAYS.items():
            world, occupancy = self.come(phase, come_there)
            if phase in TIMEOUTS:
                world.clock.advance(TIMEOUTS[phase] - 0.01)
                self.assertIs(_phase(occupancy), phase)
                world.clock.advance(0.01)
                then = TABLE[phase, Input.TIMEOUT].to
                assert then is not None
                self.assertIn(_phase(occupancy), {then} | AT_ONCE.get(then, set()), phase)

    def test_who_is_out_and_has_a_stream_comes_back_by_itself(self) -> None:
        for phase, come_there in WAYS.items():
            for what in Input:
                if TABLE[phase, what].to is not Phase.INTERRUPTED or what is Input.STREAM_LOST:
                    continue
                world, occupancy = self.come(phase, come_there, iq_timeout=5.0)
                world.stream.jid = STREAM
                world.stream.take()
                occupancy._happens(what, *WITH[what](world))
                world.clock.pump([1.0] * 20)
                joins = [stanza for stanza in world.stream.take() if muc.is_join(stanza)]
                self.assertEqual(len(joins), 1, f"{phase}, {what}")
                self.assertIs(_phase(occupancy), Phase.REJOINING, f"{phase}, {what}")

    def test_time_begins_anew_with_a_phase_and_not_with_an_input(self) -> None:
        world, occupancy = self.come(Phase.JOINING, waiting.joining)
        world.clock.advance(TIMEOUTS[Phase.JOINING] - 1)
        world.asks_to_join(world.session("tablet"))
        world.clock.advance(1)
        self.assertIs(_phase(occupancy), Phase.ENDED)

        world, occupancy = self.come(Phase.JOINING, waiting.joining)
        world.clock.advance(TIMEOUTS[Phase.JOINING] - 1)
        world.asks_to_join(world.session("tablet"), nick="liz")
        world.room(join_error("conflict"))
        world.clock.advance(1)
        self.assertIs(_phase(occupancy), Phase.JOINING, "that is another join")

    def come(self, phase: Phase, come_there: Step, **settings: object) -> tuple[World, Occupancy]:
        world = World(**settings)
        come_there(world)
        occupancy = world.account.rooms[ROOM]
        self.assertIs(_phase(occupancy), phase)
        return world, occupancy


def _phase(occupancy: Occupancy) -> Phase:
    return occupancy._lifecycle.phase
