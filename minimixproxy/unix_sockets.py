"""UNIX sockets of our own, the operator's and that for other processes of a cluster; and who is at the other end."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from struct import calcsize, unpack
from typing import Any

from twisted.internet.interfaces import IUNIXTransport

_ALL = 0o777
_CREDENTIALS = "3i"  # of a peer on a UNIX socket: process, user, group


def listen_alone(reactor: Any, path: Path, factory: Any, mode: int = 0o600, waiting: int = 50) -> Any:
    """Return the port of a socket that only those may use whom `mode` lets in, from the beginning.

    `waiting`: how many may have connected before they are accepted; of more, each is told at once that it cannot.
    Twisted changes the mode when the socket is there. One that a killed process has left is removed. Raises `OSError`
    or `CannotListenError`.
    """
    _remove_stale(path)
    umask = os.umask(_ALL & ~mode)
    try:
        return reactor.listenUNIX(str(path), factory, backlog=waiting, mode=mode)
    finally:
        os.umask(umask)


def _remove_stale(path: Path) -> None:
    """Remove a socket. Anything else in that place stays, and is in the way."""
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            path.unlink()
    except FileNotFoundError:
        pass


def user_of(transport: Any) -> int | None:
    """Return the user id of the process at the other end of a UNIX socket, None if it is no such socket.

    It is that by which the other end connected, or listened.
    """
    if not IUNIXTransport.providedBy(transport):
        return None
    size = calcsize(_CREDENTIALS)
    connection: socket.socket = transport.socket  # type: ignore[attr-defined]
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    user: int = unpack(_CREDENTIALS, found)[1]
    return user
