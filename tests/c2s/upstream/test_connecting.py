"""Logging in upstream, over real sockets on loopback to a server that misbehaves on demand."""

from __future__ import annotations

import random
import socket
from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, fail, inlineCallbacks, maybeDeferred, succeed
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.names import dns
from twisted.names.error import DNSNameError, DNSServerError
from twisted.trial import unittest

from minimixproxy.c2s.errors import (
    UpstreamError,
    UpstreamProtocolError,
    UpstreamRefused,
    UpstreamTLSError,
    UpstreamUnfit,
    UpstreamUnreachable,
)
from minimixproxy.c2s.transport.connection import SecurableConnection
from minimixproxy.c2s.transport.peers import Ends, IPEnd, Peer, peer_of
from minimixproxy.c2s.transport.tls import ServerTLS
from minimixproxy.c2s.upstream import connecting
from minimixproxy.c2s.upstream.binding import Own
from minimixproxy.c2s.upstream.connecting import (
    Login,
    bind_resource,
    connect_upstream,
    contact_upstream,
    open_stream,
    stanza_error_condition,
)
from minimixproxy.c2s.upstream.conversation import stream_error_condition
from minimixproxy.c2s.upstream.credentials import Credential, KeyCache
from minimixproxy.c2s.upstream.srv import Record, Target, order, resolve
from minimixproxy.config.settings import Domain, Limits
from minimixproxy.sasl.scram import Challenge, derive_keys
from minimixproxy.wire.stanza import Stanza, parse_stanza
from minimixproxy.wire.xmlstream import FramedXmlStream
from tests.c2s.fakeserver import SALT, FakeServer, FakeServerFactory, Script, expecting_header, listening
from tests.c2s.helpers import BOUND, certified

OWN = Own("a@example.org", "example.org")
RESULT = BOUND.replace(b"id='b1'", b"id='ID'")


class UpstreamTest(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.certified = certified("example.org", self.directory)
        self.tls = ServerTLS([self.certified], self.directory)
        self.tls.load()
        self.trust: Any = self.certified.certificate
        self.cache = KeyCache()
        self.streams: list[FramedXmlStream] = []
        self.addCleanup(self.close_streams)

    def close_streams(self) -> None:
        for stream in self.streams:
            stream.transport.abortConnection()

    def serve(self, **behaviour: Any) -> tuple[Script, str]:
        """Start a server; return its script and where it is."""
        behaviour.setdefault("tls", self.tls.factory("example.org"))
        script = Script(**behaviour)
        port, number = listening(FakeServerFactory(script))
        self.addCleanup(port.stopListening)
        self.addCleanup(lambda: [server.transport.abortConnection() for server in script.connections])
        return script, f"tcp:127.0.0.1:{number}"

    def closed_port(self) -> str:
        """Return where nobody listens, until the end of the test: a port that is free is soon another's."""
        taken = socket.socket()
        self.addCleanup(taken.close)
        taken.bind(("127.0.0.1", 0))
        return f"tcp:127.0.0.1:{taken.getsockname()[1]}"

    def login(self, where: str, credential: Credential | None = None, trust: Any = None) -> Login:
        domain = Domain(name="example.org", upstream=where, upstream_trust=trust or self.trust)
        return Login(domain, "a", credential or Credential.from_password("secret"), self.cache)

    async def connect(self, login: Login, clock: Any = None) -> FramedXmlStream:
        stream = await connect_upstream(clock or reactor, login, Limits())
        self.streams.append(stream)
        return stream

    async def refused(self, error: type[UpstreamError], login: Login) -> UpstreamError:
        try:
            await self.connect(login)
        except error as raised:
            return raised
        raise AssertionError("the login succeeded")


def turn() -> Deferred[None]:
    """One turn of the reactor."""
    over: Deferred[None] = Deferred()
    reactor.callLater(0, over.callback, None)
    return over


class SmallReadsTest(UpstreamTest):
    async def test_a_server_that_says_much_at_once_is_read_a_little_at_a_time(self) -> None:
        """All sessions that have much to read held everybody up, with 64 KiB each in one turn."""
        sizes: list[int] = []
        all_read: Deferred[None] = Deferred()
        read = SecurableConnection.dataReceived

        def watched(connection: SecurableConnection, data: bytes) -> None:
            sizes.append(len(data))
            read(connection, data)
            connection.__dict__.pop("dataReceived", None)
            if sum(sizes) > 300_000 and not all_read.called:
                all_read.callback(None)

        self.patch(SecurableConnection, "dataReceived", watched)
        script, where = self.serve()
        await self.connect(self.login(where))
        script.connections[-1].write(b" " * 300_000)
        await all_read
        self.assertEqual(max(sizes), connecting.READ)


class ConditionTest(unittest.SynchronousTestCase):
    def test_of_a_stream_error(self) -> None:
        defined, other = "<conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>", "<away xmlns='urn:app'/>"
        text = "<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
        for content, condition in (
            (defined, "conflict"),
            (other + text + defined, "conflict"),
            (other + text, "undefined-condition"),
            ("", "undefined-condition"),
        ):
            error = parse_stanza(f"<error xmlns='http://etherx.jabber.org/streams'>{content}</error>")
            self.assertEqual(stream_error_condition(error), condition, content)

    def test_of_a_stanza_error(self) -> None:
        defined = "<conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
        text = "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
        for content, condition in (
            (f"<error>{defined}</error>", "conflict"),
            (f"<error>{text}{defined}</error>", "conflict"),
            (f"<error>{text}</error>", "undefined-condition"),
            (f"<error xmlns='urn:other'>{defined}</error>", "undefined-condition"),
            ("", "undefined-condition"),
        ):
            self.assertEqual(stanza_error_condition(parse_stanza(f"<iq type='error'>{content}</iq>")), condition)


class ContactTest(UpstreamTest):
    """A stream for what comes before a login."""

    def domain(self, where: str, trust: Any = None) -> Domain:
        return Domain(name="example.org", upstream=where, upstream_trust=trust or self.trust)

    async def test_secured_and_not_logged_in(self) -> None:
        script, where = self.serve()
        stream, features = await contact_upstream(reactor, self.domain(where), Limits(stanza_size=12_345))
        self.streams.append(stream)
        self.assertTrue(features.has_payload("urn:ietf:params:xml:ns:xmpp-sasl", "mechanisms"))
        self.assertFalse(features.has_payload("urn:ietf:params:xml:ns:xmpp-tls", "starttls"), "those within TLS")
        self.assertEqual((script.mechanism, len(script.headers)), ("", 2))
        self.assertEqual((stream.limits.max_stanza, stream.limits.skips), (12_345, False))

    async def test_not_to_a_server_that_is_not_trusted(self) -> None:
        _script, where = self.serve()
        for domain in (self.domain(where, "system"), self.domain(self.serve(tls=None)[1])):
            try:
                await contact_upstream(reactor, domain, Limits())
            except UpstreamTLSError:
                continue
            raise AssertionError(domain)


class LoginTest(UpstreamTest):
    async def test_best_mechanism_that_both_can(self) -> None:
        for offered, expected in (
            (("PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "DIGEST-MD5"), "SCRAM-SHA-256"),
            (("PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"), "SCRAM-SHA-1"),
            (("X-OAUTH", "PLAIN"), "PLAIN"),
        ):
            script, where = self.serve(mechanisms=offered)
            await self.connect(self.login(where))
            self.assertEqual(script.mechanism, expected)

    async def test_up_to_a_bound_resource(self) -> None:
        script, where = self.serve()
        stream = await self.connect(self.login(where))
        features = await open_stream(stream, lang="de", namespaces={"x": "urn:x", "": "ignored", "stream": "ignored"})
        self.assertTrue(features.has_payload("urn:xmpp:sm:3", "sm"))
        header = script.headers[-1]
        self.assertEqual(header.attributes["to"], "example.org")
        self.assertEqual(header.attributes["{http://www.w3.org/XML/1998/namespace}lang"], "de")
        self.assertEqual(header.namespaces["x"], "urn:x")
        self.assertEqual(header.namespaces[""], "jabber:client")
        self.assertEqual(await bind_resource(stream, OWN, "wish<&"), "a@example.org/1")
        self.assertEqual(str(next(script.stanzas[0].element.elements()).resource), "wish<&")

    async def bound(self, said: bytes) -> tuple[str, list[str]]:
        """Bind at a server that says `said` at once, ID standing for the id; return the JID and what was held."""
        script, where = self.serve()
        script.answer_to_bind = said
        stream = await self.connect(self.login(where))
        await open_stream(stream)
        seen: list[str] = []
        jid = await bind_resource(stream, OWN)
        stream.addObserver("/*", lambda stanza: seen.append(stanza["id"]))
        self.assertEqual(seen, [])
        stream.release()
        return jid, seen

    async def test_stanzas_around_the_bind_reach_the_observers(self) -> None:
        """In the same read even, and whatever they pretend to be."""
        forged = RESULT.replace(b"<iq", b"<iq from='mallory@example.org/x'").replace(b">a@", b">victim@")
        request = b"<iq type='get' id='ID'/>"
        for said, held in (
            (b"<iq type='get' id='1'/>" + RESULT + b"<message id='2'/><message id='3'/>", ["1", "2", "3"]),
            (RESULT, []),
            (RESULT.replace(b"<iq", b"<iq from='example.org'"), []),
            (RESULT.replace(b"<iq", b"<iq from='a@example.org'"), []),
            (forged + request + b"<message id='ID'/>" + RESULT, 3),
            (b"<message type='error' id='ID'/>" + RESULT, 1),
            (RESULT.replace(b"ID", b"1").replace(b">a@", b">victim@") + RESULT, ["1"]),
        ):
            jid, seen = await self.bound(said)
            self.assertEqual(jid, "a@example.org/r")
            self.assertEqual(len(seen) if isinstance(held, int) else seen, held)

    async def test_stanzas_later_reach_the_observers(self) -> None:
        script, where = self.serve()
        stream = await self.connect(self.login(where))
        await open_stream(stream)
        seen: list[Stanza] = []
        done: Deferred[None] = Deferred()

        def see(stanza: Stanza) -> None:
            seen.append(stanza)
            done.callback(None)

        stream.addObserver("/message", see)
        await bind_resource(stream, OWN)
        stream.release()
        script.connections[0].write(b"<message id='1'/>")
        await done
        self.assertEqual(seen[0]["id"], "1")

    async def test_bound_to_somebody_else(self) -> None:
        for said in (
            RESULT.replace(b">a@", b">victim@"),
            RESULT.replace(b"a@example.org/r", b"a@example.org"),
            RESULT.replace(b"a@example.org/r", b""),
            b"<iq type='result' id='ID'/>",
            b"<message/>" * 200,
            b"<message/>" * connecting.MAX_BEFORE_BOUND,
        ):
            try:
                await self.bound(said)
            except UpstreamProtocolError:
                continue
            self.fail(said.decode())

    async def test_bind_refused(self) -> None:
        error = b"<error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        _script, where = self.serve(replace={"bind": error})
        stream = await self.connect(self.login(where))
        await open_stream(stream)
        try:
            await bind_resource(stream, OWN, "taken")
        except UpstreamRefused as raised:
            self.assertEqual(raised.condition, "conflict")
        else:
            self.fail("bound")

    async def test_bound_to_the_connection(self) -> None:
        """The server computes what the proxy does, of either type."""
        names = ("SCRAM-SHA-256", "SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS", "PLAIN")
        for types, flag in (
            (("tls-server-end-point", "tls-exporter"), b"p=tls-exporter"),
            (("tls-unique", "tls-server-end-point"), b"p=tls-server-end-point"),
        ):
            script, where = self.serve(mechanisms=names, bindings=types)
            await self.connect(self.login(where))
            self.assertEqual((script.mechanism, script.flags), ("SCRAM-SHA-512-PLUS", [flag]))

    async def test_bound_to_the_tls_of_an_endpoint(self) -> None:
        """`upstream = "tls:…"`: Twisted makes it, and lets us at it."""
        local = certified("localhost", self.directory / "trusted")
        tls = ServerTLS([local], self.directory)
        tls.load()
        names = ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS")
        script, where = self.serve(
            direct=True, tls=tls.factory("localhost"), mechanisms=names, bindings=("tls-exporter",)
        )
        port = where.rpartition(":")[2]
        await self.connect(self.login(f"tls:localhost:{port}:trustRoots={self.directory / 'trusted'}"))
        self.streams.pop().transport.abortConnection()
        self.assertEqual((script.mechanism, script.flags), ("SCRAM-SHA-256-PLUS", [b"p=tls-exporter"]))

    def test_given_up_while_it_connects(self) -> None:
        """Twisted has another word for that than for all else: whoever gave it up is told the usual one."""
        for where in ("tcp:192.0.2.1:5222", "tls:example.org:5223", "unix:/nowhere"):
            memory = MemoryReactorClock()
            connecting = Deferred.fromCoroutine(self.connect(self.login(where), memory))
            self.assertNoResult(connecting)
            connecting.cancel()
            self.failureResultOf(connecting, CancelledError)

    async def test_a_fault_of_ours_leaves_no_connection(self) -> None:
        async def fault(*_args: Any) -> None:
            raise ZeroDivisionError

        self.patch(connecting, "_authenticate", fault)
        script, where = self.serve()
        with self.assertRaises(ZeroDivisionError):
            await self.connect(self.login(where))
        while not script.connections[-1].lost:
            await turn()

    async def test_lost_while_keys_are_derived(self) -> None:
        """Twisted's own TLS raises if a connection is aborted that is lost already: it is the server's end still."""
        for direct, where in ((False, self.serve), (True, self.serve_by_endpoint)):
            deriving: list[Deferred[Any]] = []
            begun: Deferred[None] = Deferred()

            def derive(*_args: Any, to: list[Deferred[Any]] = deriving, begun: Any = begun) -> Deferred[Any]:
                to.append(Deferred())
                begun.callback(None)
                return to[0]

            self.cache = KeyCache(derive)
            script, endpoint = where()
            login = Deferred.fromCoroutine(self.connect(self.login(endpoint)))
            await begun
            gone = self.next_loss()
            script.connections[-1].transport.abortConnection()
            await gone
            deriving[0].callback(derive_keys("sha256", "secret", SALT, 4096))
            await self.assertFailure(login, UpstreamUnreachable)
            self.assertEqual(direct, script.direct)

    def next_loss(self) -> Deferred[None]:
        """Return what fires once a stream to a server has lost its connection, and all is done that follows."""
        gone: Deferred[None] = Deferred()
        original = SecurableConnection.connectionLost

        def lost(connection: SecurableConnection, *reason: Any) -> None:
            original(connection, *reason)
            if connection.peer_kind == "server":
                reactor.callLater(0, gone.callback, None)

        self.patch(SecurableConnection, "connectionLost", lost)
        return gone.addCallback(lambda _: self.patch(SecurableConnection, "connectionLost", original))

    def serve_by_endpoint(self) -> tuple[Script, str]:
        """Start a server that is reached by a `tls:` endpoint; return its script and that."""
        local = certified("localhost", self.directory / "trusted")
        tls = ServerTLS([local], self.directory)
        tls.load()
        script, where = self.serve(direct=True, tls=tls.factory("localhost"))
        return script, f"tls:localhost:{where.rpartition(':')[2]}:trustRoots={self.directory / 'trusted'}"

    async def test_bound_to_another_connection(self) -> None:
        """TLS ends before the server, or somebody stands in between: no other mechanism is tried."""
        script, where = self.serve(
            mechanisms=("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "PLAIN"), bindings=("tls-exporter",), binding_data=b"x"
        )
        await self.refused(UpstreamRefused, self.login(where))
        self.assertEqual((script.mechanism, len(script.connections)), ("SCRAM-SHA-256-PLUS", 1))
        domain = self.login(where).domain.model_copy(update={"upstream_channel_binding": False})
        await self.connect(replace(self.login(where), domain=domain))
        self.assertEqual((script.mechanism, script.flags[-1]), ("SCRAM-SHA-256", b"n"))

    async def test_a_server_without_channel_binding_learns_that_we_have_it(self) -> None:
        script, where = self.serve()
        await self.connect(self.login(where))
        self.assertEqual(script.flags, [b"y"])

    async def test_a_list_that_was_tampered_with(self) -> None:
        names = ("SCRAM-SHA-256", "PLAIN")
        _script, where = self.serve(mechanisms=names, mechanisms_hashed=names)
        await self.connect(self.login(where))
        _script, where = self.serve(mechanisms=names, mechanisms_hashed=("SCRAM-SHA-512", *names))
        raised = await self.refused(UpstreamProtocolError, self.login(where))
        self.assertIn("scram_downgrade_protection", str(raised))
        domain = self.login(where).domain.model_copy(update={"scram_downgrade_protection": False})
        await self.connect(replace(self.login(where), domain=domain))

    async def test_wrong_password(self) -> None:
        for mechanism in ("SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"):
            script, where = self.serve(mechanisms=(mechanism,))
            login = self.login(where, Credential.from_password("wrong"))
            raised = await self.refused(UpstreamRefused, login)
            assert isinstance(raised, UpstreamRefused)
            self.assertEqual(raised.condition, "not-authorized")
            self.assertEqual(len(script.connections), 1, "no second try")

    async def test_wrong_password_after_the_right_one_was_cached(self) -> None:
        _script, where = self.serve()
        await self.connect(self.login(where))
        self.assertEqual(len(self.cache), 1)
        await self.refused(UpstreamRefused, self.login(where, Credential.from_password("wrong")))

    async def test_server_that_does_not_know_the_password(self) -> None:
        for in_challenge in (False, True):
            _script, where = self.serve(wrong_signature=True, signature_in_challenge=in_challenge)
            raised = await self.refused(UpstreamProtocolError, self.login(where))
            self.assertIn("signature", str(raised))

    async def test_signature_in_a_challenge(self) -> None:
        _script, where = self.serve(signature_in_challenge=True)
        await self.connect(self.login(where))

    async def test_no_falling_back_from_a_broken_scram(self) -> None:
        script, where = self.serve(iterations=1)
        await self.refused(UpstreamProtocolError, self.login(where))
        self.assertEqual(script.mechanism, "SCRAM-SHA-256")
        self.assertEqual(len(script.connections), 1)

    async def test_no_common_mechanism(self) -> None:
        _script, where = self.serve(mechanisms=("EXTERNAL",))
        await self.refused(UpstreamProtocolError, self.login(where))

    async def test_keys_instead_of_a_password(self) -> None:
        challenge = Challenge(SALT, 4096)
        credential = Credential.from_keys("sha1", challenge, derive_keys("sha1", "secret", *challenge))
        script, where = self.serve()
        await self.connect(self.login(where, credential))
        self.assertEqual(script.mechanism, "SCRAM-SHA-1")
        for behaviour in ({"mechanisms": ("PLAIN", "SCRAM-SHA-256")}, {"salt": b"another"}, {"iterations": 5000}):
            _script, where = self.serve(**behaviour)
            await self.refused(UpstreamUnfit, self.login(where, credential))
        _script, where = self.serve(mechanisms=())  # a server that is not ready: later it may be
        await self.refused(UpstreamProtocolError, self.login(where, credential))

    async def test_password_is_let_go_when_keys_last(self) -> None:
        credential = Credential.from_password("secret")
        _script, where = self.serve()
        await self.connect(self.login(where, credential))
        self.assertEqual(credential.password, "secret")
        await self.connect(self.login(where, credential))
        self.assertIsNone(credential.password)
        await self.connect(self.login(where, credential))

    async def test_password_stays_where_keys_do_not_last(self) -> None:
        for behaviour in ({"new_salts": True}, {"mechanisms": ("PLAIN",)}):
            credential = Credential.from_password("secret")
            _script, where = self.serve(**behaviour)
            for _ in range(3):
                await self.connect(self.login(where, credential))
            self.assertEqual(credential.password, "secret")

    async def test_nothing_is_learned_from_a_login_that_fails(self) -> None:
        for behaviour in ({"password": "another"}, {"wrong_signature": True}):
            credential = Credential.from_password("secret")
            _script, where = self.serve(**behaviour)
            for _ in range(2):
                await self.refused(UpstreamError, self.login(where, credential))
            self.assertEqual((credential.password, credential.learned), ("secret", None))

    async def test_server_that_does_not_know_the_kept_keys(self) -> None:
        credential = Credential.from_keys("sha256", Challenge(SALT, 4096), derive_keys("sha256", "secret", SALT, 4096))
        _script, where = self.serve(wrong_signature=True)
        await self.refused(UpstreamProtocolError, self.login(where, credential))

    async def test_password_that_no_server_could_have(self) -> None:
        _script, where = self.serve()
        await self.refused(UpstreamProtocolError, self.login(where, Credential.from_password("a\u0007b")))
        login = self.login(where)
        odd = Login(login.domain, "\u0007", login.credential, login.keys)
        await self.refused(UpstreamRefused, odd)


class ProxyProtocolTest(UpstreamTest):
    """The server is told whence a client comes, before anything else is said."""

    PHONE = Peer("192.0.2.77", Ends(IPEnd(IPv4Address("192.0.2.77"), 40000), IPEnd(IPv4Address("198.51.100.1"), 5222)))

    def serve_proxies(self, **behaviour: Any) -> tuple[Script, str]:
        """Start a server that expects the header; return its script and where it is."""
        behaviour.setdefault("tls", self.tls.factory("example.org"))
        script = Script(**behaviour)
        port, number = listening(expecting_header(FakeServerFactory(script)))
        self.addCleanup(port.stopListening)
        self.addCleanup(lambda: [server.transport.abortConnection() for server in script.connections])
        return script, f"tcp:127.0.0.1:{number}"

    def domain(self, where: str) -> Domain:
        return Domain(name="example.org", upstream=where, upstream_trust=self.trust, upstream_proxy_protocol=True)

    def login_at(self, where: str) -> Login:
        return Login(self.domain(where), "a", Credential.from_password("secret"), self.cache)

    async def test_a_fault_of_ours_leaves_no_connection(self) -> None:
        def fault(*_args: Any) -> None:
            raise ZeroDivisionError

        self.patch(connecting, "header_for", fault)
        script, where = self.serve_proxies()
        with self.assertRaises(ZeroDivisionError):
            await self.connect(self.login_at(where))
        while not (script.connections and script.connections[-1].lost):
            await turn()

    async def test_of_a_client(self) -> None:
        script, where = self.serve_proxies()
        self.streams.append(await connect_upstream(reactor, self.login_at(where), Limits(), self.PHONE))
        stream, _features = await contact_upstream(reactor, self.domain(where), Limits(), self.PHONE)
        self.streams.append(stream)
        self.assertEqual([peer_of(server.transport) for server in script.connections], [self.PHONE, self.PHONE])
        self.assertTrue(all(server.bottom.secured for server in script.connections), "TLS comes behind it")

    async def test_of_no_client(self) -> None:
        """An account stream is the proxy's own."""
        script, where = self.serve_proxies()
        self.streams.append(await connect_upstream(reactor, self.login_at(where), Limits()))
        stream, _features = await contact_upstream(reactor, self.domain(where), Limits())
        self.streams.append(stream)
        for server, own in zip(script.connections, self.streams, strict=True):
            host = own.transport.getHost()
            self.assertEqual(str(peer_of(server.transport)), f"127.0.0.1:{host.port}")

    async def test_through_a_unix_socket(self) -> None:
        with TemporaryDirectory() as directory:
            script = Script(tls=self.tls.factory("example.org"))
            endpoint = serverFromString(reactor, f"unix:{directory}/c2s")
            port = await endpoint.listen(expecting_header(FakeServerFactory(script)))
            login = self.login_at(f"unix:{directory}/c2s")
            for client in (self.PHONE, None):
                self.streams.append(await connect_upstream(reactor, login, Limits(), client))
            await maybeDeferred(port.stopListening)
        self.assertEqual(
            [str(peer_of(server.transport)) for server in script.connections], ["192.0.2.77:40000", "local"]
        )

    async def test_a_server_that_does_not_expect_it(self) -> None:
        """It finds no XML, and ends stream or connection. There is one attempt, and the operator is told of the key."""
        hint = "(upstream_proxy_protocol is on: does the server expect the PROXY protocol on this port?)"
        script, where = self.serve()
        raised = await self.refused(UpstreamError, self.login_at(where))
        self.assertEqual((str(raised), len(script.connections)), (f"the connection was lost {hint}", 1))
        end = b"<stream:error><not-well-formed xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
        script, where = self.serve_proxies(replace={"features": end})
        raised = await self.refused(UpstreamProtocolError, self.login_at(where))
        self.assertEqual(str(raised), f"the server ended the stream: not-well-formed {hint}")
        self.assertEqual((getattr(raised, "condition", ""), len(script.connections)), ("not-well-formed", 1))

    async def test_no_such_hint_for_other_troubles(self) -> None:
        end = b"<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
        _script, where = self.serve(replace={"features": end})
        self.assertNotIn("PROXY", str(await self.refused(UpstreamProtocolError, self.login(where))))
        _script, where = self.serve_proxies(replace={"features": end})
        self.assertNotIn("PROXY", str(await self.refused(UpstreamProtocolError, self.login_at(where))))
        _script, where = self.serve_proxies(mechanisms=("X-NONE",))
        self.assertNotIn("PROXY", str(await self.refused(UpstreamProtocolError, self.login_at(where))))

    async def test_not_unless_the_domain_says_so(self) -> None:
        script, where = self.serve()
        self.streams.append(await connect_upstream(reactor, self.login(where), Limits(), self.PHONE))
        self.assertEqual(len(script.headers), 2)


class SecurityTest(UpstreamTest):
    async def test_no_tls_offered(self) -> None:
        script, where = self.serve(tls=None)
        await self.refused(UpstreamTLSError, self.login(where))
        self.assertEqual(script.mechanism, "", "nothing was said")

    async def test_no_tls_on_loopback_when_security_is_waived(self) -> None:
        _script, where = self.serve(tls=None)
        await self.connect(self.login(where, trust="insecure"))

    async def test_no_tls_elsewhere_even_when_security_is_waived(self) -> None:
        _script, where = self.serve(tls=None)
        self.patch(connecting, "is_loopback", lambda _transport: False)
        await self.refused(UpstreamTLSError, self.login(where, trust="insecure"))

    async def test_untrusted_certificate(self) -> None:
        script, where = self.serve()
        await self.refused(UpstreamTLSError, self.login(where, trust="system"))
        self.assertEqual(script.mechanism, "")

    async def test_certificate_of_another_domain(self) -> None:
        other = certified("other.example", self.directory)
        tls = ServerTLS([other], self.directory)
        tls.load()
        script, where = self.serve(tls=tls.factory("other.example"))
        raised = await self.refused(UpstreamTLSError, self.login(where, trust=other.certificate))
        self.assertIn("not for this domain", str(raised))
        self.assertEqual(script.mechanism, "")

    async def test_starttls_offered_within_tls(self) -> None:
        """There is TLS already."""
        offer = (
            b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
            b"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>"
            b"</stream:features>"
        )
        script, where = self.serve(replace={"features": offer})
        await self.connect(self.login(where))
        self.assertEqual((script.mechanism, len(script.headers)), ("PLAIN", 2))

    async def test_starttls_offered_within_direct_tls(self) -> None:
        """Whoever began with TLS does not begin once more."""
        offer = (
            b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
            b"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>"
            b"</stream:features>"
        )
        script, where = self.serve(direct=True, replace={"features": offer})

        async def resolved(_domain: str) -> list[Target]:
            return [Target("127.0.0.1", int(where.rpartition(":")[2]), True)]

        self.patch(connecting, "resolve", resolved)
        domain = Domain(name="example.org", upstream_trust=self.trust)
        await self.connect(Login(domain, "a", Credential.from_password("secret"), self.cache))
        self.assertEqual((script.mechanism, len(script.headers)), ("PLAIN", 1))

    async def test_starttls_offered_within_tls_of_the_endpoint(self) -> None:
        """An endpoint that does TLS itself, as `upstream = "tls:…"` says: there is TLS already."""
        local = certified("localhost", self.directory / "trusted")
        assert local.certificate is not None and local.private_key is not None
        tls = ServerTLS([local], self.directory)
        tls.load()
        for starttls in (b"", b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"):
            offer = (
                b"<stream:features>%b<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism>"
                b"</mechanisms></stream:features>" % starttls
            )
            script, where = self.serve(direct=True, tls=tls.factory("localhost"), replace={"features": offer})
            port = where.rpartition(":")[2]
            await self.connect(self.login(f"tls:localhost:{port}:trustRoots={self.directory / 'trusted'}"))
            self.streams.pop().transport.abortConnection()  # which Twisted's own TLS cannot take once it is over
            self.assertEqual((script.mechanism, len(script.headers)), ("PLAIN", 1))

    async def test_tls_of_the_endpoint_that_ends_early(self) -> None:
        """It is told that the server went, and not that Twisted's own TLS cannot be aborted once it is over."""
        local = certified("localhost", self.directory / "trusted")
        tls = ServerTLS([local], self.directory)
        tls.load()
        self.patch(FakeServer, "handle", lambda server, _event: server.transport.loseConnection())
        _script, where = self.serve(direct=True, tls=tls.factory("localhost"))
        port = where.rpartition(":")[2]
        login = self.login(f"tls:localhost:{port}:trustRoots={self.directory / 'trusted'}")
        await self.refused(UpstreamUnreachable, login)

    async def test_starttls_refused(self) -> None:
        _script, where = self.serve(proceed=b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        await self.refused(UpstreamTLSError, self.login(where))

    async def test_plain_text_injected_behind_proceed(self) -> None:
        injected = b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><stream:features/>"
        _script, where = self.serve(proceed=injected)
        await self.connect(self.login(where))  # the injected is forgotten, the login takes place

    async def test_trust_file_gone(self) -> None:
        _script, where = self.serve()
        login = self.login(where)
        self.trust.rename(self.directory / "elsewhere")
        await self.refused(UpstreamTLSError, login)


class TroubleTest(UpstreamTest):
    async def test_nobody_there(self) -> None:
        await self.refused(UpstreamUnreachable, self.login(self.closed_port()))

    async def test_not_xmpp(self) -> None:
        for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"<html>", b"\0\1\2"):
            _script, where = self.serve(replace={"header": answer})
            await self.refused(UpstreamProtocolError, self.login(where))

    async def test_stream_error(self) -> None:
        error = b"<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
        _script, where = self.serve(replace={"features": error})
        raised = await self.refused(UpstreamProtocolError, self.login(where))
        assert isinstance(raised, UpstreamProtocolError)
        self.assertEqual(raised.condition, "host-unknown")

    async def test_something_else_than_features(self) -> None:
        for answer in (b"<message/>", b"</stream:stream>", b"<a></b>"):
            _script, where = self.serve(replace={"features": answer})
            await self.refused(UpstreamProtocolError, self.login(where))

    @inlineCallbacks
    def test_silence(self) -> Any:
        script, where = self.serve(silent=True)
        clock = Clock()
        self.patch(connecting, "clientFromString", lambda _clock, text: clientFromString(reactor, text))
        attempt = Deferred.fromCoroutine(self.connect(self.login(where), clock))
        while not script.connections:
            pause: Deferred[None] = Deferred()
            reactor.callLater(0, pause.callback, None)
            yield pause
        clock.advance(connecting.LOGIN_TIMEOUT + 1)
        yield self.assertFailure(attempt, UpstreamUnreachable)


class CandidatesTest(UpstreamTest):
    """Where SRV records lead."""

    def targets(self, *targets: tuple[str, bool]) -> Login:
        """Let the domain resolve to these; return a login that goes by it."""

        async def resolved(_domain: str) -> list[Target]:
            return [Target("127.0.0.1", int(where.rpartition(":")[2]), direct) for where, direct in targets]

        self.patch(connecting, "resolve", resolved)
        domain = Domain(name="example.org", upstream_trust=self.trust)
        return Login(domain, "a", Credential.from_password("secret"), self.cache)

    async def test_direct_tls(self) -> None:
        script, where = self.serve(direct=True)
        await self.connect(self.targets((where, True)))
        self.assertEqual(script.mechanism, "SCRAM-SHA-256")
        negotiated = script.connections[0].transport.negotiatedProtocol
        self.assertEqual(negotiated, b"xmpp-client")

    async def test_next_one_if_unreachable_or_without_tls(self) -> None:
        deaf = self.closed_port()
        plain, plain_where = self.serve(tls=None)
        good, where = self.serve()
        await self.connect(self.targets((deaf, False), (plain_where, True), (plain_where, False), (where, False)))
        self.assertEqual((plain.mechanism, good.mechanism), ("", "SCRAM-SHA-256"))
        self.assertEqual(len(plain.connections), 2)

    async def test_next_one_if_silent(self) -> None:
        self.patch(connecting, "SILENCE", 0.5)
        silent, silent_where = self.serve(silent=True)
        await self.connect(self.targets((silent_where, False), (self.serve()[1], False)))
        self.assertEqual(len(silent.connections), 1)

    async def test_no_next_one_if_refused(self) -> None:
        first, first_where = self.serve(password="other")
        second, where = self.serve()
        await self.refused(UpstreamRefused, self.targets((first_where, False), (where, False)))
        self.assertEqual((len(first.connections), len(second.connections)), (1, 0))

    async def test_nobody_anywhere(self) -> None:
        await self.refused(UpstreamUnreachable, self.targets((self.closed_port(), False)))
        await self.refused(UpstreamUnreachable, self.targets())

    async def test_next_one_if_no_host_has_such_a_name(self) -> None:
        port = int(self.serve()[1].rpartition(":")[2])
        for odd in ("a_b.example", "a b.example", "-.example", "a\0.example", "a" * 64 + ".example"):
            login = self.targets()

            async def resolved(_domain: str, odd: str = odd) -> list[Target]:
                return [Target(odd, port, False), Target("127.0.0.1", port, False)]

            self.patch(connecting, "resolve", resolved)
            await self.connect(login)

    async def test_nothing_stays_open_after_a_refusal(self) -> None:
        script, where = self.serve(password="other")
        await self.refused(UpstreamRefused, self.targets((where, False)))
        while not script.connections[0].lost:
            pause: Deferred[None] = Deferred()
            reactor.callLater(0, pause.callback, None)
            await pause


class ResolveTest(unittest.TestCase):
    def resolve(self, **answers: Any) -> list[Target]:
        asked: list[str] = []

        def lookup(name: str, _timeout: object) -> Deferred[Any]:
            asked.append(name)
            answer = answers["direct" if name.startswith("_xmpps") else "starttls"]
            if isinstance(answer, Exception):
                return fail(answer)
            records = [dns.RRHeader(name.encode(), dns.SRV, payload=dns.Record_SRV(*record)) for record in answer]
            return succeed((records, [], []))

        targets: list[Target] = self.successResultOf(Deferred.fromCoroutine(resolve("bücher.example", lookup)))
        self.assertEqual(asked, [f"_{kind}-client._tcp.xn--bcher-kva.example" for kind in ("xmpps", "xmpp")])
        return targets

    def test_both_kinds_by_priority(self) -> None:
        targets = self.resolve(
            direct=[(20, 0, 5223, b"tls.example"), (5, 0, 443, b"first.example")],
            starttls=[(10, 0, 5222, b"b.example")],
        )
        self.assertEqual(
            targets,
            [Target("first.example", 443, True), Target("b.example", 5222, False), Target("tls.example", 5223, True)],
        )

    def test_nothing_published(self) -> None:
        fallback = [Target("xn--bcher-kva.example", 5222, False)]
        self.assertEqual(self.resolve(direct=DNSNameError(), starttls=DNSNameError()), fallback)
        self.assertEqual(self.resolve(direct=[], starttls=[]), fallback)

    def test_given_up_meanwhile(self) -> None:
        """Twisted's list of lookups takes that for answers: nobody is to be connected to any more."""
        found: list[Any] = [Deferred(), Deferred()]
        lookups = list(found)
        looking = Deferred.fromCoroutine(resolve("example.org", lambda *_: lookups.pop()))
        looking.cancel()
        self.failureResultOf(looking, CancelledError)
        self.assertEqual([one.called for one in found], [True, True])

    def test_dns_out_of_order(self) -> None:
        self.assertEqual(len(self.resolve(direct=DNSServerError(), starttls=TimeoutError())), 1)

    def test_not_offered(self) -> None:
        self.assertEqual(self.resolve(direct=DNSNameError(), starttls=[(0, 0, 0, b".")]), [])
        self.assertEqual(self.resolve(direct=[(0, 0, 0, b".")], starttls=DNSNameError()), [])
        self.assertEqual(self.resolve(direct=[(0, 0, 0, b".")], starttls=[]), [])
        only = [Target("a.example", 5223, True)]
        self.assertEqual(self.resolve(direct=[(0, 0, 5223, b"a.example")], starttls=[(0, 0, 0, b".")]), only)

    def test_a_flood_of_records(self) -> None:
        many = [(number, 0, 5222, b"a.example") for number in range(1000)]
        self.assertLessEqual(len(self.resolve(direct=DNSNameError(), starttls=many)), 10)

    def test_no_more_is_drawn_than_will_be_tried(self) -> None:
        """Whoever answers for a domain may put thousands of records into one answer; drawing is work for each."""
        draws: list[int] = []

        class Counted(random.Random):
            def randint(self, a: int, b: int) -> int:
                draws.append(b)
                return super().randint(a, b)

        self.patch(random, "SystemRandom", Counted)
        self.resolve(direct=[(0, 1, 5223, b"a.example")] * 100, starttls=[(0, 1, 5222, b"b.example")] * 100)
        self.assertEqual(len(draws), 8)

    def test_targets_that_are_no_names(self) -> None:
        """DNS takes any byte in a label."""
        odd = [(0, 0, 5222, b"caf\xc3\xa9.example"), (0, 0, 5222, b"\xff.example"), (0, 0, 5222, b"")]
        good = Target("good.example", 5222, False)
        self.assertEqual(self.resolve(direct=odd, starttls=[*odd, (0, 0, 5222, b"good.example")]), [good])
        self.assertEqual(self.resolve(direct=DNSNameError(), starttls=odd[:2]), [])

    def test_weights(self) -> None:
        rng = random.Random(1)
        records = [Record(0, weight, Target(str(weight), 0, False)) for weight in (0, 10, 90)]
        first = Counter(order(records, rng)[0].host for _ in range(1000))
        self.assertGreater(first["90"], 800)
        self.assertGreater(first["10"], 50)
        self.assertEqual(sorted(target.host for target in order(records, rng)), ["0", "10", "90"])

    def test_each_weight_is_its_share(self) -> None:
        """RFC 2782: of the sums, the first that the drawn number does not exceed."""
        records = [Record(0, weight, Target(str(weight), 0, False)) for weight in (0, 1, 2)]
        rng = random.Random()
        for drawn, first in enumerate(("0", "1", "2", "2")):
            self.patch(rng, "randint", lambda _low, high, drawn=drawn: min(drawn, high))
            self.assertEqual(order(records, rng)[0].host, first)

    def test_order_of_nothing(self) -> None:
        self.assertEqual(order([]), [])
