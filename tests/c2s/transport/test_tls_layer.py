"""The TLS layer: nothing is lost, whichever way bytes take through it, and however they are cut."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, ITCPTransport, IUNIXTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.test import iosim
from twisted.trial import unittest
from zope.interface import Interface, directlyProvides, implementer

from minimixproxy.c2s.session.backpressure import Backpressure
from minimixproxy.c2s.transport import connection, tls_engine, tls_layer
from minimixproxy.c2s.transport.connection import SecurableConnection
from minimixproxy.c2s.transport.tls import ServerTLS
from minimixproxy.c2s.transport.tls_layer import HANDSHAKES, RecordCounter, TLSLayer
from tests.c2s.helpers import Recorder, certified, connected, secured_pair, tls_factory
from tests.counted import Counted


def record(length: int) -> bytes:
    return b"\x17\x03\x03" + length.to_bytes(2, "big") + bytes(length)


class KernelTransport:
    """A transport, TCP's if nothing else is said, whose socket notes its options."""

    def __init__(self, *interfaces: type[Interface]) -> None:
        directlyProvides(self, ITCPTransport, *interfaces)
        self.socket = self
        self.options: list[tuple[int, ...]] = []
        self.lost = False

    def setsockopt(self, *option: int) -> None:
        if self.lost:
            raise OSError("it is gone")
        self.options.append(option)


class SilentPeerTests(unittest.SynchronousTestCase):
    def test_is_lost_after_four_minutes(self) -> None:
        """Whether it owes answers to probes, or has not acknowledged what was written to it."""
        kernel: Any = KernelTransport()
        kernel.setTcpNoDelay = kernel.setTcpKeepAlive = lambda on: self.assertTrue(on)
        transport = SecurableConnection(Recorder())
        transport.makeConnection(kernel)
        self.assertEqual({level for level, _option, _value in kernel.options}, {socket.IPPROTO_TCP})
        told = {option: value for _level, option, value in kernel.options}
        idle, pause, probes = (
            told[option] for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        self.assertEqual((idle, idle + pause * probes), (120, 240))
        self.assertEqual(told[socket.TCP_USER_TIMEOUT], 240_000)


class AcknowledgingTests(unittest.SynchronousTestCase):
    def test_what_the_kernel_is_told(self) -> None:
        kernel: Any = KernelTransport()
        layer = TLSLayer.__new__(TLSLayer)
        layer.transport = kernel
        for transport in (kernel, layer):
            acknowledge = connection.acknowledging(transport)
            self.assertEqual(kernel.options, [], "not yet")
            acknowledge()
            self.assertEqual(kernel.options, [(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)])
            kernel.options.clear()
        kernel.lost = True
        acknowledge()

    def test_nothing_elsewhere(self) -> None:
        """To Twisted, a UNIX socket's transport is a kind of TCP."""
        local: Any = KernelTransport(IUNIXTransport)
        for transport in (local, object()):
            connection.acknowledging(transport)()
        self.assertEqual(local.options, [])


class RecordCounterTest(unittest.TestCase):
    """Never too few, or data would stay inside OpenSSL."""

    @given(st.lists(st.integers(0, 700), max_size=8), st.lists(st.integers(1, 900), min_size=1, max_size=30))
    def test_every_record_once_however_cut(self, lengths: list[int], cuts: list[int]) -> None:
        data = b"".join(map(record, lengths))
        ends = [sum(5 + length for length in lengths[: number + 1]) for number in range(len(lengths))]
        counter, position, counted = RecordCounter(), 0, 0
        for size in (*cuts, len(data)):
            part = data[position : position + size]
            position += len(part)
            counted += counter.feed(part)
            self.assertEqual(counted, sum(end <= position for end in ends))

    def test_byte_by_byte(self) -> None:
        counter = RecordCounter()
        data = record(3) + record(0) + record(300)
        counts = [counter.feed(data[index : index + 1]) for index in range(len(data))]
        self.assertEqual([index for index, count in enumerate(counts) if count], [7, 12, 317])


@implementer(IOpenSSLClientConnectionCreator)
class Version:
    """A client that speaks one version of TLS and believes anything."""

    def __init__(self, version: int) -> None:
        self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self._context.set_min_proto_version(version)
        self._context.set_max_proto_version(version)

    def clientConnectionForTLS(self, _protocol: object) -> SSL.Connection:
        return SSL.Connection(self._context, None)


class Unwilling:
    """OpenSSL, which takes nothing that is written for now."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def send(self, _data: bytes) -> int:
        raise SSL.WantReadError

    def SSL_write(self, *_arguments: Any) -> int:
        return -1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class TLSLayerTest(unittest.TestCase):
    VERSIONS = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)
    SIZES = (1, 600, 16383, 16384, 16385, 70_000)

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        self.server = ServerTLS([certified("example.org", directory)], directory)
        self.server.load()

    def pair(self, version: int) -> tuple[Recorder, Recorder, iosim.IOPump]:
        client_tls = tls_factory(Version(version))
        client, server, pump = secured_pair(client_tls, self.server.factory("example.org"))
        # Tickets come with the first data of TLS 1.3.
        client.transport.write(b"?")
        pump.flush()
        server.transport.write(b"!")
        pump.flush()
        self.assertEqual((client.received, server.received), (b"!", b"?"))
        client.received = server.received = b""
        return client, server, pump

    def test_tickets_are_acknowledged_at_once(self) -> None:
        """A server with Nagle's algorithm keeps its first answer back until then; data has its answer anyway."""
        told: list[object] = []
        self.patch(connection, "acknowledging", lambda transport: lambda: told.append(transport))
        client, server, pump = self.begun(tls_factory(Version(SSL.TLS1_3_VERSION)))
        layer: Any = server.transport
        while not layer._handshakeDone:
            pump.pump()
        told.clear()
        pump.flush()
        self.assertEqual(told, [pump.client.transport])
        client.transport.write(b"?")
        server.transport.write(b"!")
        pump.flush()
        self.assertEqual(len(told), 1)

    def test_handshakes_are_counted(self) -> None:
        """Once for each end, however it went."""
        counted = Counted(HANDSHAKES)
        for version in self.VERSIONS:
            for end in self.layers(*self.pair(version)[:2]):
                end.loseConnection()
        self.assertEqual(counted.since(), {("client", "success"): 2 * len(self.VERSIONS)})
        _client, _server, pump = self.begun(tls_factory(Version(SSL.TLS1_3_VERSION)))
        pump.server.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(counted.since()["client", "failure"], 1)

    def begun(self, client_tls: TLSMemoryBIOFactory) -> tuple[Recorder, Recorder, iosim.IOPump]:
        """A client and a server that are about to shake hands."""
        uppers = (Recorder(), Recorder())
        client, server = (SecurableConnection(upper) for upper in uppers)
        pump = connected(client, server)
        server.start_tls(self.server.factory("example.org"))
        client.start_tls(client_tls)
        return (*uppers, pump)

    def layers(self, *ends: Recorder) -> Iterable[TLSLayer]:
        return (end.tls for end in ends)

    def test_a_peer_that_wants_short_records(self) -> None:
        """RFC 6066 §4: OpenSSL takes no more at once than goes into one record."""
        client, server, pump = self.pair(SSL.TLS1_3_VERSION)
        real = tls_engine._lib

        class Short:
            def SSL_write(self, ssl: Any, data: bytes, length: int) -> int:
                return int(real.SSL_write(ssl, data, min(length, 512)))

            def __getattr__(self, name: str) -> Any:
                return getattr(real, name)

        self.patch(tls_engine, "_lib", Short())
        data = os.urandom(5000)
        server.transport.write(data)
        pump.flush()
        self.assertEqual(client.received, data)

    def test_what_a_record_has_beside_its_data(self) -> None:
        """Never more than there is: by that, a client has or has not got the end of a message."""
        for version in self.VERSIONS:
            _client, server, pump = self.pair(version)
            (layer,) = self.layers(server)
            for size, records in ((1, 1), (16384, 1), (16385, 2), (70_000, 5)):
                server.transport.write(b"x" * size)
                written = sum(map(len, pump.serverIO.stream))
                self.assertEqual(written, size + records * layer.record_overhead, (version, size))
                pump.flush()
            layer.abortConnection()
            pump.flush()
            self.assertEqual(layer.record_overhead, 0)

    def exchange(self) -> None:
        """Writes of all sizes, in both directions, several to a read."""
        for version in self.VERSIONS:
            client, server, pump = self.pair(version)
            data = [os.urandom(size) for size in self.SIZES]
            for part in data:
                client.transport.write(part)
                server.transport.write(part)
            server.transport.write(b"")
            pump.flush()
            self.assertEqual(client.received, b"".join(data))
            self.assertEqual(server.received, b"".join(data))

    def test_with_the_engine(self) -> None:
        client, server, _pump = self.pair(SSL.TLS1_3_VERSION)
        for layer in self.layers(client, server):
            assert layer._engine is not None
            self.assertTrue(layer._engine.active)
        self.exchange()
        for end in (client, server):
            client.transport.write(b"?")
            server.transport.write(b"!")
            _pump.flush()
            bottom = end.tls.transport.protocol
            engine = end.tls._engine
            assert engine is not None
            self.assertEqual(bottom.dataReceived, engine.read, "nothing stands in between")
            self.assertEqual(end.transport.write, engine.write)

    def test_without_the_engine(self) -> None:
        self.patch(tls_layer, "AVAILABLE", False)
        client, _server, _pump = self.pair(SSL.TLS1_3_VERSION)
        self.assertEqual([layer._engine for layer in self.layers(client)], [None])
        self.assertEqual(client.tls.transport.protocol.dataReceived, client.tls.dataReceived)
        self.exchange()

    def buffers(self) -> list[int]:
        """Count the buffers that OpenSSL is given, from now on: one more number for each."""
        made: list[int] = []
        real = tls_engine._lib

        class Counting:
            def BIO_new(self, kind: Any) -> Any:
                made.append(1)
                return real.BIO_new(kind)

            def __getattr__(self, name: str) -> Any:
                return getattr(real, name)

        self.patch(tls_engine, "_lib", Counting())
        return made

    def test_buffers_do_not_stay_large(self) -> None:
        """OpenSSL's buffers never shrink: behind the handshake, and behind what was large, it gets others."""
        for version in self.VERSIONS:
            made = self.buffers()
            client, server, pump = self.pair(version)
            self.assertEqual(len(made), 4, "two at each end, behind the handshake")
            for size in (1, tls_engine.LARGE // 2, 1):
                server.transport.write(b"x" * size)
                pump.flush()
            self.assertEqual(len(made), 4)
            for size in (tls_engine.LARGE + 1, 16_000, 70_000):
                del made[:]
                for data in (b"x" * size, b"small"):
                    client.received = b""
                    server.transport.write(data)
                    pump.flush()
                    self.assertEqual(client.received, data)
                client.transport.write(b"answer")
                pump.flush()
                self.assertEqual(server.received[-6:], b"answer")
                self.assertEqual(len(made), 4, size)

    def test_buffers_with_something_in_them_stay(self) -> None:
        for version in self.VERSIONS:
            client, server, pump = self.pair(version)
            server.transport.write(b"x" * 10_000)
            pump.flush()
            made = self.buffers()
            server.transport.write(b"first")
            wire = b"".join(server.tls.transport.stream)
            server.tls.transport.stream.clear()
            client.tls.dataReceived(wire[:10])
            self.assertEqual(len(made), 0)
            client.tls.dataReceived(wire[10:])
            self.assertEqual((client.received[10_000:], len(made)), (b"first", 2))

    def test_byte_by_byte(self) -> None:
        for version in self.VERSIONS:
            client, server, _pump = self.pair(version)
            client.transport.write(b"first")
            client.transport.write(b"second")
            wire = b"".join(client.tls.transport.stream)
            client.tls.transport.stream.clear()
            for index in range(len(wire)):
                server.tls.dataReceived(wire[index : index + 1])
            self.assertEqual(server.received, b"firstsecond")

    def test_what_openssl_holds_back_goes_once_it_can(self) -> None:
        """It may want to read before it writes: then what comes in has to make it try again."""
        client, server, pump = self.pair(SSL.TLS1_2_VERSION)
        (layer,) = self.layers(server)
        connection, lib = layer._tlsConnection, tls_engine._lib
        layer._tlsConnection = Unwilling(connection)  # type: ignore[assignment]
        tls_engine._lib = Unwilling(lib)
        server.transport.write(b"first")
        server.transport.write(b"second")
        layer._tlsConnection, tls_engine._lib = connection, lib
        client.transport.write(b"!")
        pump.flush()
        server.transport.write(b"third")
        pump.flush()
        self.assertEqual((client.received, server.received), (b"firstsecondthird", b"!"))

    def test_what_waits_for_the_handshake_goes_first(self) -> None:
        """Even if OpenSSL holds it back once more."""
        client_tls = tls_factory(Version(SSL.TLS1_2_VERSION))
        client, server, pump = self.begun(client_tls)
        layer = server.tls
        layer.write(b"first")
        connection = layer._tlsConnection
        layer._tlsConnection = Unwilling(connection)  # type: ignore[assignment]
        while not layer._handshakeDone:
            pump.pump()
        layer._tlsConnection = connection
        client.transport.write(b"!")
        pump.flush()
        layer.write(b"second")
        pump.flush()
        self.assertEqual((client.received, server.received), (b"firstsecond", b"!"))

    def test_goodbye_behind_data(self) -> None:
        for version in self.VERSIONS:
            client, server, pump = self.pair(version)
            client.transport.write(b"last")
            client.transport.loseConnection()
            client.transport.write(b"too late")
            pump.flush()
            self.assertEqual(server.received, b"last")
            self.assertIsNotNone(server.reason)
            self.assertIsNotNone(client.reason)

    def test_goodbye_of_either_side(self) -> None:
        """Both know that nothing is missing, with the engine and without."""
        for available, version in ((True, self.VERSIONS[0]), (True, self.VERSIONS[1]), (False, self.VERSIONS[1])):
            self.patch(tls_layer, "AVAILABLE", available)
            for first, second in ((0, 1), (1, 0)):
                *ends, pump = self.pair(version)
                ends[first].transport.write(b"last")
                ends[first].transport.loseConnection()
                pump.flush()
                self.assertEqual(ends[second].received, b"last")
                for end in ends:
                    assert end.reason is not None
                    self.assertIsNotNone(end.reason.check(ConnectionDone), end.reason)

    def test_what_comes_behind_the_goodbye_changes_nothing(self) -> None:
        for together in (False, True):
            client, server, _pump = self.pair(SSL.TLS1_3_VERSION)
            wire = client.tls.transport
            client.transport.write(b"last")
            client.transport.loseConnection()
            if not together:
                server.tls.dataReceived(b"".join(wire.stream))
                wire.stream.clear()
            wire.stream.append(record(100) * 3)
            server.tls.dataReceived(b"".join(wire.stream))
            wire.stream.clear()
            server.tls.connectionLost(Failure(ConnectionDone()))
            self.assertEqual(server.received, b"last")
            assert server.reason is not None
            self.assertIsNotNone(server.reason.check(ConnectionDone), server.reason)

    def test_what_is_written_behind_the_end(self) -> None:
        """It goes nowhere, and leaves no error in OpenSSL for the next connection to meet."""
        for version in self.VERSIONS:
            for end in ("loseConnection", "abortConnection", "goodbye", "cut", "garbage"):
                client, server, pump = self.pair(version)
                if end == "goodbye":
                    client.transport.loseConnection()
                elif end == "cut":
                    client.tls.transport.loseConnection()
                elif end == "garbage":
                    client.tls.transport.write(record(100))
                else:
                    getattr(server.transport, end)()
                for _ in range(2):
                    if end in ("loseConnection", "abortConnection"):
                        server.transport.write(b"late")
                    pump.flush()
                server.transport.write(b"later")
                self.assertEqual(tls_engine._lib.ERR_peek_error(), 0, (version, end))
                self.assertEqual(client.received, b"", end)

    def test_openssl_is_asked_once_for_a_record(self) -> None:
        self.patch(tls_layer, "AVAILABLE", False)
        client, server, pump = self.pair(SSL.TLS1_3_VERSION)
        (layer,) = self.layers(server)
        asked: list[int] = []
        connection: Any = layer._tlsConnection

        class Counting:
            def recv(self, size: int) -> bytes:
                asked.append(size)
                return bytes(connection.recv(size))

            def __getattr__(self, name: str) -> Any:
                return getattr(connection, name)

        layer._tlsConnection = Counting()  # type: ignore[assignment]
        for _ in range(3):
            client.transport.write(b"x")
        pump.flush()
        self.assertEqual((server.received, len(asked)), (b"xxx", 3))

    def test_what_ends_in_the_read_in_which_tls_opens(self) -> None:
        """What is written afterwards goes nowhere, and leaves no error in OpenSSL for the next connection to meet."""
        for version in self.VERSIONS:
            for end in ("loseConnection", "abortConnection", "goodbye"):
                client_tls = tls_factory(Version(version))
                client, server, pump = self.begun(client_tls)
                layer = server.tls

                def ends(_data: bytes, layer: TLSLayer = layer, end: str = end) -> None:
                    if end != "goodbye":
                        getattr(layer, end)()
                    layer.write(b"late")

                self.patch(server, "dataReceived", ends)
                client.transport.write(b"hello")
                if end == "goodbye":
                    client.transport.loseConnection()
                pump.flush()
                layer.write(b"later")
                pump.flush()
                self.assertEqual(tls_engine._lib.ERR_peek_error(), 0, (version, end))
                self.assertNotIn(b"later", client.received)

    def test_garbage_behind_data(self) -> None:
        client, server, pump = self.pair(SSL.TLS1_3_VERSION)
        client.transport.write(b"last")
        client.tls.transport.write(record(100))
        pump.flush()
        self.assertEqual(server.received, b"last")
        assert server.reason is not None
        self.assertTrue(server.reason.check(SSL.Error))

    def test_cut_off_without_goodbye(self) -> None:
        client, server, pump = self.pair(SSL.TLS1_3_VERSION)
        client.tls.transport.loseConnection()
        pump.flush()
        assert server.reason is not None
        self.assertEqual(server.tls._tlsConnection, None)
        self.assertTrue(server.reason.check(ConnectionLost), "whoever cuts it off might hide something")

    def test_what_is_asked_of_a_lost_connection(self) -> None:
        """Whoever wrote there is unregistered at any time, also when the end, which was ours, is over."""
        for end in ("loseConnection", "abortConnection"):
            _client, server, _pump = self.pair(SSL.TLS1_3_VERSION)
            server.transport.registerProducer(Backpressure(lambda: None, lambda: None), True)
            getattr(server.transport, end)()
            server.tls.connectionLost(Failure(ConnectionLost()))
            server.transport.unregisterProducer()
            server.transport.abortConnection()
            server.transport.loseConnection()

    def test_nothing_is_handed_up_after_an_abort(self) -> None:
        client, server, pump = self.pair(SSL.TLS1_3_VERSION)
        client.transport.write(b"late")
        server.transport.abortConnection()
        server.transport.abortConnection()
        pump.flush()
        self.assertEqual(server.received, b"")
