"""Everybody at once: 600 logins one by one, the proxy killed with 3,000 rooms, 600 clients that come back together.

Rooms are those of bench/roomservice.py; the accounts' keys are kept, so the proxy comes back by itself.
`python -m bench.storms 300 100`: 30,000 rooms of 300 accounts.
"""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from bench.pings import Pings, percentile
from bench.proc import cpu_seconds, resident_bytes
from bench.scale import scaled
from bench.servers import PASSWORD, BenchProsody, BenchProxy, RoomService, stopping
from bench.wire import Stream, Target
from tests.integration.processes import LoggedProcess

ACCOUNTS = scaled(300, 60)
DEVICES = 2  # of each account
ROOMS = scaled(10, 3)  # of each account
OCCUPANTS = 30
JOINING = 8  # accounts at a time
WARM_UP = 10  # logins before the count
QUIET = scaled(3.0, 1.5)  # seconds of pings while nothing else happens
TIME_LIMIT = 600.0  # seconds until all rooms are back


class Case(NamedTuple):
    """Seconds and CPU seconds of the proxy; pings in milliseconds, of somebody directly at the server."""

    accounts: int
    logins: int
    login_cpu: float  # of each
    login_bytes: float  # of each
    rooms: int
    back: float  # from the restart until the last room was joined again
    back_cpu: float
    quiet: list[float]
    meanwhile: list[float]
    again: float  # until the last of all clients was in, they having begun together
    again_cpu: float
    refused: int


class Ground:
    """Servers, and everybody's devices."""

    def __init__(self, prosody: BenchProsody, started: list[LoggedProcess], accounts: int, rooms: int) -> None:
        self._prosody, self._started = prosody, started
        self.accounts, self._rooms = accounts, rooms
        self._service = RoomService(prosody)
        started.append(self._service.process)
        self.proxy = BenchProxy(prosody, tls=True)
        started.append(self.proxy.process)
        self._names = [(name, f"d{n}") for n in range(DEVICES) for name in prosody.accounts[:accounts]]
        self.streams: list[Stream] = []

    def come(self, name: tuple[str, str]) -> Stream:
        """Log a device in."""
        stream = Stream(Target(self.proxy.port, self._prosody.domain, self._prosody.tls))
        stream.login(name[0], PASSWORD, name[1])
        stream.online()
        return stream

    def arrive(self) -> tuple[int, float, float]:
        """One after the other; return how many were measured, and CPU seconds and bytes of each."""
        self.streams = [self.come(name) for name in self._names[:WARM_UP]]
        pid, rest = self.proxy.process.pid, self._names[WARM_UP:]
        time.sleep(1)
        cpu, resident = cpu_seconds(pid), resident_bytes(pid)
        self.streams += [self.come(name) for name in rest]
        time.sleep(1)
        used, grown = cpu_seconds(pid) - cpu, resident_bytes(pid) - resident
        return len(rest), used / len(rest), grown / len(rest)

    def join(self) -> int:
        """Each account joins its rooms, some at a time; return how many rooms."""
        with ThreadPoolExecutor(JOINING) as threads:
            for _ in threads.map(self._join_all, self.streams[: self.accounts]):
                pass
        return self.accounts * self._rooms

    def _join_all(self, stream: Stream) -> None:
        for number in range(self._rooms):
            stream.join(f"r{OCCUPANTS}-{number}@{self._prosody.rooms}", stream.jid.partition("@")[0])

    def come_back(self) -> tuple[float, float]:
        """Kill the proxy, start it, and wait for all rooms; return seconds from its start, and its CPU seconds."""
        self.proxy.process.kill()
        for stream in self.streams:
            stream.cut()
        self._service.order("forget")
        began = time.monotonic()
        self.proxy.start()
        self._started.append(self.proxy.process)
        ended = self._service.order(f"count {self.accounts * self._rooms}", TIME_LIMIT)
        return ended - began, cpu_seconds(self.proxy.process.pid)

    def come_together(self) -> tuple[float, float, int]:
        """All devices at once; return seconds until the last is in, the proxy's CPU, and how many were refused."""
        refused, begin = [], threading.Barrier(len(self._names) + 1)

        def come(name: tuple[str, str]) -> None:
            begin.wait()
            try:
                self.streams.append(self.come(name))
            except (OSError, RuntimeError) as error:
                refused.append(error)

        self.streams = []
        with ThreadPoolExecutor(len(self._names)) as threads:
            for name in self._names:
                threads.submit(come, name)
            cpu = cpu_seconds(self.proxy.process.pid)
            begin.wait()
            began = time.monotonic()
        seconds = time.monotonic() - began
        for error in refused[:3]:
            print(f"# refused: {error}", flush=True)
        return seconds, cpu_seconds(self.proxy.process.pid) - cpu, len(refused)


def measure(accounts: int = ACCOUNTS, rooms: int = ROOMS) -> Case:
    """One after the other, on the same servers; so many rooms of each account."""
    prosody = BenchProsody(tls=True)
    started = [prosody.process]
    with stopping(started):
        ground = Ground(prosody, started, accounts, rooms)
        pings = Pings(prosody.port, prosody.sender_domain, prosody.sender, f"room@{prosody.muc}")
        started.append(pings.process)
        return _case(ground, pings)


def _case(ground: Ground, pings: Pings) -> Case:
    logins, login_cpu, login_bytes = ground.arrive()
    rooms = ground.join()
    pings.take("server")
    time.sleep(QUIET)
    quiet = pings.take("server")
    back, back_cpu = ground.come_back()
    meanwhile = pings.take("server")
    again, again_cpu, refused = ground.come_together()
    return Case(
        ground.accounts,
        logins,
        login_cpu,
        login_bytes,
        rooms,
        back,
        back_cpu,
        quiet,
        meanwhile,
        again,
        again_cpu,
        refused,
    )


def main(accounts: str, rooms: str) -> None:
    for name, value in measure(int(accounts), int(rooms))._asdict().items():
        shown = (
            f"p50 {percentile(value, 0.5):.2f}, p99 {percentile(value, 0.99):.2f}" if isinstance(value, list) else value
        )
        print(f"{name:12} {shown}")


if __name__ == "__main__":
    main(*sys.argv[1:])
