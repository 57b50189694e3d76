"""UNIX sockets of our own: the operator's, and that for other processes of a cluster."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

_ALL = 0o777


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
