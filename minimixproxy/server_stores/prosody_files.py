"""Accounts in Prosody's own files: `…/example%2ecom/accounts/alice.dat`, of internal_hashed and internal_plain."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from minimixproxy.sasl.keys import Keys
from minimixproxy.server_stores.lua_tables import NoTable, read_table
from minimixproxy.server_stores.records import (
    BadRecord,
    Record,
    StoreError,
    Unusable,
    checked_keys,
    checked_password,
    from_hex,
)

MAX_FILE = 64 * 1024  # bytes; those of Prosody have some hundred
_HASHES = {40: "sha1", 64: "sha256", 128: "sha512"}  # by the digits of a key
_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})")
_SUFFIX = ".dat"


def read_directory(directory: Path) -> Iterator[Record | Unusable]:
    """Yield the accounts of all hosts in Prosody's directory of data, or of one host if it is that one's.

    Raises `StoreError` if it is neither.
    """
    hosts = _hosts(directory)
    if not hosts:
        raise StoreError(f"{directory}: there are no accounts of Prosody's: no …/accounts in it (is it `data_path`?)")
    for host in hosts:
        yield from _read_host(host)


def _hosts(directory: Path) -> list[Path]:
    """Return the directories of hosts that have accounts."""
    try:
        if (directory / "accounts").is_dir():
            return [directory.absolute()]
        return sorted(path for path in directory.iterdir() if (path / "accounts").is_dir())
    except OSError as error:
        raise StoreError(f"{directory}: {error.strerror}") from error


def _read_host(host: Path) -> Iterator[Record | Unusable]:
    try:
        domain = decoded(host.name)
        files = os.scandir(host / "accounts")
    except BadRecord as error:
        yield Unusable(str(host), str(error))
        return
    except OSError as error:
        yield Unusable(f"{host}/accounts", error.strerror or "cannot be read")
        return
    with files:
        for file in files:
            if file.name.endswith(_SUFFIX):
                yield _read_file(Path(file.path), domain)


def _read_file(file: Path, domain: str) -> Record | Unusable:
    try:
        local = decoded(file.name.removesuffix(_SUFFIX))
        table = read_table(_content(file))
        return read_account(local, domain, table)
    except (BadRecord, NoTable) as error:
        return Unusable(str(file), str(error))
    except OSError as error:
        return Unusable(str(file), error.strerror or "cannot be read")


def _content(file: Path) -> bytes:
    """Return what is in a file. It must be one: what else there may be would have us wait."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadRecord("it is no file")
        content = opened.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise BadRecord(f"it has more than {MAX_FILE} bytes")
    return content


def decoded(name: str) -> str:
    """Return what a name in Prosody's directories stands for: `%2e` for a dot. Raises `BadRecord`."""
    plain = _ENCODED.sub(lambda found: bytes([int(found[1], 16)]), os.fsencode(name))
    try:
        return plain.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRecord("its name is not UTF-8") from error


def read_account(local: str, domain: str, table: Mapping[Any, object]) -> Record:
    """Return the account of what Prosody keeps of one (`mod_auth_internal_hashed`). Raises `BadRecord`.

    A password in plain is hashed by Prosody when it is used first, with a salt that nobody knows yet.
    """
    values = {str(name): value for name, value in table.items()}
    if values.get("stored_key") is not None:
        return Record(local, domain, (_keys(values),))
    if values.get("password") is not None:
        return Record(local, domain, password=checked_password(values["password"]))
    raise BadRecord("there are neither keys nor a password in it")


def _keys(values: Mapping[str, object]) -> Keys:
    stored_key, salt = values["stored_key"], values.get("salt")
    if not isinstance(stored_key, str) or len(stored_key) not in _HASHES or not isinstance(salt, str):
        raise BadRecord("its keys are of a hash that is not known here, or without a salt")
    iterations = values.get("iteration_count")
    if isinstance(iterations, float) and iterations.is_integer():
        iterations = int(iterations)
    return checked_keys(
        _HASHES[len(stored_key)], salt.encode(), iterations, from_hex(stored_key), from_hex(values.get("server_key"))
    )
