"""What an account in a room takes: memory, bytes in the database, CPU of its join; in rooms of several sizes.

Rooms are those of bench/roomservice.py. All sessions are there before any of them joins: what they take is not in it.
"""

import time
from typing import NamedTuple

from bench.database import used_bytes
from bench.proc import cpu_seconds, resident_bytes
from bench.scale import scaled
from bench.servers import PASSWORD, BenchProsody, BenchProxy, RoomService, stopping
from bench.wire import Stream, Streams, Target

FIRST = 3  # accounts that join before the count: what is kept once for all is theirs
MANY = 10_000  # occupancies of the goal


class Kind(NamedTuple):
    """So many rooms of that size; each account joins all."""

    occupants: int
    rooms: int
    accounts: int


KINDS = scaled(
    (Kind(30, 10, 60), Kind(100, 30, 20), Kind(1000, 1, 30)),
    (Kind(30, 5, 20), Kind(100, 3, 20), Kind(1000, 1, 10)),
)
MESSAGES = scaled(400, 100)
AT_ONCE = 20  # messages, until all copies are there


class Case(NamedTuple):
    """What the further accounts took: bytes and microseconds for each occupancy; `before`: bytes without them."""

    kind: Kind
    before: int
    bytes: float
    cpu: float

    @property
    def of_many(self) -> float:
        """Bytes of a proxy with `MANY` of these."""
        return self.before + MANY * self.bytes


class Stored(NamedTuple):
    """Bytes in the database of a message to so many accounts."""

    accounts: int
    bytes: float


class Ground:
    """Servers, and sessions of many accounts."""

    def __init__(self, prosody: BenchProsody, proxy: BenchProxy, service: RoomService) -> None:
        self.prosody, self.proxy, self.service = prosody, proxy, service
        self.pid = proxy.process.pid
        most = max(kind.accounts for kind in KINDS)
        self.streams = [self._session(name) for name in prosody.accounts[:most]]

    def _session(self, account: str) -> Stream:
        stream = Stream(Target(self.proxy.port, self.prosody.domain, self.prosody.tls))
        stream.login(account, PASSWORD, "only")
        stream.online()
        return stream

    def room(self, occupants: int, name: str) -> str:
        return f"r{occupants}-{name}@{self.prosody.rooms}"

    def resident(self) -> int:
        time.sleep(1)
        return resident_bytes(self.pid)


def measure() -> tuple[list[Case], list[Stored]]:
    """Memory in rooms of each kind, then bytes in the database."""
    prosody = BenchProsody(tls=True)
    started = [prosody.process]
    with stopping(started):
        service = RoomService(prosody)
        started.append(service.process)
        proxy = BenchProxy(prosody, tls=True, rooms={"history": 100_000})
        started.append(proxy.process)
        ground = Ground(prosody, proxy, service)
        return [_joined(ground, kind) for kind in KINDS], _stored(ground)


def _joined(ground: Ground, kind: Kind) -> Case:
    rooms = [ground.room(kind.occupants, f"size{number}") for number in range(kind.rooms)]
    streams = ground.streams[: kind.accounts]
    _join(streams[:FIRST], rooms)
    before, cpu = ground.resident(), cpu_seconds(ground.pid)
    _join(streams[FIRST:], rooms)
    after, number = ground.resident(), (kind.accounts - FIRST) * kind.rooms
    return Case(kind, before, (after - before) / number, (cpu_seconds(ground.pid) - cpu) / number * 1e6)


def _join(streams: list[Stream], rooms: list[str]) -> None:
    for stream in streams:
        for room in rooms:
            stream.join(room, stream.jid.partition("@")[0])


def _stored(ground: Ground) -> list[Stored]:
    """The same messages to one account, and to more."""
    database = ground.proxy.directory / "state" / "state.sqlite"
    found = []
    for accounts in (1, 2, min(21, len(ground.streams))):
        streams, room = ground.streams[:accounts], ground.room(30, f"said-to-{accounts}")
        _join(streams, [room])
        before = used_bytes(database)
        _hear(ground, room, streams)
        found.append(Stored(accounts, (used_bytes(database) - before) / MESSAGES))
    return found


def _hear(ground: Ground, room: str, streams: list[Stream]) -> None:
    """Say everything; what a client is told is in the database."""
    reading = Streams(streams)
    for _ in range(MESSAGES // AT_ONCE):
        ground.service.order(f"say {room} {AT_ONCE}")
        missing, end = AT_ONCE * len(streams), time.monotonic() + 30
        while missing > 0:
            missing -= reading.read(1.0)
            if time.monotonic() > end:
                raise RuntimeError(f"{missing} messages never came")
    for stream in streams:
        stream.socket.setblocking(True)
