"""Negotiation with a client up to the session (RFC 6120 §4 to §6): an explicit state machine.

All transitions are in `TRANSITIONS` at the end; whatever is not in there ends the stream by `_unexpected`.
Authentication is the login upstream: the server decides, the proxy only asks (see `upstream`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from dataclasses import replace
from typing import Any

from twisted.python.failure import Failure
from twisted.words.xish.xmlstream import STREAM_END_EVENT

from minimixproxy.c2s.errors import UpstreamError
from minimixproxy.c2s.server.client_headers import ClientHeaders
from minimixproxy.c2s.server.client_login import ClientLogin
from minimixproxy.c2s.server.client_registration import ClientRegistration
from minimixproxy.c2s.server.elsewhere import Handed
from minimixproxy.c2s.server.exchanges import plain
from minimixproxy.c2s.server.exchanges.login_exchange import Client, Exchange, LoggedIn
from minimixproxy.c2s.server.exchanges.token_giver import Grant
from minimixproxy.c2s.server.holder_search import HolderSearch
from minimixproxy.c2s.server.inline_login import Begun, InlineLogin
from minimixproxy.c2s.server.login_time import LoginTime
from minimixproxy.c2s.server.negotiation_context import NegotiationContext, Opened
from minimixproxy.c2s.server.negotiation_states import WAITING, State, kind_of
from minimixproxy.c2s.server.offers import DomainOffer
from minimixproxy.c2s.server.registrar import TooMuch
from minimixproxy.c2s.server.waiting_client import WaitingClient
from minimixproxy.c2s.transport.client_stream import ClientStream
from minimixproxy.config.settings import Domain
from minimixproxy.counting.tally import Tally
from minimixproxy.logs.logger import Logger
from minimixproxy.namespaces import NS_SASL2
from minimixproxy.sasl.channel_binding import Bindings
from minimixproxy.sasl.downgrade import Offered
from minimixproxy.sasl.tokens import Device
from minimixproxy.stream_management.unacknowledged import NotSent
from minimixproxy.timing.clock import Clock
from minimixproxy.wire.events import Event, Fault, Keepalive, StreamClosed, StreamOpened
from minimixproxy.wire.stanza import Stanza, UnusableStanza
from minimixproxy.wire.xmlstream import FramedXmlStream
from minimixproxy.xep import sasl, sasl2, stream_headers
from minimixproxy.xep.channel_binding import feature
from minimixproxy.xep.registration import request_of, shown
from minimixproxy.xep.sasl import SaslFailure
from minimixproxy.xep.stream_headers import PROCEED, STARTTLS_FEATURE, STREAM_END, passed_header, stream_error
from minimixproxy.xep.stream_management import handled_count_too_high
from minimixproxy.xep.unsupported import refusal_of_element

TOO_MANY = "too-many-connections"
UNKNOWN = "address-unknown"  # too many connections had not said yet whose they are
UNTRUSTED = "untrusted-proxy"  # who connected is none of the reverse proxies
NOT_LOGGED_IN = Tally(
    "connections_refused",
    "Connections of clients that were ended before they were logged in, or because their address has too many.",
    reason=(TOO_MANY, UNKNOWN, UNTRUSTED, *stream_headers.CONDITIONS),
)
MAX_EARLY = 100  # elements that a stranger may send ahead: a read of small ones is many, and each is an object
MAX_REFUSALS = 10  # of what the proxy does not do: the answers are larger, and a stranger need not read them


class Negotiation:
    """One client's way to a session."""

    log = Logger()

    def __init__(
        self, stream: ClientStream, context: NegotiationContext, *, secure: bool, handed: Handed | None = None
    ) -> None:
        """`secure`: TLS has been started already. `handed`: by another process, which holds the client's connection."""
        self._stream = stream
        self._context = context
        self._state = State.OPEN_SECURE if secure else State.OPEN_PLAIN
        self._headers = ClientHeaders(context.domains)
        self._opened: StreamOpened | None = None
        self._offered = Offered(())
        self._bindings: Bindings = {}
        self._tokens: tuple[str, ...] = ()  # mechanisms of tokens that were offered
        self._refusals = 0
        self._client_login = ClientLogin(self)
        self._request: sasl2.Request | None = None  # of the last login by SASL2
        self._logged_in: LoggedIn | None = None
        self._waiting = WaitingClient(stream)
        self._handed = handed
        self._search = HolderSearch(self, context.cluster, stream, self._waiting, seeks=handed is None)
        self._registration = ClientRegistration(context.registrar)
        self._time = LoginTime(context.clock, context.limits.authentication_timeout, self._too_late)

    # What the wire tells (clientstream.Handler)

    def client_events(self, events: list[Event]) -> None:
        """Take the events of one read; those behind a restart of the stream were not meant for the new one."""
        framer = self._stream.framer
        for event in events:
            if self._stream.framer is not framer or self._state is State.OVER:
                return
            if self._state in WAITING:
                self._sent_ahead(event)
            elif not isinstance(event, Keepalive):
                self._step(event)

    def _sent_ahead(self, event: Event) -> None:
        if self._logged_in is None and len(self._waiting.early) == MAX_EARLY:
            self.close("policy-violation", "too much was sent ahead")
        else:
            self._waiting.early.append(event)

    @property
    def address(self) -> str:
        """Where the client is, for the log."""
        return self._stream.peer.address

    @property
    def domain(self) -> str:
        """The domain that the client has named, "" before it has."""
        return self._headers.domain

    def client_lost(self) -> None:
        """The client is gone: so is everything that was done for it."""
        self._finish()
        self._drop_upstream()

    def close(self, condition: str, text: str = "") -> None:
        """End the stream with a stream error; the header comes first, if it is still due (RFC 6120 §4.9.1.2)."""
        if self._state is State.OVER:
            return
        NOT_LOGGED_IN.count(condition)
        self.log.info(
            "no login from {address}: {condition} {text}", address=self.address, condition=condition, text=text
        )
        self._end(self._headers.owed() + stream_error(condition, text))

    def _too_late(self) -> None:
        self.close("connection-timeout", "not authenticated in time")

    def _step(self, event: Event) -> None:
        """Make the transition for an event."""
        if isinstance(event, Fault):
            self.close(event.condition, event.text)
        elif isinstance(event, StreamClosed):
            self._end(STREAM_END)
        elif isinstance(event, StreamOpened | Stanza):
            TRANSITIONS.get((self._state, kind_of(event)), OTHERWISE)(self, event)

    def _unexpected(self, event: Any) -> None:
        """Stanzas before login, features that are not offered, elements out of order."""
        refusal = refusal_of_element(event) if isinstance(event, Stanza) else None
        if refusal is None:
            self.close("not-authorized")
        elif refusal.final:
            self._end(refusal.answer + STREAM_END)
        elif self._refusals == MAX_REFUSALS:
            self.close("policy-violation", "that is not offered here")
        else:
            self._refusals += 1
            self._stream.write(refusal.answer)

    # Headers

    def _open(self, opened: StreamOpened) -> None:
        if not self._accepts(opened):
            return
        self._opened = opened
        if self._state is State.OPEN_SECURE:
            self._search.by_header(self._headers.account, self._greet)
            return
        self._stream.write(self._headers.answer())
        self._show(State.PLAIN, STARTTLS_FEATURE)

    def _greet(self) -> None:
        self._stream.write(self._headers.answer())
        if self._handed is not None and self._handed.offered is not None:  # the client has seen features already
            self._offered, self._tokens = self._handed.offered, self._handed.tokens
            self._bindings = self._stream.bindings
            self._show(State.SECURE, b"")
            return
        domain, offers = self._domain, self._context.offers
        known = offers.now(domain)
        if known is None:
            self._wait_for(State.LEARNING, offers.soon(domain), self._show_login)
        else:
            self._show_login(known)

    def _show_login(self, offer: DomainOffer) -> None:
        self._bindings = self._stream.bindings
        self._offered = self._context.offered(self._headers, offer, self._bindings)
        mechanisms = self._offered.mechanisms
        by_sasl2 = _is_for_sasl2(mechanisms)
        self._tokens = self._context.giver.offered(self._bindings) if by_sasl2 else ()
        login = feature(self._offered.bindings or ()) + sasl.mechanisms(mechanisms)
        if by_sasl2:
            login += sasl2.feature(mechanisms, self._tokens)
        self._show(State.SECURE, login + shown(offer.registration))

    def _show(self, state: State, features: bytes) -> None:
        self._stream.write(b"<stream:features>%b</stream:features>" % features)
        self._state = state

    def _accepts(self, opened: StreamOpened) -> bool:
        """Take a header, or close the stream for what is wrong with it."""
        refusal = self._headers.check(opened, logged_in=self._logged_in is not None)
        if refusal is not None:
            self.close(*refusal)
        return refusal is None

    def _restart(self, state: State) -> None:
        self._stream.restart()
        self._headers.restart()
        self._state = state

    # TLS

    def _starttls(self, _stanza: Stanza) -> None:
        self._stream.write(PROCEED)
        self._restart(State.OPEN_SECURE)
        self._stream.start_tls(self._context.tls.factory(self._headers.domain))

    # Registration (XEP-0077, XEP-0445)

    def _register(self, stanza: Stanza) -> None:
        request = request_of(stanza, self._headers.domain)
        if request is None:
            self._unexpected(stanza)
            return
        work = self._registration.ask(request, self._domain, self._stream.peer)
        patience = self._registration.patience(self._domain)
        if patience is not None:
            self._time.start(patience)
        self._wait_for(State.REGISTERING, work, self._registration_answered)

    def _registration_answered(self, answer: bytes) -> None:
        self._stream.write(answer)
        self._state = State.SECURE

    def _wait_for(self, state: State, work: Coroutine[Any, Any, Any], done: Callable[[Any], None]) -> None:
        def go_on(result: Any) -> None:
            done(result)
            self.client_events(self._waiting.over())

        self._state = state
        self._waiting.wait(work, go_on, self.failed)

    def failed(self, failure: Failure) -> None:
        """End the stream for what kept it from being answered."""
        if isinstance(failure.value, TooMuch | UnusableStanza):
            self.close("policy-violation", str(failure.value))
            return
        self.log.failure("before the login of the client at {address}", failure, address=self.address)
        self.close("internal-server-error")

    # SASL (`client_login.LoginHost`)

    def _auth(self, stanza: Stanza) -> None:
        self._state = State.CHECKING
        self._registration.close()
        self._client_login.profile = sasl
        self._request = None
        text = str(stanza.element).strip() or None
        self._search.by_login(stanza, stanza.get("mechanism"), text, self._client_login)

    def _authenticate(self, stanza: Stanza) -> None:
        self._state = State.CHECKING_SASL2
        self._registration.close()
        self._client_login.profile = sasl2
        try:
            self._request = request = sasl2.request_of(stanza)
        except SaslFailure as failure:
            self._client_login.fail(failure)
            return
        self._search.by_login(stanza, request.mechanism, request.text, self._client_login)

    def _named(self, stanza: Stanza) -> None:
        self._search.named(stanza, str(stanza.element).strip(), self._client_login)

    def exchange_by(self, mechanism: str | None) -> Exchange:
        """Return how the client logs in by a mechanism. Raises `SaslFailure`."""
        client = Client(
            self._domain, self._stream.peer, self._bindings, self._offered, self._headers.account, self._time
        )
        request = self._request
        if request is not None:
            device, use = Device(request.device, request.software, 0.0), request.token_use
            client = replace(client, device=device, token_use=use, token_mechanisms=self._tokens)
        return self._context.exchange(mechanism, client)

    def challenged(self, element: bytes) -> None:
        """The client is to respond."""
        self._stream.write(element)
        by_sasl2 = self._state is State.CHECKING_SASL2
        self._state = State.RESPONDING_SASL2 if by_sasl2 else State.RESPONDING

    def _response(self, stanza: Stanza) -> None:
        by_sasl2 = self._state is State.RESPONDING_SASL2
        self._state = State.CHECKING_SASL2 if by_sasl2 else State.CHECKING
        self._client_login.respond(str(stanza.element).strip())

    def _too_early(self, stanza: Stanza) -> None:
        self._client_login.profile = sasl2 if stanza.uri == NS_SASL2 else sasl
        self._client_login.fail(SaslFailure("encryption-required"))

    def _out_of_order(self, stanza: Stanza) -> None:
        self._client_login.profile = sasl2 if stanza.uri == NS_SASL2 else sasl
        self._client_login.fail(SaslFailure("malformed-request", "no login is under way"))

    def _abort_sasl(self, stanza: Stanza) -> None:
        """Break the login exchange off; what is asked upstream goes on, and counts."""
        self._client_login.profile = sasl2 if stanza.uri == NS_SASL2 else sasl
        self._client_login.break_off()
        self._client_login.fail(SaslFailure("aborted"))

    def refused(self, element: bytes, *, final: bool) -> None:
        """The client is not logged in. It may try again, unless that is `final`."""
        if self._state is not State.PLAIN:
            self._state = State.SECURE
        if final:
            self._end(element + stream_error("policy-violation", "too many failed attempts"))
        else:
            self._stream.write(element)

    def logged_in(self, logged_in: LoggedIn) -> None:
        """The client is logged in."""
        self._logged_in = logged_in
        if logged_in.upstream is not None:
            logged_in.upstream.addObserver(STREAM_END_EVENT, self._upstream_lost)
        account = logged_in.login.own.bare
        self._search.claim(account, lambda: self._admit(logged_in), self._not_begun)

    def _admit(self, logged_in: LoggedIn) -> None:
        if self._state is State.CHECKING_SASL2:
            self._begin_inline(logged_in)
            return
        self._stream.write(sasl.success(logged_in.success))
        self._restart(State.OPEN_AUTHENTICATED)

    # The session, after a login by SASL2

    def _begin_inline(self, logged_in: LoggedIn) -> None:
        named = self._headers.account
        if named not in (None, logged_in.login.own.bare):
            self._not_begun(SaslFailure("invalid-authzid", "the stream is another account's"))
            return
        assert self._request is not None and self._opened is not None
        inline = InlineLogin(self._request, logged_in, self._context.sessions, self._context.known_keys)
        self._state = State.JOINING
        work = inline.begin(passed_header(self._opened), self._stream.peer, self._connected)
        self._waiting.wait(work, self._begun, self._inline_failed)

    def _connected(self, upstream: FramedXmlStream) -> None:
        """The client had shown a token, and now there is a stream to its server, too."""
        assert self._logged_in is not None
        self._logged_in = self._logged_in._replace(upstream=upstream)
        upstream.addObserver(STREAM_END_EVENT, self._upstream_lost)

    def _begun(self, begun: Begun) -> None:
        logged_in, request = self._logged_in, self._request
        assert logged_in is not None and request is not None
        grant = Grant(self._context.giver, request, logged_in, self._tokens)
        if grant.is_void():
            account = logged_in.login.account
            self.log.info("{account}: a token was withdrawn while it was used, and is refused", account=account)
            self._inline_failed(Failure(SaslFailure("credentials-expired")))
            return
        try:
            begun.start(self.hand_over, grant)
        except NotSent as error:
            self._end(handled_count_too_high(error.h, error.sent))
        # Before that, a fault of ours drops it.
        else:
            self._let_go(logged_in)

    def hand_over(self) -> tuple[ClientStream, list[Event], str]:
        """The negotiation is over: give the client away, what it has sent ahead, and its language."""
        self._finish()
        return self._stream, self._waiting.early, self._headers.lang or ""

    def _inline_failed(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, UpstreamError):
            account = self._logged_in.login.account if self._logged_in is not None else ""
            self._no_stream(account, error)
            error = SaslFailure("temporary-auth-failure", "the server began no session")
        if isinstance(error, SaslFailure):
            self._not_begun(error)
            self.client_events(self._waiting.over())
        else:
            self._not_joined(failure)

    def _not_begun(self, failure: SaslFailure) -> None:
        """The login comes to nothing, though it was good. The client may try again."""
        assert self._logged_in is not None
        self._let_go(self._logged_in)
        self._drop_upstream()
        self._client_login.fail(failure)

    # The session

    def _join(self, opened: StreamOpened) -> None:
        """Open the server's stream with the client's own header, language and prefixes included."""
        if not self._accepts(opened):
            return
        assert self._logged_in is not None and self._logged_in.upstream is not None
        self._state = State.JOINING
        work = self._context.join(self._logged_in.upstream, passed_header(opened))
        self._waiting.wait(work, self._joined, self._not_joined)

    def _joined(self, opened: Opened) -> None:
        logged_in = self._logged_in
        assert logged_in is not None
        self._finish()
        self._context.start_session(self._stream, logged_in, opened, self._waiting.early, self._headers.lang or "")
        # Before that, a fault of ours drops it.
        self._let_go(logged_in)

    def _not_joined(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, UpstreamError):
            account = self._logged_in.login.account if self._logged_in is not None else ""
            self._no_stream(account, error)
            self.close("remote-connection-failed", "the server did not open the stream")
            return
        self.log.failure("while the stream for the client at {address} was opened", failure, address=self.address)
        self._end(stream_error("internal-server-error"))  # even if the session was about to take over

    def _no_stream(self, account: str, error: UpstreamError) -> None:
        self.log.warn(
            "no stream for {account} at {address}: {error}", account=account, address=self.address, error=str(error)
        )

    # In a cluster (`holder_search.SearchHost`)

    @property
    def clock(self) -> Clock:
        """The time."""
        return self._context.clock

    def enter(self, state: State) -> State:
        """Be in another state from now on; return which it was."""
        before, self._state = self._state, state
        return before

    def shown(self) -> tuple[StreamOpened, Handed]:
        """Return the client's header, and what it has been offered."""
        assert self._opened is not None
        return self._opened, Handed(self._offered if self._offered.mechanisms else None, self._tokens)

    def catch_up(self) -> None:
        """Read the client again, and look at what it has sent ahead, unless it waits for something else."""
        if self._state is not State.OVER and self._state not in WAITING:
            self.client_events(self._waiting.over())

    # Means

    @property
    def _domain(self) -> Domain:
        return self._context.domains[self._headers.domain]

    def _finish(self) -> None:
        self._state = State.OVER
        self._time.stop()
        self._waiting.cancel()
        self._client_login.break_off()
        self._registration.close()

    def _end(self, data: bytes) -> None:
        self._finish()
        self._drop_upstream()
        self._stream.close(data)

    def _drop_upstream(self) -> None:
        logged_in, self._logged_in = self._logged_in, None
        if logged_in is not None:
            logged_in.abort()

    def _let_go(self, logged_in: LoggedIn) -> None:
        if logged_in.upstream is not None:
            logged_in.upstream.removeObserver(STREAM_END_EVENT, self._upstream_lost)

    def _upstream_lost(self, _reason: Failure) -> None:
        self.close("remote-connection-failed", "the server closed the connection")


def _is_for_sasl2(mechanisms: Collection[str]) -> bool:
    """Tell whether to offer mechanisms by SASL2, too.

    Only if there is a better one than PLAIN: Monal takes SASL2 wherever it is, and PLAIN only without it.
    """
    return bool(set(mechanisms) - {plain.MECHANISM})


TRANSITIONS: dict[tuple[State, str], Callable[[Negotiation, Any], None]] = {
    (State.OPEN_PLAIN, "header"): Negotiation._open,
    (State.PLAIN, "starttls"): Negotiation._starttls,
    (State.PLAIN, "auth"): Negotiation._too_early,
    (State.PLAIN, "sasl2 authenticate"): Negotiation._too_early,
    (State.OPEN_SECURE, "header"): Negotiation._open,
    (State.SECURE, "auth"): Negotiation._auth,
    (State.SECURE, "response"): Negotiation._out_of_order,
    (State.SECURE, "abort"): Negotiation._abort_sasl,
    (State.SECURE, "sasl2 authenticate"): Negotiation._authenticate,
    (State.SECURE, "sasl2 response"): Negotiation._out_of_order,
    (State.SECURE, "sasl2 abort"): Negotiation._abort_sasl,
    (State.SECURE, "iq"): Negotiation._register,
    (State.NAMING, "response"): Negotiation._named,
    (State.NAMING, "abort"): Negotiation._abort_sasl,
    (State.NAMING_SASL2, "sasl2 response"): Negotiation._named,
    (State.NAMING_SASL2, "sasl2 abort"): Negotiation._abort_sasl,
    (State.RESPONDING, "response"): Negotiation._response,
    (State.RESPONDING, "abort"): Negotiation._abort_sasl,
    (State.CHECKING, "abort"): Negotiation._abort_sasl,
    (State.RESPONDING_SASL2, "sasl2 response"): Negotiation._response,
    (State.RESPONDING_SASL2, "sasl2 abort"): Negotiation._abort_sasl,
    (State.CHECKING_SASL2, "sasl2 abort"): Negotiation._abort_sasl,
    (State.OPEN_AUTHENTICATED, "header"): Negotiation._join,
}
#: What follows from everything else.
OTHERWISE = Negotiation._unexpected
