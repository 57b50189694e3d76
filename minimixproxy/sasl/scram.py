"""What both ends of SCRAM have in common (RFC 5802, RFC 7677): mechanisms, messages, keys. Pure.

The slow part, deriving the keys from a password, is a function of its own (`derive_keys`), so that callers run it
off the reactor thread.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from base64 import b64decode
from typing import NamedTuple

import cryptography
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from minimixproxy.sasl.saslprep import SaslprepError, saslprep

# Strongest first. The hash is named as hashlib names it.
MECHANISMS = {"SCRAM-SHA-512": "sha512", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}
#: What the name of a mechanism with channel binding ends in.
PLUS = "-PLUS"

# RFC 7677 §4 asks for 4096 at least; fewer come from a broken or hostile server. The upper bound keeps one server
# from occupying a thread for minutes (ten million take about five seconds).
MIN_ITERATIONS = 4096
MAX_ITERATIONS = 10_000_000

# Python may be linked to an OpenSSL that takes twice the time for it (3.0 does); older ones of these hold the GIL.
_BY_CRYPTOGRAPHY = int(cryptography.__version__.partition(".")[0]) >= 50
_ALGORITHMS = {"sha512": hashes.SHA512(), "sha256": hashes.SHA256(), "sha1": hashes.SHA1()}

_MAX_MESSAGE = 8192
_MAX_NAME = 1023  # bytes, as of a JID's local part (RFC 6122 §2.1)
_MAX_SALT = 1024


class ScramError(Exception):
    """What the other end said is not SCRAM, or it could not prove what it has to."""


class ScramKeys(NamedTuple):
    """What is left of a password for one salt and iteration count: enough to log in and to know the server."""

    client_key: bytes
    server_key: bytes

    def __repr__(self) -> str:
        return "<ScramKeys>"


class Challenge(NamedTuple):
    """What the server wants the keys derived with."""

    salt: bytes
    iterations: int


def hash_of(mechanism: str) -> str | None:
    """Return the hash of a SCRAM mechanism that we know, with channel binding or without."""
    return MECHANISMS.get(mechanism.removesuffix(PLUS))


def derive_keys(hash_name: str, password: str, salt: bytes, iterations: int) -> ScramKeys:
    """Return the keys of a password; takes milliseconds to seconds. Raises `ScramError` if SASLprep forbids it."""
    try:
        prepared = saslprep(password).encode("utf-8")
    except (SaslprepError, UnicodeEncodeError) as error:
        raise ScramError("the password holds characters that SASLprep forbids") from error
    salted = _stretched(hash_name, prepared, salt, iterations)
    return ScramKeys(keyed_hash(hash_name, salted, b"Client Key"), keyed_hash(hash_name, salted, b"Server Key"))


def _stretched(hash_name: str, password: bytes, salt: bytes, iterations: int) -> bytes:
    """Return `Hi` (RFC 5802 §2.2); other threads go on meanwhile."""
    algorithm = _ALGORITHMS.get(hash_name) if _BY_CRYPTOGRAPHY else None
    if algorithm is None:
        return hashlib.pbkdf2_hmac(hash_name, password, salt, iterations)
    return PBKDF2HMAC(algorithm, algorithm.digest_size, salt, iterations).derive(password)


def prepared_name(username: str) -> str:
    """Return a user name as both ends compare it. Raises `ScramError` if SASLprep forbids it, or it is too long."""
    try:
        _check_length(username)  # before the work, which is in proportion to it
        prepared = saslprep(username)
        _check_length(prepared)  # one character may become eighteen
    except (SaslprepError, UnicodeEncodeError) as error:
        raise ScramError("the user name holds characters that SASLprep forbids") from error
    if not prepared:
        raise ScramError("nothing is left of the user name")
    return prepared


def _check_length(name: str) -> None:
    if len(name.encode("utf-8")) > _MAX_NAME:
        raise ScramError(f"the user name is over {_MAX_NAME} bytes")


def read_fields(message: bytes) -> dict[str, str]:
    """Return the attributes of a message in order. RFC 5802 §5.1."""
    if len(message) > _MAX_MESSAGE:
        raise ScramError("message too long")
    try:
        text = message.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ScramError("message is not UTF-8") from error
    fields: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if len(name) != 1 or not (name.isascii() and name.isalpha()) or not equals or name in fields:
            raise ScramError("malformed message")
        fields[name] = value
    return fields


def read_base64(text: str) -> bytes:
    """Return what a field in base64 holds. Raises `ScramError`."""
    try:
        return b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise ScramError("malformed base64") from error


def read_salt(text: str) -> bytes:
    """Return the salt in `s=`. Raises `ScramError`."""
    salt = read_base64(text)
    if not 0 < len(salt) <= _MAX_SALT:
        raise ScramError("salt of unreasonable length")
    return salt


def read_iterations(text: str) -> int:
    """Return the number in `i=`, within bounds. Raises `ScramError`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ScramError("malformed iteration count")
    iterations = int(text)
    if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
        raise ScramError(f"iteration count {iterations} is not within {MIN_ITERATIONS} and {MAX_ITERATIONS}")
    return iterations


def proof_of(client_key: bytes, stored_key: bytes, hash_name: str, auth_message: bytes) -> bytes:
    """Return the client's proof from its key; or its key, from the proof."""
    signature = keyed_hash(hash_name, stored_key, auth_message)
    return bytes(a ^ b for a, b in zip(client_key, signature, strict=True))


def stored_key_of(hash_name: str, client_key: bytes) -> bytes:
    """Return what a server keeps of a ClientKey."""
    return hashlib.new(hash_name, client_key).digest()


def keyed_hash(hash_name: str, key: bytes, message: bytes) -> bytes:
    """Return a HMAC with the hash of that name."""
    return hmac.new(key, message, hash_name).digest()
