"""What connects to the port for other processes: whom it takes, and whatever else may come there."""

from __future__ import annotations

import os
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint, UNIXServerEndpoint, connectProtocol
from twisted.internet.protocol import connectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.logger import formatEvent
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial import unittest

from minimixproxy.c2s.errors import describe_tls_failure
from minimixproxy.c2s.server.elsewhere import NotHandedOver
from minimixproxy.c2s.transport.certificates import CertificateError
from minimixproxy.c2s.transport.connection import SecurableConnection
from minimixproxy.cluster.dialling import dialler
from minimixproxy.cluster.handover_header import MAX_HEADER, build
from minimixproxy.cluster.internal_port import (
    HEADER_TIME,
    MAX_NEW,
    InternalConnection,
    InternalPort,
    ThisProcess,
)
from minimixproxy.cluster.internal_service import InternalService
from minimixproxy.cluster.internal_tls import InternalTLS
from minimixproxy.config.cluster_checks import UnixPlace
from minimixproxy.unix_sockets import user_of
from tests.c2s.fakeserver import listening
from tests.c2s.helpers import HEADER, Lab, Recorder
from tests.certificates import KeyPair, make_authority, make_certificate
from tests.cluster.test_handover_header import PLAINEST, with_tlvs
from tests.log_events import log_events
from tests.wires import Wire

GOOD = build(PLAINEST)


class PortCase(unittest.TestCase):
    tls: InternalTLS | None = None

    def setUp(self) -> None:
        self.lab = Lab(Path(self.mktemp()))
        self.events = log_events(self)
        self.user: int | None = os.geteuid()
        self.number = 7
        own = ThisProcess(lambda: self.number, lambda bare: bare == "a@example.org")
        self.port = InternalPort(self.lab.clients, own, self.tls, lambda _transport: self.user)

    def told(self, text: str) -> bool:
        return any(text in (formatEvent(event) or "") for event in self.events)

    def connection(self) -> tuple[InternalConnection, Wire]:
        connection, wire = self.port.buildProtocol(None), Wire()
        connection.makeConnection(wire)
        return connection, wire


class InternalPortTest(PortCase):
    def refused(self, data: bytes, why: str) -> None:
        connection, wire = self.connection()
        connection.dataReceived(data)
        self.assertTrue(wire.aborted, data[:60])
        self.assertEqual(wire.take(), b"")
        self.assertTrue(self.told(why), why)
        connection.dataReceived(HEADER)  # nothing is read any more
        connection.connectionLost(Failure(connectionDone.value))
        self.assertEqual((len(self.lab.clients), len(self.port.new)), (0, 0))

    def test_taken(self) -> None:
        connection, wire = self.connection()
        for place in range(len(GOOD)):
            connection.dataReceived(GOOD[place : place + 1])
        connection.dataReceived(HEADER)
        self.assertIn(b"<mechanism>PLAIN", wire.take())
        self.assertEqual((len(self.lab.clients), len(self.port.new)), (1, 0))
        connection.connectionLost(Failure(connectionDone.value))
        self.assertEqual(len(self.lab.clients), 0)

    def test_refused(self) -> None:
        for data, why in (
            (HEADER, "does not begin as a header"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "does not begin as a header"),
            (GOOD[:14] + b"\xff\xff" + GOOD[16:], f"may be {MAX_HEADER}"),
            (with_tlvs(VERSION=b"\x02"), "its version is 2, and this process knows 1 only"),
            (with_tlvs(ACCOUNT=b"b@example.org"), "b@example.org is handed over, and is not held here"),
            (with_tlvs(NUMBER=bytes(8)), "a@example.org is handed to process 0, and this is 7 by now"),
            (with_tlvs(ACCOUNT=None), "does not say ACCOUNT"),
        ):
            self.refused(data, why)

    def test_replayed(self) -> None:
        """A header of an earlier incarnation of this process; one of this is a client's that has yet to log in."""
        self.refused(with_tlvs(NUMBER=(6).to_bytes(8, "big")), "handed to process 6")
        connection, wire = self.connection()
        connection.dataReceived(GOOD + HEADER)
        connection.dataReceived(b"<message/>")
        self.assertIn(b"<not-authorized", wire.take())

    def test_too_late(self) -> None:
        for begun in (b"", GOOD[:-1]):
            connection, wire = self.connection()
            connection.dataReceived(begun)
            self.lab.clock.advance(HEADER_TIME)
            self.assertTrue(wire.aborted)
            self.assertTrue(self.told("does not say in time"))
            connection.connectionLost(Failure(connectionDone.value))

    def test_of_another_user(self) -> None:
        self.user = os.geteuid() + 1
        self.refused(b"", f"its process is of user {self.user}")

    def test_neither_unix_nor_tls(self) -> None:
        self.user = None
        self.refused(b"", "no UNIX socket")

    def test_too_many_that_say_nothing(self) -> None:
        wires = [self.connection() for _number in range(MAX_NEW)]
        self.assertFalse(wires[0][1].aborted)
        self.connection()
        self.assertTrue(wires[0][1].aborted)
        self.assertFalse(wires[1][1].aborted)
        self.assertEqual(len(self.port.new), MAX_NEW)

    def test_the_log_does_not_tell_of_the_factory(self) -> None:
        self.port.doStart()
        self.port.doStop()
        self.assertFalse(self.told("factory"))

    def test_gone_before_it_says_anything(self) -> None:
        connection, _wire = self.connection()
        connection.connectionLost(Failure(connectionDone.value))
        self.lab.clock.advance(HEADER_TIME)
        self.assertEqual(len(self.port.new), 0)


class _Talk(Recorder):
    """One end of a real connection, which tells when it is lost, or has heard something."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        if not self.heard.called and b"</stream:features>" in self.received:
            self.heard.callback(self.received)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if not self.heard.called:
            self.heard.callback(b"")


class RealCase(PortCase):
    reason: Failure  # why a connection that was made here ended

    async def listen(self, tls: InternalTLS | None) -> None:
        self.port.tls = tls
        self.port._user_of = user_of

    def on_tcp(self) -> int:
        port, number = listening(self.port)
        self.addCleanup(port.stopListening)
        return number

    def on_unix(self) -> str:
        directory = mkdtemp()  # the path of a socket is short
        self.addCleanup(rmtree, directory)
        path = f"{directory}/internal.sock"
        port = UNIXServerEndpoint(reactor, path).listen(self.port)
        self.addCleanup(self.successResultOf(port).stopListening)
        return path

    async def heard(self, dial: Any, address: str) -> bytes:
        """Connect; return what is said to a good introduction, nothing if the connection ends."""
        talk = _Talk()
        await dial(address, SecurableConnection(talk))
        talk.transport.write(GOOD + HEADER)
        said = await talk.heard
        if talk.reason is None:
            talk.transport.abortConnection()
        else:
            self.reason = talk.reason
        return said


class UnixTest(RealCase):
    async def test_own_user(self) -> None:
        await self.listen(None)
        path = self.on_unix()
        self.assertIn(b"<mechanism>PLAIN", await self.heard(dialler(reactor, None), path))

    async def test_somebody_else_listens(self) -> None:
        """In the place of a process that has ended, say: nothing is said there."""
        await self.listen(None)
        path, talk = self.on_unix(), _Talk()
        bottom = SecurableConnection(talk)
        try:
            await dialler(reactor, None, lambda _transport: os.geteuid() + 1)(path, bottom)
        except NotHandedOver as error:
            self.assertIn(f"is of user {os.geteuid() + 1}, and this process of {os.geteuid()}", str(error))
        else:
            self.fail("it was connected")
        talk.transport.abortConnection()
        await talk.heard

    async def test_tcp_without_tls(self) -> None:
        await self.listen(None)
        number = self.on_tcp()
        talk = _Talk()
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", number), SecurableConnection(talk))
        self.assertEqual(await talk.heard, b"")
        self.assertTrue(self.told("no UNIX socket"))


class CrowdTest(RealCase):
    """Many clients come at once, and this process is busy: it has just taken over the accounts of another one."""

    async def test_all_are_taken(self) -> None:
        self.port._user_of = user_of
        directory = mkdtemp()
        self.addCleanup(rmtree, directory)
        path = Path(directory, "internal.sock")
        service = InternalService(UnixPlace(path, 0o600), self.port, reactor)
        service.startService()
        self.addCleanup(service.stopService)
        dial = dialler(reactor, None)
        recorders = [_Talk() for _ in range(500)]
        service._port.stopReading()  # it is busy
        await gatherResults([dial(str(path), SecurableConnection(recorder)) for recorder in recorders])
        service._port.startReading()
        for recorder in recorders:
            recorder.transport.abortConnection()
        await gatherResults([recorder.heard for recorder in recorders])


class TLSTest(RealCase):
    def pair(self, authority: KeyPair, name: str, believed: KeyPair | None = None) -> InternalTLS:
        """TLS with a certificate of this authority, believing that one."""
        directory = Path(self.mktemp())
        directory.mkdir()
        certificate, key = make_certificate(authority, name).write(directory, name)
        trusted, _key = (believed or authority).write(directory, "ca")
        tls = InternalTLS(trusted, certificate, key)
        tls.load()
        return tls

    async def said(self, there: InternalTLS, dial: Any) -> bytes:
        await self.listen(there)
        number = self.on_tcp()
        return await self.heard(dial, f"127.0.0.1:{number}")

    async def test_both_of_the_cluster(self) -> None:
        ours = make_authority()
        there, here = self.pair(ours, "node-b"), self.pair(ours, "node-a")
        self.assertIn(b"<mechanism>PLAIN", await self.said(there, dialler(reactor, here)))

    async def test_certificate_of_another_authority(self) -> None:
        ours, other = make_authority(), make_authority()
        here = self.pair(other, "node-a", believed=ours)
        self.assertEqual(await self.said(self.pair(ours, "node-b"), dialler(reactor, here)), b"")
        self.assertTrue(self.told("it is not of this cluster, by its TLS"), self.events)

    async def test_holder_of_another_authority(self) -> None:
        ours, other = make_authority(), make_authority()
        there = self.pair(other, "node-b", believed=ours)
        self.assertEqual(await self.said(there, dialler(reactor, self.pair(ours, "node-a"))), b"")
        self.assertEqual(describe_tls_failure(self.reason), "certificate verify failed")

    async def test_an_authority_is_believed_no_more(self) -> None:
        """A key was stolen: from when its authority is gone from the file, nobody comes in by it."""
        former, ours = make_authority(), make_authority()
        directory = Path(self.mktemp())
        directory.mkdir()
        trusted, _key = ours.write(directory, "ca")
        there = InternalTLS(trusted, *make_certificate(ours, "node-b").write(directory, "node-b"))
        stolen = self.pair(former, "node-a", believed=ours)
        trusted.write_bytes(former.certificate_pem() + ours.certificate_pem())
        self.assertIn(b"<mechanism>PLAIN", await self.said(there, dialler(reactor, stolen)))
        trusted.write_bytes(ours.certificate_pem())
        self.assertEqual(await self.said(there, dialler(reactor, stolen)), b"")
        self.assertTrue(self.told("it is not of this cluster, by its TLS"))

    async def test_certificates_that_do_not_hold(self) -> None:
        """One that is over, that is for something else, or that was made by a process of the cluster."""
        ours = make_authority()
        process = make_certificate(ours, "node-c")
        there = self.pair(ours, "node-b")
        for pair, chain in (
            (make_certificate(ours, "node-a", ends=-1), b""),
            (make_certificate(ours, "node-a", purpose=ExtendedKeyUsageOID.SERVER_AUTH), b""),
            (make_certificate(process, "node-a"), process.certificate_pem()),
        ):
            directory = Path(self.mktemp())
            directory.mkdir()
            certificate, key = pair.write(directory, "node-a")
            certificate.write_bytes(pair.certificate_pem() + chain)
            here = InternalTLS(ours.write(directory, "ca")[0], certificate, key)
            self.assertEqual(await self.said(there, dialler(reactor, here)), b"")
            self.assertTrue(self.told("it is not of this cluster, by its TLS"), self.events)
            self.events.clear()

    async def test_no_certificate(self) -> None:
        bare = TLSMemoryBIOFactory(CertificateOptions(verify=False), True, None)  # type: ignore[arg-type]

        class Bare:
            for_clients = bare

        dial = dialler(reactor, Bare())  # type: ignore[arg-type]
        self.assertEqual(await self.said(self.pair(make_authority(), "node-b"), dial), b"")
        self.assertTrue(self.told("it is not of this cluster, by its TLS"))

    async def test_tls_1_2(self) -> None:
        ours = make_authority()
        here = self.pair(ours, "node-a")
        context = here._files.context()
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        self.assertEqual(await self.said(self.pair(ours, "node-b"), dialler(reactor, here)), b"")
        self.assertTrue(self.told("by its TLS: unsupported protocol"))

    async def test_no_tls(self) -> None:
        await self.listen(self.pair(make_authority(), "node-b"))
        path = self.on_unix()
        talk = _Talk()
        await connectProtocol(UNIXClientEndpoint(reactor, path), SecurableConnection(talk))
        talk.transport.write(GOOD + HEADER)
        self.assertEqual(await talk.heard, b"")
        self.assertTrue(self.told("by its TLS"))

    def test_bad_files(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        certificate, key = make_certificate(None, "node-a").write(directory, "node-a")
        for files in ((directory / "none", certificate, key), (certificate, directory / "none", key)):
            self.assertRaises(CertificateError, InternalTLS(*files).load)


class DiallerTest(unittest.TestCase):
    def test_addresses(self) -> None:
        dial = dialler(reactor, None)
        self.failureResultOf(dial("127.0.0.1:1", SecurableConnection(Recorder())), NotHandedOver)

        class Some:
            for_clients = None

        dial = dialler(reactor, Some())  # type: ignore[arg-type]
        for address in ("", "host", "host:", "host:port", "host:999999", ":-1"):
            self.failureResultOf(dial(address, SecurableConnection(Recorder())), NotHandedOver)
