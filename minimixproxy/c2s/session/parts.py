"""What a session is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from minimixproxy.c2s.session.account_link import AccountLink, LinkedSession
from minimixproxy.c2s.session.output import ClientOutput
from minimixproxy.c2s.session.server_stream import ServerStream
from minimixproxy.wire.stanza import Stanza


@dataclass(frozen=True, slots=True)
class SessionParts:
    """What stays when the client's connection changes: `output` goes to the client, `server` is the server's stream."""

    output: ClientOutput
    server: ServerStream
    link: AccountLink


class EndingSession(LinkedSession, Protocol):
    """A session, as those see it who take what its client and its server send."""

    def end(self, data: bytes) -> None:
        """End it with these bytes to the client; upstream it ends in order."""

    def client_closes(self) -> None:
        """The client has closed its stream."""

    def receives(self, stanza: Stanza) -> bool:
        """Count a stanza of the client; False: it was handled before the session was resumed."""

    @property
    def looks_at_each(self) -> bool:
        """Whether `receives` has to tell of each stanza of the client whether it passes."""

    def received(self, message: bytes, stanza_id: str | None, to: str | None) -> None:
        """Count a message of the client that passes in any case."""

    def passed(self) -> None:
        """A stanza of the client has gone to the server."""

    def stream_management(self, stanza: Stanza) -> None:
        """The client has sent an element of stream management (XEP-0198)."""

    def state_told(self, element: Stanza) -> bool:
        """The client says that it is active or inactive (XEP-0352); True: its server is to know."""

    def answered(self) -> None:
        """The server has said something while the answer to something that is watched was due."""
