"""Ids of the presences by which the account joins: what answers which of them. Pure.

A room that was left without an answer may still answer the join of that time when the account joins it anew. A leave
went behind that join, so whatever answers it is over: taken for an answer to the new join, a refusal would leave the
account in the room with nobody who knows.
"""

from __future__ import annotations

import itertools
import secrets

_PROCESS = f"join-{secrets.token_hex(4)}-"
_occupancies = itertools.count(1)


class JoinIds:
    """The ids of one occupancy's joins, one after the other."""

    def __init__(self) -> None:
        self._prefix = f"{_PROCESS}{next(_occupancies)}."
        self._numbers = itertools.count(1)
        self._latest = ""

    def next(self) -> str:
        """Return the id for a join that is sent now."""
        self._latest = f"{self._prefix}{next(self._numbers)}"
        return self._latest

    def is_latest(self, stanza_id: str | None) -> bool:
        """Tell whether an error answers the latest join: it bears its id (RFC 6120 §8.3.1), which nobody can guess."""
        return stanza_id == self._latest

    def may_be_answered_by(self, presence_id: str | None) -> bool:
        """Tell whether an own presence with this id can answer it.

        Rooms give it the id of the join (Prosody), another, or none, so any will do but that of a join of another
        occupancy, which a leave has followed.
        """
        return presence_id is None or not presence_id.startswith(_PROCESS) or presence_id.startswith(self._prefix)
