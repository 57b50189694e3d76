"""Credentials sealed with a key that is kept apart from the database (AES-256-GCM).

A sealed value belongs to its row: moved to another account or column it cannot be opened.
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from minimixproxy.storage.errors import SealKeyError

CREDENTIAL = "minimixproxy.key"  # its name among systemd's credentials
SEAL_KEY = "seal.key"  # its name otherwise, unless configured
_FORMAT = b"\x01"
_NONCE = 12
_MIN_KEY = 32


class Unsealable(Exception):
    """Sealed with another key, for another row, or damaged."""


class Sealer:
    """Seals and opens values."""

    def __init__(self, secret: bytes, *earlier: bytes) -> None:
        """`secret`: what the key is made of, at least 32 bytes. What was sealed by `earlier` ones is opened, too."""
        self._cipher, *self._earlier = map(_cipher, (secret, *earlier))

    def seal(self, value: bytes, *place: str) -> bytes:
        """Return `value` sealed for its place: account, column and whatever else names the row."""
        nonce = secrets.token_bytes(_NONCE)
        return _FORMAT + nonce + self._cipher.encrypt(nonce, value, _bound_to(place))

    def open(self, sealed: object, *place: str) -> bytes:
        """Return the value. Raises `Unsealable`."""
        if not isinstance(sealed, bytes) or sealed[:1] != _FORMAT or len(sealed) < 1 + _NONCE + 16:
            raise Unsealable
        nonce, rest = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        for cipher in (self._cipher, *self._earlier):
            with suppress(InvalidTag):
                return cipher.decrypt(nonce, rest, _bound_to(place))
        raise Unsealable


def _cipher(secret: bytes) -> AESGCM:
    return AESGCM(sha256(b"minimixproxy state\0" + secret).digest())


def _bound_to(place: tuple[str, ...]) -> bytes:
    return "\0".join(place).encode("utf-8", "surrogatepass")


def load_sealer(configured: Path | None, directory: Path, shared: bytes | None = None) -> Sealer:
    """Return the sealer of this installation. Raises `SealKeyError`.

    The key is in the configured file, else a credential that systemd passes, else `seal.key` in `directory`. A file
    that is not there is made. In a cluster it is `shared`, which all of its processes have; what a proxy that was alone
    has sealed is opened, if its key is there.
    """
    file = _place(configured, directory)
    if shared is not None:
        return Sealer(shared, *_of_before(file, configured))
    try:
        if not file.exists():
            _make(file)
    except OSError as error:
        raise SealKeyError(f"{file}: cannot be made: {error.strerror}") from error
    return Sealer(read_key(file, "seal_key must name a file of its own, which is made if it is missing"))


def _place(configured: Path | None, directory: Path) -> Path:
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if configured is None and credentials is not None:
        credential = Path(credentials, CREDENTIAL)
        if credential.exists():
            return credential
    return configured or directory / SEAL_KEY


def _of_before(file: Path, configured: Path | None) -> list[bytes]:
    try:
        if configured is None and not file.exists():
            return []
    except OSError as error:
        raise SealKeyError(f"{file}: cannot be read: {error.strerror}") from error
    return [read_key(file, "in a cluster seal_key must name the key of the proxy that was alone")]


def read_key(file: Path, must: str) -> bytes:
    """Return what a file of random bytes holds that nobody else may read. Raises `SealKeyError`.

    `must`: what is said of something that is no file.
    """
    try:
        found = file.stat().st_mode
    except OSError as error:
        raise SealKeyError(f"{file}: cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(found):
        what = "a directory" if stat.S_ISDIR(found) else "no file"
        raise SealKeyError(f"{file}: is {what}: {must}")
    mode = stat.S_IMODE(found)
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if mode & 0o077 and not (credentials and file.is_relative_to(credentials)):  # its mode may come of an ACL
        raise SealKeyError(f"{file}: others may read it (mode {mode:04o}): chmod 600 {file}")
    return _checked(file, _read(file))


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes().strip()
    except OSError as error:
        raise SealKeyError(f"{file}: cannot be read: {error.strerror}") from error


def _checked(file: Path, secret: bytes) -> bytes:
    if len(secret) < _MIN_KEY:
        raise SealKeyError(f"{file}: is no key: it must hold at least {_MIN_KEY} random bytes")
    return secret


def _make(file: Path) -> None:
    """Write a fresh key, under its name only when it is complete; one that came meanwhile is left alone."""
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as output:
            output.write(secrets.token_hex(32) + "\n")
            output.flush()
            os.fsync(output.fileno())
        with suppress(FileExistsError):
            os.link(temporary, file)
    finally:
        os.unlink(temporary)
