"""A server in this process, on loopback, that does what a test tells it to: also what no real one would."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from secrets import token_bytes
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.haproxy import proxyEndpoint
from zope.interface import implementer

from minimixproxy.c2s.transport.channel_bindings import bindings_as_server
from minimixproxy.c2s.transport.connection import SecurableConnection
from minimixproxy.namespaces import NS_SASL, NS_SM3, NS_TLS
from minimixproxy.sasl.downgrade import Offered, protection
from minimixproxy.sasl.scram import derive_keys, hash_of
from minimixproxy.wire.events import Event, Fault, StreamClosed, StreamOpened
from minimixproxy.wire.framing import Framer
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep import channel_binding

SALT = b"0123456789abcdef"


@dataclass
class Script:
    """How the server behaves, and what it saw."""

    tls: Any = None  # what makes its TLS layers; None: no STARTTLS
    direct: bool = False
    mechanisms: tuple[str, ...] = ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN")
    password: str = "secret"
    iterations: int = 4096
    salt: bytes = SALT
    new_salts: bool = False  # one for every login, as servers do that keep the password itself
    wrong_signature: bool = False
    signature_in_challenge: bool = False
    bindings: tuple[str, ...] | None = None  # the types of channel binding that it announces
    binding_data: bytes | None = None  # what it takes for its connection's; None: what is
    mechanisms_hashed: tuple[str, ...] | None = None  # what it says in its challenge it has offered (XEP-0474)
    failure: str = "not-authorized"
    proceed: bytes = b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
    features_of_bind: bytes = b""  # the features after the login
    replace: dict[str, bytes] = field(default_factory=dict)  # what it says instead, at "header", "features", "bind"
    answer_to_bind: bytes = b""  # all of what it says then, ID standing for the id
    registration: bool = False  # offered in band
    answers_to: dict[str, bytes] = field(  # of stream management, by name
        default_factory=lambda: {
            "enable": b"<enabled xmlns='urn:xmpp:sm:3' id='i' resume='true' max='300'/>",
            "resume": b"<failed xmlns='urn:xmpp:sm:3'/>",
        }
    )
    silent: bool = False
    headers: list[StreamOpened] = field(default_factory=list)
    mechanism: str = ""
    flags: list[bytes] = field(default_factory=list)  # of channel binding, in each exchange
    stanzas: list[Stanza] = field(default_factory=list)
    closed: int = 0
    connections: list[FakeServer] = field(default_factory=list)


class FakeServer:
    """One connection."""

    transport: Any

    def __init__(self, script: Script) -> None:
        self.script = script
        self.framer = Framer()
        self.bottom: SecurableConnection
        self.authenticated = False
        self.lost = False
        self.scram: tuple[str, bytes, bytes] | None = None
        self.signature = b""
        self.binding = b""
        self.salt = b""

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport

    def connectionLost(self, _reason: Any = connectionDone) -> None:
        self.lost = True

    def dataReceived(self, data: bytes) -> None:
        framer = self.framer
        for event in framer.feed(data):
            if self.framer is framer and not self.script.silent:
                self.handle(event)

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def handle(self, event: Event) -> None:
        if isinstance(event, StreamOpened):
            self.script.headers.append(event)
            self.write(self.script.replace.get("header") or self.header())
            self.write(self.script.replace.get("features") or self.features())
        elif isinstance(event, StreamClosed):
            self.script.closed += 1
            self.write(b"</stream:stream>")
            self.transport.loseConnection()
        elif isinstance(event, Fault):
            self.transport.loseConnection()
        elif isinstance(event, Stanza):
            {NS_TLS: self.starttls, NS_SASL: self.sasl, NS_SM3: self.manage}.get(event.uri, self.stanza)(event)

    def manage(self, stanza: Stanza) -> None:
        self.script.stanzas.append(stanza)
        self.write(self.script.answers_to.get(stanza.name, b""))

    def header(self) -> bytes:
        return (
            b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
            b" from='example.org' id='fake' version='1.0' xml:lang='en'>"
        )

    def features(self) -> bytes:
        if self.authenticated and self.script.features_of_bind:
            return self.script.features_of_bind
        offered = b""
        if self.script.tls is not None and not self.bottom.secured:
            offered += b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
        if self.authenticated:
            offered += b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><sm xmlns='urn:xmpp:sm:3'/>"
        else:
            names = b"".join(b"<mechanism>%b</mechanism>" % name.encode() for name in self.script.mechanisms)
            offered += b"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>%b</mechanisms>" % names
            offered += channel_binding.feature(self.script.bindings or ())
        if self.script.registration:
            offered += b"<register xmlns='http://jabber.org/features/iq-register'/>"
        return b"<stream:features>%b</stream:features>" % offered

    def starttls(self, _stanza: Stanza) -> None:
        self.framer = Framer()
        self.write(self.script.proceed)
        if b"proceed" in self.script.proceed:
            self.bottom.start_tls(self.script.tls)

    def stanza(self, stanza: Stanza) -> None:
        self.script.stanzas.append(stanza)
        if self.script.answer_to_bind:
            self.write(self.script.answer_to_bind.replace(b"ID", stanza["id"].encode()))
        elif stanza.payloads and stanza.payloads[0][1] == "bind":
            jid = b"a@example.org/%d" % len(self.script.connections)
            result = b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>%b</jid></bind>" % jid
            result = self.script.replace.get("bind") or result
            kind = b"error" if b"<error" in result else b"result"
            self.write(b"<iq type='%b' id='%b'>%b</iq>" % (kind, (stanza.get("id") or "").encode(), result))

    def sasl(self, stanza: Stanza) -> None:
        if stanza.name == "abort":
            self.write(b"<failure xmlns='%b'><aborted/></failure>" % NS_SASL.encode())
            return
        data = b64decode(str(stanza.element))
        if stanza.name == "auth":
            self.script.mechanism = stanza["mechanism"]
            self.begin(data)
        elif self.signature:
            self.succeed()
        else:
            self.finish_scram(data)

    def begin(self, data: bytes) -> None:
        if self.script.mechanism == "PLAIN":
            self.answer(data.split(b"\0")[2] == self.script.password.encode())
            return
        flag, authzid, first_bare = data.split(b",", 2)
        self.script.flags.append(flag)
        self.binding = b"%b,%b," % (flag, authzid) + self.binding_data(flag)
        nonce = first_bare.split(b"r=")[1] + b"server"
        self.salt = token_bytes(16) if self.script.new_salts else self.script.salt
        first = b"r=%b,s=%b,i=%d" % (nonce, b64encode(self.salt), self.script.iterations)
        hash_name = hash_of(self.script.mechanism) or ""
        if self.script.mechanisms_hashed is not None:
            first += b",h=" + protection(hash_name, Offered(self.script.mechanisms_hashed, self.script.bindings))
        self.scram = (hash_name, first_bare, first)
        self.say("challenge", first)

    def binding_data(self, flag: bytes) -> bytes:
        if not flag.startswith(b"p="):
            return b""
        if self.script.binding_data is not None:
            return self.script.binding_data
        found: bytes = bindings_as_server(self.transport)[flag[2:].decode()]
        return found

    def finish_scram(self, final: bytes) -> None:
        assert self.scram is not None
        hash_name, first_bare, first = self.scram
        keys = derive_keys(hash_name, self.script.password, self.salt, self.script.iterations)
        bare, _, proof = final.rpartition(b",p=")
        message = b",".join((first_bare, first, bare))
        signature = hmac.new(hashlib.new(hash_name, keys.client_key).digest(), message, hash_name).digest()
        bound = final.startswith(b"c=%b," % b64encode(self.binding))
        right = bound and bytes(a ^ b for a, b in zip(keys.client_key, signature, strict=True)) == b64decode(proof)
        server_key = b"x" if self.script.wrong_signature else keys.server_key
        verifier = b"v=" + b64encode(hmac.new(server_key, message, hash_name).digest())
        if right and self.script.signature_in_challenge:
            self.signature = verifier
            self.say("challenge", verifier)
        else:
            self.answer(right, verifier)

    def answer(self, right: bool, data: bytes = b"") -> None:
        if right:
            self.succeed(data)
        else:
            self.write(b"<failure xmlns='%b'><%b/></failure>" % (NS_SASL.encode(), self.script.failure.encode()))

    def succeed(self, data: bytes = b"") -> None:
        self.authenticated = True
        self.framer = Framer()
        self.say("success", data)

    def say(self, name: str, data: bytes) -> None:
        self.write(b"<%b xmlns='%b'>%b</%b>" % (name.encode(), NS_SASL.encode(), b64encode(data), name.encode()))


def expecting_header(factory: Factory[Any]) -> Any:
    """Return a factory that expects the PROXY protocol first, as Twisted's `haproxy:` endpoints do."""
    wrapped: list[Any] = []

    @implementer(IStreamServerEndpoint)
    class Catching:
        def listen(self, factory: Any) -> Any:
            return wrapped.append(factory)

    proxyEndpoint(Catching()).listen(factory)
    return wrapped[0]


def listening(factory: Factory[Any]) -> tuple[IListeningPort, int]:
    """Listen on loopback; return the port, and its number."""
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[arg-type]  # any factory will do
    address = port.getHost()
    assert isinstance(address, IPv4Address)
    return port, address.port


class FakeServerFactory(Factory):
    """Listens with a script."""

    noisy = False

    def __init__(self, script: Script) -> None:
        self.script = script

    def buildProtocol(self, _addr: Any) -> SecurableConnection:
        server = FakeServer(self.script)
        server.bottom = FakeConnection(server)
        self.script.connections.append(server)
        return server.bottom


class FakeConnection(SecurableConnection):
    upper: FakeServer

    def connectionMade(self) -> None:
        super().connectionMade()
        if self.upper.script.direct:
            self.start_tls(self.upper.script.tls)
