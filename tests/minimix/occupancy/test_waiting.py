"""Nobody waits for ever: each state of an occupancy, two things that happen, and somebody who asks in between."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.occupancy.stages import State
from tests.minimix.fakes import ROOM, STREAM, FakeSession, World

Step = Callable[[World], object]

LONG = 1500  # seconds: more than all time-outs one after the other


def _joining(world: World) -> None:
    world.asks_to_join(world.session("phone"))


def _entered(world: World) -> None:
    _joining(world)
    world.shows("alice", "110")


def _joined(world: World) -> None:
    world.joined("phone")


def _stream_lost(world: World) -> None:
    world.stream.jid = ""
    world.account.stream_lost()


def _stream_opened(world: World) -> None:
    world.stream.jid = STREAM
    world.account.stream_opened()


def _refused(world: World) -> None:
    world.stream.jid = ""
    world.account.stream_refused()


def _interrupted(world: World) -> None:
    _joined(world)
    _stream_lost(world)


def _put_out(world: World) -> None:
    _joined(world)
    world.gone("alice", "110 332")


def _rejoining(world: World) -> None:
    _interrupted(world)
    _stream_opened(world)


def _catching_up(world: World) -> None:
    _rejoining(world)
    world.shows("alice", "110")


def _leave(world: World) -> None:
    world.account.leave(ROOM)


def _leaving(world: World) -> None:
    _joined(world)
    _leave(world)


#: By name: how to come there, and what it is.
STATES: dict[str, tuple[Step, State]] = {
    "joining": (_joining, State.JOINING),
    "entered, without a subject": (_entered, State.JOINING),
    "joined": (_joined, State.JOINED),
    "without a stream": (_interrupted, State.INTERRUPTED),
    "put out by a fault": (_put_out, State.INTERRUPTED),
    "rejoining": (_rejoining, State.REJOINING),
    "catching up": (_catching_up, State.REJOINING),
    "leaving": (_leaving, State.LEAVING),
}


def _phone(world: World) -> FakeSession | None:
    return next((session for session in world.account.sessions if session.jid.endswith("/phone")), None)  # type: ignore[return-value]


def _phone_leaves(world: World) -> None:
    phone = _phone(world)
    if phone is not None:
        world.leaves(phone)


def _phone_leaves_for_good(world: World) -> None:
    _phone_leaves(world)
    world.clock.advance(3.1)


def _phone_closes(world: World) -> None:
    phone = _phone(world)
    if phone is not None:
        world.account.session_closed(phone)


def _error(condition: str) -> Step:
    return lambda world: world.room(
        f"<presence type='error' from='{ROOM}/alice' to='{STREAM}'><error type='cancel'>"
        f"<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
    )


def _not_in(world: World) -> None:
    """Somebody pings the own occupant, and the room knows nobody of that name."""
    occupancy = world.account.rooms.get(ROOM)
    if occupancy is not None:
        occupancy.silently_out()


#: What can happen.
EVENTS: dict[str, Step] = {
    "nothing": lambda world: None,
    "leave by command": _leave,
    "forget by command": lambda world: world.account.forget(),
    "the device leaves": _phone_leaves,
    "the device leaves, and the account follows": _phone_leaves_for_good,
    "the device closes": _phone_closes,
    "stream lost": _stream_lost,
    "stream lost, and another": lambda world: (_stream_lost(world), _stream_opened(world)),
    "login refused": _refused,
    "kicked": lambda world: world.gone("alice", "110 307"),
    "service shut down": lambda world: world.gone("alice", "110 332"),
    "own unavailable": lambda world: world.gone("alice", "110"),
    "another nick": lambda world: world.gone("alice", "110 303", item="nick='liz'"),
    "conflict": _error("conflict"),
    "banned": _error("forbidden"),
    "not found": _error("item-not-found"),
    "in after all": lambda world: (world.shows("alice", "110"), world.subject()),
    "silently out": _not_in,
    "a join time-out": lambda world: world.clock.advance(61),
}


class Everybody(SynchronousTestCase):
    def test_is_answered(self) -> None:
        unanswered: list[str] = []
        for state, (come_there, expected) in STATES.items():
            for first, happens_first in EVENTS.items():
                for second, happens_then in EVENTS.items():
                    world = World(iq_timeout=100.0)
                    come_there(world)
                    self.assertIs(world.account.rooms[ROOM].state, expected)
                    happens_first(world)
                    asked = _ask(world)
                    happens_then(world)
                    _wait(world)
                    for kind in _unanswered(world, asked):
                        unanswered.append(f"{state}; {first}; {kind}; {second}")
        self.assertEqual(unanswered, [])


def _wait(world: World) -> None:
    """Let all happen that LONG brings, each at its time."""
    clock = world.clock
    end = clock.seconds() + LONG
    while (due := min((call.getTime() for call in clock.getDelayedCalls()), default=end)) < end:
        clock.advance(due - clock.seconds())
    clock.advance(end - clock.seconds())


def _unanswered(world: World, asked: dict[str, FakeSession]) -> list[str]:
    present = world.account.sessions
    return [kind for kind, session in asked.items() if session in present and not _ANSWERED[kind](session)]


def _ask(world: World) -> dict[str, FakeSession]:
    """A tablet asks to join; the phone asks for another nick, and pings an occupant and itself."""
    asked: dict[str, FakeSession] = {}
    phone = _phone(world)
    occupancy = world.account.rooms.get(ROOM)
    if phone is not None and occupancy is not None and occupancy.knows(phone):
        phone.take()
        for kind, nick in (("ping", "bob"), ("self-ping", "alice")):
            ping = "<ping xmlns='urn:xmpp:ping'/>"
            if world.client(phone, f"<iq type='get' id='{kind}' to='{ROOM}/{nick}'>{ping}</iq>"):
                asked[kind] = phone
        if phone in occupancy.attached:
            world.client(phone, f"<presence id='nick' to='{ROOM}/lizzy'/>")
            asked["nick"] = phone
    tablet = world.session("tablet")
    world.asks_to_join(tablet)
    asked["join"] = tablet
    return asked


def _iq_answered(session: FakeSession, stanza_id: str) -> bool:
    return any(stanza.name == "iq" and stanza["id"] == stanza_id for stanza in session.received)


def _nick_answered(session: FakeSession) -> bool:
    kinds = ("error", "unavailable")
    return any(stanza.name == "presence" and stanza.get("type") in kinds for stanza in session.received)


_ANSWERED: dict[str, Callable[[FakeSession], bool]] = {
    "join": lambda session: any(stanza.name == "presence" for stanza in session.received),
    "ping": lambda session: _iq_answered(session, "ping"),
    "self-ping": lambda session: _iq_answered(session, "self-ping"),
    "nick": _nick_answered,
}


class Ends(SynchronousTestCase):
    def test_a_stream_that_is_given_up_amid_the_time_out_of_a_join(self) -> None:
        """What is sent may cost the stream, which ends the occupancy that is about to end."""
        world = World()
        phone = world.session("phone")
        world.asks_to_join(phone)

        def given_up(_data: bytes) -> None:
            world.stream.jid = ""
            world.account.stream_lost()

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
