"""TLS of both sides, shaken hands in memory by real OpenSSL."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial import unittest

from minimixproxy.c2s import certificates
from minimixproxy.c2s.certificates import CertificateError, fingerprint, self_signed
from minimixproxy.c2s.tls import ServerTLS, client_factory
from minimixproxy.config import Domain
from tests.c2s.helpers import Recorder, certified, secured_pair


def shown(client: Recorder) -> str:
    """The common name in the certificate that the client was shown."""
    certificate = client.transport.getPeerCertificate()
    return str(certificate.get_subject().CN)


class TLSTest(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.domain = certified("example.org", self.directory)
        self.other = certified("xn--bcher-kva.example", self.directory)
        self.bucher = Domain(
            name="bücher.example", certificate=self.other.certificate, private_key=self.other.private_key
        )
        self.server = ServerTLS([self.domain, self.bucher], self.directory)
        self.server.load()

    def trusting(self, name: str, path: Path | None = None) -> TLSMemoryBIOFactory:
        trust = path or self.domain.certificate
        assert trust is not None
        return client_factory(Domain(name=name, upstream_trust=trust), direct=True)

    def test_bytes_arrive_both_ways(self) -> None:
        client, server, pump = secured_pair(self.trusting("example.org"), self.server.factory("example.org"))
        client.transport.write(b"ping")
        server.transport.write(b"pong")
        pump.flush()
        self.assertEqual((server.received, client.received), (b"ping", b"pong"))
        self.assertEqual(client.transport.negotiatedProtocol, b"xmpp-client")
        self.assertIn(client.transport.getHandle().get_protocol_version_name(), ("TLSv1.2", "TLSv1.3"))

    def test_large_writes_arrive_whole(self) -> None:
        client, server, pump = secured_pair(self.trusting("example.org"), self.server.factory("example.org"))
        data = os.urandom(300_000)
        server.transport.write(data)
        pump.flush()
        self.assertEqual(client.received, data)

    def test_close_reaches_both(self) -> None:
        client, server, pump = secured_pair(self.trusting("example.org"), self.server.factory("example.org"))
        server.transport.loseConnection()
        pump.flush()
        self.assertIsNotNone(client.reason)
        self.assertIsNotNone(server.reason)

    def test_wrong_name_is_refused(self) -> None:
        client, _server, _pump = secured_pair(self.trusting("evil.example"), self.server.factory("example.org"))
        assert client.reason is not None
        self.assertTrue(client.reason.check(VerificationError))

    def test_unknown_authority_is_refused(self) -> None:
        client, _server, _pump = secured_pair(
            self.trusting("example.org", self.other.certificate), self.server.factory("example.org")
        )
        assert client.reason is not None
        self.assertTrue(client.reason.check(SSL.Error))

    def test_system_trust_does_not_know_a_self_signed_one(self) -> None:
        system = client_factory(Domain(name="example.org"), direct=True)
        client, _server, _pump = secured_pair(system, self.server.factory("example.org"))
        self.assertIsNotNone(client.reason)

    def test_insecure_takes_anything_and_says_the_name(self) -> None:
        insecure = client_factory(Domain(name="bücher.example", upstream_trust="insecure"), direct=False)
        client, server, pump = secured_pair(insecure, self.server.factory_by_sni())
        client.transport.write(b"ping")
        pump.flush()
        self.assertEqual(server.received, b"ping")
        self.assertEqual(shown(client), "xn--bcher-kva.example")

    def test_direct_tls_goes_by_sni(self) -> None:
        cases = {
            "xn--bcher-kva.example": "xn--bcher-kva.example",
            "example.org": "example.org",
            "no.such": "example.org",
        }
        for asked, expected in cases.items():
            insecure = client_factory(Domain(name=asked, upstream_trust="insecure"), direct=True)
            client, _server, _pump = secured_pair(insecure, self.server.factory_by_sni())
            self.assertEqual(shown(client), expected)

    def test_starttls_goes_by_the_stream_header(self) -> None:
        insecure = client_factory(Domain(name="example.org", upstream_trust="insecure"), direct=False)
        client, _server, _pump = secured_pair(insecure, self.server.factory("bücher.example"))
        self.assertEqual(shown(client), "xn--bcher-kva.example")

    def test_old_protocols_are_refused(self) -> None:
        class Old:
            def clientConnectionForTLS(self, _protocol: object) -> SSL.Connection:
                context = SSL.Context(SSL.TLS_CLIENT_METHOD)
                context.set_cipher_list(b"ALL:@SECLEVEL=0")
                context.set_max_proto_version(SSL.TLS1_1_VERSION)
                return SSL.Connection(context, None)

        from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
        from zope.interface import classImplements

        classImplements(Old, IOpenSSLClientConnectionCreator)
        _client, server, _pump = secured_pair(
            TLSMemoryBIOFactory(Old(), True, None), self.server.factory("example.org")
        )
        assert server.reason is not None
        self.assertTrue(server.reason.check(SSL.Error))

    def test_garbage_ends_only_this_connection(self) -> None:
        plain, server = Recorder(), Recorder()
        from minimixproxy.c2s.connection import SecurableConnection
        from tests.c2s.helpers import connected

        bottom = SecurableConnection(server)
        pump = connected(plain, bottom)
        bottom.start_tls(self.server.factory("example.org"))
        plain.transport.write(b"GET / HTTP/1.1\r\n\r\n" * 10)
        pump.flush()
        assert server.reason is not None
        self.assertTrue(server.reason.check(SSL.Error))

    def test_unrelated_alpn_still_connects(self) -> None:
        options = CertificateOptions(verify=False, acceptableProtocols=[b"h2"])
        client, server, pump = secured_pair(
            TLSMemoryBIOFactory(options, True, None), self.server.factory("example.org")
        )
        client.transport.write(b"x")
        pump.flush()
        self.assertEqual(server.received, b"x")
        self.assertIsNone(server.transport.negotiatedProtocol)


class CertificateFilesTest(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())

    def load(self) -> tuple[ServerTLS, Path, Path]:
        paths = self_signed("example.org", self.directory)
        server = ServerTLS([Domain(name="example.org", certificate=paths[0], private_key=paths[1])], self.directory)
        server.load()
        return (server, *paths)

    def shown_serial(self, server: ServerTLS) -> int:
        insecure = client_factory(Domain(name="example.org", upstream_trust="insecure"), direct=False)
        client, _server, _pump = secured_pair(insecure, server.factory("example.org"))
        return int(client.transport.getPeerCertificate().get_serial_number())

    def replace(self, certificate: Path, private_key: Path) -> None:
        fresh = self_signed("example.org", self.directory / "fresh")
        for new, old in zip(fresh, (certificate, private_key), strict=True):
            new.replace(old)
        os.utime(certificate, ns=(1, 1))  # surely another time than before

    def test_self_signed_is_made_once_and_kept_private(self) -> None:
        certificate, private_key = self_signed("example.org", self.directory)
        made = certificate.read_bytes(), private_key.read_bytes()
        self.assertEqual(stat.S_IMODE(private_key.stat().st_mode), 0o600)
        self.assertEqual(self_signed("example.org", self.directory), (certificate, private_key))
        self.assertEqual((certificate.read_bytes(), private_key.read_bytes()), made)
        names = x509.load_pem_x509_certificate(made[0]).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        self.assertEqual(names.value.get_values_for_type(x509.DNSName), ["example.org"])

    def test_self_signed_is_renewed_before_its_end(self) -> None:
        self.patch(certificates, "_SELF_SIGNED_LIFETIME", timedelta(days=20))
        certificate, _key = self_signed("example.org", self.directory)
        first = fingerprint(certificate)
        self.patch(certificates, "_SELF_SIGNED_LIFETIME", timedelta(days=90))
        self_signed("example.org", self.directory)
        self.assertNotEqual(fingerprint(certificate), first)
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
        self.assertGreater(loaded.not_valid_after_utc, datetime.now(UTC) + timedelta(days=80))

    def test_self_signed_that_cannot_be_written(self) -> None:
        self.directory.write_text("a file where the directory should be")
        self.assertRaises(CertificateError, self_signed, "example.org", self.directory)

    def test_long_domain(self) -> None:
        name = ".".join(["a" * 60] * 3)
        certificate, _key = self_signed(name, self.directory)
        self.assertTrue(certificate.exists())

    def test_new_file_is_used_for_new_connections(self) -> None:
        server, certificate, private_key = self.load()
        before = self.shown_serial(server)
        self.replace(certificate, private_key)
        self.assertNotEqual(self.shown_serial(server), before)

    def test_broken_new_file_leaves_the_old_certificate(self) -> None:
        server, certificate, _private_key = self.load()
        before = self.shown_serial(server)
        for contents in (b"", b"garbage", self_signed("example.org", self.directory / "x")[0].read_bytes()):
            certificate.write_bytes(contents)  # the last is a good certificate, of another key
            self.assertEqual(self.shown_serial(server), before)
        certificate.unlink()
        self.assertEqual(self.shown_serial(server), before)

    def test_unusable_at_the_start_is_an_error(self) -> None:
        certificate, private_key = self_signed("example.org", self.directory)
        certificate.write_bytes(b"garbage")
        domain = Domain.model_construct(name="example.org", certificate=certificate, private_key=private_key)
        error = self.assertRaises(CertificateError, ServerTLS([domain], self.directory).load)
        self.assertIn(str(certificate), str(error))

    def test_configured_ones_first(self) -> None:
        server = ServerTLS([Domain(name="example.org")], self.directory)
        server.load(configured_only=True)
        self.assertFalse(self.directory.exists())
        server.load()
        self.assertTrue((self.directory / "example.org.selfsigned.key").exists())
        self.shown_serial(server)

    def test_what_was_read_is_not_read_again(self) -> None:
        """Only root may, and that we are not any more."""
        certificate, private_key = self_signed("example.org", self.directory)
        configured = Domain(name="example.org", certificate=certificate, private_key=private_key)
        server = ServerTLS([configured, Domain(name="example.net")], self.directory)
        server.load(configured_only=True)
        private_key.unlink()
        server.load()
        self.shown_serial(server)
        self.assertTrue((self.directory / "example.net.selfsigned.key").exists())

    def test_trust_file_without_certificate(self) -> None:
        empty = self.directory
        empty.mkdir()
        path = empty / "none.pem"
        path.write_bytes(b"nothing")
        domain = Domain.model_construct(name="example.org", upstream_trust=path)
        self.assertRaises(CertificateError, client_factory, domain, direct=False)
        path.unlink()
        self.assertRaises(CertificateError, client_factory, domain, direct=False)
