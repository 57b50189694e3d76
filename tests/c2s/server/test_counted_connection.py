"""Connections of clients before anything is negotiated: who is ended at once, and what is counted and logged of it."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import LogEvent, formatEvent
from twisted.python.failure import Failure
from twisted.trial import unittest

from minimixproxy.c2s.server import counted_connection
from minimixproxy.c2s.server.client_port import ClientFactory
from minimixproxy.c2s.server.negotiation import NOT_LOGGED_IN, TOO_MANY, UNKNOWN, UNTRUSTED
from minimixproxy.c2s.server.websocket_port import WebSocketFactory
from minimixproxy.config.settings import Listen, WebSocket
from tests.c2s.fakeserver import expecting_header
from tests.c2s.helpers import HEADER, Lab
from tests.c2s.server.test_listener import ListenerTest
from tests.c2s.websocket.lab import PROXY, handshake
from tests.counted import Counted
from tests.log_events import log_events
from tests.wires import Wire

TCP = "tcp:0:interface=127.0.0.1"
BY_RELAY = f"haproxy:{TCP}"
WITH_HEADER = b"PROXY TCP4 192.0.2.1 192.0.2.9 1234 5222\r\n"
FROM_HERE = (ip_network("127.0.0.1"),)
REQUEST = handshake("192.0.2.1").replace(b"X-Forwarded-For: 192.0.2.1\r\n", b"")


def lines(events: list[LogEvent], word: str) -> list[str]:
    """What was logged that has this word in it."""
    return [line for event in events if word in (line := formatEvent(event))]


class EndedAtOnceTests(ListenerTest):
    """By real sockets: what Twisted puts around our connections, it makes itself."""

    def places(self) -> list[Listen | WebSocket]:
        """A port of each kind, directly and behind what wraps it."""
        own = f"ssl:0:interface=127.0.0.1:privateKey={self.domain.private_key}:certKey={self.domain.certificate}"
        return [
            *(Listen(endpoint=endpoint) for endpoint in (TCP, BY_RELAY)),
            *(Listen(endpoint=endpoint, tls="direct") for endpoint in (TCP, BY_RELAY, own, f"haproxy:{own}")),
            *(WebSocket(endpoint=endpoint, tls="direct") for endpoint in (TCP, BY_RELAY, own, f"haproxy:{own}")),
            *(
                WebSocket(endpoint=endpoint, tls="proxy", trusted_proxies=FROM_HERE)
                for endpoint in (TCP, BY_RELAY, own, f"haproxy:{own}")
            ),
        ]

    async def test_while_nobody_is_served(self) -> None:
        """As while the proxy waits for its database: the ports are bound already."""
        for place in self.places():
            service = self.start(place)
            service.clients.accepting = False
            events, counted = log_events(self), Counted(NOT_LOGGED_IN)
            client = await self.connect(self.port(service))
            await client.gone
            await service.stopService()
            self.assertEqual(self.flushLoggedErrors(), [], place.endpoint)
            self.assertEqual((client.received, len(service.clients)), (b"", 0), place.endpoint)
            self.assertEqual((counted.since(), lines(events, "Traceback")), ({}, []), place.endpoint)

    async def test_a_header_that_is_none(self) -> None:
        """Who says a port that is no number, or an address that is no text, to a port for relays is ended, no more."""
        for place in self.places():
            if not place.endpoint.startswith(BY_RELAY):
                continue
            for header in (b"PROXY TCP4 192.0.2.1 192.0.2.9 x 5222", b"PROXY TCP6 \xff ::1 1 2", b"PROXY TCP4 a b 1 "):
                service = self.start(place)
                events = log_events(self)
                client = await self.connect(self.port(service))
                client.transport.write(header)
                client.transport.write(b"\r\n" + HEADER)
                await client.gone
                await service.stopService()
                self.assertEqual(self.flushLoggedErrors(), [], (place.endpoint, header))
                self.assertEqual(len(service.clients), 0)
                self.assertEqual(len(lines(events, "said no proper header")), 1, (place.endpoint, header))

    async def test_bound_of_an_address(self) -> None:
        """As many as may be from one address, and one more."""
        for place, first in (
            (Listen(endpoint=TCP), b""),
            (Listen(endpoint=BY_RELAY), WITH_HEADER),
            (WebSocket(endpoint=TCP, tls="direct"), b""),
            (WebSocket(endpoint=BY_RELAY, tls="direct"), WITH_HEADER),
            (WebSocket(endpoint=TCP, tls="proxy", trusted_proxies=FROM_HERE), b""),
            (WebSocket(endpoint=BY_RELAY, tls="proxy", trusted_proxies=FROM_HERE), WITH_HEADER),
        ):
            by_request = isinstance(place, WebSocket) and place.tls == "proxy"
            service = self.start(place, connections_per_address=1)
            port = self.port(service)
            events, counted = log_events(self), Counted(NOT_LOGGED_IN)
            clients = [await self.connect(port)]
            clients[0].transport.write(first)
            if by_request:
                await clients[0].say(REQUEST, b" 101 ")
            elif isinstance(place, Listen):
                await clients[0].say(HEADER, b"</stream:features>")
            else:
                clients[0].bottom.start_tls(self.tls())
                await clients[0].say(REQUEST, b"HTTP/1.1 ")
            for _ in range(2):
                clients.append(await self.connect(port))
                clients[-1].transport.write(first + (REQUEST if by_request else b"x"))
                await clients[-1].gone
            name = "192.0.2.1" if first else "127.0.0.1"
            self.assertEqual(counted.since(), {(TOO_MANY,): 2}, place)
            self.assertEqual(lines(events, "too many"), [f"too many connections from {name}"], place)
            clients[0].transport.abortConnection()
            await clients[0].gone
            await service.stopService()

    async def test_silence_behind_a_relay(self) -> None:
        """The first of too many that have said nothing is ended, and who says something is not."""
        self.patch(counted_connection, "MAX_UNKNOWN", 4)
        for place in (
            Listen(endpoint=BY_RELAY),
            Listen(endpoint=BY_RELAY, tls="direct"),
            WebSocket(endpoint=BY_RELAY, tls="direct"),
            WebSocket(endpoint=BY_RELAY, tls="proxy", trusted_proxies=FROM_HERE),
        ):
            service = self.start(place)
            port = self.port(service)
            events, counted = log_events(self), Counted(NOT_LOGGED_IN)
            silent = [await self.connect(port) for _ in range(6)]
            for client in silent[:2]:
                await client.gone
            self.assertEqual(counted.since(), {(UNKNOWN,): 2}, place)
            said = f"{BY_RELAY}: 4 connections have not said whose they are; for more, the first are cut"
            self.assertEqual(lines(events, "whose they are"), [said])
            self.assertEqual([client.reason for client in silent[2:]], [None] * 4)
            for client in silent[2:]:
                client.transport.abortConnection()
                await client.gone
            await service.stopService()

    async def test_who_is_no_reverse_proxy(self) -> None:
        """It is counted, and told."""
        elsewhere = (ip_network("192.0.2.0/24"),)
        for endpoint in (TCP, BY_RELAY):
            service = self.start(WebSocket(endpoint=endpoint, tls="proxy", trusted_proxies=elsewhere))
            events, counted = log_events(self), Counted(NOT_LOGGED_IN)
            client = await self.connect(self.port(service))
            await client.gone
            self.assertEqual(counted.since(), {(UNTRUSTED,): 1})
            self.assertEqual(len(lines(events, "127.0.0.1 is not among trusted_proxies")), 1)
            await service.stopService()


class NewcomersTests(unittest.SynchronousTestCase):
    """In memory, on the ports of `[[listen]]` and of `[[websocket]]`."""

    def setUp(self) -> None:
        self.patch(counted_connection, "MAX_UNKNOWN", 4)
        self.lab = Lab(Path(self.mktemp()))

    def ports(self) -> list[tuple[Factory, bytes]]:
        """Ports behind a relay, and what makes a client known there."""
        clients = self.lab.clients
        by_request = WebSocket(endpoint=BY_RELAY, tls="proxy", trusted_proxies=(ip_network(PROXY),))
        return [
            (ClientFactory(clients, Listen(endpoint=BY_RELAY)), WITH_HEADER + HEADER),
            (WebSocketFactory(clients, WebSocket(endpoint=BY_RELAY, tls="direct")), WITH_HEADER + b"\x16"),
            (WebSocketFactory(clients, by_request), WITH_HEADER + REQUEST),
        ]

    def connect(self, port: Factory) -> tuple[Protocol, Wire]:
        """A connection by the relay."""
        connection, wire = expecting_header(port).buildProtocol(None), Wire(peerAddress=IPv4Address("TCP", PROXY, 5))
        assert isinstance(connection, Protocol)
        connection.makeConnection(wire)
        return connection, wire

    def test_silent_ones_keep_nobody_out(self) -> None:
        for port, known_by in self.ports():
            talking = []
            for _ in range(10):
                for _ in range(4):
                    self.connect(port)
                connection, wire = self.connect(port)
                connection.dataReceived(known_by)
                talking.append(wire)
            self.assertFalse([wire for wire in talking if wire.aborted], port)

    def test_only_the_header_is_not_enough(self) -> None:
        """What relays send by themselves leaves a connection as silent as it was."""
        for port, _known_by in self.ports():
            connections = [self.connect(port) for _ in range(5)]
            for connection, _wire in connections[1:]:
                connection.dataReceived(WITH_HEADER)
            self.assertEqual([wire.aborted for _, wire in connections], [True, False, False, False, False])

    def test_told_again_when_it_was_over(self) -> None:
        """A busy port always has some that have said nothing yet, so it is over when there are few."""
        for port, known_by in self.ports():
            events = log_events(self)
            connections = [self.connect(port) for _ in range(6)]
            for connection, _wire in connections[2:4]:
                connection.dataReceived(known_by)
            for _ in range(4):
                self.connect(port)
            self.assertEqual(len(lines(events, "whose they are")), 2, port)

    def test_what_stands_above_hears_nothing_of_one_that_is_refused(self) -> None:
        """It has no transport, of which it could say whose TLS has failed."""
        self.lab.clients.accepting = False
        events = log_events(self)
        for port, _known_by in self.ports():
            connection, wire = self.connect(port)
            connection.connectionLost(Failure(SSL.Error([])))
            self.assertTrue(wire.aborted)
        self.assertEqual(events, [])

    def test_those_that_are_gone_leave_their_place(self) -> None:
        for port, _known_by in self.ports():
            for connection, _wire in [self.connect(port) for _ in range(4)]:
                connection.connectionLost(Failure(ConnectionDone()))
            connections = [self.connect(port) for _ in range(4)]
            self.assertFalse([wire for _, wire in connections if wire.aborted])
