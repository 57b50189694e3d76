"""A big room: joins of many accounts with two devices each, and a netsplit, while somebody else pings.

The room is one of bench/roomservice.py.
"""

import threading
import time
from typing import NamedTuple

from bench.pings import Pings
from bench.proc import cpu_seconds, resident_bytes
from bench.scale import scaled
from bench.servers import PASSWORD, BenchProsody, BenchProxy, RoomService, stopping
from bench.wire import Stream, Target

# Each twice the one before, of which two tell: nothing is to grow faster than the room.
SIZES = scaled((2500, 5000), (500, 1000))
ACCOUNTS = scaled(20, 5)
DEVICES = 2
SPLIT = 0.8  # of the occupants leave and come back
TIME_LIMIT = 120.0


class Case(NamedTuple):
    """CPU of the proxy in microseconds, for each occupant or copy of a presence; pings in milliseconds, sorted."""

    occupants: int
    first: float
    further: float
    second: float  # devices
    forked: float
    bytes: float  # of memory for each further account
    split: float  # seconds until all devices knew of everything
    joins: list[float]  # pings while accounts join
    meanwhile: list[float]  # and during the netsplit


class Reader:
    """Reads what comes to many streams, in a thread, and counts presences."""

    def __init__(self, streams: list[Stream], expected: int) -> None:
        self._expected = expected
        self._threads = [threading.Thread(target=self._read, args=(stream,), daemon=True) for stream in streams]
        for thread in self._threads:
            thread.start()

    def _read(self, stream: Stream) -> None:
        stream.socket.settimeout(TIME_LIMIT)
        count, tail = 0, b""
        while count < self._expected:
            data = tail + stream.socket.recv(262144)
            count += data.count(b"</presence>")
            tail = data[data.rfind(b"<") :] if data.rfind(b">") < data.rfind(b"<") else b""

    def wait(self) -> None:
        end = time.monotonic() + TIME_LIMIT
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0))
            if thread.is_alive():
                raise RuntimeError("not all presences came")


class Ground:
    """Servers, and sessions."""

    def __init__(self, prosody: BenchProsody, proxy: BenchProxy, service: RoomService) -> None:
        self.prosody, self.proxy, self.service = prosody, proxy, service
        names = prosody.accounts[:ACCOUNTS]
        self.first, self.second = ([self.session(name, device) for name in names] for device in ("one", "two"))

    def session(self, account: str, device: str) -> Stream:
        stream = Stream(Target(self.proxy.port, self.prosody.domain, self.prosody.tls))
        stream.login(account, PASSWORD, device)
        stream.online()
        return stream

    def cpu(self) -> float:
        return cpu_seconds(self.proxy.process.pid)

    def join(self, streams: list[Stream], room: str) -> float:
        """One after the other; return microseconds of the proxy for each."""
        before = self.cpu()
        for stream in streams:
            stream.join(room, stream.jid.partition("@")[0])
        time.sleep(0.5)  # what it does behind the last
        return (self.cpu() - before) / len(streams) * 1e6


def measure() -> list[Case]:
    """A room of each size, with servers of its own."""
    return [_measure(size) for size in SIZES]


def _measure(size: int) -> Case:
    prosody = BenchProsody(tls=True)
    started = [prosody.process]
    with stopping(started):
        service = RoomService(prosody)
        proxy = BenchProxy(prosody, tls=True)
        started += [service.process, proxy.process]
        ground = Ground(prosody, proxy, service)
        pings = Pings(proxy.port, prosody.domain, prosody.accounts[-1], f"room@{prosody.muc}")
        started.append(pings.process)
        return _in_room(ground, size, pings)


def _in_room(ground: Ground, size: int, pings: Pings) -> Case:
    room, pid = f"r{size}-big@{ground.prosody.rooms}", ground.proxy.process.pid
    pings.take("proxy")
    first = ground.join(ground.first[:1], room)
    before = resident_bytes(pid)
    further = ground.join(ground.first[1:], room)
    grown = (resident_bytes(pid) - before) / (len(ground.first) - 1)
    second = ground.join(ground.second, room)
    joins = pings.take("proxy")
    forked, split = _netsplit(ground, room, round(size * SPLIT))
    meanwhile = pings.take("proxy")
    return Case(size, first / size, further / size, second / size, forked, grown, split, joins, meanwhile)


def _netsplit(ground: Ground, room: str, number: int) -> tuple[float, float]:
    """Return microseconds of the proxy for each copy, and the seconds that it took until all had theirs."""
    devices = [*ground.first, *ground.second]
    reader, cpu, began = Reader(devices, 2 * number), ground.cpu(), time.monotonic()
    ground.service.order(f"netsplit {room} {number}", TIME_LIMIT)
    reader.wait()
    seconds = time.monotonic() - began
    return (ground.cpu() - cpu) / (2 * number * len(devices)) * 1e6, seconds
