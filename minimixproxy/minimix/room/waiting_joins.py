"""Sessions that asked to join a room and wait for its answer. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from minimixproxy.bounds.byte_budget import OBJECT, ByteBudget
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.wire.stanza import Stanza, rewrite
from minimixproxy.xep import muc
from minimixproxy.xep.muc_history import HistoryRequest, history_request
from minimixproxy.xep.stanza_errors import error_payload


@dataclass(slots=True, eq=False)
class JoinRequest:
    """One session's wish to be in a room."""

    session: SessionPort
    nick: str
    stanza: Stanza
    wish: HistoryRequest | None
    password: str | None
    sent: bool = False  # this is the one that the account has joined by, or tries to

    def is_sent(self) -> None:
        """The room is asked now."""
        self.sent = True

    @property
    def id(self) -> str | None:
        """The id of the join presence, which its answer carries."""
        return self.stanza.get("id")

    @property
    def cost(self) -> int:
        """The bytes that it takes to wait, about."""
        return OBJECT + len(self.stanza.raw)

    @property
    def key(self) -> int:
        """What the room's answer depends on: it answers requests of the same key alike."""
        return hash((self.nick, self.password))


class Joiner(NamedTuple):
    """Of the request that was sent to the room, what is of use even when its session waits no more."""

    session: SessionPort
    key: int
    wish: HistoryRequest | None


def join_request(session: SessionPort, nick: str, stanza: Stanza, now: float) -> JoinRequest:
    """Read a join presence."""
    return JoinRequest(session, nick, stanza, history_request(stanza, now), muc.password_of(stanza))


class WaitingJoins:
    """The sessions that wait; the first of them is the one whose join was sent. What they wait with is in `budget`."""

    def __init__(self, room: str, budget: ByteBudget) -> None:
        self._room = room
        self._budget = budget
        self._waiting: list[JoinRequest] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __contains__(self, session: SessionPort) -> bool:
        return any(request.session is session for request in self._waiting)

    def add(self, request: JoinRequest) -> bool:
        """Let a session wait; its former request counts no more. False: too much waits already, and it is told so."""
        self.drop(request.session)
        if not self._budget.take(request.cost):
            self._show_error(request, error_payload("wait", "resource-constraint", "too much waits already"))
            return False
        self._waiting.append(request)
        return True

    def drop(self, session: SessionPort) -> None:
        """The session waits no more."""
        self._keep([request for request in self._waiting if request.session is not session])

    def _keep(self, requests: list[JoinRequest]) -> None:
        """Let only these wait, of those that do."""
        self._budget.give_back(sum(one.cost for one in self._waiting) - sum(one.cost for one in requests))
        self._waiting = requests

    def take(self) -> list[JoinRequest]:
        """Return all that wait, and wait for none."""
        waiting = self._waiting
        self._keep([])
        return waiting

    def refuse(self, joiner: Joiner, stanza: Stanza) -> JoinRequest | None:
        """Show the room's error to who asked for just what `joiner` did; return the next to try."""
        raw = stanza.self_contained()
        for request in self._waiting:
            if request.key == joiner.key:
                request.session.deliver(rewrite(raw, {"to": request.session.jid, "id": request.id}))
        self._keep([request for request in self._waiting if request.key != joiner.key])
        return self._waiting[0] if self._waiting else None

    def refuse_all(self, error: bytes) -> None:
        """Show an `<error/>` to all, as if the room did."""
        for request in self.take():
            self._show_error(request, error)

    def _show_error(self, request: JoinRequest, error: bytes) -> None:
        session = request.session
        session.deliver(muc.join_error(self._room, request.nick, session.jid, request.id, error))
