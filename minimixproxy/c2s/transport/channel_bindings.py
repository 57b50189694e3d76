"""What a login can be bound to: the data of a TLS connection by which both ends know that it is the same one."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from minimixproxy.sasl.channel_binding import TLS_EXPORTER, TLS_SERVER_END_POINT, Bindings

_LABEL = b"EXPORTER-Channel-Binding"  # RFC 9266 §2
_LENGTH = 32  # bytes
_TOO_WEAK = (hashes.MD5, hashes.SHA1)


def bindings_as_server(layer: Any) -> Bindings:
    """Return the data of a connection that we accepted, by type; `layer` is its TLS, whose handshake is done.

    Empty if `layer` is something else: the connection is plain, or its TLS ends elsewhere.
    """
    connection = _connection(layer)
    return {} if connection is None else _bindings(connection, connection.get_certificate())


def bindings_as_client(layer: Any) -> Bindings:
    """Return the same of a connection that we made."""
    connection = _connection(layer)
    return {} if connection is None else _bindings(connection, connection.get_peer_certificate())


def _connection(layer: Any) -> SSL.Connection | None:
    handle = getattr(layer, "getHandle", lambda: None)()
    return handle if isinstance(handle, SSL.Connection) else None


def _bindings(connection: SSL.Connection, certificate: Any) -> Bindings:
    found = {}
    # Before 1.3 two connections can have the same master secret unless both ends extend it (RFC 7627), and OpenSSL's
    # Python binding does not tell whether they did.
    if connection.get_protocol_version_name() == "TLSv1.3":
        found[TLS_EXPORTER] = connection.export_keying_material(_LABEL, _LENGTH, b"")
    end_point = end_point_of(certificate.to_cryptography()) if certificate is not None else None
    if end_point is not None:
        found[TLS_SERVER_END_POINT] = end_point
    return found


def end_point_of(certificate: x509.Certificate) -> bytes | None:
    """Return a certificate's hash (RFC 5929 §4.1), None if its signature says no single hash: Ed25519, for one."""
    try:
        algorithm = certificate.signature_hash_algorithm
        if algorithm is None:
            return None
        digest = hashes.Hash(hashes.SHA256() if isinstance(algorithm, _TOO_WEAK) else algorithm)
    except UnsupportedAlgorithm:
        return None
    digest.update(certificate.public_bytes(Encoding.DER))
    return digest.finalize()
