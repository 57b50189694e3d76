"""What every client's negotiation shares: the domains, the guards, and the ways upstream and into a session."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from minimixproxy.c2s.errors import UpstreamError, UpstreamRefused
from minimixproxy.c2s.server.limits import LoginGuard
from minimixproxy.c2s.server.login_queue import LoginQueue, TooManyLogins
from minimixproxy.c2s.server.registrar import Contact, Registrar
from minimixproxy.c2s.session.client_session import ClientSession
from minimixproxy.c2s.session.session_context import SessionContext
from minimixproxy.c2s.transport.client_stream import ClientStream
from minimixproxy.c2s.transport.peers import Peer
from minimixproxy.c2s.transport.tls import ServerTLS
from minimixproxy.c2s.upstream.connecting import Login, open_stream_with
from minimixproxy.c2s.upstream.credentials import Credential, KeyCache
from minimixproxy.config.settings import Limits, Settings
from minimixproxy.logs.logger import Logger
from minimixproxy.wire.events import Event, StreamOpened
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.xmlstream import FramedXmlStream
from minimixproxy.xep.sasl import SaslFailure

# What a server may say about a login; each is shown to the client. The rest of RFC 6120 §6.5 is about the proxy's own
# part of the exchange, not the client's.
_ABOUT_THE_ACCOUNT = frozenset({"not-authorized", "account-disabled", "credentials-expired"})
_BAD_NAME_OR_PASSWORD = frozenset({"malformed-request", "invalid-authzid", "incorrect-encoding"})


class Opened(NamedTuple):
    """The server's answer to the header of a session's stream, and what came in the same read behind it."""

    header: StreamOpened
    features: Stanza
    behind: list[Event]


class NegotiationContext:
    """One per service."""

    log = Logger()

    def __init__(
        self,
        settings: Settings,
        sessions: SessionContext,
        tls: ServerTLS,
        contact: Contact,
    ) -> None:
        """`contact` asks a server before a login."""
        clock = sessions.clock
        self.limits: Limits = settings.limits
        self.domains = {domain.name: domain for domain in settings.domain.values()}
        self.clock = clock
        self.tls = tls
        self._sessions = sessions
        self._connect = sessions.connect
        self._keys = KeyCache()
        self.registrar = Registrar(contact, self.limits, clock)
        self._guard = LoginGuard(
            clock.seconds,
            self.limits.failed_logins,
            self.limits.failed_login_delay,
            self.limits.failed_login_delay_max,
        )
        # The client's time runs; who fails for good is told so early enough to try again.
        self._login_queue = LoginQueue(self._guard, clock, self.limits.authentication_timeout / 2)

    def shut_down(self) -> None:
        """End the sessions that have no client."""
        self._sessions.resumable.shut_down()

    def any_domain(self) -> str:
        """Return a domain for a header that answers one without a usable `to`."""
        return next(iter(self.domains))

    def login(self, domain: str, username: str, password: str) -> Login:
        """Return what a client logs in with."""
        return Login(self.domains[domain], username, Credential.from_password(password), self._keys)

    async def authenticate(self, login: Login, client: Peer) -> FramedXmlStream:
        """Log in upstream for a client. Raises `SaslFailure`."""
        account, address = login.own.bare, client.key
        try:
            await self._login_queue.begin(address, account)
        except TooManyLogins as error:
            self.log.info("too many logins of {account} from {address}", account=account, address=address)
            raise SaslFailure("temporary-auth-failure", "too many logins, try again later") from error
        return await self._to_its_end(self._log_in(login, client, account))

    def _to_its_end(self, login: Coroutine[Any, Any, FramedXmlStream]) -> Deferred[FramedXmlStream]:
        """A login that has begun goes on when its client breaks it off: else guesses broken off would count nothing.

        And where a server is quick to accept and slow to refuse, the time alone would have told the guesser enough.
        """
        waiting: Deferred[FramedXmlStream] = Deferred()

        def ended(result: FramedXmlStream | Failure) -> None:
            if not waiting.called:
                waiting.callback(result)
            elif not isinstance(result, Failure):
                result.transport.abortConnection()
            elif not result.check(SaslFailure):
                self.log.failure("a fault in a login whose client had gone", result)

        Deferred.fromCoroutine(login).addBoth(ended)
        return waiting

    async def _log_in(self, login: Login, client: Peer, account: str) -> FramedXmlStream:
        address = client.key
        try:
            upstream = await self._connect(login, client)
        except UpstreamRefused as error:
            raise self._refused(error, address, account) from error
        except UpstreamError as error:
            self.log.error("no login for {account}: {error}", account=account, error=str(error))
            text = f"the server of {login.domain.name} cannot be used now"
            raise SaslFailure("temporary-auth-failure", text) from error
        else:
            self._guard.succeeded(address, account)
        finally:
            self._login_queue.end(address, account)
        return upstream

    def _refused(self, error: UpstreamRefused, address: str, account: str) -> SaslFailure:
        condition = "not-authorized" if error.condition in _BAD_NAME_OR_PASSWORD else error.condition
        self.log.info(
            "login of {account} from {address} refused: {condition}",
            account=account,
            address=address,
            condition=error.condition,
        )
        if condition not in _ABOUT_THE_ACCOUNT:
            return SaslFailure("temporary-auth-failure", error.text)
        self._guard.failed(address, account)
        return SaslFailure(condition, error.text)

    async def join(self, upstream: FramedXmlStream, header: bytes) -> Opened:
        """Open the stream for a session with the client's header. Raises `UpstreamError`."""
        behind: list[Event] = []
        opened, features = await open_stream_with(upstream, header, behind.extend)
        return Opened(opened, features, behind)

    def start_session(
        self, stream: ClientStream, upstream: Any, login: Login, opened: Opened, early: list[Event], language: str
    ) -> None:
        """Hand a client and its stream upstream to a session. `early`: what the client did not wait to send."""
        session = ClientSession(self._sessions, stream, upstream, login, language)
        session.start(opened.header, opened.features, opened.behind, early)
