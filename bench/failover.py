"""A process of a cluster is over, and another one lives: until all rooms are back, and what becomes of messages.

Rooms are those of bench/roomservice.py, which talks in them all the while. Then all devices come to the other process,
and each account has to have each message that was said in its rooms.
"""

from __future__ import annotations

import re
import selectors
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from bench.nodes import BenchNode, PostgreSQL, Shared
from bench.proc import cpu_seconds, cpu_seconds_of_all
from bench.scale import scaled
from bench.servers import PASSWORD, BenchProsody, RoomService, stopping
from bench.wire import Stream, Target
from minimixproxy.minimix.rejoin.attempt import OVERLAP
from tests.integration.processes import LoggedProcess

ACCOUNTS = scaled(300, 30)
EACH = 5  # rooms of an account
OCCUPANTS = 10  # that a room shows, and as many accounts
ROOMS = ACCOUNTS * EACH // OCCUPANTS
AT_A_TIME = 8  # accounts that log in and join
PAUSE, HURRY = 4.0, 0.5  # seconds between two messages in a room; when all are back again, and more is to be missed
SHOWN_AGAIN = 20  # a device that has missed fewer is given so many: of those it has had some
BEFORE = 3.0  # seconds of talk
QUIET = 1.0  # second in which nothing comes any more
TIME_LIMIT = 180.0
_SERIAL = re.compile(rb"<body>([0-9]{8})")


class Case(NamedTuple):
    """Seconds; CPU seconds from the end of the process until all rooms are back."""

    way: str
    rooms: int
    back: float
    messages: int  # said from the first to the last, for each account that is to have them
    lost: int
    twice: int
    again: float  # until all devices were in their rooms by the other process, and were told all
    cpu: tuple[float, ...]  # of the other process, the database and the server


class Device(Stream):
    """A client that keeps what it hears."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.heard: list[bytes] = []
        self.kept = self.heard

    def receive(self) -> int:
        """Hang up when the stream ends, as clients do."""
        received = super().receive()
        if self.heard and self.heard[-1].endswith(b"</stream:stream>"):
            raise RuntimeError("the stream is over")
        return received

    def join(self, room: str, nick: str) -> None:
        """Once, however long it takes: what is told meanwhile is kept."""
        presence = f"<presence to='{room}/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        self._ask(presence.encode(), rb"<subject")

    def _ask(self, data: bytes, answer: bytes, timeout: float = TIME_LIMIT) -> bytes:
        received = super()._ask(data, answer, timeout)
        self.heard.append(received)
        return received


class Talk:
    """Something is said in each room again and again, in a thread. `said`: numbers of messages, by room."""

    def __init__(self, prosody: BenchProsody, service: RoomService) -> None:
        self.rooms = [f"r{OCCUPANTS}-{number}@{prosody.rooms}" for number in range(ROOMS)]
        self.said: list[list[int]] = [[] for _ in self.rooms]
        self.pause = PAUSE
        self._service = service
        self._goes_on = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def begin(self) -> None:
        self.pause = PAUSE
        self._goes_on.set()

    def stop(self) -> None:
        self._goes_on.clear()

    def _run(self) -> None:
        serial = 0
        while True:
            self._goes_on.wait()
            serial += 1
            room = serial % len(self.rooms)
            self.said[room].append(serial)
            self._service.process.tell(f"say {self.rooms[room]} 1")
            time.sleep(self.pause / len(self.rooms))


class Devices:
    """One of each account. `heard`: how often each account has each message."""

    def __init__(self, prosody: BenchProsody, rooms: list[str]) -> None:
        self._prosody, self._rooms = prosody, rooms
        self.heard = [Counter[int]() for _ in range(ACCOUNTS)]
        self._devices: list[Device] = []
        self._reading: threading.Thread | None = None
        self._stop = threading.Event()

    def rooms_of(self, account: int) -> list[int]:
        return [(account * EACH + number) % ROOMS for number in range(EACH)]

    def come(self, node: BenchNode) -> None:
        """All log in by this process and join their rooms."""
        with ThreadPoolExecutor(AT_A_TIME) as threads:
            self._devices = list(threads.map(lambda account: self._device(node, account), range(ACCOUNTS)))
        self._stop.clear()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _device(self, node: BenchNode, account: int) -> Device:
        name = self._prosody.accounts[account]
        device = Device(Target(node.port, self._prosody.domain, self._prosody.tls))
        device.login(name, PASSWORD, "device")
        device.online()
        for number in self.rooms_of(account):
            device.join(self._rooms[number], name)
        return device

    def _read(self) -> None:
        """Until all is read that has come, when it is to stop."""
        with selectors.EpollSelector() as poll:
            for device in self._devices:
                device.ready()
                poll.register(device.socket, selectors.EVENT_READ, device)
            while (events := poll.select(0.1)) or not self._stop.is_set():
                for key, _ in events:
                    try:
                        key.data.receive()
                    except (OSError, RuntimeError):  # the process is over
                        poll.unregister(key.fileobj)
                        key.data.cut()

    def settle(self) -> None:
        """Wait until nothing has come for a while."""
        before, end = -1, time.monotonic() + TIME_LIMIT
        while before != (before := sum(device.bytes for device in self._devices)) and time.monotonic() < end:
            time.sleep(QUIET)

    def go(self) -> None:
        """Read what is there, count it, and be gone."""
        self._stop.set()
        if self._reading is not None:
            self._reading.join()
        self.count()
        for device in self._devices:
            device.cut()

    def count(self) -> None:
        """Put what was heard, and nothing more comes, to `heard`."""
        for heard, device in zip(self.heard, self._devices, strict=True):
            heard.update(map(int, _SERIAL.findall(b"".join(device.heard))))
            device.heard.clear()


class Ground:
    """Prosody, two processes, and everybody."""

    def __init__(self, started: list[LoggedProcess], postgresql: PostgreSQL) -> None:
        self._postgresql, self._started = postgresql, started
        prosody = BenchProsody(tls=True)
        started.append(prosody.process)
        self._server = prosody.process
        shared = Shared(postgresql)
        self.nodes = [BenchNode(prosody, shared) for _ in range(2)]
        started += [node.process for node in self.nodes]
        self._service = RoomService(prosody)
        started.append(self._service.process)
        self.talk = Talk(prosody, self._service)
        self.devices = Devices(prosody, self.talk.rooms)

    def lose(self, way: str, other: BenchNode, end: Callable[[], None]) -> Case:
        """One process is over, all devices come to the other one, which has the accounts by then."""
        first = self._said()
        for heard in self.devices.heard:
            heard.clear()
        self.talk.begin()
        time.sleep(BEFORE)
        self._service.order("anew")
        began = time.monotonic()
        before = self._cpu(other)
        end()
        missed_from = self._said()  # a process that ends in order gives its devices what is said meanwhile
        back = self._service.order(f"count {ACCOUNTS * EACH}", TIME_LIMIT) - began
        cpu = tuple(now - then for now, then in zip(self._cpu(other), before, strict=True))
        self._enough_said(missed_from)
        self.talk.stop()
        self.devices.settle()
        self.devices.go()
        came = time.monotonic()
        self.devices.come(other)
        self.devices.settle()
        again = time.monotonic() - came - QUIET
        self.devices.count()
        messages, lost, twice = self._told(first)
        return Case(way, ACCOUNTS * EACH, back, messages, lost, twice, again, cpu)

    def _said(self) -> list[int]:
        return [len(said) for said in self.talk.said]

    def _enough_said(self, since: list[int]) -> None:
        """Wait until all devices have missed so much in each room that nothing is shown to them again by intent."""
        self.talk.pause = HURRY
        while min(now - then for now, then in zip(self._said(), since, strict=True)) <= SHOWN_AGAIN:
            time.sleep(0.1)

    def _cpu(self, node: BenchNode) -> tuple[float, float, float]:
        """Of the process, the database and the server."""
        server = cpu_seconds(self._server.pid)
        return cpu_seconds(node.process.pid), cpu_seconds_of_all(self._postgresql.pid), server

    def _told(self, first: list[int]) -> tuple[int, int, int]:
        """Return how many messages were to come to all accounts, and of them how many never came, or came again."""
        said = [serials[begin:] for serials, begin in zip(self.talk.said, first, strict=True)]
        counts = [
            heard[serial]
            for account, heard in enumerate(self.devices.heard)
            for room in self.devices.rooms_of(account)
            for serial in said[room]
        ]
        return len(counts), counts.count(0), sum(count > 1 for count in counts)


def measure() -> list[Case]:
    """A process is killed; then the one that has taken its place ends in order."""
    started: list[LoggedProcess] = []
    with stopping(started):
        postgresql = PostgreSQL()
        try:
            ground = Ground(started, postgresql)
            one, other = ground.nodes
            ground.devices.come(one)
            ground.devices.settle()
            cases = [ground.lose("killed", other, one.process.kill)]
            one.start()
            started.append(one.process)
            time.sleep(OVERLAP)  # what is asked for again is not what was said in a hurry
            cases.append(ground.lose("ended in order", one, other.process.stop))
            return cases
        finally:
            postgresql.stop()
