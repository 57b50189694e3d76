"""The SASL mechanisms HT-*: a client proves that it has a token (draft-schmaus-kitten-sasl-ht-09, XEP-0484). Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection
from typing import NamedTuple

from minimixproxy.sasl.channel_binding import TLS_EXPORTER, TLS_SERVER_END_POINT, Bindings


class Mechanism(NamedTuple):
    """A hash as `hashlib` names it, and the type of channel binding that is demanded, "" for none."""

    hash_name: str
    binding: str


_HASHES = {"SHA-512": "sha512", "SHA-256": "sha256"}
_BINDINGS = {"EXPR": TLS_EXPORTER, "ENDP": TLS_SERVER_END_POINT, "NONE": ""}
#: By name; the strongest first, to which being bound counts for more than the hash.
MECHANISMS = {
    f"HT-{hash_}-{binding}": Mechanism(_HASHES[hash_], _BINDINGS[binding]) for binding in _BINDINGS for hash_ in _HASHES
}
_MAX_NAME = 1024  # bytes


class HashedTokenError(Exception):
    """A message is none of these mechanisms."""


class Initiator(NamedTuple):
    """What a client says: who it is, and the proof that it has the token."""

    username: str
    proof: bytes

    def __repr__(self) -> str:
        return "<Initiator>"


def mechanisms(bindings: Collection[str]) -> tuple[str, ...]:
    """Return those that can be done where these types of channel binding can."""
    return tuple(name for name, one in MECHANISMS.items() if not one.binding or one.binding in bindings)


def read_initiator(message: bytes, mechanism: str) -> Initiator:
    """Read the only message of a client. Raises `HashedTokenError`."""
    name, separator, proof = message.partition(b"\0")
    size = hashlib.new(MECHANISMS[mechanism].hash_name).digest_size
    if not separator or not name or len(name) > _MAX_NAME or len(proof) != size:
        raise HashedTokenError("no name with a hash behind it")
    try:
        return Initiator(name.decode("utf-8"), proof)
    except UnicodeDecodeError as error:
        raise HashedTokenError("not UTF-8") from error


def is_proved(proof: bytes, secret: str, mechanism: str, bindings: Bindings) -> bool:
    """Tell whether a proof is of this token on this connection."""
    return hmac.compare_digest(proof, _hashed("Initiator", secret, mechanism, bindings))


def responder(secret: str, mechanism: str, bindings: Bindings) -> bytes:
    """Return the proof that the proxy knows the token, too."""
    return _hashed("Responder", secret, mechanism, bindings)


def _hashed(who: str, secret: str, mechanism: str, bindings: Bindings) -> bytes:
    hash_name, type_ = MECHANISMS[mechanism]
    return hmac.digest(secret.encode(), who.encode() + (bindings[type_] if type_ else b""), hash_name)
