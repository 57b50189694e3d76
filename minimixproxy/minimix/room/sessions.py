"""The sessions of one account, and what each shows in all rooms. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from minimixproxy.bounds.byte_budget import ByteBudget
from minimixproxy.jids import parse_jid
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.minimix.room.session_presences import SessionPresences
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep.disco import CAPS

CLIENT_BYTES = 8 * 1024 * 1024  # of what the account's clients have kept: joins that wait, presences, ids


def resource_of(session: SessionPort) -> str:
    """Return the resource of a session's full JID: the device, as far as an account knows."""
    return parse_jid(session.jid).resource or ""


class Sessions(Mapping[SessionPort, bytes]):
    """All sessions of the account `bare`, each with what its last undirected presence shows.

    `budget`: the bytes that the account's clients may have kept for them, here and in rooms.
    """

    log = Logger()

    def __init__(self, bare: str) -> None:
        self.budget = ByteBudget(CLIENT_BYTES, full=self._full)
        self._bare = bare
        self._presences = SessionPresences(self.budget, CAPS)
        self._payloads: dict[SessionPort, bytes] = {}

    def __getitem__(self, session: SessionPort) -> bytes:
        return self._payloads[session]

    def __iter__(self) -> Iterator[SessionPort]:
        return iter(self._payloads)

    def __len__(self) -> int:
        return len(self._payloads)

    def payload(self, session: SessionPort) -> bytes:
        """Return what a session's undirected presence shows; before it sent one, no more than that it is there."""
        return self._payloads.get(session, CAPS)

    def add(self, session: SessionPort) -> None:
        """A client has bound its resource."""
        self._payloads[session] = CAPS

    def others_of(self, session: SessionPort) -> list[SessionPort]:
        """Return those of the same resource."""
        resource = resource_of(session)
        return [other for other in self if other is not session and resource_of(other) == resource]

    def remove(self, session: SessionPort) -> None:
        """It is gone. Raises `KeyError` if it is none of these."""
        del self._payloads[session]
        self._presences.forget(session)

    def shows(self, session: SessionPort, presence: Stanza) -> None:
        """A session has sent an undirected presence."""
        self._payloads[session] = self._presences.keep(session, presence)

    def shows_nothing(self, session: SessionPort) -> None:
        """A session is no longer available."""
        self._presences.forget(session)
        self._payloads[session] = CAPS

    def _full(self) -> None:
        self.log.warn(
            "clients of {account} have more waiting and shown than the {limit} bytes that are kept: not all of it is",
            account=self._bare,
            limit=CLIENT_BYTES,
        )
