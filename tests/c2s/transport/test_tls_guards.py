"""When bytes go straight to OpenSSL and when they do not; and what holds while TLS opens and when it is over."""

from __future__ import annotations

import os
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from OpenSSL import SSL
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.test.iosim import IOPump
from twisted.trial import unittest

from minimixproxy.c2s.transport import tls, tls_engine
from minimixproxy.c2s.transport.connection import SecurableConnection
from minimixproxy.c2s.transport.tls import ServerTLS
from minimixproxy.c2s.transport.tls_engine import MAX_PLAINTEXT
from minimixproxy.c2s.transport.tls_layer import TLSLayer
from tests.c2s.helpers import Recorder, certified, connected, secured_pair
from tests.c2s.transport.test_tls_layer import Unwilling, Version

VERSIONS = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)


class Watching:
    """OpenSSL, and how much it was asked to write at once."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.sizes: list[int] = []

    def SSL_write(self, ssl: Any, data: bytes, length: int) -> int:
        self.sizes.append(length)
        return int(self._real.SSL_write(ssl, data, length))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class TLSGuardsTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = Path(self.mktemp())
        self.server = ServerTLS([certified("example.org", directory)], directory)
        self.server.load()

    def client_tls(self, version: int) -> TLSMemoryBIOFactory:
        return TLSMemoryBIOFactory(Version(version), True, None)  # type: ignore[arg-type]

    def opening(self, version: int) -> tuple[Recorder, Recorder, TLSLayer, IOPump]:
        """Client, server, the server's layer, and the pump: TLS was started, and nothing has been carried."""
        uppers = (Recorder(), Recorder())
        client, server = (SecurableConnection(upper) for upper in uppers)
        pump = connected(client, server)
        server.start_tls(self.server.factory("example.org"))
        client.start_tls(self.client_tls(version))
        layer = uppers[1].transport
        assert isinstance(layer, TLSLayer)
        return (*uppers, layer, pump)

    def test_what_openssl_is_asked_to_write(self) -> None:
        """What fits into a record, and never nothing, which it leaves undefined; the rest goes Twisted's way."""
        client, server, pump = secured_pair(self.client_tls(SSL.TLS1_3_VERSION), self.server.factory("example.org"))
        client.transport.write(b"?")
        pump.flush()
        slowly: list[int] = []
        real = TLSLayer.write_slowly
        watching = Watching(tls_engine._lib)

        def write_slowly(layer: TLSLayer, data: bytes) -> None:
            slowly.append(len(data))
            real(layer, data)

        self.patch(TLSLayer, "write_slowly", write_slowly)
        self.patch(tls_engine, "_lib", watching)
        data = [os.urandom(size) for size in (0, 1, MAX_PLAINTEXT, MAX_PLAINTEXT + 1, 70_000)]
        for part in data:
            server.transport.write(part)
        pump.flush()
        self.assertEqual(client.received, b"".join(data))
        self.assertEqual((watching.sizes, slowly), ([1, MAX_PLAINTEXT], [0, MAX_PLAINTEXT + 1, 70_000]))

    def test_what_is_written_behind_what_openssl_holds_back(self) -> None:
        """It waits behind that, even if OpenSSL would take it now."""
        client, server, pump = secured_pair(self.client_tls(SSL.TLS1_2_VERSION), self.server.factory("example.org"))
        client.transport.write(b"?")
        pump.flush()
        layer, lib = server.transport, tls_engine._lib
        assert isinstance(layer, TLSLayer)
        connection = layer._tlsConnection
        layer._tlsConnection = Unwilling(connection)  # type: ignore[assignment]
        self.patch(tls_engine, "_lib", Unwilling(lib))
        layer.write(b"first")
        tls_engine._lib = lib
        layer.write(b"second")
        layer._tlsConnection = connection
        pump.flush()
        self.assertEqual(client.received, b"")
        client.transport.write(b"!")
        pump.flush()
        self.assertEqual(client.received, b"firstsecond")

    def test_old_protocols_are_refused_whatever_the_ciphers(self) -> None:
        """Not only by the security level of the system's OpenSSL, which refuses their signatures."""
        self.patch(tls, "_CIPHERS", b"ALL:@SECLEVEL=0")
        server = ServerTLS([certified("example.org", Path(self.mktemp()))], Path(self.mktemp()))
        server.load()
        for version, refused in ((SSL.TLS1_VERSION, True), (SSL.TLS1_1_VERSION, True), (SSL.TLS1_2_VERSION, False)):
            tls_1 = Version(version)
            tls_1._context.set_cipher_list(b"ALL:@SECLEVEL=0")
            client = TLSMemoryBIOFactory(tls_1, True, None)  # type: ignore[arg-type]
            _client, end, _pump = secured_pair(client, server.factory("example.org"))
            self.assertIs(end.reason is not None, refused, version)

    def test_what_a_record_adds_while_tls_opens(self) -> None:
        """No cipher is chosen yet: never more than there will be, as clients would seem to have got less."""
        for version in VERSIONS:
            _client, _server, layer, pump = self.opening(version)
            before = [layer.record_overhead]
            while pump.pump():
                before.append(layer.record_overhead)
            self.assertGreater(min(before), 0)
            self.assertLessEqual(max(before), layer.record_overhead)

    def test_nothing_is_settled_before_the_handshake_is_done(self) -> None:
        """Twisted has to tell the protocol above of it, for one, which the short way would not."""
        for version in VERSIONS:
            _client, _server, layer, pump = self.opening(version)
            settled = []
            while pump.pump():
                settled.append(layer.settled)
                self.assertTrue(layer._handshakeDone or not layer.settled)
            self.assertTrue(settled[-1] and not settled[0])

    def test_writes_behind_the_end_until_the_connection_is_gone(self) -> None:
        """Whoever ends it in the read in which TLS opens: they go nowhere, and OpenSSL keeps no error of them."""
        for version in VERSIONS:
            for end in ("loseConnection", "abortConnection", "goodbye"):
                client, server, layer, pump = self.opening(version)

                over: list[str] = []

                def ends(_data: bytes, layer: TLSLayer = layer, end: str = end, over: list[str] = over) -> None:
                    over.append(end)
                    if end != "goodbye":
                        getattr(layer, end)()

                server.dataReceived = ends  # type: ignore[method-assign, assignment]
                client.transport.write(b"hello")
                if end == "goodbye":
                    client.transport.loseConnection()
                while pump.pump():
                    if over:
                        layer.write(b"later")
                        self.assertEqual(tls_engine._lib.ERR_peek_error(), 0, (version, end))
                self.assertIsNotNone(server.reason)
                self.assertEqual(client.received, b"", (version, end))


class AvailableTest(unittest.SynchronousTestCase):
    """A pyOpenSSL that does not let us at OpenSSL: everything goes Twisted's way, and nothing fails."""

    def engine(self) -> ModuleType:
        """Return the module as it would be imported now."""
        specification = find_spec("minimixproxy.c2s.transport.tls_engine")
        assert specification is not None and specification.loader is not None
        module = module_from_spec(specification)
        specification.loader.exec_module(module)
        return module

    def test_with_what_is_needed(self) -> None:
        self.assertIs(self.engine().AVAILABLE, True)

    def test_without_some_of_it(self) -> None:
        real = SSL._lib  # type: ignore[attr-defined]
        names = tls_engine._NEEDED
        for missing in names:
            some = type("Some", (), {name: getattr(real, name) for name in names if name != missing})
            self.patch(SSL, "_lib", some())
            self.assertIs(self.engine().AVAILABLE, False, missing)
        for name in ("_lib", "_ffi"):
            self.patch(SSL, "_lib", real)
            self.patch(SSL, name, None)
            self.assertIs(self.engine().AVAILABLE, False, name)
