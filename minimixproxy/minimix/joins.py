"""Sessions that asked to join a room and wait for its answer. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from minimixproxy.minimix import muc
from minimixproxy.minimix.ports import SessionPort
from minimixproxy.minimix.wishes import HistoryRequest, history_request
from minimixproxy.stanza import Stanza, rewrite


@dataclass(slots=True, eq=False)
class JoinRequest:
    """One session's wish to be in a room."""

    session: SessionPort
    nick: str
    stanza: Stanza
    wish: HistoryRequest | None
    password: str | None

    @property
    def id(self) -> str | None:
        """The id of the join presence, which its answer carries."""
        return self.stanza.get("id")

    def same_as(self, other: JoinRequest) -> bool:
        """Tell whether the room would answer both alike."""
        return (self.nick, self.password) == (other.nick, other.password)


def join_request(session: SessionPort, nick: str, stanza: Stanza, now: float) -> JoinRequest:
    """Read a join presence."""
    return JoinRequest(session, nick, stanza, history_request(stanza, now), muc.password_of(stanza))


class WaitingJoins:
    """The sessions that wait; the first of them is the one whose join was sent."""

    def __init__(self, room: str) -> None:
        self._room = room
        self._waiting: list[JoinRequest] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __contains__(self, session: SessionPort) -> bool:
        return any(request.session is session for request in self._waiting)

    def add(self, request: JoinRequest) -> None:
        """Let a session wait; its former request, if any, counts no more."""
        self.drop(request.session)
        self._waiting.append(request)

    def drop(self, session: SessionPort) -> None:
        """The session waits no more."""
        self._waiting = [request for request in self._waiting if request.session is not session]

    def take(self) -> list[JoinRequest]:
        """Return all that wait, and wait for none."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def refuse(self, joiner: JoinRequest, stanza: Stanza) -> JoinRequest | None:
        """Show the room's error to who asked for just what `joiner` did; return the next to try."""
        raw = stanza.self_contained()
        for request in self._waiting:
            if request.same_as(joiner):
                request.session.deliver(rewrite(raw, {"to": request.session.jid, "id": request.id}))
        self._waiting = [request for request in self._waiting if not request.same_as(joiner)]
        return self._waiting[0] if self._waiting else None

    def refuse_all(self, error: bytes) -> None:
        """Show an `<error/>` to all, as if the room did."""
        for request in self.take():
            session = request.session
            session.deliver(muc.join_error(self._room, request.nick, session.jid, request.id, error))
