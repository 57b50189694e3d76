"""The client's part of SCRAM (RFC 5802, RFC 7677), without channel binding. Pure: messages in, messages out.

The slow part, deriving the keys from a password, is a function of its own (`derive_keys`), so that callers run it
off the reactor thread (see `credentials`).
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode
from typing import NamedTuple

from minimixproxy.sasl.saslprep import SaslprepError, saslprep

# Strongest first. The hash is named as hashlib names it.
MECHANISMS = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}

# RFC 7677 §4 asks for 4096 at least; fewer come from a broken or hostile server. The upper bound keeps one server
# from occupying a thread for minutes (ten million take about five seconds).
MIN_ITERATIONS = 4096
MAX_ITERATIONS = 10_000_000

_GS2_HEADER = b"n,,"  # no channel binding, no authzid
_MAX_MESSAGE = 8192
_MAX_SALT = 1024


class ScramError(Exception):
    """What the server said is not SCRAM, or it could not prove that it knows the account's keys."""


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


def derive_keys(hash_name: str, password: str, salt: bytes, iterations: int) -> ScramKeys:
    """Return the keys of a password; takes milliseconds to seconds. Raises `ScramError` if SASLprep forbids it."""
    try:
        prepared = saslprep(password).encode("utf-8")
    except (SaslprepError, UnicodeEncodeError) as error:
        raise ScramError("the password holds characters that SASLprep forbids") from error
    salted = hashlib.pbkdf2_hmac(hash_name, prepared, salt, iterations)
    return ScramKeys(_hmac(hash_name, salted, b"Client Key"), _hmac(hash_name, salted, b"Server Key"))


class ScramClient:
    """One exchange: `first`, `challenge`, `final`, `verify`, in that order."""

    def __init__(self, mechanism: str, username: str, nonce: str | None = None) -> None:
        """`mechanism`: one of `MECHANISMS`. `nonce` is for test vectors. Raises `ScramError` for a forbidden name."""
        self.hash_name = MECHANISMS[mechanism]
        self._nonce = nonce if nonce is not None else secrets.token_urlsafe(24)
        self._first_bare = b"n=%b,r=%b" % (_username(username), self._nonce.encode("ascii"))
        self._server_first: bytes  # these two are those of `challenge`
        self._server_nonce: bytes
        self._signature: bytes | None = None

    def first(self) -> bytes:
        """Return the client-first-message."""
        return _GS2_HEADER + self._first_bare

    def challenge(self, server_first: bytes) -> Challenge:
        """Read the server-first-message. Raises `ScramError` for a bad nonce, salt or iteration count."""
        fields = _fields(server_first)
        if list(fields)[:3] != ["r", "s", "i"]:  # also refuses m=, the mandatory extension
            raise ScramError("unexpected server-first-message")
        nonce = fields["r"]
        if not (nonce.isascii() and nonce.startswith(self._nonce) and len(nonce) > len(self._nonce)):
            raise ScramError("the server's nonce does not continue ours")
        self._server_first = server_first
        self._server_nonce = nonce.encode("ascii")
        return Challenge(_salt(fields["s"]), _iterations(fields["i"]))

    def final(self, keys: ScramKeys) -> bytes:
        """Return the client-final-message, with the proof."""
        without_proof = b"c=%b,r=%b" % (b64encode(_GS2_HEADER), self._server_nonce)
        auth_message = b",".join((self._first_bare, self._server_first, without_proof))
        stored_key = hashlib.new(self.hash_name, keys.client_key).digest()
        signature = _hmac(self.hash_name, stored_key, auth_message)
        proof = bytes(a ^ b for a, b in zip(keys.client_key, signature, strict=True))
        self._signature = _hmac(self.hash_name, keys.server_key, auth_message)
        return without_proof + b",p=" + b64encode(proof)

    def verify(self, server_final: bytes) -> None:
        """Check the server-final-message. Raises `ScramError` unless the server proved itself."""
        fields = _fields(server_final)
        if "e" in fields:
            raise ScramError(f"the server reports {fields['e'][:64]!r}")
        if self._signature is None or "v" not in fields:
            raise ScramError("no server signature")
        if not hmac.compare_digest(_base64(fields["v"]), self._signature):
            raise ScramError("wrong server signature")


def _username(username: str) -> bytes:
    try:
        prepared = saslprep(username)
        encoded = prepared.encode("utf-8")
    except (SaslprepError, UnicodeEncodeError) as error:
        raise ScramError("the user name holds characters that SASLprep forbids") from error
    return encoded.replace(b"=", b"=3D").replace(b",", b"=2C")


def _fields(message: bytes) -> dict[str, str]:
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
        if len(name) != 1 or not equals or name in fields:
            raise ScramError("malformed message")
        fields[name] = value
    return fields


def _base64(text: str) -> bytes:
    try:
        return b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise ScramError("malformed base64") from error


def _salt(text: str) -> bytes:
    salt = _base64(text)
    if not 0 < len(salt) <= _MAX_SALT:
        raise ScramError("salt of unreasonable length")
    return salt


def _iterations(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ScramError("malformed iteration count")
    iterations = int(text)
    if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
        raise ScramError(f"iteration count {iterations} is not within {MIN_ITERATIONS} and {MAX_ITERATIONS}")
    return iterations


def _hmac(hash_name: str, key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hash_name).digest()
