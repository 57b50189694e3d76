"""One login exchange of a client, whatever the mechanism, and whatever the elements that carry it.

A negotiation holds the dialogue with the client (SASL of RFC 6120, later SASL2 of XEP-0388, later on WebSocket). An
exchange knows the mechanism: it is a function of the dialogue that ends with a stream upstream, or a `SaslFailure`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from minimixproxy.c2s.server.exchanges.decoys import Decoys
from minimixproxy.c2s.server.exchanges.known_keys import KnownKeys
from minimixproxy.c2s.transport.peers import Peer
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.c2s.upstream.credentials import KeyCache
from minimixproxy.c2s.upstream.handed_login import Authenticate
from minimixproxy.config.settings import Domain, Sessions
from minimixproxy.sasl.channel_binding import Bindings
from minimixproxy.sasl.downgrade import Offered
from minimixproxy.sasl.tokens import NO_DEVICE, Device, Token, Tokens
from minimixproxy.timing.clock import Clock
from minimixproxy.wire.xmlstream import FramedXmlStream
from minimixproxy.xep.fast import Use


class Dialogue(Protocol):
    """What is said between a client and an exchange. `first`: the client's initial response, None if it sent none."""

    first: bytes | None

    async def challenge(self, data: bytes) -> bytes:
        """Send a challenge; return the client's response.

        Raises `SaslFailure` if the client breaks off, is gone, takes too long or sends what is no base64.
        """


class LoggedIn(NamedTuple):
    """A client is logged in: its stream upstream, by which login, and what goes with the success (RFC 6120 §6.3.10).

    `upstream`: None if the server was not asked, which is so if the client has shown a `token`.
    """

    upstream: FramedXmlStream | None
    login: Login
    success: bytes = b""
    token: Token | None = None

    def abort(self) -> None:
        """The stream upstream is not needed."""
        if self.upstream is not None:
            self.upstream.transport.abortConnection()


class Time(Protocol):
    """The time that a client has to log in (`login_time.LoginTime`)."""

    def stand_still(self) -> None:
        """The client waits, and can do nothing for it."""

    def go_on(self) -> None:
        """It waits no more."""


class _Unlimited:
    """(`Time`)"""

    def stand_still(self) -> None:
        """Nothing."""

    def go_on(self) -> None:
        """Nothing."""


#: For whoever has a bound of its own.
UNLIMITED = _Unlimited()
#: Raises `SaslFailure`: what the client is told.
Exchange = Callable[[Dialogue], Awaitable[LoggedIn]]


@dataclass(frozen=True, slots=True)
class Client:
    """Who logs in, as far as its connection tells.

    `bindings`: the data of its TLS for channel binding, by type; empty if that is not the proxy's own. `offered`: what
    it was shown on this stream; `named`: the account that it has named before. `time`: what it has of that to log in.
    `device`: which one it says it is, with id "" if it does not. `token_use`: it says that it logs in by a token
    (XEP-0484); `token_mechanisms`: those by which it may.
    """

    domain: Domain
    peer: Peer
    bindings: Bindings
    offered: Offered
    named: str | None = None
    time: Time = UNLIMITED
    device: Device = NO_DEVICE
    token_use: Use | None = None
    token_mechanisms: Collection[str] = ()


class Attempts(Protocol):
    """All attempts to log in, each counted for its account and for where it comes from."""

    async def attempt(
        self,
        account: str,
        client: Peer,
        work: Callable[[], Coroutine[Any, Any, LoggedIn]],
        time: Time = UNLIMITED,
    ) -> LoggedIn:
        """Do the work when the guard lets it begin; `time` stands still until then.

        It goes on to its end even if the client breaks off.

        `work` raises `UpstreamError`, or `SaslFailure`, which counts as a failed login unless it is temporary. Raises
        `SaslFailure`.
        """


#: Logs in for a client with what it has said who it is.
Connect = Callable[[Login, Peer], Awaitable[FramedXmlStream]]
#: Logs in for a client by an exchange that is conducted here (see `upstream.handed_login`).
HandedLogin = Callable[[Domain, Peer, Authenticate], Awaitable[FramedXmlStream]]


@dataclass(frozen=True, slots=True)
class ExchangeContext:
    """What all exchanges share."""

    attempts: Attempts
    connect: Connect
    log_in: HandedLogin
    keys: KeyCache
    known_keys: KnownKeys
    decoys: Decoys
    tokens: Tokens
    settings: Sessions
    clock: Clock
