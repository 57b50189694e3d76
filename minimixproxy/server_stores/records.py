"""What is found in a server's store: accounts with their keys or passwords, and what cannot be used. Pure."""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode
from typing import NamedTuple

from minimixproxy.sasl.keys import Keys
from minimixproxy.sasl.scram import MAX_ITERATIONS, MECHANISMS, MIN_ITERATIONS

MAX_SALT = 1024  # bytes
MAX_PASSWORD = 1023  # bytes


class StoreError(Exception):
    """The store cannot be read at all, or no further; `str()` says why, and holds no password."""


class BadRecord(ValueError):
    """What is kept of one account cannot be used; `str()` says why, and holds nothing of it."""


class Record(NamedTuple):
    """An account. `domain` is None where the store does not tell. It has keys, or a password, if anything."""

    local: str
    domain: str | None
    keys: tuple[Keys, ...] = ()
    password: str | None = None

    def __repr__(self) -> str:
        return f"<Record of {self.local}@{self.domain}>"


class Unusable(NamedTuple):
    """Something that costs itself: what it is, for the operator, and what is wrong with it."""

    what: str
    why: str


def checked_keys(hash_name: str, salt: bytes, iterations: object, stored_key: bytes, server_key: bytes) -> Keys:
    """Return keys that may be good. Raises `BadRecord`."""
    if hash_name not in MECHANISMS.values():
        raise BadRecord("its keys are of a hash that is not known here")
    if not 0 < len(salt) <= MAX_SALT:
        raise BadRecord("its salt is empty, or too long")
    if not isinstance(iterations, int) or not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
        raise BadRecord(f"its iteration count is not within {MIN_ITERATIONS} and {MAX_ITERATIONS}")
    if {len(stored_key), len(server_key)} != {hashlib.new(hash_name).digest_size}:
        raise BadRecord("its keys have not the length of their hash")
    return Keys(hash_name, salt, iterations, stored_key, server_key)


def checked_password(password: object) -> str:
    """Return a password that may be one. Raises `BadRecord`."""
    if not isinstance(password, str) or not 0 < len(password.encode("utf-8", "surrogatepass")) <= MAX_PASSWORD:
        raise BadRecord("its password is empty, or too long")
    return password


def from_base64(text: object) -> bytes:
    """Return what is encoded. Raises `BadRecord`."""
    try:
        return b64decode(text.encode("ascii"), validate=True) if isinstance(text, str) else b""
    except (UnicodeEncodeError, binascii.Error) as error:
        raise BadRecord("its keys are no base64") from error


def from_hex(text: object) -> bytes:
    """Return what is encoded. Raises `BadRecord`."""
    try:
        return binascii.unhexlify(text) if isinstance(text, str) else b""
    except ValueError as error:
        raise BadRecord("its keys are no hexadecimal numbers") from error
