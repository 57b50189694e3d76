"""What a session is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from minimixproxy.c2s.session.account_link import AccountLink, LinkedSession
from minimixproxy.c2s.session.output import ClientOutput
from minimixproxy.c2s.session.server_stream import ServerStream
from minimixproxy.c2s.transport.client_stream import ClientStream


@dataclass(frozen=True, slots=True)
class SessionParts:
    """`client` is the client's wire, `output` what goes there; `server` is the stream to the server."""

    client: ClientStream
    output: ClientOutput
    server: ServerStream
    link: AccountLink


class EndingSession(LinkedSession, Protocol):
    """A session, as those see it who take what its client and its server send."""

    def end(self, data: bytes) -> None:
        """End it with these bytes to the client; upstream it ends in order."""

    def client_closes(self) -> None:
        """The client has closed its stream."""

    def answered(self) -> None:
        """The server has said something while the answer to something that is watched was due."""
