"""Negotiation with a client up to the session (RFC 6120 §4 to §6): an explicit state machine.

All transitions are in `TRANSITIONS` at the end; whatever is not in there ends the stream by `_unexpected`.
Authentication is the login upstream: the server decides, the proxy only asks (see `upstream`).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from enum import Enum, auto
from typing import Any

from twisted.python.failure import Failure
from twisted.words.xish.xmlstream import STREAM_END_EVENT

from minimixproxy.c2s.errors import UpstreamError
from minimixproxy.c2s.server.negotiation_context import NegotiationContext, Opened
from minimixproxy.c2s.server.pending_work import PendingWork
from minimixproxy.c2s.server.registrar import Registration, TooMuch
from minimixproxy.c2s.transport.client_stream import ClientStream
from minimixproxy.c2s.transport.peers import peer_key
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.logs.logger import Logger
from minimixproxy.namespaces import NS_CLIENT, NS_SASL, NS_TLS
from minimixproxy.wire.events import Event, Fault, Keepalive, StreamClosed, StreamOpened
from minimixproxy.wire.stanza import Stanza, UnusableStanza
from minimixproxy.wire.xmlstream import FramedXmlStream
from minimixproxy.xep import sasl
from minimixproxy.xep.registration import request_of, shown
from minimixproxy.xep.sasl import SaslFailure
from minimixproxy.xep.stream_headers import (
    LANG,
    PROCEED,
    STARTTLS_FEATURE,
    STREAM_END,
    Refusal,
    addressed_domain,
    answer_header,
    check_header,
    passed_header,
    stream_error,
)
from minimixproxy.xep.unsupported import refusal_of_element

REGISTRATION_TIME = 600.0  # seconds from a request for registration to the next, or to login: people fill in forms ...
LONGEST_REGISTRATION = 1800.0  # ... and from the first to login
MAX_FAILURES = 3  # of SASL on one stream; RFC 6120 §6.4.5 says 2 to 5
MAX_REFUSALS = 10  # of what the proxy does not do: the answers are larger, and a stranger need not read them


class State(Enum):
    """What the client is to do next, or what it waits for."""

    OPEN_PLAIN = auto()  # send the first header, without TLS
    PLAIN = auto()  # start TLS
    OPEN_SECURE = auto()  # send the header within TLS
    LEARNING = auto()  # wait for what the server offers
    SECURE = auto()  # authenticate, or register before
    REGISTERING = auto()  # wait for the server's answer to a request for registration
    RESPONDING = auto()  # respond to the empty challenge
    CHECKING = auto()  # wait for the login upstream
    OPEN_AUTHENTICATED = auto()  # send the header of the stream for stanzas
    JOINING = auto()  # wait for the server's header and features
    OVER = auto()  # a session has taken over, or the stream is closed


class Negotiation:
    """One client's way to a session."""

    log = Logger()

    def __init__(self, stream: ClientStream, context: NegotiationContext, *, secure: bool) -> None:
        """`secure`: TLS has been started already."""
        self._stream = stream
        self._context = context
        self._state = State.OPEN_SECURE if secure else State.OPEN_PLAIN
        self._domain = ""
        self._lang: str | None = None
        self._header_sent = False
        self._failures = 0
        self._refusals = 0
        self._login: Login | None = None
        self._work = PendingWork()
        self._upstream: FramedXmlStream | None = None
        self._registration: Registration | None = None
        self._registration_ends: float  # set with `_registration`
        self._early: list[Event] = []
        self._timer = context.clock.callLater(
            context.limits.authentication_timeout, self.close, "connection-timeout", "not authenticated in time"
        )

    # What the wire tells (clientstream.Handler)

    def client_events(self, events: list[Event]) -> None:
        """Take the events of one read; those behind a restart of the stream were not meant for the new one."""
        framer = self._stream.framer
        for event in events:
            if self._stream.framer is not framer or self._state is State.OVER:
                return
            if self._state in _WAITING:
                self._early.append(event)
            elif not isinstance(event, Keepalive):
                self._step(event)

    def client_lost(self) -> None:
        """The client is gone: so is everything that was done for it."""
        self._finish()
        self._drop_upstream()

    def close(self, condition: str, text: str = "") -> None:
        """End the stream with a stream error; the header comes first, if it is still due (RFC 6120 §4.9.1.2)."""
        if self._state is State.OVER:
            return
        address = peer_key(self._stream.transport)
        self.log.info("no login from {address}: {condition} {text}", address=address, condition=condition, text=text)
        header = b"" if self._header_sent else answer_header(self._domain or self._context.any_domain(), self._lang)
        self._end(header + stream_error(condition, text))

    def _step(self, event: Event) -> None:
        """Make the transition for an event."""
        if isinstance(event, Fault):
            self.close(event.condition, event.text)
        elif isinstance(event, StreamClosed):
            self._end(STREAM_END)
        elif isinstance(event, StreamOpened | Stanza):
            TRANSITIONS.get((self._state, _kind(event)), OTHERWISE)(self, event)

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
        refusal = self._check(opened)
        if refusal is not None:
            self.close(*refusal)
            return
        self._stream.write(answer_header(self._domain, self._lang))
        self._header_sent = True
        if self._state is State.OPEN_PLAIN:
            self._show(State.PLAIN, STARTTLS_FEATURE)
            return
        domain, offers = self._context.domains[self._domain], self._context.registrar.offers
        known = offers.now(domain)
        if known is None:
            self._wait_for(State.LEARNING, offers.soon(domain), self._show_login)
        else:
            self._show_login(known)

    def _show_login(self, offers: frozenset[str]) -> None:
        self._show(State.SECURE, sasl.MECHANISMS + shown(offers))

    def _show(self, state: State, features: bytes) -> None:
        self._stream.write(b"<stream:features>%b</stream:features>" % features)
        self._state = state

    def _check(self, opened: StreamOpened) -> Refusal | None:
        """Read a header; return what is wrong with it."""
        self._lang = opened.attributes.get(LANG)
        refusal = check_header(opened, self._context.domains)
        if refusal is not None:
            return refusal
        domain = addressed_domain(opened)
        assert domain is not None
        if self._login is not None and domain != self._domain:
            return Refusal("not-authorized", "the login was for another domain")
        self._domain = domain
        return None

    def _restart(self, state: State) -> None:
        self._stream.restart()
        self._header_sent = False
        self._state = state

    # TLS

    def _starttls(self, _stanza: Stanza) -> None:
        self._stream.write(PROCEED)
        self._restart(State.OPEN_SECURE)
        self._stream.start_tls(self._context.tls.factory(self._domain))

    def _too_early(self, _stanza: Stanza) -> None:
        self._fail(SaslFailure("encryption-required"))

    # Registration (XEP-0077, XEP-0445)

    def _register(self, stanza: Stanza) -> None:
        request = request_of(stanza, self._domain)
        if request is None:
            self._unexpected(stanza)
            return
        if self._registration is None:
            domain = self._context.domains[self._domain]
            self._registration = self._context.registrar.client(domain, self._stream.peer)
            self._registration_ends = self._context.clock.seconds() + LONGEST_REGISTRATION
        remaining = self._registration_ends - self._context.clock.seconds()
        self._timer.reset(max(0.0, min(REGISTRATION_TIME, remaining)))
        self._wait_for(State.REGISTERING, self._registration.ask(request), self._registration_answered)

    def _registration_answered(self, answer: bytes) -> None:
        self._stream.write(answer)
        self._state = State.SECURE

    def _wait_for(self, state: State, work: Coroutine[Any, Any, Any], done: Callable[[Any], None]) -> None:
        """Wait, and let the client wait: what it has sent ahead is looked at afterwards."""

        def go_on(result: Any) -> None:
            done(result)
            self._stream.transport.resumeProducing()
            early, self._early = self._early, []
            self.client_events(early)

        self._state = state
        self._stream.transport.pauseProducing()
        self._work.run(work, go_on, self._wait_failed)

    def _wait_failed(self, failure: Failure) -> None:
        if isinstance(failure.value, TooMuch | UnusableStanza):
            self.close("policy-violation", str(failure.value))
            return
        self.log.failure("before the login of a client", failure)
        self.close("internal-server-error")

    # SASL

    def _auth(self, stanza: Stanza) -> None:
        text = str(stanza.element).strip()
        if stanza.get("mechanism") != "PLAIN":
            self._fail(SaslFailure("invalid-mechanism"))
        elif not text:
            self._stream.write(sasl.CHALLENGE)
            self._state = State.RESPONDING
        else:
            self._check_plain(text)

    def _response(self, stanza: Stanza) -> None:
        self._check_plain(str(stanza.element).strip())

    def _check_plain(self, text: str) -> None:
        try:
            message = sasl.parse_plain(text)
            sasl.check_authzid(message, self._domain)
        except SaslFailure as failure:
            self._fail(failure)
            return
        self._state = State.CHECKING
        self._end_registration()
        self._login = self._context.login(self._domain, message.username, message.password)
        work = self._context.authenticate(self._login, self._stream.peer)
        self._work.run(work, self._accepted, self._refused)

    def _out_of_order(self, _stanza: Stanza) -> None:
        self._fail(SaslFailure("malformed-request", "no login is under way"))

    def _abort_sasl(self, _stanza: Stanza) -> None:
        self._work.cancel()
        self._fail(SaslFailure("aborted"))

    def _fail(self, failure: SaslFailure) -> None:
        """Answer a failure and let the client try again, a few times."""
        self._failures += 1
        self._login = None
        if self._state is not State.PLAIN:
            self._state = State.SECURE
        answer = sasl.failure(failure.condition, failure.text)
        if self._failures < MAX_FAILURES:
            self._stream.write(answer)
        else:
            self._end(answer + stream_error("policy-violation", "too many failed attempts"))

    def _accepted(self, upstream: FramedXmlStream) -> None:
        self._upstream = upstream
        upstream.addObserver(STREAM_END_EVENT, self._upstream_lost)
        self._stream.write(sasl.SUCCESS)
        self._restart(State.OPEN_AUTHENTICATED)

    def _refused(self, failure: Failure) -> None:
        error = failure.value
        if not isinstance(error, SaslFailure):
            self.log.failure("while logging in upstream", failure)
            error = SaslFailure("temporary-auth-failure")
        self._fail(error)

    # The session

    def _join(self, opened: StreamOpened) -> None:
        """Open the server's stream with the client's own header, language and prefixes included."""
        refusal = self._check(opened)
        if refusal is not None:
            self.close(*refusal)
            return
        assert self._upstream is not None
        self._state = State.JOINING
        self._stream.transport.pauseProducing()
        self._work.run(self._context.join(self._upstream, passed_header(opened)), self._joined, self._not_joined)

    def _joined(self, opened: Opened) -> None:
        login, upstream = self._login, self._upstream
        assert login is not None and upstream is not None
        self._finish()
        self._context.start_session(self._stream, upstream, login, opened, self._early, self._lang or "")
        upstream.removeObserver(STREAM_END_EVENT, self._upstream_lost)  # before that, a fault of ours drops it

    def _not_joined(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, UpstreamError):
            account = self._login.account if self._login is not None else ""
            self.log.warn("no stream for {account}: {error}", account=account, error=str(error))
            self.close("remote-connection-failed", "the server did not open the stream")
            return
        self.log.failure("while opening the stream upstream", failure)
        self._end(stream_error("internal-server-error"))  # even if the session was about to take over

    # Means

    def _finish(self) -> None:
        self._state = State.OVER
        if self._timer.active():
            self._timer.cancel()
        self._work.cancel()
        self._end_registration()

    def _end_registration(self) -> None:
        if self._registration is not None:
            self._registration.close()

    def _end(self, data: bytes) -> None:
        self._finish()
        self._drop_upstream()
        self._stream.close(data)

    def _drop_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.transport.abortConnection()

    def _upstream_lost(self, _reason: Failure) -> None:
        self.close("remote-connection-failed", "the server closed the connection")


def _kind(event: StreamOpened | Stanza) -> str:
    """What the transitions call an event."""
    if isinstance(event, StreamOpened):
        return "header"
    if event.uri in (NS_TLS, NS_SASL):
        return event.name
    return "iq" if (event.uri, event.name) == (NS_CLIENT, "iq") else "other"


_WAITING = frozenset({State.LEARNING, State.REGISTERING, State.JOINING})


TRANSITIONS: dict[tuple[State, str], Callable[[Negotiation, Any], None]] = {
    (State.OPEN_PLAIN, "header"): Negotiation._open,
    (State.PLAIN, "starttls"): Negotiation._starttls,
    (State.PLAIN, "auth"): Negotiation._too_early,
    (State.OPEN_SECURE, "header"): Negotiation._open,
    (State.SECURE, "auth"): Negotiation._auth,
    (State.SECURE, "response"): Negotiation._out_of_order,
    (State.SECURE, "abort"): Negotiation._abort_sasl,
    (State.SECURE, "iq"): Negotiation._register,
    (State.RESPONDING, "response"): Negotiation._response,
    (State.RESPONDING, "abort"): Negotiation._abort_sasl,
    (State.CHECKING, "abort"): Negotiation._abort_sasl,
    (State.OPEN_AUTHENTICATED, "header"): Negotiation._join,
}
#: What follows from everything else.
OTHERWISE = Negotiation._unexpected
