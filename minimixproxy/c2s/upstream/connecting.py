"""Streams to the servers: connecting, securing, logging in, opening and binding (RFC 6120 §3 to §7)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError, UnsupportedAddressFamily
from twisted.internet.protocol import Factory
from twisted.words.protocols.jabber.jid import internJID
from twisted.words.protocols.jabber.xmlstream import Authenticator

from minimixproxy.c2s.errors import (
    UpstreamError,
    UpstreamIsThisProxy,
    UpstreamProtocolError,
    UpstreamRefused,
    UpstreamTLSError,
    UpstreamUnreachable,
)
from minimixproxy.c2s.own_streams import is_own
from minimixproxy.c2s.transport.certificates import CertificateError
from minimixproxy.c2s.transport.connection import SecurableConnection, read_little
from minimixproxy.c2s.transport.peers import Peer, is_loopback
from minimixproxy.c2s.transport.tls import client_factory
from minimixproxy.c2s.upstream.binding import BadBinding, Own
from minimixproxy.c2s.upstream.conversation import Conversation
from minimixproxy.c2s.upstream.credentials import Credential, KeyCache
from minimixproxy.c2s.upstream.names import DomainsEndpoint
from minimixproxy.c2s.upstream.offer import PLAIN, choose, offer_on
from minimixproxy.c2s.upstream.patience import Patience
from minimixproxy.c2s.upstream.proxy_header import explain, header_for
from minimixproxy.c2s.upstream.sasl import SaslExchange
from minimixproxy.c2s.upstream.sasl_channel import SaslChannel
from minimixproxy.c2s.upstream.srv import resolve
from minimixproxy.config.checks import endpoint_kind
from minimixproxy.config.settings import Domain, Limits
from minimixproxy.logs.logger import Logger
from minimixproxy.logs.not_connected import why_not_connected
from minimixproxy.namespaces import NS_BIND, NS_CARBONS, NS_CLIENT, NS_STREAM, NS_TLS
from minimixproxy.wire.events import Event, StreamOpened
from minimixproxy.wire.framing import MAX_DEPTH, FramingLimits
from minimixproxy.wire.stanza import Stanza, escape
from minimixproxy.wire.xmlstream import FramedXmlStream
from minimixproxy.xep.iq import iq
from minimixproxy.xep.sasl import account_key

log = Logger()

CONNECT_TIMEOUT = 10.0  # seconds, for each target
SILENCE = 15.0  # seconds that a server may take for each thing that it is to say, up to the login
# A server sends rosters, archives and avatars: far larger stanzas than it takes from a client.
LARGEST_FROM_SERVER = 16 * 1024 * 1024
LOGIN_TIMEOUT = 40.0  # seconds, for everything up to the login
MAX_BEFORE_BOUND = 100  # stanzas that may come before the answer to a bind
# Bytes of a server that are read in one turn: some milliseconds for small stanzas, and a user may have a hundred
# sessions to all of which the server says much, as they asked for it.
READ = 16 * 1024


@dataclass(frozen=True, slots=True)
class Login:
    """Everything needed to log in, once more if need be. See `kept_login` for the part that is kept on disk."""

    domain: Domain
    username: str
    credential: Credential = field(repr=False)
    keys: KeyCache = field(repr=False)

    @property
    def account(self) -> str:
        """The account as the client named it; the server may spell it otherwise."""
        return f"{self.username}@{self.domain.name}"

    def with_password(self, password: str) -> Login:
        """Return a login of the same account with another password."""
        return Login(self.domain, self.username, Credential.from_password(password), self.keys)

    @property
    def own(self) -> Own:
        """The account as it is prepared: the only one that a server may bind to this login."""
        return Own(account_key(self.username, self.domain.name), self.domain.name)


@dataclass(frozen=True, slots=True)
class _Candidate:
    endpoint: Any  # IStreamClientEndpoint
    description: str
    tls: str  # "starttls"; "direct": from the first byte; "endpoint": the endpoint itself does it


# What follows on a secured stream that has shown its features.
_Then = Callable[[FramedXmlStream, Conversation, Stanza], Awaitable[None]]


async def connect_upstream(reactor: Any, login: Login, limits: Limits, client: Peer | None = None) -> FramedXmlStream:
    """Return a stream to the server of the account, secured and logged in; `open_stream` is next.

    `client`: for whom it is; None: for the account itself. Raises `UpstreamUnreachable`, `UpstreamTLSError`,
    `UpstreamProtocolError`, `UpstreamRefused` when the server does not accept the login, or `UpstreamUnfit` when kept
    keys are not what it asks for. Gives up after `LOGIN_TIMEOUT` seconds.
    """

    async def log_in(xs: FramedXmlStream, conversation: Conversation, features: Stanza) -> None:
        await _authenticate(xs, conversation, login, features)
        conversation.restart()

    attempt = Deferred.fromCoroutine(_connect(reactor, login.domain, client, server_framing(limits), log_in))
    return await attempt.addTimeout(LOGIN_TIMEOUT, reactor, onTimeoutCancel=_timed_out)


async def contact_upstream(
    reactor: Any, domain: Domain, limits: Limits, client: Peer | None = None
) -> tuple[FramedXmlStream, Stanza]:
    """Return a stream to the server of a domain, secured as for logins but not logged in, and its features.

    `client`: for whom it is, if for one. What came behind them is dropped: a server has nothing to say there. It takes
    stanzas no larger than clients may send. Raises `UpstreamUnreachable`, `UpstreamTLSError` or
    `UpstreamProtocolError`.
    """
    found: list[Stanza] = []

    async def look(_xs: FramedXmlStream, conversation: Conversation, features: Stanza) -> None:
        found.append(features)

    framing = FramingLimits(limits.stanza_size, limits.stanza_depth)
    attempt = Deferred.fromCoroutine(_connect(reactor, domain, client, framing, look))
    return await attempt.addTimeout(LOGIN_TIMEOUT, reactor, onTimeoutCancel=_timed_out), found[-1]


def _timed_out(result: Any, timeout: float) -> Any:
    raise UpstreamUnreachable(f"no login within {timeout:g} seconds")


async def _connect(
    reactor: Any, domain: Domain, client: Peer | None, framing: FramingLimits, then: _Then
) -> FramedXmlStream:
    """Try the candidates in order: the next one only if there was no secured stream to the one before."""
    problem: UpstreamError = UpstreamUnreachable(f"{domain.name} offers no service for clients")
    for candidate in await _candidates(reactor, domain):
        try:
            bottom = await _dial(candidate, framing)
        except UpstreamUnreachable as error:
            problem = error
            continue
        try:
            if domain.upstream_proxy_protocol:
                bottom.upper.transport.write(header_for(client, bottom.upper.transport))
            return await _negotiate(bottom, candidate, domain, Patience(reactor, SILENCE), then)
        except (UpstreamUnreachable, UpstreamTLSError) as error:
            log.warn("{target}: {error}", target=candidate.description, error=str(error))
            problem = error
            _abort(bottom)
        except BaseException:
            _abort(bottom)
            raise
    raise problem


async def _candidates(reactor: Any, domain: Domain) -> list[_Candidate]:
    if domain.upstream is not None:
        own_tls = endpoint_kind(domain.upstream) == "tls"
        endpoint = clientFromString(reactor, domain.upstream)
        return [_Candidate(endpoint, domain.upstream, "endpoint" if own_tls else "starttls")]
    return [
        _Candidate(
            DomainsEndpoint(reactor, domain.name, target.host, target.port, CONNECT_TIMEOUT),
            f"{target.host}:{target.port}",
            "direct" if target.direct else "starttls",
        )
        for target in await resolve(domain.name)
    ]


class _ServerConnection(SecurableConnection):
    peer_kind = "server"


async def _dial(candidate: _Candidate, framing: FramingLimits) -> SecurableConnection:
    factory = Factory.forProtocol(lambda: _ServerConnection(FramedXmlStream(Authenticator(), framing)))
    factory.noisy = False
    try:
        bottom: SecurableConnection = await candidate.endpoint.connect(factory)
    except ConnectingCancelledError as error:  # Twisted's endpoints have a word of their own
        raise CancelledError from error
    except (ConnectError, DNSLookupError, UnsupportedAddressFamily, OSError, ValueError) as error:
        # ValueError: what an SRV record names can be no host's name.
        raise UpstreamUnreachable(f"{candidate.description}: {why_not_connected(error)}") from error
    read_little(bottom.transport, READ)
    return bottom


def server_framing(limits: Limits) -> FramingLimits:
    """Return the limits for what a server sends."""
    return FramingLimits(max(limits.stanza_size, LARGEST_FROM_SERVER), MAX_DEPTH, skips=True)


def _abort(bottom: SecurableConnection) -> None:
    transport: Any = bottom.transport
    if transport is not None:
        transport.abortConnection()


async def _negotiate(
    bottom: SecurableConnection, candidate: _Candidate, domain: Domain, patience: Patience, then: _Then
) -> FramedXmlStream:
    xs = bottom.upper
    assert isinstance(xs, FramedXmlStream)
    xs.namespace = NS_CLIENT
    xs.otherEntity = internJID(domain.name)
    with Conversation(xs, patience=patience) as conversation:
        secure = candidate.tls == "endpoint"
        if candidate.tls == "direct":
            bottom.start_tls(_tls_factory(domain, direct=True))
            secure = True
        features = await _greeted(xs, conversation, domain)
        if not secure and features.has_payload(NS_TLS, "starttls"):
            await _starttls(bottom, conversation, domain)
            _, features = await _open(xs, conversation, _header(domain.name))
        elif not secure:
            _allow_plaintext(bottom, domain)
        await then(xs, conversation, features)
    return xs


async def _greeted(xs: FramedXmlStream, conversation: Conversation, domain: Domain) -> Stanza:
    """Return the first features. A server that does not understand the PROXY protocol ends the stream here."""
    try:
        _, features = await _open(xs, conversation, _header(domain.name))
    except UpstreamError as error:
        if domain.upstream_proxy_protocol:
            explain(error)
        raise
    return features


def _tls_factory(domain: Domain, *, direct: bool) -> Any:
    try:
        return client_factory(domain, direct=direct)
    except CertificateError as error:
        raise UpstreamTLSError(str(error)) from error


async def _starttls(bottom: SecurableConnection, conversation: Conversation, domain: Domain) -> None:
    factory = _tls_factory(domain, direct=False)
    bottom.upper.transport.write(b"<starttls xmlns='%b'/>" % NS_TLS.encode())
    answer = await conversation.element()
    if (answer.uri, answer.name) != (NS_TLS, "proceed"):
        raise UpstreamTLSError("the server does not go on with STARTTLS")
    conversation.restart()
    bottom.start_tls(factory)


def _allow_plaintext(bottom: SecurableConnection, domain: Domain) -> None:
    """Without TLS a password goes no further than this machine, and only if the configuration waives security."""
    if domain.upstream_trust != "insecure" or not is_loopback(bottom.upper.transport):
        raise UpstreamTLSError("the server offers no TLS")


async def _authenticate(xs: FramedXmlStream, conversation: Conversation, login: Login, features: Stanza) -> None:
    offer = offer_on(xs, features, login.domain)
    choice = choose(offer, login.credential)
    exchange = SaslExchange(SaslChannel(xs.send, conversation.element, offer), login.username, login.credential)
    if choice.mechanism == PLAIN:
        await exchange.plain()
    else:
        offered = offer.offered if login.domain.scram_downgrade_protection else None
        await exchange.scram(choice, login.keys, login.account, offered)


def _header(domain: str, lang: str | None = None, namespaces: Mapping[str, str] | None = None) -> bytes:
    """Return a stream header (RFC 6120 §4.7); `namespaces` maps further prefixes to URIs."""
    attributes = [("xmlns", NS_CLIENT), ("xmlns:stream", NS_STREAM), ("to", domain), ("version", "1.0")]
    if lang:
        attributes.append(("xml:lang", lang))
    for prefix, uri in (namespaces or {}).items():
        if prefix not in ("", "stream", "xml"):
            attributes.append((f"xmlns:{prefix}", uri))
    tag = b"".join(b" %b='%b'" % (name.encode(), escape(value)) for name, value in attributes)
    return b"<stream:stream%b>" % tag


async def _open(xs: FramedXmlStream, conversation: Conversation, header: bytes) -> tuple[StreamOpened, Stanza]:
    xs.send(b"<?xml version='1.0'?>" + header)
    opened = await conversation.header()
    stream_id = opened.attributes.get("id", "")
    xs.sid = stream_id  # type: ignore[assignment]
    if is_own(stream_id):
        raise UpstreamIsThisProxy
    features = await conversation.element()
    if (features.uri, features.name) != (NS_STREAM, "features"):
        raise UpstreamProtocolError("the server did not send stream features")
    return opened, features


async def open_stream_with(
    xs: FramedXmlStream, header: bytes, then: Callable[[list[Event]], None]
) -> tuple[StreamOpened, Stanza]:
    """Open the stream that follows a login with a header given as bytes; return the server's header and features.

    `then` becomes the stream's sink. Raises `UpstreamError`.
    """
    with Conversation(xs, then) as conversation:
        return await _open(xs, conversation, header)


async def open_stream(
    xs: FramedXmlStream, lang: str | None = None, namespaces: Mapping[str, str] | None = None
) -> Stanza:
    """Open the stream that follows a login; return its features. Raises `UpstreamError`."""
    domain: str = xs.otherEntity.full()  # type: ignore[attr-defined]
    with Conversation(xs) as conversation:
        _, features = await _open(xs, conversation, _header(domain, lang, namespaces))
    return features


async def bind_resource(xs: FramedXmlStream, own: Own, resource: str | None = None) -> str:
    """Bind a resource (RFC 6120 §7), the server's choice if None; return the full JID, which is one of `own`.

    What else comes meanwhile, or in the same read behind the answer, is held (see `FramedXmlStream.keep`) until whoever
    takes the stream releases it. Raises `UpstreamError`.
    """
    request_id = token_hex(8)
    wish = b"<resource>%b</resource>" % escape(resource) if resource is not None else b""
    with Conversation(xs, xs.keep()) as conversation:
        xs.send(iq("set", b"<bind xmlns='%b'>%b</bind>" % (NS_BIND.encode(), wish), id=request_id))
        answer = await _answer_to(xs, conversation, request_id, own)
    if answer.get("type") == "error":
        raise UpstreamRefused(stanza_error_condition(answer))
    try:
        return own.bound_jid(answer)
    except BadBinding as error:
        raise UpstreamProtocolError(str(error)) from error


async def enable_carbons(xs: FramedXmlStream, own: Own) -> None:
    """Ask for carbons (XEP-0280 §5) once a resource is bound. What else comes is held, as with `bind_resource`.

    Raises `UpstreamError`.
    """
    request_id = token_hex(8)
    with Conversation(xs, xs.keep()) as conversation:
        xs.send(iq("set", b"<enable xmlns='%b'/>" % NS_CARBONS.encode(), id=request_id))
        answer = await _answer_to(xs, conversation, request_id, own)
    if answer.get("type") == "error":
        raise UpstreamRefused(stanza_error_condition(answer))


async def _answer_to(xs: FramedXmlStream, conversation: Conversation, request_id: str, own: Own) -> Stanza:
    """Return the first answer with that id that is the server's own; what is none is held."""
    keep = xs.keep()
    for _number in range(MAX_BEFORE_BOUND):
        answer = await conversation.element()
        answers = answer.name == "iq" and answer.get("type") in ("result", "error")
        if answers and answer.get("id") == request_id and own.is_server(answer.get("from")):
            return answer
        keep([answer])
    raise UpstreamProtocolError("the server did not answer a request, but sent much else")


def stanza_error_condition(stanza: Stanza) -> str:
    """Return the defined condition of a stanza error (RFC 6120 §8.3)."""
    error = stanza.payload(NS_CLIENT, "error")
    names = [child.name for child in error.elements() if child.name != "text"] if error is not None else []
    return names[0] if names else "undefined-condition"
