"""A stand-in for the way from a room's occupancy to the world outside its sessions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.task import Clock

from minimixproxy.bounds.byte_budget import ByteBudget
from minimixproxy.config.settings import Rooms
from minimixproxy.minimix.interfaces.endings import Ending
from minimixproxy.minimix.interfaces.said import Said
from minimixproxy.minimix.interfaces.streams import Answered, RoomOutlet, SessionPort
from minimixproxy.minimix.room.appearance import Appearance
from minimixproxy.minimix.room.attached_sessions import AttachedSessions
from minimixproxy.minimix.room.budgets import WAITING_BYTES, WAITING_OWN
from minimixproxy.minimix.room.context import RoomContext
from minimixproxy.timing.answered_line import Turn
from minimixproxy.wire.stanza import Stanza, parse_stanza
from tests.minimix.fakes import BARE, ROOM, STREAM, written
from tests.minimix.null_journal import NullRoomJournal

PLENTY = 2**40


@dataclass
class Question:
    """An IQ that was sent, and who gets what comes of it."""

    to: str
    kind: str
    payload: Stanza
    answered: Answered
    result: Callable[[Stanza], None] | None = None


@dataclass
class Listener:
    """Keeps what is said."""

    active: bool = False
    heard: list[Said] = field(default_factory=list)

    def said(self, said: Said, _here: Iterable[SessionPort]) -> None:
        self.heard.append(said)

    def heard_elsewhere(self, message: Stanza) -> None:
        """Of no room."""


class FakeTurn(Turn):
    """Waits for `FakeOutlet.turn`."""

    def __init__(self, outlet: FakeOutlet, call: Callable[[], None]) -> None:
        self._outlet, self._begin = outlet, call

    def ask(self, *, urgent: bool = False) -> None:
        self._outlet.paced.append(self._begin)

    def answered(self, *, trouble: bool = False) -> None:
        self._outlet.answers.append("trouble" if trouble else "answer")

    def end(self) -> None:
        self._outlet.answers.append("nothing")
        if self._begin in self._outlet.paced:
            self._outlet.paced.remove(self._begin)


@dataclass
class FakeOutlet:
    """Keeps what is asked and sent, and who waits for its turn. Bounds only what waits."""

    account: str = BARE
    stream_jid: str = STREAM
    asked: list[Question] = field(default_factory=list)
    sent: list[Stanza] = field(default_factory=list)
    paced: list[Callable[[], None]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)  # what was learned of those whose turn has come
    again: list[tuple[SessionPort, Stanza]] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)  # of the room: "joined", "left", "ended"
    reasons: list[Ending] = field(default_factory=list)  # why the account is not in the room
    waiting: ByteBudget = field(default_factory=lambda: ByteBudget(WAITING_BYTES))
    client_budget: ByteBudget = field(default_factory=lambda: ByteBudget(PLENTY))
    presence_limit: int = PLENTY
    listener: Listener = field(default_factory=Listener)

    def ask(self, to: str, kind: str, payload: bytes, answered: Answered) -> None:
        self.asked.append(Question(to, kind, parse_stanza(payload), answered))

    def ask_archive(
        self, to: str, query_id: str, payload: bytes, result: Callable[[Stanza], None], answered: Answered
    ) -> None:
        self.asked.append(Question(to, "set", parse_stanza(payload), answered, result))
        assert self.asked[-1].payload["queryid"] == query_id

    def send_to_room(self, data: bytes) -> None:
        self.sent += written(data)

    def answer(self, data: bytes) -> None:
        self.sent += written(data)

    def when_acknowledged(self, call: Callable[[], None]) -> None:
        call()

    def rejoin_turn(self, room: str, call: Callable[[], None]) -> Turn:
        assert room == ROOM
        return FakeTurn(self, call)

    def from_session_again(self, session: SessionPort, stanza: Stanza) -> None:
        self.again.append((session, stanza))

    def room_budget(self) -> ByteBudget:
        return ByteBudget(PLENTY)

    def history_budget(self) -> ByteBudget:
        return ByteBudget(PLENTY)

    def waiting_budget(self, limit: int) -> ByteBudget:
        return ByteBudget(limit, self.waiting, WAITING_OWN)

    def room_joined(self, room: str) -> None:
        self.told.append(("joined", room))

    def room_removed(self, room: str) -> None:
        """The room has removed the account."""

    def room_left(self, room: str) -> None:
        self.told.append(("left", room))

    def room_ended(self, room: str) -> None:
        self.told.append(("ended", room))

    def not_in(self, room: str, why: Ending) -> None:
        self.reasons.append(why)

    def broadcast_payload(self, session: SessionPort) -> bytes:
        return b""

    def turn(self) -> None:
        """The turn of all who wait for it has come."""
        paced, self.paced = self.paced, []
        for call in paced:
            call()


def room_context(outlet: RoomOutlet, clock: Clock, **settings: Any) -> RoomContext:
    """Return what the parts of an occupancy of `ROOM` are handed."""
    return RoomContext(ROOM, outlet, Rooms(**settings), clock, b"", NullRoomJournal(itertools.count(1)))


def appearance(outlet: RoomOutlet | None = None) -> Appearance:
    """Return how the account appears in `ROOM`: as alice, not seen by anybody yet."""
    context = room_context(outlet or FakeOutlet(), Clock())
    found = Appearance(context, AttachedSessions(context.outlet, b""), lambda: False)
    found.named("alice", wished="alice")
    return found
