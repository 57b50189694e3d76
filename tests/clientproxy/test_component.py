"""The component stream: handshake, several servers, refusals, reconnecting, joined writes; over memory transports."""

import itertools
from hashlib import sha1

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import formatEvent
from twisted.python.failure import Failure
from twisted.trial import unittest
from zope.interface import implementer

from minimixproxy.clientproxy import ClientProxyService, component
from minimixproxy.safety_net import NET
from minimixproxy.wire.stanza import parse_stanza
from minimixproxy.wire.xmlstream import FramedXmlStream
from tests.clientproxy.scene import ALICE, DOMAIN, QUERY, TARGET, settings
from tests.log_events import log_events
from tests.wires import Wire

HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' "
    b"xmlns:stream='http://etherx.jabber.org/streams' id='s1' from='proxy.example.org'>"
)
ERROR = "<stream:error><{} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"


@implementer(IStreamClientEndpoint)
class Endpoint:
    """A server to connect to: refuses, or keeps what was connected."""

    def __init__(self, log: list[str], name: str) -> None:
        self.log = log
        self.name = name
        self.refuses = False
        self.streams: list[FramedXmlStream] = []

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        self.log.append(self.name)
        if self.refuses:
            return fail(ConnectionRefusedError())
        stream: object = protocolFactory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 5347))
        assert isinstance(stream, FramedXmlStream)
        stream.makeConnection(Wire())
        self.streams.append(stream)
        return succeed(stream)


class Slow(FileDescriptor):
    """A real transport but for its socket, which takes nothing until `all_is_taken`."""

    def __init__(self) -> None:
        super().__init__(self)  # type: ignore[arg-type]  # where it asks to be told when it can write
        self.connected = 1
        self.ended = False
        self._writing = False
        self.write(b"before")

    def addWriter(self, _writer: object) -> None:
        self._writing = True

    def removeWriter(self, _writer: object) -> None:
        self._writing = False

    def removeReader(self, _reader: object) -> None:
        """It is not read from."""

    def writeSomeData(self, data: bytes) -> int:
        return len(data)

    def abortConnection(self) -> None:
        """It would end at once."""

    def all_is_taken(self) -> None:
        """What a reactor does as long as somebody wants to write."""
        while self._writing and not self.ended:
            self.ended = self.doWrite() is not None


class ComponentCase(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.tried: list[str] = []
        self.one, self.two = Endpoint(self.tried, "one"), Endpoint(self.tried, "two")
        self.events = log_events(self)

    def start(self, *endpoints: Endpoint) -> ClientProxyService:
        servers = endpoints or (self.one,)
        service = ClientProxyService(settings(), self.clock)
        service._endpoints = servers
        service.startService()
        return service

    def handshake(self, endpoint: Endpoint, more: bytes = b"") -> FramedXmlStream:
        """Let the server accept; return the stream."""
        stream = endpoint.streams[-1]
        stream.transport.clear()
        stream.dataReceived(HEADER)
        proof = sha1(b"s1s3cret").hexdigest().encode()
        self.assertEqual(stream.transport.value(), b"<handshake>" + proof + b"</handshake>")
        stream.transport.clear()
        stream.dataReceived(b"<handshake/>" + more)
        return stream

    def lose(self, stream: FramedXmlStream) -> None:
        stream.connectionLost(Failure(ConnectionLost()))

    def advance(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.clock.advance(1)

    def explanations(self) -> list[str]:
        return [event["explanation"] for event in self.events if "explanation" in event]


class StatusTests(ComponentCase):
    def test_what_is_sent_without_a_stream_is_dropped(self) -> None:
        """The next stream is another: whoever asked was told, and a late stanza would mislead."""
        service = self.start()
        service.send(b"<message id='before'/>")
        stream = self.handshake(self.one)
        self.assertNotIn(b"before", stream.transport.value())
        service.send(b"<message id='within'/>")
        self.assertIn(b"<message id='within'/>", stream.transport.value())
        self.lose(stream)
        service.send(b"<message id='between'/>")
        self.advance(60)
        self.assertNotIn(b"between", self.handshake(self.one).transport.value())

    def test_what_the_operator_is_told(self) -> None:
        service = self.start()
        told = {"domain": DOMAIN, "connected": False, "resources": 0, "requests": 0, "targets": {TARGET: "asking"}}
        told |= {"holder": None, "standing_by": False}
        self.assertEqual(service.status(), told)
        stream = self.handshake(self.one)
        for said in (
            f"<presence type='subscribed' from='{TARGET}' to='{DOMAIN}'/>",
            f"<presence from='{TARGET}/a' to='{DOMAIN}'/>",
            f"<presence from='{TARGET}/b' to='{DOMAIN}'/>",
            f"<iq type='get' id='1' from='{ALICE}' to='{DOMAIN}'>{QUERY}</iq>",
        ):
            stream.dataReceived(said.encode())
        told = {"domain": DOMAIN, "connected": True, "resources": 2, "requests": 3, "targets": {TARGET: "subscribed"}}
        told |= {"holder": None, "standing_by": False}
        self.assertEqual(service.status(), told, "two questions of our own for features, and one of a user")


class HandshakeTests(ComponentCase):
    def test_handshake_then_the_target_is_asked(self) -> None:
        self.start()
        stream = self.one.streams[0]
        self.assertIn(b"to='proxy.example.org'", stream.transport.value())
        self.assertIn(b"xmlns='jabber:component:accept'", stream.transport.value())
        self.handshake(self.one)
        sent = stream.transport.value()
        self.assertEqual(
            sent, b"<presence from='proxy.example.org' to='worker@example.org' type='subscribe'></presence>"
        )

    def test_stanzas_right_behind_the_handshake_are_not_lost(self) -> None:
        self.start()
        ping = f"<iq type='get' id='p' from='{ALICE}' to='{DOMAIN}'><ping xmlns='urn:xmpp:ping'/></iq>"
        stream = self.handshake(self.one, ping.encode())
        self.assertIn(b"<iq type='result' id='p'", stream.transport.value())

    def test_a_wrong_secret_is_named_and_not_hammered(self) -> None:
        self.start()
        stream = self.one.streams[0]
        stream.dataReceived(HEADER + ERROR.format("not-authorized").encode())
        self.lose(stream)
        self.assertEqual(self.explanations(), ["the secret is wrong"])
        self.advance(component.FIRST_RETRY - 1)
        self.assertEqual(len(self.tried), 1)
        self.advance(component.FIRST_RETRY * 0.2 + 2)
        self.assertEqual(len(self.tried), 2)

    def test_one_that_refuses_again_and_again_is_asked_less_and_less(self) -> None:
        """First soon, as the operator may be mending it; and soon again when it had been mended meanwhile."""
        self.start()
        self.assertEqual([round(self.refused(), -1) for _ in range(7)], [20, 30, 60, 120, 240, 300, 300])
        self.lose(self.handshake(self.one))
        self.advance(3)
        self.assertEqual(round(self.refused(), -1), 20)

    def refused(self) -> float:
        """Have the server refuse the secret; how long it takes until it is asked again, in seconds."""
        before, count = self.clock.seconds(), len(self.tried)
        self.one.streams[-1].dataReceived(HEADER + ERROR.format("not-authorized").encode())
        self.lose(self.one.streams[-1])
        while len(self.tried) == count:
            self.advance(1)
        return self.clock.seconds() - before

    def test_the_secret_is_in_no_log(self) -> None:
        self.test_a_wrong_secret_is_named_and_not_hammered()
        self.assertNotIn("s3cret", repr(self.events))

    def test_other_refusals(self) -> None:
        for condition in ("host-unknown", "conflict"):
            self.start()
            stream = self.one.streams[-1]
            stream.dataReceived(HEADER + ERROR.format(condition).encode())
            self.lose(stream)
        self.assertEqual(len(self.explanations()), 2)

    def test_a_conflict_is_tried_again_soon(self) -> None:
        """The other connection may be one of ours that the server has not yet noticed to be gone."""
        self.start()
        stream = self.one.streams[-1]
        stream.dataReceived(HEADER + ERROR.format("conflict").encode())
        self.lose(stream)
        self.advance(3)
        self.assertEqual(self.tried, ["one", "one"])

    def test_one_that_accepts_makes_up_for_one_that_refuses(self) -> None:
        self.start(self.one, self.two)
        stream = self.one.streams[0]
        stream.dataReceived(HEADER + ERROR.format("not-authorized").encode())
        self.lose(stream)
        self.clock.advance(0)
        self.lose(self.handshake(self.two))
        self.advance(3)
        self.assertEqual(self.tried, ["one", "two", "one"])

    def test_after_a_refusal_the_other_servers_are_still_tried(self) -> None:
        self.start(self.one, self.two)
        stream = self.one.streams[0]
        stream.dataReceived(HEADER + ERROR.format("not-authorized").encode())
        self.lose(stream)
        self.clock.advance(0)
        self.assertEqual(self.tried, ["one", "two"])

    def test_a_refusal_counts_whatever_another_server_says(self) -> None:
        self.start(self.one, self.two)
        for endpoint, condition in ((self.one, "not-authorized"), (self.two, "conflict")):
            endpoint.streams[0].dataReceived(HEADER + ERROR.format(condition).encode())
            self.lose(endpoint.streams[0])
            self.clock.advance(0)
        self.advance(component.FIRST_RETRY - 1)
        self.assertEqual(self.tried, ["one", "two"])

    def test_no_answer_to_the_handshake(self) -> None:
        self.start()
        stream = self.one.streams[0]
        stream.dataReceived(HEADER)
        self.clock.advance(component.HANDSHAKE_TIMEOUT)
        self.assertTrue(stream.transport.aborted)

    def test_what_came_in_time(self) -> None:
        self.start()
        stream = self.handshake(self.one)
        self.clock.advance(component.HANDSHAKE_TIMEOUT)
        self.assertFalse(stream.transport.aborted)

    def test_a_stanza_before_it_that_cannot_be_used(self) -> None:
        self.start()
        stream = self.one.streams[0]
        stream.dataReceived(HEADER)
        stream.transport.clear()
        large = "x" * (512 * 1024)
        for name, kind in (("iq", "result"), ("iq", "get"), ("message", "chat")):
            stream.dataReceived(f"<{name} type='{kind}' id='1' from='{ALICE}' to='{DOMAIN}'>{large}</{name}>".encode())
        self.assertEqual(stream.transport.value(), b"")
        stream.dataReceived(b"<handshake/>")
        self.assertIn(b"type='subscribe'", stream.transport.value())

    def test_an_id_that_no_answer_can_bear(self) -> None:
        """However large, and in however many pieces: it is left out, once, and the stream goes on."""
        self.start()
        stream = self.handshake(self.one)
        sent = self.patch_refused()
        for length in (80_000, 85_000, 86_000, 87_200, 88_000, 200_000):
            for kind in ("get", "unknown", "result"):
                data = f"<iq type='{kind}' id='{'&apos;' * length}' from='{ALICE}' to='{DOMAIN}'><q xmlns='x'/></iq>"
                stream.transport.clear()
                for begin in range(0, len(data), 60_000):
                    stream.dataReceived(data[begin : begin + 60_000].encode())
                self.assertLess(len(stream.transport.value()), 524288, (length, kind))
                self.assertLessEqual(len(sent), 1, (length, kind))
                sent.clear()
        self.assertFalse(stream.transport.aborted)
        stream.transport.clear()
        ping = f"<iq type='get' id='1' from='{ALICE}' to='{DOMAIN}'><ping xmlns='urn:xmpp:ping'/></iq>"
        stream.dataReceived(ping.encode())
        self.assertIn(b"type='result'", stream.transport.value())

    def patch_refused(self) -> list[str]:
        """What the server is not sent for its size."""
        found: list[str] = []
        refuse = component.ComponentStream._refuse

        def noted(stream: component.ComponentStream, data: bytes, fault: str) -> None:
            found.append(fault)
            refuse(stream, data, fault)

        self.patch(component.ComponentStream, "_refuse", noted)
        return found

    def test_a_connection_that_is_cut_off_is_noticed(self) -> None:
        """By TCP; and what is written goes out at once. A UNIX socket has neither."""
        told: list[tuple[str, object]] = []
        for name in ("setTcpKeepAlive", "setTcpNoDelay"):
            setattr(Wire, name, lambda _self, value, name=name: told.append((name, value)))
            self.addCleanup(delattr, Wire, name)
        self.start()
        self.handshake(self.one)
        self.assertEqual(told, [("setTcpKeepAlive", True), ("setTcpNoDelay", True)])


class ReconnectTests(ComponentCase):
    def test_servers_in_turn_then_a_growing_pause(self) -> None:
        self.one.refuses = self.two.refuses = True
        self.start(self.one, self.two)
        pauses = []
        for _ in range(8):
            self.clock.advance(0)
            rounds, begun = len(self.tried), self.clock.seconds()
            self.assertEqual(self.tried, ["one", "two"] * (rounds // 2))
            while len(self.tried) == rounds:
                self.clock.advance(0.25)
            pauses.append(self.clock.seconds() - begun)
        self.assertTrue(all(later > earlier for earlier, later in itertools.pairwise(pauses[:5])), pauses)
        self.assertLessEqual(max(pauses), 62)

    def test_the_servers_of_the_configuration(self) -> None:
        reactor = MemoryReactorClock()
        service = ClientProxyService(settings(server=["tcp:127.0.0.1:5347", "tcp:127.0.0.2:5348"]), reactor)
        service.startService()
        while len(reactor.tcpClients) < 4:
            reactor.connectors[-1].stopConnecting()
            _host, _port, factory, *_ = reactor.tcpClients[-1]
            factory.clientConnectionFailed(reactor.connectors[-1], Failure(ConnectionRefusedError()))
            reactor.advance(3)
        addresses = [client[:2] for client in reactor.tcpClients]
        self.assertEqual(addresses, [("127.0.0.1", 5347), ("127.0.0.2", 5348)] * 2)
        service.stopService()

    def test_after_a_loss_it_comes_back_and_asks_anew(self) -> None:
        self.start(self.one, self.two)
        stream = self.handshake(self.one)
        self.lose(stream)
        self.assertEqual(self.tried, ["one"], "not at once")
        self.advance(3)
        self.assertEqual(self.tried, ["one", "one"])
        stream = self.handshake(self.one)
        self.assertIn(b"type='subscribe'", stream.transport.value())

    def test_nobody_is_believed_before_the_next_handshake(self) -> None:
        service = self.start()
        self.lose(self.handshake(self.one))
        self.advance(3)
        stream = self.one.streams[-1]
        stream.dataReceived(HEADER + f"<presence from='{TARGET}/a' to='{DOMAIN}'/>".encode())
        self.assertEqual(service.status()["resources"], 0)

    def test_what_was_to_go_out_on_a_stream_goes_with_it(self) -> None:
        self.start()
        stream = self.handshake(self.one)
        stream.transport.abortConnection = lambda: self.lose(stream)
        ping = f"<iq type='get' id='old' from='{ALICE}' to='{DOMAIN}'><ping xmlns='urn:xmpp:ping'/></iq>".encode()
        stream.dataReceived(ping + b"<iq></message>" + ping)
        self.advance(3)
        self.assertNotIn(b"old", self.handshake(self.one).transport.value())

    def test_a_server_that_drops_it_in_the_middle_of_a_stanza(self) -> None:
        service = self.start()
        stream = self.handshake(self.one)
        stream.dataReceived(f"<presence from='{TARGET}/a' to='{DOMAIN}'/>".encode())
        stream.dataReceived(f"<iq type='get' id='1' from='{ALICE}' to='{DOMAIN}'>{QUERY}</iq>".encode())
        stream.dataReceived(f"<iq type='get' id='2' from='{ALICE}' to='{DOMAIN}'><que".encode())
        self.lose(stream)
        self.assertEqual([request.id for request in service.proxy.domain.requests.all() if request.asker], ["1"])
        self.advance(3)
        stream = self.handshake(self.one)
        stream.transport.clear()
        stream.dataReceived(f"<presence from='{TARGET}/b' to='{DOMAIN}'/>".encode())
        self.assertIn(f"to='{TARGET}/b'".encode(), stream.transport.value())
        self.assertIn(f"from='{DOMAIN}/{ALICE}'".encode(), stream.transport.value())

    def test_time_stands_still_without_a_stream(self) -> None:
        """A request whose time runs out meanwhile is answered at the next connection."""
        service = self.start()
        stream = self.handshake(self.one)
        stream.dataReceived(f"<presence from='{TARGET}/a' to='{DOMAIN}'/>".encode())
        stream.dataReceived(f"<iq type='get' id='1' from='{ALICE}' to='{DOMAIN}'>{QUERY}</iq>".encode())
        self.one.refuses = True
        self.lose(stream)
        self.advance(200)
        self.assertEqual(len(service.proxy.domain.requests), 2)
        self.one.refuses = False
        self.advance(120)
        stream = self.handshake(self.one)
        self.advance(1)
        self.assertIn(b"remote-server-timeout", stream.transport.value())

    def test_broken_xml_from_the_server(self) -> None:
        self.start()
        stream = self.handshake(self.one)
        stream.dataReceived(b"<iq></message>")
        self.assertTrue(stream.transport.disconnecting)
        self.lose(stream)
        self.advance(3)
        self.assertEqual(len(self.tried), 2)

    def test_the_servers_goodbye(self) -> None:
        self.start()
        stream = self.handshake(self.one)
        stream.dataReceived(ERROR.format("system-shutdown").encode())
        self.assertTrue(stream.transport.disconnecting)
        self.lose(stream)
        self.advance(3)
        self.assertEqual(len(self.tried), 2)
        self.assertEqual(self.explanations(), [])


class WritingTests(ComponentCase):
    def test_what_one_read_causes_is_one_write(self) -> None:
        self.start()
        stream = self.handshake(self.one)
        stream.dataReceived(f"<presence from='{TARGET}/a' to='{DOMAIN}'/>".encode())
        writes: list[bytes] = []
        stream.transport.write = writes.append
        request = f"<iq type='get' id='1' from='{ALICE}' to='{DOMAIN}'>{QUERY}</iq>".encode()
        stream.dataReceived(request * 10)
        self.assertEqual(len(writes), 1)
        self.assertEqual(writes[0].count(b"<iq "), 10)

    def test_white_space_keeps_the_connection(self) -> None:
        self.start()
        stream = self.handshake(self.one)
        stream.transport.clear()
        self.advance(61)
        self.assertEqual(stream.transport.value(), b" ")

    def test_a_server_that_does_not_read_is_given_up(self) -> None:
        self.patch(component, "MAX_BACKLOG", 10_000)
        self.start()
        stream = self.handshake(self.one)
        ping = f"<iq type='get' id='p' from='{ALICE}' to='{DOMAIN}'><ping xmlns='urn:xmpp:ping'/></iq>".encode()
        stream.dataReceived(ping * 200)
        self.assertFalse(stream.transport.aborted)
        stream.transport.producer.pauseProducing()
        stream.dataReceived(ping * 10)
        stream.transport.producer.resumeProducing()
        stream.dataReceived(ping * 200)
        self.assertFalse(stream.transport.aborted)
        stream.transport.producer.pauseProducing()
        stream.transport.clear()
        stream.dataReceived(ping * 200)
        self.assertEqual((stream.transport.aborted, stream.transport.value()), (True, b""))

    def test_how_much_a_server_may_leave_unread(self) -> None:
        self.start()
        stream = self.handshake(self.one)
        ping = f"<iq type='get' id='p' from='{ALICE}' to='{DOMAIN}'><ping xmlns='urn:xmpp:ping'/></iq>".encode()
        stream.transport.clear()
        stream.dataReceived(ping)
        self.patch(component, "MAX_BACKLOG", 2 * len(stream.transport.value()))
        stream.transport.producer.pauseProducing()
        for aborted in (False, False, True):
            stream.dataReceived(ping)
            self.assertIs(stream.transport.aborted, aborted)

    def test_what_another_connection_did_not_take_does_not_count(self) -> None:
        self.patch(component, "MAX_BACKLOG", 10_000)
        self.start()
        ping = f"<iq type='get' id='p' from='{ALICE}' to='{DOMAIN}'><ping xmlns='urn:xmpp:ping'/></iq>".encode()
        stream = self.handshake(self.one)
        stream.transport.producer.pauseProducing()
        stream.dataReceived(ping * 10)
        self.lose(stream)
        self.advance(3)
        stream = self.handshake(self.one)
        stream.dataReceived(ping * 200)
        self.assertFalse(stream.transport.aborted)
        self.assertEqual(stream.transport.value().count(b"type='result'"), 200)

    def test_a_read_that_causes_nothing(self) -> None:
        self.start()
        stream = self.handshake(self.one)
        writes: list[bytes] = []
        stream.transport.write = writes.append
        stream.dataReceived(f" <message type='headline' from='{ALICE}' to='{DOMAIN}'/>".encode())
        self.assertEqual(writes, [])

    def test_nothing_is_kept_for_later(self) -> None:
        service = self.start()
        service.send(b"<message/>")
        stream = self.handshake(self.one)
        self.assertNotIn(b"<message/>", stream.transport.value())


class FaultTests(ComponentCase):
    def test_a_fault_of_ours_costs_one_stanza(self) -> None:
        service = self.start()
        stream = self.handshake(self.one)
        stream.transport.clear()
        self.patch(service.proxy.messages, "_user_writes", lambda *_arguments: 1 / 0)
        ping = f"<iq type='get' id='p' from='{ALICE}' to='{DOMAIN}'><ping xmlns='urn:xmpp:ping'/></iq>"
        stream.dataReceived(f"<message from='{ALICE}' to='{DOMAIN}'><body>secret words</body></message>{ping}".encode())
        self.assertIn(b"<iq type='result' id='p'", stream.transport.value())
        self.assertFalse(stream.transport.disconnecting)
        (fault,) = [formatEvent(event) for event in self.events if "digest" in event]
        self.assertIn("ZeroDivisionError", fault)
        self.assertNotIn("secret words", repr(self.events))

    def test_a_fault_of_ours_does_not_stop_the_time(self) -> None:
        """Nobody would be told any more that no answer came."""
        service = self.start()
        stream = self.handshake(self.one)
        self.patch(service.proxy.iqs, "tick", lambda: 1 / 0)
        ticks: list[float] = []
        self.patch(service.proxy.presences, "tick", lambda: ticks.append(self.clock.seconds()))
        for _ in range(3):
            self.clock.advance(1)
        self.assertEqual(len(ticks), 3, "what has no fault goes on")
        faults = [formatEvent(event) for event in self.events if event.get("log_failure")]
        self.assertEqual(len(faults), 3)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)
        stream.connectionLost(Failure(ConnectionLost()))
        self.clock.advance(1)
        self.assertEqual(len(ticks), 3)

    def test_a_header_with_an_address_that_is_none(self) -> None:
        """Twisted raises at it; the stream is given up, and the next server tried."""
        self.start(self.one, self.two)
        (stream,) = self.one.streams
        stream.dataReceived(HEADER.replace(b"from='", b"version='1.0' from='@@"))
        self.assertTrue(stream.transport.aborted)
        stream.connectionLost(Failure(ConnectionLost()))
        self.clock.advance(0)
        self.assertEqual(self.tried, ["one", "two"])
        self.assertEqual([event for event in self.events if event["log_level"].name in ("error", "critical")], [])

    def test_what_is_no_stanza(self) -> None:
        self.start()
        stream = self.handshake(self.one)
        stream.transport.clear()
        stream.dataReceived(b"<odd xmlns='urn:odd'/> \n<iq xmlns='urn:odd'/>")
        self.assertEqual(stream.transport.value(), b"")
        self.assertFalse(stream.transport.disconnecting)


class StoppingTests(ComponentCase):
    def test_while_connecting(self) -> None:
        cancelled: list[object] = []
        self.patch(self.one, "connect", lambda _factory: Deferred(cancelled.append))
        service = self.start()
        self.assertIsNone(service.stopService())
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_before_the_handshake_is_answered(self) -> None:
        service = self.start()
        stopped = service.stopService()
        self.assertTrue(self.one.streams[0].transport.disconnecting)
        self.lose(self.one.streams[0])
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_says_goodbye_and_leaves_nobody_waiting(self) -> None:
        service = self.start()
        stream = self.handshake(self.one)
        stream.dataReceived(f"<presence from='{TARGET}/a' to='{DOMAIN}'/>".encode())
        stream.dataReceived(f"<iq type='get' id='1' from='{ALICE}' to='{DOMAIN}'>{QUERY}</iq>".encode())
        stream.transport.clear()
        stopped = service.stopService()
        self.assertIn(b"recipient-unavailable", stream.transport.value())
        self.assertTrue(stream.transport.value().endswith(b"</stream:stream>"))
        self.assertNoResult(stopped)
        self.lose(stream)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_connection_that_has_paused_its_producer_ends(self) -> None:
        """Over a real transport: with all written, one with a paused producer would tell it to go on, and stay."""
        for ends in ("stop", "goodbye", "goodbye and stop"):
            service = self.start()
            stream = self.handshake(self.one)
            transport = Slow()
            transport.registerProducer(stream.transport.producer, True)
            stream.transport = transport
            stream.transport.producer.pauseProducing()
            transport.producerPaused = True
            if ends != "stop":
                stream.dataReceived(ERROR.format("reset").encode())
            if "stop" in ends:
                service.stopService()
            self.assertFalse(transport.ended, ends)
            transport.all_is_taken()
            self.assertTrue(transport.ended, ends)
            if "stop" not in ends:
                service.stopService()
            self.lose(stream)

    def test_does_not_wait_for_a_server_that_hangs(self) -> None:
        service = self.start()
        stream = self.handshake(self.one)
        service.stopService()
        self.clock.advance(component.STOP_TIMEOUT)
        self.assertTrue(stream.transport.aborted)

    def test_between_connections(self) -> None:
        self.one.refuses = True
        service = self.start()
        self.assertIsNone(service.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])


class SizeTests(ComponentCase):
    """A stanza that is too large, or grows too large by its translated addresses, costs nobody the domain."""

    LARGE = "x" * (512 * 1024)

    def connected(self) -> FramedXmlStream:
        self.start()
        stream = self.handshake(self.one)
        stream.transport.clear()
        return stream

    def test_too_large_to_come(self) -> None:
        service = self.start()
        stream = self.handshake(self.one)
        stream.transport.clear()
        ping = f"<iq type='get' id='p' from='{ALICE}' to='{DOMAIN}'><ping xmlns='urn:xmpp:ping'/></iq>"
        skipped = NET.skipped
        stream.dataReceived(f"<iq type='get' id='q' from='{ALICE}' to='{DOMAIN}'>{self.LARGE}</iq>{ping}".encode())
        self.assertEqual(NET.skipped, skipped + 1)
        sent = stream.transport.value()
        self.assertIn(b"<iq type='error' from='proxy.example.org' to='alice@example.org/phone' id='q'>", sent)
        self.assertIn(b"policy-violation", sent)
        self.assertIn(b"<iq type='result' id='p'", sent)
        self.assertFalse(stream.transport.aborted)
        self.assertEqual(sum(service.proxy.domain.dropped.values()), 1, "it is counted")

    def test_too_large_to_go(self) -> None:
        stream = self.connected()
        worker = f"{TARGET}/w"
        stream.dataReceived(f"<presence from='{worker}' to='{DOMAIN}'/>".encode())
        stream.transport.clear()
        payload = "<query xmlns='urn:x'>" + "x" * (512 * 1024 - 16 * 1024 - 100) + "</query>"
        stream.dataReceived(f"<iq type='get' id='q' from='{ALICE}' to='{DOMAIN}'>{payload}</iq>".encode())
        self.clock.advance(0)
        sent = stream.transport.value()
        self.assertLess(len(sent), 10_000)
        self.assertIn(b"policy-violation", sent)
        self.assertIn(b"to='alice@example.org/phone'", sent)

    def test_what_is_too_large_is_answered_if_it_may_be(self) -> None:
        stream = self.connected()
        for name, kind, answered in (
            ("iq", "get", True),
            ("iq", "set", True),
            ("message", "chat", True),
            ("message", "error", False),
            ("message", "result", False),
            ("presence", "probe", True),
            ("presence", "error", False),
            ("odd", "get", False),
        ):
            for text in (f"<x>{self.LARGE}</x>", f"<x>{'<a/>' * 30_000}</x>") if name == "iq" else (self.LARGE,):
                attributes = f"type='{kind}' id='q' from='{ALICE}' to='{DOMAIN}'"
                stream.dataReceived(f"<{name} {attributes}>{text}</{name}>".encode())
                sent, wanted = stream.transport.value(), f"<{name} type='error' from='{DOMAIN}' to='{ALICE}' id='q'>"
                self.assertEqual(sent.startswith(wanted.encode()), answered, (name, kind))
                self.assertEqual(bool(sent), answered, (name, kind))
                stream.transport.clear()

    def test_an_answer_that_cannot_be_used(self) -> None:
        """Too large to come, to be read, or to go: who asked is told that it is an error."""
        for kind, text in (
            ("result", f"<x>{self.LARGE}</x>"),
            ("error", f"<x>{self.LARGE}</x>"),
            ("result", f"<x>{'<a/>' * 30_000}</x>"),
            ("result", f"<x>{self.LARGE[: -16 * 1024]}</x>"),
        ):
            stream = self.connected()
            worker = f"{TARGET}/w"
            stream.dataReceived(f"<presence from='{worker}' to='{DOMAIN}'/>".encode())
            stream.transport.clear()
            stream.dataReceived(f"<iq type='get' id='q' from='{ALICE}' to='{DOMAIN}'>{QUERY}</iq>".encode())
            asked = parse_stanza(stream.transport.value(), "jabber:component:accept")
            stream.transport.clear()
            attributes = f"type='{kind}' id='{asked['id']}' from='{worker}' to='{asked['from']}'"
            stream.dataReceived(f"<iq {attributes}>{text}</iq>".encode())
            self.clock.advance(0)
            answer = parse_stanza(stream.transport.value(), "jabber:component:accept")
            expected = {"type": "error", "id": "q", "from": DOMAIN, "to": ALICE}
            self.assertEqual(answer.attributes, expected)
        self.assertEqual([event for event in self.events if event["log_level"].name == "critical"], [])

    def test_a_message_that_nobody_needs_to_read(self) -> None:
        """It passes, whatever it holds; only of an IQ the one payload must be known."""
        stream = self.connected()
        stream.dataReceived(f"<presence from='{TARGET}/w' to='{DOMAIN}'/>".encode())
        stream.transport.clear()
        many = "<a/>" * 30_000
        stream.dataReceived(f"<message from='{ALICE}' to='{DOMAIN}'><x>{many}</x></message>".encode())
        self.assertIn(f"to='{TARGET}/w'".encode(), stream.transport.value())
        self.assertIn(many.encode(), stream.transport.value())

    def test_nothing_to_be_read(self) -> None:
        stream = self.connected()
        many = "<a/>" * 30_000
        stream.dataReceived(f"<iq type='get' id='q' from='{ALICE}' to='{DOMAIN}'><x>{many}</x></iq>".encode())
        self.assertIn(b"policy-violation", stream.transport.value())


class SharedTests(ComponentCase):
    """The component may be another process's by now: `row_lives` says so."""

    def setUp(self) -> None:
        super().setUp()
        self.row_lives = True

    def start(self, *endpoints: Endpoint) -> ClientProxyService:
        service = ClientProxyService(settings(), self.clock, lambda: self.row_lives)
        service._endpoints = endpoints or (self.one,)
        service.startService()
        return service

    def said(self) -> list[str]:
        return [event["log_format"] for event in self.events if "is cut" in event.get("log_format", "")]

    def test_what_is_read_too_late_reaches_nobody(self) -> None:
        """A process that stood still reads what came meanwhile before it looks at the time."""
        self.start()
        stream = self.handshake(self.one)
        stream.dataReceived(f"<presence from='{TARGET}/a' to='{DOMAIN}'/>".encode())
        stream.transport.clear()
        self.row_lives = False
        stream.dataReceived(f"<iq type='get' id='1' from='{ALICE}' to='{DOMAIN}'>{QUERY}</iq>".encode())
        self.assertEqual((stream.transport.value(), stream.transport.aborted), (b"", True))
        self.assertEqual(len(self.said()), 1)

    def test_nothing_is_written_too_late(self) -> None:
        service = self.start()
        stream = self.handshake(self.one)
        stream.transport.clear()
        self.row_lives = False
        service.send(b"<message/>")
        self.assertEqual((stream.transport.value(), stream.transport.aborted), (b"", True))

    def test_no_connection_is_made_too_late(self) -> None:
        self.start()
        stream = self.handshake(self.one)
        self.row_lives = False
        self.lose(stream)
        self.advance(600)
        self.assertEqual(self.tried, ["one"])

    def test_a_handshake_that_is_answered_too_late(self) -> None:
        for late in (HEADER, b"<handshake/>"):
            self.row_lives = True
            service = self.start()
            stream = self.one.streams[-1]
            if late != HEADER:
                stream.dataReceived(HEADER)
            stream.transport.clear()
            self.row_lives = False
            stream.dataReceived(late)
            self.assertEqual((service.connected, stream.transport.aborted), (False, True), late)
            self.assertEqual(stream.transport.value(), b"", late)

    def test_the_end_comes_too_late(self) -> None:
        """Nobody is told of it, as another one may act for the component."""
        service = self.start()
        stream = self.handshake(self.one)
        stream.dataReceived(f"<iq type='get' id='1' from='{ALICE}' to='{DOMAIN}'>{QUERY}</iq>".encode())
        stream.transport.clear()
        self.row_lives = False
        stopped = service.stopService()
        self.assertEqual((stream.transport.value(), stream.transport.aborted), (b"", True))
        self.lose(stream)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_hangs_may_be_connected_still(self) -> None:
        """The server refuses us as long as that lasts: it is asked every few seconds."""
        self.one.refuses = True
        self.start()
        self.advance(120)
        self.assertTrue(20 < len(self.tried) < 40, len(self.tried))

    def test_the_server_gives_some_of_it_to_another_connection(self) -> None:
        service = self.start()
        stream = self.handshake(self.one)
        stream.dataReceived(f"<presence type='subscribed' from='{TARGET}' to='{DOMAIN}'/>".encode())
        stream.dataReceived(f"<presence from='{TARGET}/a' to='{DOMAIN}'/>".encode())
        for lost in (3, 0, 0, 0, 0):
            stream.transport.clear()
            self.advance(3)
            ours = [one for one in self.sent(stream) if f" to='{DOMAIN}'".encode() in one]
            stream.dataReceived(b"".join(ours[lost:]))
        self.assertEqual(service.status()["targets"], {TARGET: "asking"}, "it is asked anew")
        self.assertEqual(service.dropped, 0)

    @staticmethod
    def sent(stream: FramedXmlStream) -> list[bytes]:
        return [one + b"/>" for one in stream.transport.value().split(b"/>")[:-1] if one.startswith(b"<message")]
