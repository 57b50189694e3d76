"""What every client's negotiation shares: the domains, the guards, and the ways upstream and into a session."""

from __future__ import annotations

from typing import NamedTuple

from minimixproxy.c2s.server.client_headers import ClientHeaders
from minimixproxy.c2s.server.elsewhere import Cluster
from minimixproxy.c2s.server.exchanges.decoys import Decoys
from minimixproxy.c2s.server.exchanges.known_keys import KnownKeys
from minimixproxy.c2s.server.exchanges.login_exchange import Client, Exchange, ExchangeContext, HandedLogin, LoggedIn
from minimixproxy.c2s.server.exchanges.mechanisms import exchange_by, offered_mechanisms
from minimixproxy.c2s.server.exchanges.token_giver import TokenGiver
from minimixproxy.c2s.server.login_attempts import LoginAttempts
from minimixproxy.c2s.server.offers import Contact, DomainOffer, Offers
from minimixproxy.c2s.server.registrar import Registrar
from minimixproxy.c2s.session.client_session import ClientSession
from minimixproxy.c2s.session.session_context import SessionContext
from minimixproxy.c2s.transport.client_stream import ClientStream
from minimixproxy.c2s.transport.tls import ServerTLS
from minimixproxy.c2s.upstream.connecting import open_stream_with
from minimixproxy.c2s.upstream.credentials import KeyCache
from minimixproxy.config.settings import Limits, Settings
from minimixproxy.sasl.channel_binding import Bindings
from minimixproxy.sasl.downgrade import Offered
from minimixproxy.sasl.tokens import Tokens
from minimixproxy.wire.events import Event, StreamOpened
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.xmlstream import FramedXmlStream


class Opened(NamedTuple):
    """The server's answer to the header of a session's stream, and what came in the same read behind it."""

    header: StreamOpened
    features: Stanza
    behind: list[Event]


class Upstream(NamedTuple):
    """The ways to servers before a login: to ask them something, and to log in by an exchange conducted here."""

    contact: Contact
    log_in: HandedLogin
    cluster: Cluster | None = None  # other processes, if there are any


class Checks(NamedTuple):
    """What clients' logins are checked by."""

    known_keys: KnownKeys
    tokens: Tokens
    attempts: LoginAttempts


class NegotiationContext:
    """One per service."""

    def __init__(
        self,
        settings: Settings,
        sessions: SessionContext,
        tls: ServerTLS,
        upstream: Upstream,
        checks: Checks,
    ) -> None:
        clock = sessions.clock
        self.limits: Limits = settings.limits
        self.domains = settings.domain  # by name
        self.clock = clock
        self.tls = tls
        self.cluster = upstream.cluster
        self.sessions = sessions
        self.offers = Offers(clock, upstream.contact)
        self.registrar = Registrar(upstream.contact, self.offers, self.limits, clock)
        self.known_keys = checks.known_keys
        self._exchanges = ExchangeContext(
            checks.attempts,
            sessions.connect,
            upstream.log_in,
            KeyCache(),
            checks.known_keys,
            Decoys(upstream.cluster.decoys if upstream.cluster is not None else None),
            checks.tokens,
            settings.sessions,
            clock,
        )
        self.giver = TokenGiver(checks.tokens, checks.known_keys, settings.sessions, clock)

    def shut_down(self) -> None:
        """End the sessions that have no client, and let none log in again."""
        self.sessions.resumable.shut_down()
        self.sessions.lines.stop()
        self.offers.stop()

    def offered(self, headers: ClientHeaders, offer: DomainOffer, bindings: Bindings) -> Offered:
        """Return how a client may log in. `offer`: of its server, as far as is known."""
        account = headers.account
        hashes = self._exchanges.known_keys.hashes(account) if account is not None else frozenset()
        return offered_mechanisms(self.domains[headers.domain], hashes, offer.mechanisms, bindings)

    def exchange(self, mechanism: str | None, client: Client) -> Exchange:
        """Return how a client logs in by a mechanism. Raises `SaslFailure` if it cannot."""
        return exchange_by(mechanism, client, self._exchanges)

    async def join(self, upstream: FramedXmlStream, header: bytes) -> Opened:
        """Open the stream for a session with the client's header. Raises `UpstreamError`."""
        behind: list[Event] = []
        opened, features = await open_stream_with(upstream, header, behind.extend)
        return Opened(opened, features, behind)

    def start_session(
        self, stream: ClientStream, logged_in: LoggedIn, opened: Opened, early: list[Event], language: str
    ) -> None:
        """Hand a client and its stream upstream to a session. `early`: what the client did not wait to send."""
        assert logged_in.upstream is not None, "a token is for SASL2"
        session = ClientSession(self.sessions, stream, logged_in.upstream, logged_in.login, language)
        session.start(opened.header, opened.features, opened.behind, early)
