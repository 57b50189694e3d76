"""A WebSocket under a client's stream: from the connection to its end, in memory."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial import unittest
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import CloseConnection, Ping, Pong

from minimixproxy.c2s.server import counted_connection
from minimixproxy.c2s.server.websocket_port import WebSocketConnection, WebSocketFactory
from minimixproxy.c2s.transport.client_stream import CLOSE_TIMEOUT, LARGEST_OF_STRANGER
from minimixproxy.c2s.websocket.frames import MAX_IDLE
from minimixproxy.c2s.websocket.liveness import LOOK_EVERY, UNHEARD
from minimixproxy.c2s.websocket.opening import HANDSHAKE_TIMEOUT, MAX_REASON
from minimixproxy.c2s.websocket.transport import LINGER
from minimixproxy.c2s.websocket.xmpp_framing import Incoming
from minimixproxy.config.settings import WebSocket
from tests.c2s.helpers import HEADER, LabClient
from tests.c2s.server.test_negotiation import errors
from tests.c2s.session.test_stream_management import ENABLE, resume
from tests.c2s.websocket.lab import CLOSE, PROXY, FramedWire, WebSocketLab, WebSocketLabClient, framed, handshake
from tests.log_events import log_events
from tests.wires import Wire

GOODBYE = framed((1001).to_bytes(2, "big"), opcode=8)


class RelayedWire(Wire):
    """What Twisted puts on the connection of a relay: its peer is whom the PROXY header names."""

    transport = Wire(peerAddress=IPv4Address("TCP", PROXY, 40000))


class TransportTestCase(unittest.SynchronousTestCase):
    limits: dict[str, int] = {}

    def setUp(self) -> None:
        self.lab = WebSocketLab(Path(self.mktemp()), **self.limits)

    def connect(self, address: str = PROXY) -> tuple[WebSocketConnection, Wire]:
        connection, wire = self.lab.connection(), Wire(peerAddress=IPv4Address("TCP", address, 40000))
        connection.makeConnection(wire)
        return connection, wire

    def client(self, address: str = "192.0.2.1") -> WebSocketLabClient:
        client = self.lab.client(address=address)
        assert isinstance(client, WebSocketLabClient)
        return client

    def events(self, wire: FramedWire) -> list[object]:
        """What came in frames."""
        reader = Connection(ConnectionType.CLIENT)
        reader.receive_data(Wire.take(wire))
        return list(reader.events())


class HandshakeTests(TransportTestCase):
    def test_too_slow(self) -> None:
        connection, wire = self.connect()
        connection.dataReceived(b"GET /xmpp-websocket HTTP/1.1\r\n")
        self.lab.clock.advance(HANDSHAKE_TIMEOUT - 1)
        connection.dataReceived(b"Host: example.org\r\n")
        self.assertFalse(wire.closing)
        self.lab.clock.advance(1)
        self.assertTrue(wire.take().startswith(b"HTTP/1.1 408 "))
        self.assertTrue(wire.closing)
        connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((len(self.lab.clients), self.lab.clock.getDelayedCalls()), (0, []))

    def test_service_ends_meanwhile(self) -> None:
        _connection, wire = self.connect()
        self.lab.clients.shut_down()
        self.assertTrue(wire.take().startswith(b"HTTP/1.1 503 "))
        self.assertTrue(wire.closing)

    def test_refused_and_closed(self) -> None:
        connection, wire = self.connect()
        connection.dataReceived(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
        self.assertTrue(wire.take().startswith(b"HTTP/1.1 404 "))
        self.assertTrue(wire.closing)
        connection.dataReceived(handshake("192.0.2.1"))
        self.assertEqual(wire.take(), b"")

    def test_log_has_little_of_what_a_stranger_wrote(self) -> None:
        connection, wire = self.connect()
        events = log_events(self)
        connection.dataReceived(handshake("192.0.2.1").replace(b" HTTP/1.1", b"/" + b"x" * 9000 + b" HTTP/1.1", 1))
        self.assertTrue(wire.take().startswith(b"HTTP/1.1 404 "))
        self.assertEqual([len(event["reason"]) for event in events if "reason" in event], [MAX_REASON])

    def test_one_that_does_not_take_its_answer_is_cut(self) -> None:
        connection, wire = self.connect()
        connection.dataReceived(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
        self.lab.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(wire.aborted)

    def test_a_fault_of_ours(self) -> None:
        connection, wire = self.connect()
        self.patch(self.lab.clients, "admit", lambda key: 1 / 0)
        connection.dataReceived(handshake("192.0.2.1"))
        self.assertTrue(wire.closing)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class AddressTests(TransportTestCase):
    limits = {"connections_per_address": 2}

    def test_the_client_counts_and_not_the_proxy(self) -> None:
        clients = [self.client("192.0.2.1"), self.client("192.0.2.2"), self.client("192.0.2.1")]
        connection, wire = self.connect()
        connection.dataReceived(handshake("192.0.2.1"))
        self.assertTrue(wire.take().startswith(b"HTTP/1.1 429 "))
        clients[0].vanish()
        self.client("192.0.2.1")

    def test_what_a_client_writes_itself_does_not_count(self) -> None:
        for number in range(2):
            self.client(f"203.0.113.{number}, 192.0.2.1")
        connection, wire = self.connect()
        connection.dataReceived(handshake("203.0.113.7, 192.0.2.1"))
        self.assertTrue(wire.take().startswith(b"HTTP/1.1 429 "))

    def test_login_knows_where_the_client_is(self) -> None:
        client = self.client("2001:db8::1")
        self.assertEqual(client.stream.peer.key, "2001:db8::/64")
        self.assertTrue(client.stream.bottom.relayed)

    def test_nobody_else_is_the_proxy(self) -> None:
        connection, wire = self.connect("10.0.0.2")
        self.assertTrue(wire.aborted)
        self.assertEqual(len(self.lab.clients), 0)
        connection.connectionLost(Failure(ConnectionDone()))

    def test_a_unix_socket_is_the_proxy(self) -> None:
        connection, wire = self.lab.connection(), Wire(peerAddress=UNIXAddress("/run/x"))
        connection.makeConnection(wire)
        connection.dataReceived(handshake("192.0.2.1"))
        self.assertIn(b" 101 ", wire.take())
        self.assertEqual(connection.upper.stream.peer.key, "192.0.2.1")

    def test_relay_names_the_client_and_the_client_nobody(self) -> None:
        """HAProxy ends TLS and passes on what the client says, headers included, behind a PROXY header."""
        place = WebSocket(endpoint="haproxy:tcp:0", tls="proxy", trusted_proxies=(ip_network(PROXY),))
        connection = WebSocketFactory(self.lab.clients, place).buildProtocol(None)
        wire = RelayedWire(peerAddress=IPv4Address("TCP", "192.0.2.1", 40000))
        connection.makeConnection(wire)
        connection.dataReceived(handshake("203.0.113.9", X_Forwarded_Proto="http"))
        self.assertIn(b" 101 ", wire.take())
        self.assertEqual(connection.upper.stream.peer.key, "192.0.2.1")

    def test_nobody_is_forwarded(self) -> None:
        """Then it is the proxy itself that counts."""
        request = handshake("").replace(b"X-Forwarded-For: \r\n", b"")
        for status in (b"101", b"101", b"429"):
            connection, wire = self.connect()
            connection.dataReceived(request)
            self.assertEqual(wire.take()[9:12], status)

    def test_own_tls_is_not_shown_to_channel_binding_behind_a_proxy(self) -> None:
        client = self.client()
        self.assertIsNone(client.connection.upper.getHandle())
        self.assertNotIn(b"-PLUS", client.send(HEADER))


class UnknownTests(TransportTestCase):
    def test_those_whose_client_is_not_known_are_bounded(self) -> None:
        self.patch(counted_connection, "MAX_UNKNOWN", 2)
        self.lab = WebSocketLab(Path(self.mktemp()))
        first, second, third = (self.connect() for _ in range(3))
        self.assertEqual([wire.aborted for _, wire in (first, second, third)], [True, False, False])
        first[0].connectionLost(Failure(ConnectionDone()))
        second[0].dataReceived(handshake("192.0.2.1"))  # now it is known
        fourth = self.connect()
        self.assertEqual([wire.aborted for _, wire in (second, third, fourth)], [False, False, False])
        fourth[0].connectionLost(Failure(ConnectionDone()))
        fifth = self.connect()
        self.assertFalse(third[1].aborted)
        sixth = self.connect()
        self.assertEqual([wire.aborted for _, wire in (third, fifth, sixth)], [True, False, False])

    def test_silent_ones_keep_nobody_out(self) -> None:
        """All of one client, which a relay names; who says at once what is wanted gets in."""
        self.patch(counted_connection, "MAX_UNKNOWN", 3)
        for _ in range(10):
            self.connect()
        connection, wire = self.connect()
        connection.dataReceived(handshake("192.0.2.1"))
        self.assertIn(b" 101 ", wire.take())

    def test_domains_are_those_of_now(self) -> None:
        """A reload may have changed them."""
        page = b"GET /.well-known/host-meta HTTP/1.1\r\nHost: other.example\r\n\r\n"
        place = WebSocket(endpoint="tcp:0", tls="proxy", trusted_proxies=(ip_network(PROXY),), url=("wss://a/b",))
        port = WebSocketFactory(self.lab.clients, place)
        for status in (b"404", b"200"):
            connection, wire = port.buildProtocol(None), Wire(peerAddress=IPv4Address("TCP", PROXY, 40000))
            connection.makeConnection(wire)
            connection.dataReceived(page)
            self.assertEqual(wire.take()[9:12], status)
            domains = self.lab.context.domains
            self.lab.context.domains = {**domains, "other.example": domains["example.org"]}


class OwnTLSTests(TransportTestCase):
    def test_addresses_are_counted_at_once(self) -> None:
        limits = self.lab.clients.context.limits
        limits.take_over(limits.model_copy(update={"connections_per_address": 1}))
        port = WebSocketFactory(self.lab.clients, WebSocket(endpoint="tcp:0", tls="direct"))
        wires = [Wire(peerAddress=IPv4Address("TCP", "192.0.2.1", 40000)) for _ in range(2)]
        for wire in wires:
            port.buildProtocol(None).makeConnection(wire)
        self.assertEqual([wire.aborted for wire in wires], [False, True])

    def test_behind_haproxy_with_tls_of_its_own(self) -> None:
        """The address comes with the first bytes."""
        limits = self.lab.clients.context.limits
        limits.take_over(limits.model_copy(update={"connections_per_address": 1}))
        port = WebSocketFactory(self.lab.clients, WebSocket(endpoint="haproxy:tcp:0", tls="direct"))
        connections = [port.buildProtocol(None) for _ in range(2)]
        wires = [Wire(peerAddress=IPv4Address("TCP", "192.0.2.1", 40000)) for _ in connections]
        for connection, wire in zip(connections, wires, strict=True):
            connection.makeConnection(wire)
        self.assertEqual([wire.aborted for wire in wires], [False, False])
        for connection in connections:
            connection.dataReceived(b"\x16")
        self.assertEqual([wire.aborted for wire in wires], [False, True])


class EndTests(TransportTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client_ = self.client()
        self.wire = self.client_.wire

    def say(self, *frames: bytes) -> bytes:
        self.client_.connection.dataReceived(b"".join(frames))
        return self.wire.take()

    def gone(self) -> None:
        self.client_.connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((len(self.lab.clients), self.lab.clock.getDelayedCalls()), (0, []))

    def test_client_closes_its_stream(self) -> None:
        self.client_.send(HEADER)
        self.assertEqual(self.say(framed(CLOSE)), b"</stream:stream>")
        self.assertEqual(self.wire.code, 1000)
        self.assertFalse(self.wire.disconnecting, "the client is to agree")
        self.say(GOODBYE)
        self.assertTrue(self.wire.disconnecting)
        self.gone()

    def test_client_does_not_agree(self) -> None:
        self.client_.send(HEADER)
        self.say(framed(CLOSE))
        self.lab.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.wire.aborted)
        self.gone()

    def test_client_closes_the_websocket_alone(self) -> None:
        """As a page that is reloaded: its stream is over at once, not when the connection is."""
        self.client_.send(HEADER)
        handler = self.client_.stream.handler
        assert handler is not None
        self.say(GOODBYE, framed(b"<presence/>"))
        self.assertEqual(self.wire.code, 1001)
        self.assertTrue(self.wire.disconnecting)
        self.assertIsNone(self.client_.stream.handler)
        self.assertEqual(len(self.lab.clients), 0)
        self.gone()

    def test_client_closes_the_websocket_of_a_session(self) -> None:
        """TLS would wait for who writes; the session says later that it writes no more, as ever."""
        self.client_.bind()
        self.assertIsNotNone(self.wire.producer)
        self.say(GOODBYE)
        self.assertIsNone(self.wire.producer)
        self.client_.stream.transport.unregisterProducer()

    def test_refused_before_the_header(self) -> None:
        """The header comes first, if it is still due (RFC 7395 §3.5)."""
        self.say(framed(b"<presence/>"))
        names = [message[1:14].split()[0] for message in self.wire.messages]
        self.assertEqual(names, [b"open", b"stream:error", b"close"])
        self.assertEqual(self.wire.code, 1008)

    def test_refused_has_time_to_read_why(self) -> None:
        answer = self.say(b"\x01\x00")
        self.assertEqual(errors(answer), [b"bad-format"])
        self.assertEqual(self.wire.code, 1002)
        self.assertFalse(self.wire.disconnecting)
        self.say(b"and so on", GOODBYE)
        self.lab.clock.advance(LINGER)
        self.assertTrue(self.wire.disconnecting)
        self.lab.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.wire.aborted)
        self.gone()

    def test_a_stranger_says_too_much(self) -> None:
        """Of a message that has not ended."""
        self.client_.send(HEADER)
        large = framed(b"<message>" + b"x" * 2 * LARGEST_OF_STRANGER)
        first, more = large[:LARGEST_OF_STRANGER], large[LARGEST_OF_STRANGER : LARGEST_OF_STRANGER + 100]
        self.assertEqual(self.say(first), b"")
        self.assertEqual(errors(self.say(more)), [b"policy-violation"])
        self.assertEqual(self.wire.code, 1009)

    def test_what_comes_behind_the_end_is_nothing(self) -> None:
        self.client_.send(HEADER)
        self.say(framed(CLOSE), framed(b"<presence/>"), framed(b"x", opcode=9))
        self.assertEqual(self.say(framed(b"<presence/>"), b"\x01\x00"), b"")
        self.gone()

    def test_what_comes_behind_a_refusal_is_not_looked_at(self) -> None:
        looked_at: list[bytes] = []
        stream_bytes = Incoming.stream_bytes

        def counted(incoming: Incoming, message: bytes) -> bytes:
            looked_at.append(message)
            return stream_bytes(incoming, message)

        self.patch(Incoming, "stream_bytes", counted)
        self.client_.send(HEADER)
        self.assertEqual(errors(self.say(framed(b"<b/>") * 500)), [b"not-authorized"])
        self.assertEqual(len(looked_at), 2)
        self.say(framed(b"<b/>") * 500, GOODBYE)
        self.assertEqual((len(looked_at), self.wire.disconnecting), (2, True))
        self.gone()

    def test_what_is_no_xml_never_goes_out(self) -> None:
        self.client_.send(HEADER)
        self.client_.stream.write(b"<message></presence>")
        self.assertEqual(self.wire.take(), b"")
        self.assertEqual(self.wire.code, 1011)

    def test_a_fault_of_ours(self) -> None:
        self.client_.send(HEADER)
        self.client_.connection.upper._frames = None
        self.say(framed(b"<presence/>"))
        self.assertEqual(len(self.flushLoggedErrors(AssertionError)), 1)


class PingTests(TransportTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client_ = self.client()
        self.wire = self.client_.wire
        self.lab.context.limits = self.lab.settings.limits
        self.client_.bind()

    def ping(self, payload: bytes = b"x") -> None:
        self.client_.connection.dataReceived(framed(payload, opcode=9))

    def test_answered(self) -> None:
        self.ping(b"abc")
        self.assertEqual(self.events(self.wire), [Pong(b"abc")])

    def test_only_the_last_one_if_the_client_does_not_read(self) -> None:
        self.wire.push_producer.pauseProducing()
        for number in range(50):
            self.ping(b"%d" % number)
        self.assertEqual(self.events(self.wire), [])
        self.wire.push_producer.resumeProducing()
        self.assertEqual(self.events(self.wire), [Pong(b"49")])

    def test_a_million(self) -> None:
        self.client_.connection.dataReceived(framed(b"", opcode=9) * (MAX_IDLE + 1))
        events = self.events(self.wire)
        self.assertEqual(len([event for event in events if isinstance(event, Pong)]), MAX_IDLE)
        close = events[-1]
        assert isinstance(close, CloseConnection)
        self.assertEqual(close.code, 1008)

    def test_white_space_of_the_server_is_a_ping(self) -> None:
        assert self.client_.server is not None
        self.client_.server.dataReceived(b" ")
        self.assertEqual(self.events(self.wire), [Ping(b"")])

    def test_who_is_told_nothing_is_pinged(self) -> None:
        self.events(self.wire)
        self.lab.clock.advance(LOOK_EVERY)  # something was said before
        self.lab.clock.advance(LOOK_EVERY)
        self.assertEqual(self.events(self.wire), [Ping(b"")])
        self.client_.connection.dataReceived(framed(b"", opcode=10))
        for _ in range(3 * UNHEARD):
            self.lab.clock.advance(LOOK_EVERY)
            self.client_.connection.dataReceived(framed(b"", opcode=10))
        self.assertFalse(self.wire.closing)

    def test_sooner_than_nginx_gives_up(self) -> None:
        """Its `proxy_read_timeout` is 60 seconds by default; what was said right behind a look counts for the next."""
        self.assertLess(2 * LOOK_EVERY, 60.0)

    def test_who_says_nothing_is_given_up(self) -> None:
        for _ in range(UNHEARD):
            self.lab.clock.advance(LOOK_EVERY)
            self.assertFalse(self.wire.aborted)
        self.lab.clock.advance(LOOK_EVERY)
        self.assertTrue(self.wire.aborted)

    def test_not_who_is_not_let_say_anything(self) -> None:
        self.client_.connection.upper.pauseProducing()
        for _ in range(2 * UNHEARD):
            self.lab.clock.advance(LOOK_EVERY)
        self.assertFalse(self.wire.aborted)


class StandaloneTests(TransportTestCase):
    def test_session_knows_what_kind_of_connection_it_has(self) -> None:
        """It may be resumed by one of another kind."""
        client = self.client()
        session = client.bind()
        self.assertTrue(session.standalone)
        previd = client.send(ENABLE).partition(b" id='")[2].partition(b"'")[0]
        client.vanish()
        by_tcp = LabClient(self.lab, True, "192.0.2.1")
        by_tcp.log_in()
        by_tcp.send(resume(previd))
        self.assertIs(by_tcp.session, session)
        self.assertFalse(session.standalone)


class TrustedTests(TransportTestCase):
    def test_networks(self) -> None:
        place = WebSocket(endpoint="tcp:0", tls="proxy", trusted_proxies=(ip_network("10.0.0.0/24"),))
        port = WebSocketFactory(self.lab.clients, place)
        for address, trusted in (("10.0.0.7", True), ("::ffff:10.0.0.7", True), ("10.0.1.7", False)):
            wire = Wire(peerAddress=IPv4Address("TCP", address, 40000))
            port.buildProtocol(None).makeConnection(wire)
            self.assertIs(wire.aborted, not trusted, address)
