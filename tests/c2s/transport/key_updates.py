"""What a client of TLS 1.3 may say without end that is no data: that keys are to be others (RFC 8446 §4.6.3)."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer

UPDATE_REQUESTED = b"\x18\x00\x00\x01\x01\x16"  # a handshake message of one byte, and the kind of the record
_LABEL = "CLIENT_TRAFFIC_SECRET_0"


@implementer(IOpenSSLClientConnectionCreator)
class Revealing:
    """A client of TLS 1.3 that believes anything, and tells by which secret it encrypts."""

    def __init__(self) -> None:
        self.secret = b""
        self._context = context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.set_keylog_callback(self._reveals)

    def _reveals(self, _connection: SSL.Connection, line: bytes) -> None:
        label, _random, secret = line.decode().split()
        if label == _LABEL:
            self.secret = bytes.fromhex(secret)

    def clientConnectionForTLS(self, _protocol: object) -> SSL.Connection:
        return SSL.Connection(self._context, None)


class Records:
    """Goes on in a client's place, behind so many records of data; the suite is TLS_AES_256_GCM_SHA384."""

    def __init__(self, secret: bytes, number: int) -> None:
        self._take(secret, number)

    def _take(self, secret: bytes, number: int = 0) -> None:
        self._secret, self._number = secret, number
        self._cipher, self._iv = AESGCM(_expanded(secret, "key", 32)), _expanded(secret, "iv", 12)

    def data(self, data: bytes) -> bytes:
        """Return a record with data."""
        return self._record(data + b"\x17")

    def update(self) -> bytes:
        """Return a record that demands other keys; what follows is encrypted by them."""
        record = self._record(UPDATE_REQUESTED)
        self._take(_expanded(self._secret, "traffic upd", 48))
        return record

    def _record(self, inner: bytes) -> bytes:
        header = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        nonce = bytes(one ^ other for one, other in zip(self._iv, self._number.to_bytes(12, "big"), strict=True))
        self._number += 1
        return header + self._cipher.encrypt(nonce, inner, header)


def _expanded(secret: bytes, label: str, length: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446 §7.1), of no more than one block."""
    named = b"tls13 " + label.encode()
    info = length.to_bytes(2, "big") + bytes([len(named)]) + named + b"\0"
    found: Any = hmac.digest(secret, info + b"\x01", hashlib.sha384)
    return bytes(found[:length])
