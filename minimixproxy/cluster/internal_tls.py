"""TLS between processes of a cluster: both ends show a certificate of the cluster's own authority, and TLS is 1.3.

No names are looked at: who has a certificate of that authority is a process of the cluster, whatever its address. So
the authority is for nothing else. A certificate that says what it may be used for has to name both ends of TLS.
"""

from __future__ import annotations

from pathlib import Path

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from minimixproxy.c2s.transport.certificates import CertificateError, CertificateFiles, load_pair, reason_of


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class InternalTLS:
    """What makes the TLS layers of both directions. All files are read anew when one of them changes."""

    def __init__(self, authority: Path, certificate: Path, private_key: Path) -> None:
        """`authority`: the certificates of the cluster's CA (PEM). Nothing is read yet: see `load`."""
        self._authority = authority
        self._files = CertificateFiles("the cluster", certificate, private_key, self._make_context, authority)
        self.for_servers = TLSMemoryBIOFactory(self, False, None)  # type: ignore[arg-type]
        self.for_clients = TLSMemoryBIOFactory(self, True, None)  # type: ignore[arg-type]

    def load(self) -> None:
        """Read the files. Raises `CertificateError`."""
        self._files.check()

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return SSL.Connection(self._files.context(), None)

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return SSL.Connection(self._files.context(), None)

    def _make_context(self, certificate: Path, private_key: Path) -> SSL.Context:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        # A session that is resumed shows no certificate, and the authority may have been changed since.
        context.set_options(SSL.OP_NO_TICKET)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        load_pair(context, certificate, private_key)
        try:
            context.load_verify_locations(str(self._authority))
        except SSL.Error as error:
            raise CertificateError(f"{self._authority}: {reason_of(error)}") from error
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _as_openssl_says)
        return context


def _as_openssl_says(_connection: SSL.Connection, _certificate: object, _error: int, _depth: int, good: int) -> bool:
    return bool(good)
