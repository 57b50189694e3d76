"""Ports on loopback that nobody else gets: not another test, nor another process or run on this machine."""

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

RANGE = 100  # ports that a process takes at a time
LOWEST = 10_000
HIGHEST = 65_535
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def usable(ephemeral: tuple[int, int]) -> range:
    """The ports to choose from: none that the system gives to outgoing connections, as long as that leaves some."""
    low, high = ephemeral
    below, above = range(LOWEST, low), range(max(high + 1, LOWEST), HIGHEST + 1)
    chosen = max(below, above, key=len)
    return chosen if len(chosen) >= 10 * RANGE else range(LOWEST, HIGHEST + 1)


def ephemeral_range() -> tuple[int, int]:
    low, high = EPHEMERAL.read_text().split() if EPHEMERAL.exists() else ("32768", "60999")
    return int(low), int(high)


class Ports:
    """Hands out each port once. Iterate over it.

    A range belongs to the process that has its first port bound, which no other can bind meanwhile: so it is given
    back when the process ends, however it ends, and network namespaces each have their own.
    """

    def __init__(self, ports: range, start: int) -> None:
        """`start`: the number of the range to try first."""
        first = ports.start
        count = len(ports) // RANGE
        self._ranges = [first + RANGE * ((start + number) % count) for number in range(count)]
        self._guards: list[socket.socket] = []

    def __iter__(self) -> Iterator[int]:
        for first in self._ranges:
            guard = bound(first)
            if guard is None:
                continue
            self._guards.append(guard)
            for port in range(first + 1, first + RANGE):
                probe = bound(port)
                if probe is not None:
                    probe.close()
                    yield port
        raise RuntimeError("every range of ports is taken, or used up by this process")

    def close(self) -> None:
        """Give the ranges back."""
        for guard in self._guards:
            guard.close()


def bound(port: int) -> socket.socket | None:
    """A socket bound to the port, on all addresses: None if anything has it, even a connection just closed."""
    candidate = socket.socket()
    try:
        candidate.bind(("", port))
    except OSError as error:
        candidate.close()
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        return None
    return candidate


# Processes that start one after the other begin far from each other: connections of the last run linger.
_ports = iter(Ports(usable(ephemeral_range()), os.getpid() * 7))


def free_port() -> int:
    """A port that nothing listens on, and that this process was not given before."""
    return next(_ports)
