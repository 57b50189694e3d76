"""Ways into each phase of an occupancy's life, what sessions ask then, and whether it is answered."""

from __future__ import annotations

from collections.abc import Callable

from tests.minimix.fakes import ROOM, STREAM, FakeSession, World

Step = Callable[[World], object]

LONG = 1500  # seconds: more than all time-outs one after the other


def joining(world: World) -> None:
    world.asks_to_join(world.session("phone"))


def entered(world: World) -> None:
    joining(world)
    world.shows("alice", "110")


def joined(world: World) -> None:
    world.joined("phone")


def stream_lost(world: World) -> None:
    world.stream.jid = ""
    world.stream.lost()


def stream_opened(world: World) -> None:
    world.stream.jid = STREAM
    world.stream.opened()


def login_refused(world: World) -> None:
    world.stream.jid = ""
    world.stream.lost(refused=True)


def interrupted(world: World) -> None:
    joined(world)
    stream_lost(world)


def put_out(world: World) -> None:
    joined(world)
    world.gone("alice", "110 332")


def rejoining(world: World) -> None:
    interrupted(world)
    stream_opened(world)


def catching_up(world: World) -> None:
    rejoining(world)
    world.shows("alice", "110")


def leave(world: World) -> None:
    world.account.leave(ROOM)


def leaving(world: World) -> None:
    joined(world)
    leave(world)


def refuses_presence(world: World) -> None:
    """The phone is told something that it cannot take."""
    phone = phone_of(world)
    assert phone is not None
    world.client(phone, f"<presence type='error' to='{ROOM}/alice'/>")


def asked_out(world: World) -> None:
    joined(world)
    refuses_presence(world)


def checking(world: World) -> None:
    rejoining(world)
    world.room(join_error("forbidden"))


def pausing(world: World) -> None:
    leaving(world)
    world.asks_to_join(world.session("laptop"))
    world.gone("alice", "110")


def join_error(condition: str) -> str:
    return (
        f"<presence type='error' from='{ROOM}/alice' to='{STREAM}'><error type='cancel'>"
        f"<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
    )


def phone_of(world: World) -> FakeSession | None:
    for session in world.account.sessions:
        if session.jid.endswith("/phone"):
            assert isinstance(session, FakeSession)
            return session
    return None


def wait_long(world: World) -> None:
    """Let all happen that LONG brings, each at its time."""
    clock = world.clock
    end = clock.seconds() + LONG
    while (due := min((call.getTime() for call in clock.getDelayedCalls()), default=end)) < end:
        clock.advance(due - clock.seconds())
    clock.advance(end - clock.seconds())


def not_answered(world: World, asked: dict[str, FakeSession]) -> list[str]:
    present = world.account.sessions
    return [kind for kind, session in asked.items() if session in present and not _ANSWERED[kind](session)]


def ask(world: World) -> dict[str, FakeSession]:
    """A tablet asks to join; the phone asks for another nick, and pings an occupant and itself."""
    asked: dict[str, FakeSession] = {}
    phone = phone_of(world)
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
