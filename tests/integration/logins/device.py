"""A device that logs in as its client would: it chooses, checks, refuses and remembers by `Rules`."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL
from twisted.internet import reactor, ssl
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer

from tests.integration.client import NS_SASL, TIMEOUT, Client
from tests.integration.inbox import quoted
from tests.integration.logins.rules import PLAIN, AfterFailure, Pin, Rules
from tests.integration.logins.scram import Offered, Refused, SaltedKeys, Scram
from tests.integration.servers import Account, authority
from tests.integration.xmlcut import Received
from tests.patience import patiently

NS_BINDINGS = "urn:xmpp:sasl-cb:0"
STRENGTHS = {PLAIN: 10, "SCRAM-SHA-1": 20, "SCRAM-SHA-256": 25, "SCRAM-SHA-512": 30}
PLUS_STRENGTH = 15
BINDING_STRENGTHS = {"tls-exporter": 2, "tls-unique": 2, "tls-server-end-point": 1}
TLS_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Failed(Exception):
    """The server refuses; the text is the condition."""


class Way(NamedTuple):
    """How a device would log in, or did."""

    mechanism: str
    header: str  # of GS2, "" for PLAIN

    @property
    def strength(self) -> int:
        binding = self.header.removeprefix("p=").rstrip(",")
        plain = STRENGTHS[self.mechanism.removesuffix("-PLUS")]
        return plain + (PLUS_STRENGTH + BINDING_STRENGTHS[binding] if self.mechanism.endswith("-PLUS") else 0)


@implementer(IOpenSSLClientConnectionCreator)
class _Creator:
    """Makes the TLS connection and lets it be asked for its channel binding."""

    connection: SSL.Connection

    def __init__(self, domain: str, version: str) -> None:
        trust = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(authority().certificate_pem())])
        options: dict[str, Any] = {"trustRoot": trust, "extraCertificateOptions": _exactly(version)}
        self._creator = ssl.optionsForClientTLS(domain, **options)

    def clientConnectionForTLS(self, tls_protocol: Any) -> SSL.Connection:
        self.connection = self._creator.clientConnectionForTLS(tls_protocol)
        return self.connection

    def binding(self, kind: str) -> bytes:
        """RFC 5929 §3 and §4, RFC 9266."""
        if kind == "tls-exporter":
            return self.connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
        if kind == "tls-unique":
            return self.connection.get_finished() or b""
        certificate = self.connection.get_peer_certificate(as_cryptography=True)
        assert isinstance(certificate, x509.Certificate)
        algorithm = certificate.signature_hash_algorithm
        assert algorithm is not None
        weak = isinstance(algorithm, hashes.MD5 | hashes.SHA1)
        return certificate.fingerprint(hashes.SHA256() if weak else algorithm)


def _exactly(version: str) -> dict[str, Any]:
    return {"insecurelyLowerMinimumTo": TLS_VERSIONS[version], "lowerMaximumSecurityTo": TLS_VERSIONS[version]}


class Connection(Client):
    """A client's connection, in one version of TLS."""

    version = "1.3"
    creator: _Creator

    def secure(self) -> None:
        self._restart()
        self.creator = _Creator(self.domain, self.version)
        self.transport.startTLS(self.creator)

    def offered(self) -> Offered:
        """What the features that came last say of logging in."""
        mechanisms: tuple[str, ...] = ()
        bindings: tuple[str, ...] | None = None
        for child in self.features.element.elements():
            if (child.uri, child.name) == (NS_SASL, "mechanisms"):
                mechanisms = tuple(str(mechanism) for mechanism in child.elements())
            elif (child.uri, child.name) == (NS_BINDINGS, "sasl-channel-binding"):
                bindings = tuple(str(binding["type"]) for binding in child.elements())
        return Offered(mechanisms, bindings)


class Device:
    """Remembers between logins what its client would. `client`, `way` and `offered`: of the last login."""

    client: Connection
    way: Way
    offered: Offered
    server_first: str = ""

    def __init__(self, rules: Rules, account: Account, password: str | None = None) -> None:
        self.rules = rules
        self.account = account
        self.secret: str | SaltedKeys = account.password if password is None else password
        self.attempts: list[Way] = []  # all, in order
        self._pinned = 0
        self._without_plain = False

    async def login(self, port: int, tls: str = "1.3", resource: str | None = None) -> Connection:
        """Log in by STARTTLS and bind. Raises Refused or Failed, with the connection closed."""
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port, timeout=patiently(TIMEOUT))
        connection = Connection(self.account.domain, self.account.username)
        self.client = await connectProtocol(endpoint, connection)
        self.client.version = tls
        try:
            await self._open_secured()
            await self._authenticate()
            await self.client.open()
            await self.client.bind(resource)
        except (Refused, Failed):
            self.client.send("</stream:stream>")
            self.client.transport.loseConnection()
            raise
        return self.client

    async def _open_secured(self) -> None:
        itself = f" from={quoted(self.account.jid)}"
        self.client.declares = itself if self.rules.names_itself_early else ""
        await self.client.open()
        await self.client.starttls()
        self.client.declares = itself if self.rules.names_itself else ""
        await self.client.open()
        self.client.declares = ""
        self.offered = self.client.offered()

    # Choosing

    def _bindings(self) -> list[str]:
        """The channel bindings that could be used now, best first."""
        own = self.rules.bindings.get(self.client.version, ())
        if not self.rules.reads_types:
            return list(own)
        return [kind for kind in own if kind in (self.offered.bindings or ())]

    def _usable(self) -> list[str]:
        """Offered mechanisms that the client would use, best first."""
        names = [name for name in self.rules.mechanisms if name in self.offered.mechanisms]
        if not self._bindings():
            names = [name for name in names if not name.endswith("-PLUS")]
        if self._without_plain or (self.rules.plain_only_alone and names != [PLAIN]):
            names = [name for name in names if name != PLAIN]
        return names

    def _way(self, mechanism: str) -> Way:
        if mechanism == PLAIN:
            return Way(mechanism, "")
        plus = mechanism.endswith("-PLUS")
        return Way(mechanism, f"p={self._bindings()[0]},," if plus else f"{self.rules.flag},,")

    def _check(self, way: Way) -> None:
        if self.rules.needs_binding and not way.mechanism.endswith("-PLUS"):
            raise Refused("no channel binding is offered")
        if self.rules.pin is Pin.STRENGTH and way.strength < self._pinned:
            raise Refused("downgrade")

    # Authenticating

    async def _authenticate(self) -> None:
        names = self._usable()
        if not names:
            raise Refused("no mechanism that this client would use is offered")
        if self.rules.after_failure is not AfterFailure.TRIES_NEXT:
            names = names[:1]
        await self._try(names)
        self._pinned = max(self._pinned, self.way.strength)

    async def _try(self, names: Sequence[str]) -> None:
        for left, name in zip(range(len(names) - 1, -1, -1), names, strict=True):
            self.way = self._way(name)
            self._check(self.way)
            self.attempts.append(self.way)
            try:
                await (self._plain() if name == PLAIN else self._scram(name))
                return
            except Failed:
                if not left:
                    if self.rules.after_failure is AfterFailure.ABORTS:
                        self.client.send(f"<abort xmlns='{NS_SASL}'/>")
                    raise

    async def _plain(self) -> None:
        if not isinstance(self.secret, str):
            raise Refused("the password was not kept, only keys")
        reply = await self.client.authenticate(self.account.username, self.secret)
        self._expect(reply, "success")

    async def _scram(self, mechanism: str) -> None:
        kind = self.way.header.removeprefix("p=").rstrip(",")
        binding = (kind, self.client.creator.binding(kind)) if mechanism.endswith("-PLUS") else None
        name = mechanism.removesuffix("-PLUS")
        exchange = Scram(
            self.rules, name, self.account.username, self.secret, self.offered, binding, flag=self.rules.flag
        )
        first = f"<auth xmlns='{NS_SASL}' mechanism='{mechanism}'>{_encoded(exchange.first())}</auth>"
        challenge = self._expect(await self._ask(first), "challenge")
        final = exchange.final(_decoded(challenge))
        self.server_first = exchange.server_first
        reply = await self._ask(f"<response xmlns='{NS_SASL}'>{_encoded(final)}</response>")
        exchange.finish(_decoded(self._expect(reply, "success")))
        if self.rules.keeps_keys and exchange.keys is not None:
            self.secret = exchange.keys
        self.client._restart()

    async def _ask(self, element: str) -> Received:
        self.client.send(element)
        return await self.client.expect(lambda stanza: stanza.element.uri == NS_SASL, timeout=30.0)

    def _expect(self, reply: Received, name: str) -> Received:
        if reply.element.name == "failure":
            raise Failed(next(child.name for child in reply.element.elements()))
        if reply.element.name != name:
            raise Refused(f"{reply.element.name} instead of {name}")
        return reply


def _encoded(message: bytes) -> str:
    return b64encode(message).decode()


def _decoded(element: Received) -> bytes:
    return b64decode(str(element.element), validate=True)
