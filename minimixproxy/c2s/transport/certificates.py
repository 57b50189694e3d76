"""Certificate files of the domains served: loading, watching for changes, and making self-signed ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

from minimixproxy.logs.logger import Logger

log = Logger()

_SELF_SIGNED_LIFETIME = timedelta(days=3650)
_RENEW_BEFORE = timedelta(days=30)

_Stamp = tuple[tuple[int, int, int], ...]


class CertificateError(Exception):
    """A certificate or key file cannot be used. The text names the file."""


class CertificateFiles:
    """The certificate of one domain, made into a TLS context anew whenever its files change on disk."""

    def __init__(
        self,
        domain: str,
        certificate: Path,
        private_key: Path,
        make_context: Callable[[Path, Path], SSL.Context],
        *others: Path,
    ) -> None:
        """`make_context(certificate, private_key)` raises `CertificateError`. `others`: files that it reads, too."""
        self.domain = domain
        self._others = others
        self._paths = (certificate, private_key)
        self._make_context = make_context
        self._stamp: _Stamp | None  # of the files when they were read last
        self._context: SSL.Context | None = None
        self._fault: CertificateError | None = None  # of the files as they were read last

    @property
    def paths(self) -> tuple[Path, Path]:
        """The files of the certificate and of its key."""
        return self._paths

    def check(self) -> None:
        """Raise `CertificateError` if the files, as they are now, cannot be used. What was usable before stays."""
        self.context()
        if self._fault is not None:
            raise self._fault

    def context(self) -> SSL.Context:
        """Return the context for a new connection.

        New files that cannot be used are logged once and the old certificate stays. Raises `CertificateError` when
        there was never a usable one.
        """
        stamp = self._read_stamp()
        if self._context is not None and stamp == self._stamp:
            return self._context
        self._stamp = stamp
        try:
            context, shown = self._make_context(*self._paths), fingerprint(self._paths[0])
        except CertificateError as error:
            if self._context is None:
                raise
            self._fault = error
            log.error(
                "the new certificate of {domain} cannot be used, the old one stays: {error}",
                domain=self.domain,
                error=error,
            )
            return self._context
        log.info(
            "certificate of {domain} loaded from {path}, SHA-256 {fingerprint}",
            domain=self.domain,
            path=str(self._paths[0]),
            fingerprint=shown,
        )
        self._context, self._fault = context, None
        return context

    def _read_stamp(self) -> _Stamp | None:
        """What tells one version of the files from the next; None when a file is missing (while it is replaced)."""
        try:
            stats = [path.stat() for path in (*self._paths, *self._others)]
        except OSError:
            return None
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)


def load_pair(context: SSL.Context, certificate: Path, private_key: Path) -> None:
    """Put a certificate chain and its key into a context. Raises `CertificateError`."""
    try:
        context.use_certificate_chain_file(str(certificate))
        context.use_privatekey(_load_key(private_key))
        context.check_privatekey()
    except (SSL.Error, OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{certificate} with {private_key}: {reason_of(error)}") from error


def _load_key(path: Path) -> crypto.PKey:
    # Not by OpenSSL, which would ask for the pass phrase of an encrypted key on the terminal.
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    return crypto.PKey.from_cryptography_key(key)  # type: ignore[arg-type]


def reason_of(error: Exception) -> str:
    """Return why a file could not be read, or why OpenSSL refuses it."""
    if isinstance(error, SSL.Error | crypto.Error):
        return ", ".join(reason for *_where, reason in error.args[0]) or "OpenSSL does not say why"
    return str(error)


def fingerprint(certificate: Path) -> str:
    """Return the SHA-256 fingerprint of a PEM file's first certificate, as `AB:CD:…`. Raises `CertificateError`."""
    try:
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError, x509.InvalidVersion) as error:
        raise CertificateError(f"{certificate}: {error}") from error
    return loaded.fingerprint(hashes.SHA256()).hex(":").upper()


def self_signed(domain: str, directory: Path) -> tuple[Path, Path]:
    """Return the paths of a self-signed certificate of `domain` and of its key, kept in `directory`.

    They are made if there are none, or if the certificate nears its end. The key file has mode 0600. Raises
    `CertificateError` when they cannot be written.
    """
    name = ascii_domain(domain)
    certificate = directory / f"{name}.selfsigned.pem"
    private_key = directory / f"{name}.selfsigned.key"
    if not _still_good(certificate, private_key):
        try:
            directory.mkdir(parents=True, exist_ok=True)
            _make_self_signed(name, certificate, private_key)
        except OSError as error:
            raise CertificateError(f"{certificate}: cannot be written: {error.strerror}") from error
        log.warn("no certificate configured for {domain}, made {path}", domain=domain, path=str(certificate))
    return certificate, private_key


def ascii_domain(domain: str) -> str:
    """Return a domain as A-labels, for DNS, certificates and file names."""
    return domain if domain.isascii() else domain.encode("idna").decode("ascii")


def _still_good(certificate: Path, private_key: Path) -> bool:
    try:
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
        key = serialization.load_pem_private_key(private_key.read_bytes(), password=None)
        # The parts of a certificate are not read before they are asked for.
        ends_late = loaded.not_valid_after_utc - datetime.now(UTC) > _RENEW_BEFORE
        return ends_late and loaded.public_key() == key.public_key()
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        return False


def _make_self_signed(name: str, certificate: Path, private_key: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    # A common name has at most 64 characters; what counts is the subjectAltName.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _SELF_SIGNED_LIFETIME)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(private_key, pem, 0o600)
    _write(certificate, made.public_bytes(serialization.Encoding.PEM), 0o644)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Replace a file whole, so that a crash leaves the old or the new one; never readable by more than `mode` says."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
