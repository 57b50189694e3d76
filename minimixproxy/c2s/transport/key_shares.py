"""Which kinds of keys a server is sent before it has said which one it takes (RFC 8446 §4.2.8).

OpenSSL sends two: one of a hybrid with ML-KEM, which no quantum computer breaks, and one of X25519. That of the hybrid
costs as much CPU as the rest of our part of a handshake, and 8 KiB for as long as the connection stands. A server that
has lately taken another kind is sent that one first; that we can do the hybrid it is told all the same, and it can ask.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

AGAIN = 3600.0  # seconds, after which a server is sent both kinds once more: it may have learned

_lib: Any = getattr(SSL, "_lib", None)
#: Since OpenSSL 3.5 there are hybrids, and lists in which `*` marks what is sent at once.
AVAILABLE = (
    SSL.OPENSSL_VERSION_NUMBER >= 0x30500000
    and hasattr(_lib, "SSL_set1_curves_list")
    and hasattr(SSL.Connection, "get_group_name")
)
#: OpenSSL's own list, less the mark of the hybrid.
_WITHOUT_HYBRID = b"?X25519MLKEM768 / ?*X25519:?secp256r1 / ?X448:?secp384r1:?secp521r1 / ?ffdhe2048:?ffdhe3072"
_HYBRID = "MLKEM"


@implementer(IOpenSSLClientConnectionCreator)
class KeyShares:
    """Makes connections to one server by another creator, and learns from how they went."""

    def __init__(self, creator: Any, now: Callable[[], float] = time.monotonic) -> None:
        self._creator = creator
        self._now = now
        self._both_from = 0.0  # when the server is to be sent both kinds again

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection: Any = self._creator.clientConnectionForTLS(protocol)
        if AVAILABLE and self._now() < self._both_from:
            _lib.SSL_set1_curves_list(connection._ssl, _WITHOUT_HYBRID)
        return cast(SSL.Connection, connection)

    def agreed(self, connection: Any) -> None:
        """A handshake has succeeded."""
        if not AVAILABLE:
            return
        now = self._now()
        if _HYBRID in (connection.get_group_name() or "").upper():
            self._both_from = 0.0
        elif now >= self._both_from:
            self._both_from = now + AGAIN


class ServerFacingFactory(TLSMemoryBIOFactory):
    """Makes TLS layers towards one server."""

    def __init__(self, creator: Any) -> None:
        self._shares = KeyShares(creator)
        super().__init__(self._shares, True, None)  # type: ignore[arg-type]

    def agreed(self, connection: Any) -> None:
        """A handshake has succeeded."""
        self._shares.agreed(connection)
