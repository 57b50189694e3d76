"""What systemd is told of this service, and asks of it: sd_notify(3) and sd_watchdog_enabled(3), and no more of them.

Each message is one datagram of `KEY=value` lines, to the socket that the environment names. Without one, none is sent.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from minimixproxy.logs.logger import Logger, printable

_MICROSECONDS = 1_000_000
LONGEST = 1000  # characters of one value
_PATIENCE = 0.2  # seconds that a service manager whose queue is full may hold us up
_SHORTEST = 0.05  # seconds between signs of life, whatever the watchdog asks for
MORE_TIME = 60.0  # seconds that are asked for at a time
_TIMES = 120  # that so much is asked for during one piece of work: after an hour at last something is stuck


def message(**fields: str | int) -> bytes:
    """Return the datagram for these fields, each a line; what a value has of line ends and the like is escaped."""
    return "\n".join(f"{key}={printable(str(value), LONGEST)}" for key, value in fields.items()).encode()


def socket_address(name: str) -> str | None:
    """Return the address for the name of a socket, as in `NOTIFY_SOCKET`: "@" begins one that is in no file system.

    None for a name of another kind, such as `vsock:`, which is for virtual machines.
    """
    if name.startswith("@"):
        return "\0" + name[1:]
    return name if name.startswith("/") else None


def watchdog_interval(environment: Mapping[str, str], pid: int) -> float | None:
    """Return how many seconds may pass between signs of life: half of what the watchdog waits; None without one.

    A watchdog that is meant for another process is none of ours.
    """
    try:
        if int(environment.get("WATCHDOG_PID") or pid) != pid:
            return None
        waits = int(environment.get("WATCHDOG_USEC", "0")) / _MICROSECONDS
    except ValueError:
        return None
    return max(waits / 2, _SHORTEST) if waits > 0 else None


class ServiceManager:
    """The other end of the socket. No method raises, or takes long: clients are served whatever becomes of it."""

    log = Logger()

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        pid: Callable[[], int] = os.getpid,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = socket_address(environment.get("NOTIFY_SOCKET", ""))
        self._monotonic = monotonic
        self._failed = False
        #: Seconds between calls of `alive`; None: nobody waits for any.
        self.watchdog = watchdog_interval(environment, pid()) if self.listens else None

    @property
    def listens(self) -> bool:
        """Whether there is anybody to tell."""
        return self._address is not None

    def ready(self) -> None:
        """Tell that clients can log in: after the start, and when a reload is done."""
        self._send(READY=1)

    def reloading(self) -> None:
        """Tell that the configuration is read again; `ready` has to follow, whatever comes of it."""
        self._send(RELOADING=1, MONOTONIC_USEC=int(self._monotonic() * _MICROSECONDS))

    def stopping(self) -> None:
        """Tell that the end has begun."""
        self._send(STOPPING=1)

    def status(self, text: str) -> None:
        """Tell how it goes, in a line for people, such as `systemctl status` shows."""
        self._send(STATUS=text)

    def extend(self, seconds: float) -> None:
        """Ask for so much more time, from now, for a start, reload or end that goes on."""
        self._send(EXTEND_TIMEOUT_USEC=int(seconds * _MICROSECONDS))

    @contextmanager
    def taking_time(self, text: str, interval: float = MORE_TIME / 2) -> Iterator[None]:
        """Tell what is done, and ask for time while it is: by a thread of its own, for the work blocks this one."""
        if not self.listens:
            yield
            return
        done = threading.Event()
        self.status(text)
        thread = threading.Thread(target=self._ask_for_time, args=(done, interval), name="asks for time", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _ask_for_time(self, done: threading.Event, interval: float) -> None:
        for _ in range(_TIMES):
            self.extend(MORE_TIME)
            if done.wait(interval):
                return

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send(WATCHDOG=1)

    def _send(self, **fields: str | int) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
                sending.settimeout(_PATIENCE)
                sending.sendto(message(**fields), self._address)
        except OSError as error:
            if not self._failed:
                self.log.warn(
                    "systemd cannot be told how this service is, and may end it: {address}: {error}",
                    address=self._address.replace("\0", "@"),
                    error=error.strerror or str(error),
                )
            self._failed = True
        else:
            self._failed = False
