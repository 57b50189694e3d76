"""TLS of both sides, shaken hands in memory by real OpenSSL."""

from __future__ import annotations

import os
import stat
import sys
from base64 import encodebytes
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions
from twisted.logger import LogEvent, formatEvent
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial import unittest
from zope.interface import implementer

from minimixproxy.c2s.transport import certificates
from minimixproxy.c2s.transport.certificates import CertificateError, fingerprint, self_signed
from minimixproxy.c2s.transport.connection import SecurableConnection
from minimixproxy.c2s.transport.tls import ServerTLS, client_factory
from minimixproxy.config.settings import Domain
from tests.c2s.helpers import Recorder, certified, connected, secured_pair, tls_factory
from tests.certificates import DAMAGES, damage
from tests.log_events import observe


def shown(client: Recorder) -> str:
    """The common name in the certificate that the client was shown."""
    certificate = client.tls.getPeerCertificate()
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
        self.assertEqual(client.tls.negotiatedProtocol, b"xmpp-client")
        self.assertIn(client.tls.getHandle().get_protocol_version_name(), ("TLSv1.2", "TLSv1.3"))

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

    def test_direct_tls_without_sni(self) -> None:
        """It begins with the first domain; and nothing goes wrong within OpenSSL, which would only be printed."""
        printed = StringIO()
        self.patch(sys, "stderr", printed)
        options = tls_factory(CertificateOptions(verify=False))
        client, _server, _pump = secured_pair(options, self.server.factory_by_sni())
        self.assertEqual((shown(client), printed.getvalue()), ("example.org", ""))

    def test_starttls_goes_by_the_stream_header(self) -> None:
        insecure = client_factory(Domain(name="example.org", upstream_trust="insecure"), direct=False)
        client, _server, _pump = secured_pair(insecure, self.server.factory("bücher.example"))
        self.assertEqual(shown(client), "xn--bcher-kva.example")

    def test_old_protocols_are_refused(self) -> None:
        @implementer(IOpenSSLClientConnectionCreator)
        class Old:
            def clientConnectionForTLS(self, _protocol: object) -> SSL.Connection:
                context = SSL.Context(SSL.TLS_CLIENT_METHOD)
                context.set_cipher_list(b"ALL:@SECLEVEL=0")
                context.set_max_proto_version(SSL.TLS1_1_VERSION)
                return SSL.Connection(context, None)

        _client, server, _pump = secured_pair(tls_factory(Old()), self.server.factory("example.org"))
        assert server.reason is not None
        self.assertTrue(server.reason.check(SSL.Error))

    def agreed(self, ciphers: bytes) -> tuple[Recorder, Recorder]:
        """A client of TLS 1.2 that knows these ciphers only, the one it likes best first."""

        @implementer(IOpenSSLClientConnectionCreator)
        class Choosy:
            def clientConnectionForTLS(self, _protocol: object) -> SSL.Connection:
                context = SSL.Context(SSL.TLS_CLIENT_METHOD)
                context.set_cipher_list(ciphers)
                context.set_max_proto_version(SSL.TLS1_2_VERSION)
                return SSL.Connection(context, None)

        client, server, _pump = secured_pair(tls_factory(Choosy()), self.server.factory("example.org"))
        return client, server

    def test_ciphers(self) -> None:
        """Forward secrecy and authenticated encryption; of those, the server chooses."""
        for name in (b"ECDHE-ECDSA-AES128-GCM-SHA256", b"ECDHE-ECDSA-CHACHA20-POLY1305"):
            client, _server = self.agreed(name)
            self.assertEqual(client.tls.getHandle().get_cipher_name(), name.decode())
        client, _server = self.agreed(b"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384")
        self.assertEqual(client.tls.getHandle().get_cipher_name(), "ECDHE-ECDSA-AES256-GCM-SHA384")
        for name in (b"ECDHE-ECDSA-AES128-SHA256", b"ECDHE-ECDSA-AES256-SHA:@SECLEVEL=0", b"aNULL:@SECLEVEL=0"):
            _client, server = self.agreed(name)
            assert server.reason is not None, name
            self.assertTrue(server.reason.check(SSL.Error), name)

    def test_what_is_switched_off(self) -> None:
        """Compression tells a secret by its length; renegotiation costs us more than who asks for it."""
        assert self.domain.certificate is not None and self.domain.private_key is not None
        context = self.server._make_context(self.domain.certificate, self.domain.private_key)
        options = context.set_options(0)
        for option in (SSL.OP_NO_COMPRESSION, SSL.OP_NO_RENEGOTIATION):
            self.assertEqual(options & option, option)
        self.assertEqual(context.set_mode(0) & SSL.MODE_RELEASE_BUFFERS, SSL.MODE_RELEASE_BUFFERS)
        self.assertEqual(context.get_session_cache_mode(), SSL.SESS_CACHE_OFF)

    def test_garbage_ends_only_this_connection(self) -> None:
        plain, server = Recorder(), Recorder()
        bottom = SecurableConnection(server)
        pump = connected(plain, bottom)
        bottom.start_tls(self.server.factory("example.org"))
        plain.transport.write(b"GET / HTTP/1.1\r\n\r\n" * 10)
        pump.flush()
        assert server.reason is not None
        self.assertTrue(server.reason.check(SSL.Error))

    def test_unrelated_alpn_still_connects(self) -> None:
        options = CertificateOptions(verify=False, acceptableProtocols=[b"h2"])
        client, server, pump = secured_pair(tls_factory(options), self.server.factory("example.org"))
        client.transport.write(b"x")
        pump.flush()
        self.assertEqual(server.received, b"x")
        self.assertIsNone(server.tls.negotiatedProtocol)


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
        return int(client.tls.getPeerCertificate().get_serial_number())

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

    def test_self_signed_in_itself(self) -> None:
        """As clients want it: for this name, no authority, good for a client whose clock is an hour behind."""
        certificate, private_key = self_signed("example.org", self.directory)
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
        now = datetime.now(UTC)
        self.assertLess(loaded.not_valid_before_utc, now - timedelta(hours=1))
        self.assertGreater(loaded.not_valid_after_utc, now + timedelta(days=3000))
        constraints = loaded.extensions.get_extension_for_class(x509.BasicConstraints)
        self.assertEqual((constraints.value.ca, constraints.critical), (False, True))
        self.assertFalse(loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical)
        self.assertEqual(loaded.subject, loaded.issuer)
        self.assertEqual(stat.S_IMODE(certificate.stat().st_mode), 0o644 & ~self.umask())
        self.assertEqual(sorted(path.name for path in self.directory.iterdir()), [private_key.name, certificate.name])

    def umask(self) -> int:
        mask = os.umask(0)
        os.umask(mask)
        return mask

    def test_self_signed_that_is_not_whole(self) -> None:
        """The key of another certificate, none, or one that cannot be read: both are made anew."""
        other = self_signed("example.org", self.directory / "other")[1].read_bytes()
        for contents in (other, b"", b"garbage", None):
            certificate, private_key = self_signed("example.org", self.directory)
            before = fingerprint(certificate)
            private_key.unlink()
            if contents is not None:
                private_key.write_bytes(contents)
            self_signed("example.org", self.directory)
            self.assertNotEqual(fingerprint(certificate), before)
            self.load()

    def test_self_signed_that_is_damaged_inside(self) -> None:
        """It can be taken apart, but has no such version or key: it is made anew."""
        for change in DAMAGES:
            certificate, _private_key = self_signed("example.org", self.directory)
            damage(certificate, *change)
            damaged = certificate.read_bytes()
            self_signed("example.org", self.directory)
            self.assertNotEqual(certificate.read_bytes(), damaged)
            self.load()

    def test_damaged_inside_at_the_start_and_later(self) -> None:
        """Some of it OpenSSL does not notice."""
        server, certificate, private_key = self.load()
        before, whole = self.shown_serial(server), certificate.read_bytes()
        for change in DAMAGES:
            certificate.write_bytes(whole)
            damage(certificate, *change)
            domain = Domain.model_construct(name="example.org", certificate=certificate, private_key=private_key)
            error = self.assertRaises(CertificateError, ServerTLS([domain], self.directory).load)
            self.assertIn(str(certificate), str(error))
            self.assertEqual(self.shown_serial(server), before)

    def test_what_a_crash_left_is_no_hindrance(self) -> None:
        """Nor does the key get into a file that others may read, or have open."""
        self.directory.mkdir()
        left = self.directory / "example.org.selfsigned.key.new"
        left.write_text("half a key")
        left.chmod(0o644)
        with left.open() as reader:
            _certificate, private_key = self_signed("example.org", self.directory)
            self.assertEqual(reader.read(), "half a key")
        self.assertEqual(stat.S_IMODE(private_key.stat().st_mode), 0o600)
        self.assertFalse(left.exists())
        self.load()

    def test_it_is_on_disk_before_it_takes_the_place_of_the_old_one(self) -> None:
        seen: list[tuple[str, bool]] = []
        replace = Path.replace

        def fsync(descriptor: int) -> None:
            seen.append(("sync", os.fstat(descriptor).st_size > 0))

        def replaced(path: Path, target: Path) -> Path:
            seen.append(("replace", path.stat().st_size > 0))
            return replace(path, target)

        self.patch(os, "fsync", fsync)
        self.patch(Path, "replace", replaced)
        self_signed("example.org", self.directory)
        self.assertEqual(seen, [("sync", True), ("replace", True)] * 2)

    def test_what_the_operator_is_told(self) -> None:
        told: list[str] = []

        def tell(event: LogEvent) -> None:
            if event.get("log_namespace") == "minimixproxy.c2s.transport.certificates":
                told.append(formatEvent(event))

        observe(self, tell)
        server, certificate, _private_key = self.load()
        self.assertEqual(len(told), 2)
        self.assertEqual(told.pop(0), f"no certificate configured for example.org, made {certificate}")
        loaded = f"certificate of example.org loaded from {certificate}, SHA-256 {fingerprint(certificate)}"
        self.assertEqual(told.pop(), loaded)
        self.shown_serial(server)
        certificate.write_bytes(b"garbage")
        for _connection in range(3):
            self.shown_serial(server)
        (error,) = told
        self.assertIn("the new certificate of example.org cannot be used, the old one stays", error)

    def test_a_key_that_does_not_fit(self) -> None:
        """Told at the start, by the names of both files; and nobody is asked for a pass phrase."""
        certificate, private_key = self_signed("example.org", self.directory)
        key = serialization.load_pem_private_key(private_key.read_bytes(), password=None)
        encrypted = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
        other = self_signed("example.org", self.directory / "other")[1].read_bytes()
        der = key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        # RFC 3279 §2.3.5: prime256v1 becomes prime239v3, which nobody implements.
        der = der.replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030106"))
        curve = b"-----BEGIN PRIVATE KEY-----\n%b-----END PRIVATE KEY-----\n" % encodebytes(der)
        rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        for contents, reason in (
            (rsa_key, "no certificate assigned"),
            (other, "key values mismatch"),
            (encrypted, "Password was not given"),
            (curve, "is not supported"),
            (b"", "PEM"),
        ):
            private_key.write_bytes(contents)
            domain = Domain.model_construct(name="example.org", certificate=certificate, private_key=private_key)
            error = self.assertRaises(CertificateError, ServerTLS([domain], self.directory).load)
            self.assertIn(f"{certificate} with {private_key}: ", str(error))
            self.assertIn(reason, str(error))

    def test_files_that_are_not_there(self) -> None:
        """At the start an error; afterwards, whatever the moment in which they are replaced, the old ones serve."""
        files = (self.directory / "a.pem", self.directory / "a.key")
        domain = Domain.model_construct(name="example.org", certificate=files[0], private_key=files[1])
        self.assertRaises(CertificateError, ServerTLS([domain], self.directory).load)
        for new, old in zip(self_signed("example.org", self.directory), files, strict=True):
            new.replace(old)
        server = ServerTLS([domain], self.directory)
        server.load()
        before = self.shown_serial(server)
        make = SSL.Context.use_certificate_chain_file

        def replaced_meanwhile(context: SSL.Context, path: str) -> None:
            make(context, path)
            files[0].write_bytes(b"half a certificate")

        os.utime(files[0], ns=(1, 1))
        self.patch(SSL.Context, "use_certificate_chain_file", replaced_meanwhile)
        self.assertEqual(self.shown_serial(server), before)

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

    def test_reload(self) -> None:
        """Who connects is served by the same as before where the files are the same; all have to be good."""
        server, certificate, private_key = self.load()
        other = self_signed("example.org", self.directory / "other")
        same = Domain(name="example.org", certificate=certificate, private_key=private_key)
        moved = Domain(name="example.org", certificate=other[0], private_key=other[1])
        before, factory = self.shown_serial(server), server.factory("example.org")
        server.take(server.prepare([same, Domain(name="example.net")]))
        self.assertIs(server.factory("example.org"), factory)
        self.assertEqual(self.shown_serial(server), before)
        self.assertTrue((self.directory / "example.net.selfsigned.key").exists())
        server.factory("example.net")
        prepared = server.prepare([moved])
        self.assertEqual(self.shown_serial(server), before, "it is not in use yet")
        server.take(prepared)
        self.assertNotEqual(self.shown_serial(server), before)
        self.assertRaises(KeyError, server.factory, "example.net")
        server.take(server.prepare([same]))
        self.assertEqual(self.shown_serial(server), before)
        certificate.write_bytes(b"garbage")
        self.assertRaises(CertificateError, server.prepare, [same])
        self.assertEqual(self.shown_serial(server), before)

    def test_a_trust_file_that_changes(self) -> None:
        """It counts for new connections; as long as it is the same, they share what was read."""
        first, second = (self_signed("example.org", self.directory / name)[0] for name in "ab")
        domain = Domain(name="example.org", upstream_trust=first)
        factory = client_factory(domain, direct=False)
        self.assertIs(client_factory(domain, direct=False), factory)
        self.assertIsNot(client_factory(domain, direct=True), factory)
        second.replace(first)
        os.utime(first, ns=(1, 1))  # surely another time than before
        self.assertIsNot(client_factory(domain, direct=False), factory)

    def test_trust_file_without_certificate(self) -> None:
        empty = self.directory
        empty.mkdir()
        path = empty / "none.pem"
        path.write_bytes(b"nothing")
        domain = Domain.model_construct(name="example.org", upstream_trust=path)
        self.assertRaises(CertificateError, client_factory, domain, direct=False)
        path.write_bytes(b"-----BEGIN CERTIFICATE-----\nnothing\n")
        error = self.assertRaises(CertificateError, client_factory, domain, direct=False)
        self.assertEqual(str(error), f"{path}: bad end line")
        path.write_bytes(b"-----BEGIN CERTIFICATE-----\nno:thing\n-----END CERTIFICATE-----\n")
        error = self.assertRaises(CertificateError, client_factory, domain, direct=False)
        self.assertEqual(str(error), f"{path}: OpenSSL does not say why")
        path.unlink()
        self.assertRaises(CertificateError, client_factory, domain, direct=False)
