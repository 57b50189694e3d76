"""What one process of a cluster hands to the next of an account whose clients are there, so that they notice nothing.

A session goes on as one that sleeps does: its client resumes it (XEP-0198 §5), and it resumes its server's stream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from minimixproxy.minimix.interfaces.journal import KeptLogin


@dataclass(frozen=True, slots=True)
class HandedClient:
    """Between a session and its client. `id`: by which it resumes, within so many `seconds`.

    `handled`: so many of the client's stanzas are. Of those that it was sent it has acknowledged so many, and the rest
    is `open`, each with whether its server waits for it.
    """

    id: str = field(repr=False)
    seconds: int
    handled: int
    acknowledged: int
    open: tuple[tuple[bytes, bool], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class HandedServer:
    """Between a session and its server. `id`: by which it resumes, within `max` seconds, None if it does not say.

    So many stanzas were `received` of it, the last of which do not count as handled: for each of these, whether its own
    client has to acknowledge it. So many were `sent`, and all acknowledged. `knows_state`: whether it wants to know if
    somebody looks at the client (XEP-0352).
    """

    id: str = field(repr=False)
    max: int | None
    received: int
    open: tuple[bool, ...]
    sent: int
    knows_state: bool


@dataclass(frozen=True, slots=True)
class HandedSession:
    """One session. `shows`: the payload of its undirected presence."""

    jid: str
    device: str
    language: str
    carbons: bool
    shows: bytes = field(repr=False)
    login: KeptLogin
    client: HandedClient
    server: HandedServer

    @property
    def size(self) -> int:
        """Bytes of what others have said, which may be many."""
        return len(self.shows) + sum(len(stanza) for stanza, _of_server in self.client.open)


@dataclass(frozen=True, slots=True)
class HandedRoom:
    """What a room has shown: others' presences, the account's own, the subject, itself, lasting status codes.

    `attached`: which sessions have seen it, by full JID, and the payload of what each directs there, if it does.
    """

    room: str
    occupants: tuple[bytes, ...] = field(repr=False)
    own: bytes | None = field(repr=False)
    subject: bytes | None = field(repr=False)
    of_room: bytes | None = field(repr=False)
    codes: tuple[str, ...]
    attached: tuple[tuple[str, bytes | None], ...] = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes of what others have said, which may be many."""
        directed = (shows for _jid, shows in self.attached)
        return sum(len(said or b"") for said in (*self.occupants, self.own, self.subject, self.of_room, *directed))


@dataclass(frozen=True, slots=True)
class HandedAccount:
    """All of it. `time`: when, seconds since the epoch."""

    time: float
    sessions: tuple[HandedSession, ...]
    rooms: tuple[HandedRoom, ...]


#: Makes a session of what another process had, and of its login.
Revive = Callable[[HandedSession, Any], object]
