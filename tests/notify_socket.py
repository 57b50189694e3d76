"""A stand-in for the socket by which systemd is told how a service is."""

from __future__ import annotations

import select
import socket
import time

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tests.patience import patiently


class NotifySocket:
    """Stands in for systemd's end of the notify socket. `name`: as `NOTIFY_SOCKET` has it."""

    def __init__(self, name: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.all: list[str] = []

    def heard(self) -> list[str]:
        """Return what came since the last time."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(65536).decode())
            except BlockingIOError:
                self.all += found
                return found

    def waits(self, timeout: float = 20.0) -> list[str]:
        """Block until something comes, and return it."""
        select.select([self._socket], [], [], patiently(timeout))
        return self.heard()

    def wait_for(self, text: str, timeout: float = 60.0) -> list[str]:
        """Block until a datagram begins so; return what came, it included. Raises AssertionError if none does."""
        until, found = time.monotonic() + patiently(timeout), list[str]()
        while not any(datagram.startswith(text) for datagram in found):
            if time.monotonic() > until:
                raise AssertionError(f"{text} was not told, but {self.all}")
            found += self.waits(1)
        return found

    def says(self, text: str) -> Deferred[list[str]]:
        """Like `wait_for`, without blocking the reactor."""
        return deferToThread(self.wait_for, text)

    def close(self) -> None:
        self._socket.close()
