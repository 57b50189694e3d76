"""Data for channel binding: what one end computes is what OpenSSL and cryptography say at the other."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.trial import unittest
from zope.interface import implementer

from minimixproxy.c2s.transport.channel_bindings import bindings_as_client, bindings_as_server, end_point_of
from minimixproxy.c2s.transport.tls import ServerTLS, client_factory
from minimixproxy.config.settings import Domain
from tests.c2s.helpers import Recorder, certified, secured_pair, tls_factory

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "example.org")])


def certificate(key: Any, algorithm: Any, **signing: Any) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(NAME, NAME, key.public_key(), x509.random_serial_number())
    names = x509.SubjectAlternativeName([x509.DNSName("example.org")])
    dated = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=60))
    return dated.add_extension(names, critical=False).sign(key, algorithm, **signing)


@implementer(IOpenSSLClientConnectionCreator)
class Client:
    """A TLS client of the tests' own, with one context: so it can resume."""

    def __init__(self, version: int = SSL.TLS1_3_VERSION, name: bytes | None = None) -> None:
        self.context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self.context.set_max_proto_version(version)
        self.name = name
        self.session: Any = None

    def clientConnectionForTLS(self, _protocol: object) -> SSL.Connection:
        connection = SSL.Connection(self.context, None)
        if self.name is not None:
            connection.set_tlsext_host_name(self.name)
        if self.session is not None:
            connection.set_session(self.session)
        return connection


class BindingsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.domain = certified("example.org", self.directory)
        self.server_tls = ServerTLS([self.domain], self.directory)
        self.server_tls.load()

    def pair(self, client: Client) -> tuple[Recorder, Recorder]:
        ends = secured_pair(tls_factory(client), self.server_tls.factory("example.org"))
        return ends[0], ends[1]

    def test_tls_1_3(self) -> None:
        client, server = self.pair(Client())
        connection = client.tls.getHandle()
        self.assertEqual(connection.get_protocol_version_name(), "TLSv1.3")
        found = bindings_as_server(server.transport)
        shown = connection.get_peer_certificate().to_cryptography()
        self.assertEqual(
            found,
            {
                "tls-exporter": connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b""),
                "tls-server-end-point": hashlib.sha256(shown.public_bytes(Encoding.DER)).digest(),
            },
        )
        self.assertEqual(bindings_as_client(client.transport), found)

    def test_tls_1_2(self) -> None:
        client, server = self.pair(Client(SSL.TLS1_2_VERSION))
        self.assertEqual(client.tls.getHandle().get_protocol_version_name(), "TLSv1.2")
        found = bindings_as_server(server.transport)
        self.assertEqual(list(found), ["tls-server-end-point"])
        self.assertEqual(bindings_as_client(client.transport), found)

    def test_of_the_connections_of_the_proxy_to_servers(self) -> None:
        assert self.domain.certificate is not None
        factory = client_factory(Domain(name="example.org", upstream_trust=self.domain.certificate), direct=True)
        client, server, _pump = secured_pair(factory, self.server_tls.factory("example.org"))
        self.assertEqual(bindings_as_client(client.transport), bindings_as_server(server.transport))
        self.assertEqual(len(bindings_as_client(client.transport)), 2)

    def test_stays_as_it_is(self) -> None:
        """Whatever has passed: reads and writes go another way once the handshake is done."""
        factory = self.server_tls.factory("example.org")
        client, server, pump = secured_pair(tls_factory(Client()), factory)
        before = bindings_as_server(server.transport)
        for _time in range(3):
            client.transport.write(os.urandom(20_000))
            server.transport.write(os.urandom(20_000))
            pump.flush()
        self.assertEqual(bindings_as_server(server.transport), before)
        self.assertEqual(bindings_as_client(client.transport), before)

    def test_each_connection_has_its_own_exporter(self) -> None:
        tls = Client()
        first = bindings_as_server(self.pair(tls)[1].transport)
        second = bindings_as_server(self.pair(tls)[1].transport)
        self.assertEqual(first["tls-server-end-point"], second["tls-server-end-point"])
        self.assertNotEqual(first["tls-exporter"], second["tls-exporter"])

    def test_a_resumed_tls_session(self) -> None:
        """The server shows no certificate then; the client remembers one."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            tls = Client(version)
            client, _server = self.pair(tls)
            tls.session = client.tls.getHandle().get_session()
            client, server = self.pair(tls)
            self.assertTrue(resumed(client.tls.getHandle()))
            self.assertEqual(bindings_as_client(client.transport), bindings_as_server(server.transport))

    def test_the_certificate_that_sni_asks_for(self) -> None:
        other = certified("other.example", self.directory)
        tls = ServerTLS([self.domain, other], self.directory)
        tls.load()
        seen = set()
        for name in (b"example.org", b"other.example", b"unknown.example", None):
            client, server, _pump = secured_pair(tls_factory(Client(name=name)), tls.factory_by_sni())
            found = bindings_as_server(server.transport)
            self.assertEqual(bindings_as_client(client.transport), found)
            seen.add(found["tls-server-end-point"])
        self.assertEqual(len(seen), 2)

    def test_the_certificate_changes_while_clients_resume(self) -> None:
        """A client that resumes remembers the old certificate, so it must not be let resume once there is a new one."""
        other = certified("other.example", self.directory)
        tls = ServerTLS([self.domain, other], self.directory)
        tls.load()
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            tls_client = Client(version, b"other.example")
            for _time in range(2):
                client, server, _pump = secured_pair(tls_factory(tls_client), tls.factory_by_sni())
                self.assertEqual(bindings_as_client(client.transport), bindings_as_server(server.transport))
                tls_client.session = client.tls.getHandle().get_session()
                for path in (other.certificate, other.private_key):
                    assert path is not None
                    path.unlink()
                certified("other.example", self.directory)

    def test_nothing_without_tls_of_ours(self) -> None:
        for layer in (None, object(), Recorder()):
            self.assertEqual((bindings_as_server(layer), bindings_as_client(layer)), ({}, {}))

    def test_a_certificate_that_cannot_be_hashed_leaves_the_other_type(self) -> None:
        key = ed25519.Ed25519PrivateKey.generate()
        paths = self.directory / "ed.pem", self.directory / "ed.key"
        paths[0].write_bytes(certificate(key, None).public_bytes(Encoding.PEM))
        paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        tls = ServerTLS([Domain(name="example.org", certificate=paths[0], private_key=paths[1])], self.directory)
        tls.load()
        _client, server, _pump = secured_pair(tls_factory(Client()), tls.factory("example.org"))
        self.assertEqual(list(bindings_as_server(server.transport)), ["tls-exporter"])


def resumed(connection: SSL.Connection) -> bool:
    """pyOpenSSL has no function for it."""
    library: Any = vars(SSL)["_lib"]
    return bool(library.SSL_session_reused(vars(connection)["_ssl"]))


class EndPointTest(unittest.TestCase):
    def test_the_hash_of_the_signature(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        rsa_key = rsa.generate_private_key(65537, 2048)
        pss = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
        for made, hash_name in (
            (certificate(key, hashes.SHA256()), "sha256"),
            (certificate(key, hashes.SHA384()), "sha384"),
            (certificate(key, hashes.SHA512()), "sha512"),
            (certificate(key, hashes.SHA3_256()), "sha3_256"),
            (certificate(rsa_key, hashes.SHA256()), "sha256"),
            (certificate(rsa_key, hashes.SHA384(), rsa_padding=pss), "sha384"),
            (certificate(key, hashes.SHA224()), "sha224"),
        ):
            self.assertEqual(end_point_of(made), hashlib.new(hash_name, made.public_bytes(Encoding.DER)).digest())

    def test_none(self) -> None:
        self.assertIsNone(end_point_of(certificate(ed25519.Ed25519PrivateKey.generate(), None)))

    def test_weak_hashes(self) -> None:
        """cryptography signs with neither any more; what it reads is made to say so."""
        der = certificate(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.DER)
        ecdsa_sha256, ecdsa_sha1 = bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06072a8648ce3d0401")
        self.assertEqual(der.count(ecdsa_sha256), 2)
        weak = x509.load_der_x509_certificate(shortened(der, ecdsa_sha256, ecdsa_sha1))
        assert isinstance(weak.signature_hash_algorithm, hashes.SHA1)
        self.assertEqual(end_point_of(weak), hashlib.sha256(weak.public_bytes(Encoding.DER)).digest())

    def test_unknown_algorithm(self) -> None:
        der = certificate(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.DER)
        unknown = der.replace(bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06082a8648ce3d040309"))
        self.assertIsNone(end_point_of(x509.load_der_x509_certificate(unknown)))


def shortened(der: bytes, old: bytes, new: bytes) -> bytes:
    """Replace the two algorithms of a certificate by a shorter one, and mend the lengths around them."""
    to_be_signed, _algorithm, signature = _children(der)
    algorithm, shorter = _wrapped(0x30, old), _wrapped(0x30, new)
    inner = b"".join(shorter if part == algorithm else part for part in _children(to_be_signed))
    return _wrapped(0x30, _wrapped(0x30, inner) + shorter + signature)


def _children(der: bytes) -> list[bytes]:
    """The elements within an element of DER."""
    _header, content = _split(der)
    found = []
    while content:
        header, body = _split(content)
        found.append(content[: header + len(body)])
        content = content[header + len(body) :]
    return found


def _split(der: bytes) -> tuple[int, bytes]:
    """How long the header of the first element is, and what is in it."""
    length, header = der[1], 2
    if length & 0x80:
        header += length & 0x7F
        length = int.from_bytes(der[2:header], "big")
    return header, der[header : header + length]


def _wrapped(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    digits = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(digits))) + digits + content
