"""Throw-away certificates for tests."""

import datetime
import ipaddress
from base64 import b64decode, encodebytes
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

# Parts of a certificate, in hexadecimal digits, and what takes their place: it can still be taken apart.
DAMAGES = (
    ("a003020102", "a003020165"),  # version 102
    ("06072a8648ce3d0201", "06072a8648ce3d0202"),  # a kind of key that nobody knows
    ("03420004", "03420005"),  # no point of the curve
)


class KeyPair(NamedTuple):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """Write name.pem and name.key; returns their paths."""
        certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
        certificate.write_bytes(self.certificate_pem())
        key.write_bytes(self.key_pem())
        return certificate, key


def damage(certificate: Path, part: str, replacement: str) -> None:
    """Replace one of the `DAMAGES` in a PEM file."""
    der = b64decode("".join(certificate.read_text().splitlines()[1:-1]))
    damaged = der.replace(bytes.fromhex(part), bytes.fromhex(replacement))
    assert damaged != der
    certificate.write_text(f"-----BEGIN CERTIFICATE-----\n{encodebytes(damaged).decode()}-----END CERTIFICATE-----\n")


def _builder(subject: str, issuer: x509.Name | None, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer or name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=2))
    )


def make_authority() -> KeyPair:
    """A certificate authority of our own."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder("minimixproxy tests", None, key)
        .not_valid_after(datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(False, False, False, False, False, True, True, False, False),
            critical=True,
        )
    )
    return KeyPair(builder.sign(key, hashes.SHA256()), key)


def make_certificate(
    authority: KeyPair | None, *names: str, ends: int = 30, purpose: x509.ObjectIdentifier | None = None
) -> KeyPair:
    """A certificate for these domain names, and for 127.0.0.1; self-signed without an authority.

    `ends`: in so many days; `purpose`: it is for nothing else.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate.subject if authority else None
    signer = authority.key if authority else key
    alternatives = [*(x509.DNSName(name) for name in names), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    builder = (
        _builder(names[0], issuer, key)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    builder = builder.not_valid_after(datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=ends))
    if purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return KeyPair(builder.sign(signer, hashes.SHA256()), key)
