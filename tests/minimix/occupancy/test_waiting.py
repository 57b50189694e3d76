"""Nobody waits for ever: each state of an occupancy, two things that happen, and somebody who asks in between."""

from __future__ import annotations

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.occupancy.phases import State
from tests.examples import some_of
from tests.minimix.fakes import ROOM, STREAM, World
from tests.minimix.occupancy.waiting import (
    Step,
    ask,
    catching_up,
    checking,
    entered,
    interrupted,
    join_error,
    joined,
    joining,
    leave,
    leaving,
    login_refused,
    not_answered,
    phone_of,
    put_out,
    rejoining,
    stream_lost,
    stream_opened,
    wait_long,
)

#: By name: how to come there, and what it is.
STATES: dict[str, tuple[Step, State]] = {
    "joining": (joining, State.JOINING),
    "entered, without a subject": (entered, State.JOINING),
    "joined": (joined, State.JOINED),
    "without a stream": (interrupted, State.INTERRUPTED),
    "put out by a fault": (put_out, State.INTERRUPTED),
    "rejoining": (rejoining, State.REJOINING),
    "catching up": (catching_up, State.REJOINING),
    "leaving": (leaving, State.LEAVING),
}


def _phone_leaves(world: World) -> None:
    phone = phone_of(world)
    if phone is not None:
        world.leaves(phone)


def _phone_leaves_for_good(world: World) -> None:
    _phone_leaves(world)
    world.clock.advance(3.1)


def _phone_closes(world: World) -> None:
    phone = phone_of(world)
    if phone is not None:
        world.account.session_closed(phone)


def _error(condition: str) -> Step:
    return lambda world: world.room(join_error(condition))


def _not_in(world: World) -> None:
    """Somebody pings the own occupant, and the room knows nobody of that name."""
    occupancy = world.account.rooms.get(ROOM)
    if occupancy is not None:
        occupancy.silently_out()


def _stream_lost_and_another(world: World) -> None:
    stream_lost(world)
    stream_opened(world)


def _in_after_all(world: World) -> None:
    world.shows("alice", "110")
    world.subject()


#: What can happen.
EVENTS: dict[str, Step] = {
    "nothing": lambda world: None,
    "leave by command": leave,
    "forget by command": lambda world: world.account.forget(),
    "the device leaves": _phone_leaves,
    "the device leaves, and the account follows": _phone_leaves_for_good,
    "the device closes": _phone_closes,
    "stream lost": stream_lost,
    "stream lost, and another": _stream_lost_and_another,
    "login refused": login_refused,
    "kicked": lambda world: world.gone("alice", "110 307"),
    "service shut down": lambda world: world.gone("alice", "110 332"),
    "own unavailable": lambda world: world.gone("alice", "110"),
    "another nick": lambda world: world.gone("alice", "110 303", item="nick='liz'"),
    "conflict": _error("conflict"),
    "banned": _error("forbidden"),
    "not found": _error("item-not-found"),
    "in after all": _in_after_all,
    "silently out": _not_in,
    "a join time-out": lambda world: world.clock.advance(61),
}


class Everybody(SynchronousTestCase):
    def test_is_answered(self) -> None:
        unanswered: list[str] = []
        for state, first, second in some_of(product(STATES, EVENTS, EVENTS), 2):
            come_there, expected = STATES[state]
            world = World(iq_timeout=100.0)
            come_there(world)
            self.assertIs(world.account.rooms[ROOM].state, expected)
            EVENTS[first](world)
            asked = ask(world)
            EVENTS[second](world)
            wait_long(world)
            for kind in not_answered(world, asked):
                unanswered.append(f"{state}; {first}; {kind}; {second}")
        self.assertEqual(unanswered, [])


class Ends(SynchronousTestCase):
    def test_a_stream_that_is_given_up_amid_the_time_out_of_a_join(self) -> None:
        """What is sent may cost the stream, which ends the occupancy that is about to end."""
        world = World()
        phone = world.session("phone")
        world.asks_to_join(phone)

        def given_up(_data: bytes) -> None:
            world.stream.jid = ""
            world.stream.lost()

        self.patch(world.stream, "send", given_up)
        world.clock.advance(60)
        self.assertEqual([stanza.get("type") for stanza in phone.received], ["error"])
        self.assertEqual(world.account.rooms, {})

    def test_a_self_ping_that_is_answered_while_the_room_is_left(self) -> None:
        world = World(fresh=0.0)
        (phone,) = world.joined("phone")
        world.client(phone, f"<iq type='get' id='p' to='{ROOM}/alice'><ping xmlns='urn:xmpp:ping'/></iq>")
        (ping,) = world.stream.take()
        world.account.leave(ROOM)
        phone.take()
        error = "<error type='cancel'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        world.room(f"<iq type='error' from='{ROOM}/alice' to='{STREAM}' id='{ping['id']}'>{error}</iq>")
        (answer,) = phone.take()
        self.assertEqual((answer.name, answer["type"], answer["id"]), ("iq", "error", "p"))
        self.assertTrue(world.account.rooms[ROOM].leaving)

    def test_a_leave_in_its_grace_when_the_room_puts_the_account_out(self) -> None:
        """It does not come back for a device that has left."""
        for happens in (lambda world: world.gone("alice", "110 332"), _not_in):
            world = World()
            (phone,) = world.joined("phone")
            world.leaves(phone)
            happens(world)
            world.clock.advance(400)
            self.assertEqual(world.account.rooms, {})

    def test_a_leave_in_its_grace_when_the_room_does_not_give_the_nick(self) -> None:
        """The same on the way back, whatever the room says to the join."""
        for condition in ("conflict", "not-acceptable", "item-not-found", "forbidden"):
            world = World()
            rejoining(world)
            phone = phone_of(world)
            assert phone is not None
            world.leaves(phone)
            world.room(join_error(condition))
            if condition == "forbidden":
                (question,) = [stanza for stanza in world.stream.take() if stanza.name == "iq"]
                world.room(f"<iq type='result' from='muc.test' to='{STREAM}' id='{question['id']}'/>")
            world.clock.advance(3)
            self.assertEqual(world.account.rooms, {}, condition)

    def test_a_room_that_lets_the_account_in_after_all(self) -> None:
        """It has forbidden it, and its service is asked whether it is there: that is of no interest any more."""
        world = World()
        checking(world)
        (question,) = [stanza for stanza in world.stream.take() if stanza.name == "iq"]
        world.shows("alice", "110")
        world.room(f"<iq type='result' from='muc.test' to='{STREAM}' id='{question['id']}'/>")
        world.tells_of_itself()
        world.subject()
        self.assertIs(world.account.rooms[ROOM].state, State.JOINED)
