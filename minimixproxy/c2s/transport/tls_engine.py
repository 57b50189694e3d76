"""What happens to every byte of an open TLS connection: straight between OpenSSL and the layers above and below.

pyOpenSSL makes the connections and does whatever is rare. Its `recv` and `send` cost more than OpenSSL's own work
on a stanza, so those two are done here with the functions of OpenSSL that it uses itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from OpenSSL import SSL

MAX_PLAINTEXT = 2**14  # bytes in a record (RFC 8446 §5.1)
MAX_DATA = 2**15  # more than a record takes, encrypted
#: Of what comes in very many records so many bytes are read at once: what brings no data costs much (`TLSLayer`).
PIECE, MANY = 1024, 100
_VERSION = b"\x03\x03"  # in the header of each record, whatever is in it (RFC 8446 §5.2)
#: Bytes, beyond which what passes leaves OpenSSL's buffers larger than an idle connection should keep.
LARGE = 4096

_NEEDED = (
    "BIO_get_mem_data",
    "BIO_new",
    "BIO_read",
    "BIO_s_mem",
    "BIO_write",
    "SSL_read",
    "SSL_set_bio",
    "SSL_write",
)
_lib: Any = getattr(SSL, "_lib", None)
_ffi: Any = getattr(SSL, "_ffi", None)
#: Whether this pyOpenSSL lets us at OpenSSL; `TLSLayer` works without, and costs more.
AVAILABLE = _ffi is not None and all(hasattr(_lib, name) for name in _NEEDED)

# For what is read from OpenSSL, and copied at once.
_BUFFER: Any = _ffi.new("char[]", MAX_DATA) if AVAILABLE else None
_READ: Any = _ffi.buffer(_BUFFER) if AVAILABLE else None  # the same for Python: a slice is a copy
_DATA: Any = _ffi.new("char **") if AVAILABLE else None


def has_very_many(data: bytes) -> bool:
    """Tell whether there may be more records in it than should be read at once."""
    return len(data) > PIECE and data.count(_VERSION) > MANY


class Layer(Protocol):
    """What an engine needs of the TLS layer that it takes over from."""

    transport: Any
    is_wary: bool  # of the peer: it may send very many records

    def getHandle(self) -> Any:
        """Return pyOpenSSL's connection."""

    @property
    def feed(self) -> Callable[[bytes], int]:
        """Return how to count the records that end in what came."""

    def read(self, data: bytes) -> None:
        """Take encrypted bytes, by the slow way."""

    def read_pieces(self, data: bytes) -> None:
        """Take encrypted bytes a little at a time, and no more once it is too much."""

    def read_rest(self, remaining: int) -> None:
        """Find out what the records are that the engine could not read."""

    def hand_up(self, parts: list[bytes]) -> None:
        """Give decrypted data to the protocol above."""

    def write_slowly(self, data: bytes) -> None:
        """Encrypt and send, by the slow way."""


class TLSEngine:
    """Takes over `write` and `dataReceived` of a layer whose handshake is done, until something rare happens."""

    __slots__ = (
        "_connection",
        "_count",
        "_from_ssl",
        "_grown",
        "_into_ssl",
        "_is_wary",
        "_layer",
        "_ssl",
        "_write_below",
        "active",
    )

    def __init__(self, layer: Layer) -> None:
        connection: Any = layer.getHandle()
        self._connection = connection
        self._layer = layer
        self._ssl = connection._ssl
        self._into_ssl = connection._into_ssl
        self._from_ssl = connection._from_ssl
        self._grown = False
        self._renew_buffers()  # the handshake has been in them
        self._count = layer.feed
        self._is_wary = layer.is_wary
        self._write_below = layer.transport.write
        self.active = True

    def stop(self) -> None:
        """Leave everything to the layer from now on."""
        self.active = False
        self._connection = self._ssl = self._into_ssl = self._from_ssl = None

    def _renew_buffers(self) -> None:
        """Give OpenSSL new buffers if there is nothing in the old ones, which keep the size that they needed once."""
        if any(_lib.BIO_get_mem_data(bio, _DATA) > 0 for bio in (self._into_ssl, self._from_ssl)):
            self._grown = True  # next time
            return
        self._grown = False
        connection = self._connection
        self._into_ssl, self._from_ssl = (_lib.BIO_new(_lib.BIO_s_mem()) for _ in range(2))
        _lib.SSL_set_bio(self._ssl, self._into_ssl, self._from_ssl)  # frees the old ones
        connection._into_ssl, connection._from_ssl = self._into_ssl, self._from_ssl

    def read(self, data: bytes) -> None:
        """Decrypt what came, and hand up the data of all its records at once."""
        if self._is_wary and has_very_many(data):
            self._layer.read_pieces(data)
            return
        if not self.active or _lib.BIO_write(self._into_ssl, data, len(data)) != len(data):
            self._layer.read(data)
            return
        parts: list[bytes] = []
        for remaining in range(self._count(data), 0, -1):
            size = _lib.SSL_read(self._ssl, _BUFFER, MAX_DATA)
            if size <= 0:  # a record without data, or the end: the layer finds out which
                self._layer.hand_up(parts)
                self._layer.read_rest(remaining)
                return
            parts.append(_READ[:size])
        if len(data) > LARGE:
            self._grown = True
        elif self._grown:
            self._renew_buffers()
        self._layer.hand_up(parts)

    def write(self, data: bytes) -> None:
        """Encrypt and send."""
        length = len(data)
        if length > LARGE:
            self._grown = True
        sent = _lib.SSL_write(self._ssl, data, length) if self.active and 0 < length <= MAX_PLAINTEXT else 0
        if sent <= 0:  # if OpenSSL wants the same again, it gets it from the layer
            self._layer.write_slowly(data)
            return
        size = _lib.BIO_read(self._from_ssl, _BUFFER, MAX_DATA)
        self._write_below(_READ[:size])
        if sent < length:  # a peer that asked for short records (RFC 6066 §4)
            self.write(data[sent:])
