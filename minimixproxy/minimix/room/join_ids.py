"""The presences by which the account joins: their ids, what answers which, and how many are unanswered. No I/O.

A room that was left without an answer may still answer the join of that time when the account joins it anew. A leave
went behind that join, so whatever answers it is over: taken for an answer to the new join, a refusal would leave the
account in the room with nobody who knows.

Rooms show these ids to all occupants. So they have nothing in common that anybody else can see: by a prefix or a
number, who knows an account by its address would know it in rooms that hide addresses.
"""

from __future__ import annotations

import secrets
from functools import cache
from hashlib import blake2b

from minimixproxy.timing.clock import Clock

LATE = 600.0  # seconds after the last join in which a room may still answer earlier ones
_NONCE = 16  # characters
_MARK = 8


class JoinIds:
    """The ids of one occupancy's joins: a nonce, a mark of all of this process, and one of this occupancy's."""

    __slots__ = ("_clock", "_latest", "_own", "_sent", "_unanswered")

    def __init__(self, clock: Clock) -> None:
        self._own = secrets.token_bytes(16)
        self._latest = ""
        self._clock = clock
        self._unanswered = 0
        self._sent = 0.0  # when the latest join was

    @property
    def unanswered(self) -> int:
        """How many joins the room may still answer. One that was lost with a stream or a room never is."""
        return self._unanswered if self._clock.seconds() - self._sent < LATE else 0

    def next(self) -> str:
        """Return the id for a join that is sent now."""
        self._unanswered, self._sent = self.unanswered + 1, self._clock.seconds()
        nonce = secrets.token_hex(_NONCE // 2)
        self._latest = nonce + _mark(nonce, _of_process()) + _mark(nonce, self._own)
        return self._latest

    def answered(self) -> None:
        """The room has answered one of the joins, in whatever way. It answers each, in order, however late."""
        self._unanswered = max(0, self.unanswered - 1)

    def is_latest(self, stanza_id: str | None) -> bool:
        """Tell whether an error answers the latest join: it bears its id (RFC 6120 §8.3.1), which nobody can guess."""
        return stanza_id == self._latest

    def may_be_answered_by(self, presence_id: str | None) -> bool:
        """Tell whether an own presence with this id can answer it.

        Rooms give it the id of the join (Prosody), another, or none, so any will do but that of a join of another
        occupancy, which a leave has followed.
        """
        if presence_id is None or len(presence_id) != _NONCE + 2 * _MARK:
            return True
        nonce, marks = presence_id[:_NONCE], presence_id[_NONCE:]
        return marks[:_MARK] != _mark(nonce, _of_process()) or marks[_MARK:] == _mark(nonce, self._own)


@cache
def _of_process() -> bytes:
    """Return the key of this process: drawn when first used, lest processes that are forked share it."""
    return secrets.token_bytes(16)


def _mark(nonce: str, key: bytes) -> str:
    return blake2b(nonce.encode(), key=key, digest_size=_MARK // 2).hexdigest()
