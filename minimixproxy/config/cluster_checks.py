"""Checks of what `[cluster]` says. As in `checks`: a value in, the value to use out, or ValueError."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_LONGEST_NAME = 64  # characters
_LAST_PORT = 65535
_UNIX = re.compile(r"unix:(/[^:\0]*)(?::mode=([0-7]{3,4}))?", re.DOTALL)
_HOST_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_OTHERS = 0o007  # who is neither the owner nor of the group


class UnixPlace(NamedTuple):
    """A UNIX socket, and its mode."""

    path: Path
    mode: int


class TLSPlace(NamedTuple):
    """Host and port, of IPv6 without brackets."""

    host: str
    port: int


def name(value: str) -> str:
    """What people call this process by."""
    if not 1 <= len(value) <= _LONGEST_NAME or not value.isprintable() or value != value.strip():
        raise ValueError(f'must be 1 to {_LONGEST_NAME} printable characters, such as "node-a"')
    return value


def endpoint(value: str) -> str:
    """Where other processes of the cluster connect to."""
    place(value)
    return value


def place(value: str) -> UnixPlace | TLSPlace:
    """Return what an endpoint says."""
    socket = _UNIX.fullmatch(value)
    if socket is not None:
        mode = int(socket[2] or "600", 8)
        if mode & _OTHERS or mode > 0o777:
            raise ValueError(f"mode={socket[2]} lets everybody on this machine in: leave it out, or say mode=600")
        return UnixPlace(Path(socket[1]), mode)
    if not value.startswith("tls:"):
        raise ValueError('must be "unix:/PATH", perhaps with ":mode=600", or "tls:ADDRESS:PORT"')
    return _host_and_port(value.removeprefix("tls:"), 'must be "tls:ADDRESS:PORT", such as "tls:0.0.0.0:5270"')


def address(value: str) -> str:
    """Host and port by which others reach a process."""
    reached(value)
    return value


def reached(value: str) -> TLSPlace:
    """Return what an address says."""
    found = _host_and_port(value, 'must be "HOST:PORT", such as "10.0.0.1:5270" or "[2001:db8::1]:5270"')
    if found.host in ("0.0.0.0", "::"):
        raise ValueError(f"{found.host} is no address that others can connect to: name that of this machine")
    if not found.port:
        raise ValueError("0 is no port that others can connect to")
    return found


def _host_and_port(value: str, otherwise: str) -> TLSPlace:
    found = _HOST_PORT.fullmatch(value)
    if found is None:
        raise ValueError(otherwise)
    if int(found[2]) > _LAST_PORT:
        raise ValueError(f"{found[2]} is no port: those are 0 to {_LAST_PORT}")
    return TLSPlace(found[1].strip("[]"), int(found[2]))


def complete(where: UnixPlace | TLSPlace, others: Mapping[str, object | None]) -> None:
    """Refuse TLS without what it needs, and a UNIX socket with that. `others`: the keys that are for TLS alone."""
    if isinstance(where, TLSPlace):
        missing = [key for key, value in others.items() if value is None]
        if missing:
            raise ValueError(f'a "tls:" endpoint needs {" and ".join(missing)}, too')
        return
    given = [key for key, value in others.items() if value is not None]
    if given:
        raise ValueError(f'{" and ".join(given)}: only for a "tls:" endpoint; a UNIX socket has its path and its mode')
