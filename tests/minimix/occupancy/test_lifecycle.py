"""The table of an occupancy's life: every stage and every input, in the table and with a whole occupancy around it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.occupancy.lifecycle import RULES, STAY, TABLE, TIMEOUTS
from minimixproxy.minimix.occupancy.occupancy import Occupancy
from minimixproxy.minimix.occupancy.stages import Input, Stage, State
from minimixproxy.minimix.room.waiting_joins import JoinRequest, join_request
from minimixproxy.wire.stanza import parse_stanza
from tests.minimix.fakes import ROOM, STREAM, World
from tests.minimix.occupancy import waiting
from tests.minimix.occupancy.waiting import Step, ask, join_error, not_answered, phone_of, wait_long

#: Stages without a time of their own: why nobody waits in them for ever is written in `lifecycle`.
WITHOUT_TIMEOUT = {Stage.NEW, Stage.JOINED, Stage.INTERRUPTED, Stage.CATCHING_UP, Stage.ENDED}

#: How to come into each stage in which somebody can meet an occupancy.
WAYS: dict[Stage, Step] = {
    Stage.JOINING: waiting.joining,
    Stage.ENTERED: waiting.entered,
    Stage.JOINED: waiting.joined,
    Stage.ASKED_OUT: waiting.asked_out,
    Stage.INTERRUPTED: waiting.interrupted,
    Stage.REJOINING: waiting.rejoining,
    Stage.CHECKING: waiting.checking,
    Stage.CATCHING_UP: waiting.catching_up,
    Stage.LEAVING: waiting.leaving,
    Stage.PAUSING: waiting.pausing,
}

#: Where an action goes on at once: its turn comes without a wait while few rooms are rejoined.
AT_ONCE = {Stage.INTERRUPTED: {Stage.REJOINING}}


class TableTests(SynchronousTestCase):
    def test_every_input_in_every_stage_is_defined_once(self) -> None:
        self.assertEqual(set(RULES), set(Input))
        for what, rules in RULES.items():
            times = Counter(stage for stages, _to, _action in rules for stage in stages)
            self.assertEqual(times, Counter(Stage), what)

    def test_the_end_is_the_end(self) -> None:
        for what in Input:
            self.assertIs(TABLE[Stage.ENDED, what].to, STAY, what)

    def test_an_end_can_be_reached_from_everywhere(self) -> None:
        for stage in set(Stage) - {Stage.ENDED}:
            self.assertIs(TABLE[stage, Input.ABANDON].to, Stage.ENDED, stage)

    def test_every_stage_can_be_reached(self) -> None:
        reached = {Stage.NEW}  # INTERRUPTED is the other beginning, and reached from here, too
        while more := {to for (stage, _what), (to, _action) in TABLE.items() if stage in reached and to} - reached:
            reached |= more
        self.assertEqual(reached, set(Stage))

    def test_nothing_but_a_stage_of_its_own_has_a_time(self) -> None:
        self.assertEqual(set(Stage) - set(TIMEOUTS), WITHOUT_TIMEOUT)
        for stage in Stage:
            self.assertEqual(TABLE[stage, Input.TIMEOUT].to is STAY, stage not in TIMEOUTS, stage)

    def test_time_alone_brings_everybody_to_rest(self) -> None:
        for stage in TIMEOUTS:
            seen = [stage]
            while seen[-1] in TIMEOUTS:
                to = TABLE[seen[-1], Input.TIMEOUT].to
                assert to is not None
                self.assertNotIn(to, seen)
                seen.append(to)

    def test_what_users_are_told(self) -> None:
        """The words of the commands and of `minimixproxy status`."""
        shown = {stage.state.value for stage in Stage}
        self.assertEqual(shown, {"joining", "joined", "interrupted", "rejoining", "leaving", "ended"})
        self.assertEqual({stage.state for stage in Stage}, set(State))


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
        for stage, come_there in WAYS.items():
            for what in Input:
                world, occupancy = self.come(stage, come_there)
                occupancy._happens(what, *WITH[what](world))
                then = TABLE[stage, what].to or stage
                self.assertIn(_stage(occupancy), {then} | AT_ONCE.get(then, set()), f"{stage}, {what}")
                is_there = world.account.rooms.get(ROOM) is occupancy
                self.assertEqual(is_there, then is not Stage.ENDED, f"{stage}, {what}")

    def test_who_waits_is_answered(self) -> None:
        """Whatever happens next, and then nothing more."""
        missing: list[str] = []
        for stage, come_there in WAYS.items():
            for what in Input:
                world, occupancy = self.come(stage, come_there, iq_timeout=100.0)
                asked = ask(world)
                occupancy._happens(what, *WITH[what](world))
                wait_long(world)
                missing += [f"{stage}, {what}: {kind}" for kind in not_answered(world, asked)]
        self.assertEqual(missing, [])

    def test_whose_room_is_silent_waits_no_longer_than_the_stages_last(self) -> None:
        """Without anything that happens: every wait is one of the time-outs, after which another begins or none."""
        for stage, come_there in WAYS.items():
            world, occupancy = self.come(stage, come_there)
            if stage in TIMEOUTS:
                world.clock.advance(TIMEOUTS[stage] - 0.01)
                self.assertIs(_stage(occupancy), stage)
                world.clock.advance(0.01)
                then = TABLE[stage, Input.TIMEOUT].to
                assert then is not None
                self.assertIn(_stage(occupancy), {then} | AT_ONCE.get(then, set()), stage)

    def test_time_begins_anew_with_a_stage_and_not_with_an_input(self) -> None:
        world, occupancy = self.come(Stage.JOINING, waiting.joining)
        world.clock.advance(TIMEOUTS[Stage.JOINING] - 1)
        world.asks_to_join(world.session("tablet"))
        world.clock.advance(1)
        self.assertIs(_stage(occupancy), Stage.ENDED)

        world, occupancy = self.come(Stage.JOINING, waiting.joining)
        world.clock.advance(TIMEOUTS[Stage.JOINING] - 1)
        world.asks_to_join(world.session("tablet"), nick="liz")
        world.room(join_error("conflict"))
        world.clock.advance(1)
        self.assertIs(_stage(occupancy), Stage.JOINING, "that is another join")

    def come(self, stage: Stage, come_there: Step, **settings: object) -> tuple[World, Occupancy]:
        world = World(**settings)
        come_there(world)
        occupancy = world.account.rooms[ROOM]
        self.assertIs(_stage(occupancy), stage)
        return world, occupancy


def _stage(occupancy: Occupancy) -> Stage:
    return occupancy._lifecycle.stage
