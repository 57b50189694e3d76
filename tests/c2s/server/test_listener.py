"""The whole client side over real sockets on loopback: ports, TLS, limits, shutdown, and nothing left behind."""

from __future__ import annotations

import gc
import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint, connectProtocol, serverFromString
from twisted.internet.error import CannotListenError, ConnectionRefusedError
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import formatEvent
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial import unittest

from minimixproxy.c2s.server import listener
from minimixproxy.c2s.server.client_port import ClientConnection
from minimixproxy.c2s.server.counted_connection import READ
from minimixproxy.c2s.server.listener import ClientService, PreparedDomains, client_service
from minimixproxy.c2s.server.negotiation import NOT_LOGGED_IN, TOO_MANY, Negotiation
from minimixproxy.c2s.server.negotiation_context import NegotiationContext
from minimixproxy.c2s.session.client_session import ClientSession
from minimixproxy.c2s.transport.certificates import CertificateError
from minimixproxy.c2s.transport.client_stream import ClientStream
from minimixproxy.c2s.transport.connection import SecurableConnection
from minimixproxy.c2s.transport.peers import ip_end, peer_of
from minimixproxy.c2s.transport.tls import ServerTLS, client_factory
from minimixproxy.config.reloading import CannotReload
from minimixproxy.config.settings import Domain, Limits, Listen, Rooms, Settings, WebSocket
from tests.c2s.fakeserver import FakeServerFactory, Script, expecting_header, listening
from tests.c2s.helpers import BIND, HEADER, Recorder, StubAccounts, certified, plain
from tests.counted import Counted
from tests.integration.ports import free_port
from tests.log_events import log_events

STARTTLS_PORT = (Listen(endpoint="tcp:0:interface=127.0.0.1"),)
STARTTLS = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"


class Client(Recorder):
    """A scripted client: `say` something and wait for an answer that matches."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: tuple[bytes, Deferred[bytes]] | None = None
        self.gone: Deferred[None] = Deferred()
        self.bottom: SecurableConnection

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.check()

    def check(self) -> None:
        if self.waiting is not None and re.search(self.waiting[0], self.received, re.DOTALL):
            (_, waiting), self.waiting = self.waiting, None
            received, self.received = self.received, b""
            waiting.callback(received)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if self.waiting is not None:
            self.waiting[1].errback(AssertionError(f"closed after {self.received!r}"))
        self.gone.callback(None)

    def say(self, data: bytes, pattern: bytes) -> Deferred[bytes]:
        self.waiting = (pattern, Deferred())
        waiting = self.waiting[1]
        self.transport.write(data)
        self.check()
        return waiting


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def alive(*types: type) -> int:
    gc.collect()
    return sum(isinstance(thing, types) for thing in gc.get_objects())


class ListenerTest(unittest.TestCase):
    timeout = 60
    registration = False  # else there are connections upstream that no client asked for; with SCRAM, too
    logins: tuple[str, ...] = ("PLAIN",)
    proxy_protocol = False

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.domain = certified("example.org", self.directory)
        tls = ServerTLS([self.domain], self.directory)
        tls.load()
        self.script = Script(tls=tls.factory("example.org"))
        factory = FakeServerFactory(self.script)
        server, number = listening(expecting_header(factory) if self.proxy_protocol else factory)
        self.addCleanup(server.stopListening)
        self.upstream = f"tcp:127.0.0.1:{number}"
        self.accounts = StubAccounts()

    def start(self, *places: Listen | WebSocket, **limits: Any) -> ClientService:
        """Start the service; by default one STARTTLS port."""
        assert self.domain.certificate is not None
        trust = self.domain.certificate
        update = {
            "upstream": self.upstream,
            "upstream_trust": trust,
            "registration": self.registration,
            "logins": self.logins,
            "upstream_proxy_protocol": self.proxy_protocol,
        }
        domain = self.domain.model_copy(update=update)
        settings = Settings(
            state=self.directory / "state.sqlite",
            listen=tuple(place for place in places or STARTTLS_PORT if isinstance(place, Listen)),
            websocket=tuple(place for place in places if isinstance(place, WebSocket)),
            domain={"example.org": domain},
            limits=Limits(**limits),
        )
        service = client_service(settings, self.accounts, reactor)
        service.privilegedStartService()
        service.startService()
        self.addCleanup(lambda: service.stopService() if service.running else None)
        return service

    def port(self, service: ClientService, number: int = 0) -> int:
        bound = [bound for group in service.ports for bound in group.ports.values()][number]
        return int(bound.port.getHost().port)

    async def connect(self, port: int) -> Client:
        return await self.connect_by(TCP4ClientEndpoint(reactor, "127.0.0.1", port))

    async def connect_by(self, endpoint: Any) -> Client:
        client = Client()
        client.bottom = SecurableConnection(client)
        await connectProtocol(endpoint, client.bottom)
        return client

    def tls(self, *, direct: bool = False) -> TLSMemoryBIOFactory:
        trust = self.domain.certificate
        assert trust is not None
        return client_factory(Domain(name="example.org", upstream_trust=trust), direct=direct)

    async def secured(self, port: int) -> Client:
        return await self.secure(await self.connect(port))

    async def secure(self, client: Client) -> Client:
        await client.say(HEADER, b"</stream:features>")
        await client.say(STARTTLS, b"<proceed[^>]*>")
        client.bottom.start_tls(self.tls())
        return client

    async def log_in(self, client: Client) -> Client:
        await client.say(HEADER, b"PLAIN.*</stream:features>")
        await client.say(plain(), b"<success[^>]*>")
        await client.say(HEADER, b"</stream:features>")
        await client.say(BIND, b"</iq>")
        return client


class Streaming:
    """A client that is about to log in to a domain; without one it has not said yet to which. It is its own handler."""

    def __init__(self, domain: str | None) -> None:
        self.domain = domain or ""
        self.handler = self if domain is not None else None
        self.ended: list[str] = []

    def close(self, condition: str, _text: str) -> None:
        self.ended.append(condition)


class MadeTest(unittest.SynchronousTestCase):
    """What a service is made of."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.domain = certified("example.org", self.directory)
        domains = {"example.org": self.domain}
        self.settings = Settings(state=self.directory / "state.sqlite", listen=STARTTLS_PORT, domain=domains)

    def test_a_certificate_that_is_no_good(self) -> None:
        """Before root's rights are given up, and before any port is open."""
        assert self.domain.certificate is not None
        self.domain.certificate.write_bytes(b"none")
        self.assertRaises(CertificateError, client_service, self.settings, StubAccounts(), reactor)

    def test_whom_the_ways_to_servers_are_given(self) -> None:
        """The server learns which client it is about."""
        asked: list[tuple[object, ...]] = []
        for name in ("connect_upstream", "contact_upstream", "log_in_upstream"):

            async def ask(*what: object, name: str = name) -> str:
                asked.append(what)
                return name

            self.patch(listener, name, ask)
        made: list[Any] = []

        def context(*parts: Any) -> NegotiationContext:
            made.extend((parts[1], parts[3]))
            return NegotiationContext(*parts)

        self.patch(listener, "NegotiationContext", context)
        client_service(self.settings, StubAccounts(), reactor)
        sessions, upstream = made
        limits = self.settings.limits
        for way, what, name in (
            (sessions.connect, ("login", "client"), "connect_upstream"),
            (upstream.contact, ("domain", "client"), "contact_upstream"),
            (upstream.log_in, ("domain", "client", "authenticate"), "log_in_upstream"),
        ):
            self.assertEqual(self.successResultOf(Deferred.fromCoroutine(way(*what))), name)
            self.assertEqual(asked.pop(), (reactor, what[0], limits, *what[1:]))

    def test_reload(self) -> None:
        """Who is logging in to a domain that is gone is told; servers of domains that changed are asked anew."""
        other = certified("example.net", self.directory)
        changed = self.domain.model_copy(update={"registration": not self.domain.registration})
        same = certified("example.com", self.directory)
        old = self.with_domains(self.domain, other, same)
        service = client_service(old, StubAccounts(), reactor)
        streams = [Streaming(name) for name in (*old.domain, None)]
        for stream in streams:
            service.clients.add(stream)  # type: ignore[arg-type]
        asked: list[list[str]] = []
        offers = service.clients.context.offers
        self.patch(offers, "ask_anew", lambda domains, _served: asked.append([one.name for one in domains]))
        prepared = self.prepared(service, self.with_domains(changed, same))
        prepared.undo()
        self.assertEqual(([stream.ended for stream in streams], asked), ([[]] * 4, []))
        prepared.commit()
        self.assertEqual([stream.ended for stream in streams], [[], ["host-gone"], [], []])
        self.assertEqual(asked, [["example.org"]])

    def test_a_reload_that_cannot_be(self) -> None:
        service = client_service(self.settings, StubAccounts(), reactor)
        other = certified("example.net", self.directory)
        assert other.certificate is not None
        other.certificate.write_bytes(b"none")
        failure = self.failureResultOf(Deferred.fromCoroutine(service.prepare(self.with_domains(other))))
        failure.trap(CannotReload)
        self.assertIn(str(other.certificate), str(failure.value))

    def with_domains(self, *domains: Domain) -> Settings:
        return self.settings.model_copy(update={"domain": {domain.name: domain for domain in domains}})

    def prepared(self, service: ClientService, new: Settings) -> PreparedDomains:
        return self.successResultOf(Deferred.fromCoroutine(service.prepare(new)))

    def test_whether_clients_may_say_that_they_are_inactive(self) -> None:
        context = client_service(self.settings, StubAccounts(), reactor).clients.context
        for rooms, expected in ((Rooms(inactive="pass"), False), (Rooms(inactive="hold"), True)):
            self.settings.rooms.take_over(rooms)
            self.assertIs(context.sessions.client_state(), expected)


class WholeWayTest(ListenerTest):
    async def test_starttls(self) -> None:
        service = self.start()
        client = await self.log_in(await self.secured(self.port(service)))
        self.assertEqual(self.accounts.bound[0].jid, "a@example.org/1")
        server = self.script.connections[0]
        server.write(b"<message id='1'/>")
        self.assertEqual(await client.say(b"", b"<message[^>]*>"), b"<message id='1'/>")
        await client.say(b"</stream:stream>", b"</stream:stream>")
        await client.gone

    async def test_direct_tls(self) -> None:
        service = self.start(Listen(endpoint="tcp:0:interface=127.0.0.1", tls="direct"))
        client = await self.connect(self.port(service))
        client.bottom.start_tls(self.tls(direct=True))
        await self.log_in(client)
        client.transport.abortConnection()
        await client.gone

    async def test_endpoint_that_does_tls_itself(self) -> None:
        endpoint = f"ssl:0:interface=127.0.0.1:privateKey={self.domain.private_key}:certKey={self.domain.certificate}"
        service = self.start(Listen(endpoint=endpoint, tls="direct"))
        client = await self.connect(self.port(service))
        client.bottom.start_tls(self.tls(direct=True))
        await self.log_in(client)
        client.transport.abortConnection()
        await client.gone

    async def test_behind_haproxy(self) -> None:
        service = self.start(Listen(endpoint="haproxy:tcp:0:interface=127.0.0.1"), connections_per_address=1)
        port = self.port(service)
        clients = []
        for host in (b"192.0.2.1", b"192.0.2.2"):
            client = await self.connect(port)
            client.transport.write(b"PROXY TCP4 %b 192.0.2.9 1234 5222\r\n" % host)
            await client.say(HEADER, b"</stream:features>")
            await client.say(STARTTLS, b"<proceed[^>]*>")
            client.bottom.start_tls(self.tls())
            clients.append(await self.log_in(client))
        third = await self.connect(port)
        third.transport.write(b"PROXY TCP4 192.0.2.1 192.0.2.9 1235 5222\r\n" + HEADER)
        await third.gone
        for client in clients:
            client.transport.abortConnection()
            await client.gone

    async def test_on_unix_sockets(self) -> None:
        """Towards clients and towards the server. Who connects is a relay; nobody says how far the client has come."""
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)  # once the ports in it are closed
        directory = temporary.name
        endpoint = serverFromString(reactor, f"unix:{directory}/server")
        server = await endpoint.listen(FakeServerFactory(self.script))
        self.upstream = f"unix:{directory}/server"
        self.start(Listen(endpoint=f"unix:{directory}/clients"))
        client = await self.connect_by(UNIXClientEndpoint(reactor, f"{directory}/clients"))
        await self.log_in(await self.secure(client))
        acknowledgements = self.accounts.bound[0]._client._acknowledgements
        assert acknowledgements is not None
        self.assertTrue(acknowledgements.relayed)
        client.transport.abortConnection()
        await client.gone
        await server.stopListening()

    async def test_a_client_that_is_gone_is_noticed(self) -> None:
        """Both sides probe a silent peer, whatever wraps the socket."""
        tcp, ours = (
            "tcp:0:interface=127.0.0.1",
            f"privateKey={self.domain.private_key}:certKey={self.domain.certificate}",
        )
        for endpoint in (tcp, f"haproxy:{tcp}", f"ssl:0:interface=127.0.0.1:{ours}"):
            service = self.start(Listen(endpoint=endpoint, tls="direct"))
            client = await self.connect(self.port(service))
            if endpoint.startswith("haproxy"):
                client.transport.write(b"PROXY TCP4 192.0.2.1 192.0.2.9 1234 5222\r\n")
            client.bottom.start_tls(self.tls(direct=True))
            await self.log_in(client)
            stream = self.accounts.bound[-1]._client._client
            assert stream is not None
            transports: list[Any] = [stream.transport, self.script.connections[-1].transport]
            for transport in transports:
                self.assertEqual((transport.getTcpKeepAlive(), transport.getTcpNoDelay()), (True, True), endpoint)
            client.transport.abortConnection()
            await client.gone

    async def test_large_stanzas_both_ways(self) -> None:
        service = self.start()
        client = await self.log_in(await self.secured(self.port(service)))
        message = b"<message><body>" + b"x" * 200_000 + b"</body></message>"
        self.script.connections[0].write(message)
        self.assertEqual(await client.say(b"", b"</message>"), message)
        client.transport.write(message)
        await client.say(b"<iq type='set' id='x'><bind/></iq>", b"</iq>")
        self.assertIn(message, [stanza.raw for stanza in self.script.stanzas])
        client.transport.abortConnection()
        await client.gone


class ProxyProtocolTest(ListenerTest):
    """A server that is told whence clients come."""

    proxy_protocol = True

    def told(self) -> list[str]:
        """Whence the server was told that its connections came, the oldest first."""
        return [str(peer_of(server.transport)) for server in self.script.connections]

    async def test_of_a_client(self) -> None:
        client = await self.log_in(await self.secured(self.port(self.start())))
        address: Any = client.bottom.transport.getHost()  # type: ignore[union-attr]
        self.assertEqual(self.told(), [f"127.0.0.1:{address.port}"])
        client.transport.abortConnection()
        await client.gone

    async def test_of_a_client_behind_a_relay(self) -> None:
        """In both versions, and where the relay has connected by itself, or names nonsense."""
        port = self.port(self.start(Listen(endpoint="haproxy:tcp:0:interface=127.0.0.1")))
        version_2 = b"\r\n\r\n\0\r\nQUIT\n"
        own: list[str] = []
        for header in (
            b"PROXY TCP4 192.0.2.1 198.51.100.9 1234 5222\r\n",
            b"PROXY TCP6 2001:db8::7 2001:db8::9 1234 5222\r\n",
            b"PROXY TCP6 ::ffff:192.0.2.3 ::ffff:192.0.2.9 1234 5222\r\n",
            version_2 + bytes.fromhex("21 11 000c c0000202 c6336409 04d2 1466"),
            version_2 + bytes.fromhex("20 00 0000"),
            b"PROXY UNKNOWN \r\n",
            b"PROXY TCP4 nonsense 198.51.100.9 1234 99999999\r\n",
        ):
            client = await self.connect(port)
            own.append(f"127.0.0.1:{client.transport.getHost().port}")  # type: ignore[attr-defined]
            client.transport.write(header)
            await self.log_in(await self.secure(client))
            client.transport.abortConnection()
            await client.gone
        named = ["192.0.2.1:1234", "[2001:db8::7]:1234", "192.0.2.3:1234", "192.0.2.2:1234"]
        told = self.told()
        self.assertEqual(told[:6], named + own[4:6])
        upstream = self.script.connections[6].transport.transport.getPeer()
        self.assertEqual(told[6], f"127.0.0.1:{upstream.port}", "as for a connection of the proxy's own")

    async def test_the_log_names_the_client(self) -> None:
        events = log_events(self)
        service = self.start(Listen(endpoint="haproxy:tcp:0:interface=127.0.0.1"))
        client = await self.connect(self.port(service))
        client.transport.write(b"PROXY TCP6 2001:db8::7 2001:db8::9 1234 5222\r\n")
        await self.log_in(await self.secure(client))
        await client.say(b"</stream:stream>", b"</stream:stream>")
        await client.gone
        await service.stopService()
        lines = [line for event in events if (line := formatEvent(event)).startswith("session of ")]
        self.assertIn("session of a@example.org begins, from [2001:db8::7]:1234", lines)
        self.assertIn("session of a@example.org/1 ends, from [2001:db8::7]:1234", lines)


class RegisteringTest(ListenerTest):
    proxy_protocol = registration = True

    async def test_the_server_is_told_who_registers(self) -> None:
        """First the proxy itself looks what the server offers."""
        self.script.registration = True
        self.script.answer_to_bind = b"<iq type='result' id='ID'><query xmlns='jabber:iq:register'/></iq>"
        client = await self.secured(self.port(self.start()))
        await client.say(HEADER, b"PLAIN.*</stream:features>")
        probe = self.script.connections[0]
        self.assertEqual(str(peer_of(probe.transport)), str(ip_end(probe.transport.transport.getPeer())))
        await client.say(b"<iq type='get' id='r'><query xmlns='jabber:iq:register'/></iq>", b"<query[^>]*>.*</iq>")
        address: Any = client.bottom.transport.getHost()  # type: ignore[union-attr]
        self.assertEqual(str(peer_of(self.script.connections[1].transport)), f"127.0.0.1:{address.port}")
        client.transport.abortConnection()
        await client.gone


class SlowClientTest(ListenerTest):
    async def test_only_its_own_server_stream_waits(self) -> None:
        service = self.start()
        slow = await self.log_in(await self.secured(self.port(service)))
        quick = await self.log_in(await self.secured(self.port(service)))
        slow.transport.pauseProducing()
        flood, other = self.script.connections
        message = b"<message><body>" + b"x" * 60_000 + b"</body></message>"
        session = self.accounts.bound[0]
        sent = 0
        while not session._output.blocked:
            flood.write(message)
            sent += 1
            self.assertLess(sent, 2000, "the client was never felt to be slow")
            other.write(b"<message id='%d'/>" % sent)
            await quick.say(b"", b"<message id='%d'/>" % sent)
        slow.transport.resumeProducing()
        flood.write(b"<message id='last'/>")
        received = await slow.say(b"", b"<message id='last'/>")
        self.assertEqual(received, message * sent + b"<message id='last'/>")
        for client in (slow, quick):
            client.transport.abortConnection()
            await client.gone


class SmallReadsTest(ListenerTest):
    async def test_a_client_that_says_much_at_once_is_read_a_little_at_a_time(self) -> None:
        """A hundred sessions of one account, each with as much as a read takes, held everybody up for seconds."""
        sizes: list[int] = []
        port = self.port(self.start())
        client = await self.connect(port)
        read = ClientConnection.dataReceived

        def watched(connection: ClientConnection, data: bytes) -> None:
            sizes.append(len(data))
            read(connection, data)
            connection.__dict__.pop("dataReceived", None)

        self.patch(ClientConnection, "dataReceived", watched)
        await client.say(HEADER + b" " * 200_000, b"</stream:features>")
        await client.say(STARTTLS, b"<proceed")
        self.assertGreaterEqual(sum(sizes), 200_000)
        self.assertEqual(max(sizes), READ)
        client.transport.abortConnection()
        await client.gone


class DrainTest(ListenerTest):
    """The ports close while the proxy goes on, and open again."""

    async def test_closed_and_opened(self) -> None:
        service = self.start()
        port = self.port(service)
        client = await self.log_in(await self.secured(port))
        await service.close_ports()
        with self.assertRaises(ConnectionRefusedError):
            await self.connect(port)
        empty = service.when_empty()
        self.assertEqual((service.connected(), empty.called), (1, False))
        service.dismiss()
        await client.gone
        self.assertIn(b"<system-shutdown ", client.received)
        await empty
        await service.when_empty()
        service.open_ports()
        again = await self.log_in(await self.secured(self.port(service)))
        self.assertEqual(service.connected(), 1)
        again.transport.abortConnection()
        await again.gone

    async def test_a_port_is_somebody_else_s_meanwhile(self) -> None:
        """Then none is open, until all can be had; and the service can be stopped in between."""
        number = free_port()  # nobody else takes it while it is closed, not even for a connection of theirs
        service = self.start(
            Listen(endpoint="tcp:0:interface=127.0.0.1"), Listen(endpoint=f"tcp:{number}:interface=127.0.0.1")
        )
        await service.close_ports()
        other = reactor.listenTCP(number, Factory(), interface="127.0.0.1")  # type: ignore[arg-type]
        self.addCleanup(other.stopListening)
        for _ in range(2):
            with self.assertRaises(CannotListenError) as caught:
                service.open_ports()
            self.assertEqual(caught.exception.port, number)
            await service._closing
            self.assertFalse(any(port.running for port in service))
        await maybeDeferred(other.stopListening)
        service.open_ports()
        client = await self.log_in(await self.secured(number))
        service.close_ports()
        await service.stopService()
        await client.gone


class StopTest(ListenerTest):
    async def test_every_client_is_told(self) -> None:
        service = self.start()
        port = self.port(service)
        bound = await self.log_in(await self.secured(port))
        negotiating = await self.connect(port)
        await negotiating.say(HEADER, b"</stream:features>")
        silent = await self.connect(port)
        stopped = service.stopService()
        for client in (bound, negotiating, silent):
            await client.gone
            self.assertIn(b"<system-shutdown ", client.received)
            self.assertTrue(client.received.endswith(b"</stream:stream>"))
        await stopped
        self.assertEqual(len(service.clients), 0)
        self.assertEqual(self.script.closed, 1)

    async def test_a_client_that_hangs_does_not_hold_up_the_stop_for_long(self) -> None:
        from minimixproxy.c2s.transport import client_stream

        self.patch(client_stream, "CLOSE_TIMEOUT", 0.05)
        service = self.start()
        client = await self.log_in(await self.secured(self.port(service)))
        client.transport.pauseProducing()
        await service.stopService()
        client.transport.abortConnection()
        await client.gone


class LimitsTest(ListenerTest):
    async def test_connections_per_address(self) -> None:
        service = self.start(connections_per_address=3)
        port = self.port(service)
        clients = [await self.connect(port) for _ in range(3)]
        for client in clients:
            await client.say(HEADER, b"</stream:features>")
        events, counted = log_events(self), Counted(NOT_LOGGED_IN)
        for _ in range(2):
            one_more = await self.connect(port)
            await one_more.gone
        said = [text for event in events if "too many" in (text := formatEvent(event))]
        self.assertEqual(said, ["too many connections from 127.0.0.1"])
        self.assertEqual(counted.since(), {(TOO_MANY,): 2})
        clients[0].transport.loseConnection()
        await clients[0].gone
        fifth = await self.connect(port)
        await fifth.say(HEADER, b"</stream:features>")
        for client in (*clients[1:], fifth):
            client.transport.abortConnection()
            await client.gone

    async def test_time_to_authenticate(self) -> None:
        counted = Counted(NOT_LOGGED_IN)
        service = self.start(authentication_timeout=1.0)
        client = await self.connect(self.port(service))
        await client.gone
        self.assertIn(b"<connection-timeout ", client.received)
        self.assertEqual(counted.since(), {("connection-timeout",): 1})


class NothingLeftTest(ListenerTest):
    """After hundreds of connections that came to nothing, there is as much as before."""

    timeout = 110

    async def test_many_bad_connections(self) -> None:
        service = self.start(connections_per_address=1000, failed_logins=1000)
        port = self.port(service)
        good = await self.log_in(await self.secured(port))
        await self.misbehave(port, 25)
        await self.settle(service)
        before = open_files(), alive(ClientStream, Negotiation, ClientSession, SecurableConnection)
        await self.misbehave(port, 75)
        await self.settle(service)
        after = open_files(), alive(ClientStream, Negotiation, ClientSession, SecurableConnection)
        self.assertLessEqual(after[0], before[0])
        self.assertLessEqual(after[1], before[1])
        self.script.connections[0].write(b"<message id='still here'/>")
        await good.say(b"", b"<message id='still here'/>")
        good.transport.abortConnection()
        await good.gone

    async def misbehave(self, port: int, times: int) -> None:
        tricks = (self.half_open, self.garbage, self.garbage_in_tls, self.wrong_password, self.login_and_garbage)
        for number in range(times):
            await tricks[number % len(tricks)](port)

    async def settle(self, service: ClientService) -> None:
        """Wait until only the good client is left, here and upstream."""
        while len(service.clients) > 1 or sum(not server.lost for server in self.script.connections) > 1:
            pause: Deferred[None] = Deferred()
            reactor.callLater(0.01, pause.callback, None)
            await pause
        del self.script.connections[1:]
        self.script.headers.clear()
        self.script.stanzas.clear()
        self.accounts.account.closed.clear()
        self.accounts.account.seen_from_client.clear()
        del self.accounts.bound[1:]

    async def half_open(self, port: int) -> None:
        client = await self.connect(port)
        client.transport.abortConnection()
        await client.gone

    async def garbage(self, port: int) -> None:
        client = await self.connect(port)
        client.transport.write(b"\x16\x03\x01 garbage <<<")
        await client.gone

    async def garbage_in_tls(self, port: int) -> None:
        client = await self.secured(port)
        client.transport.write(b"<a></b>")
        await client.gone

    async def wrong_password(self, port: int) -> None:
        client = await self.secured(port)
        await client.say(HEADER, b"</stream:features>")
        await client.say(plain(password="\u0007"), b"</failure>")  # refused without asking the server
        client.transport.abortConnection()
        await client.gone

    async def login_and_garbage(self, port: int) -> None:
        client = await self.log_in(await self.secured(port))
        client.transport.write(b"<message></body>")
        await client.gone
        self.assertIn(b"<not-well-formed ", client.received)
