"""Devices that acknowledge or not, and a proxy that is killed at any time: nothing is lost, and little comes twice."""

from __future__ import annotations

from unittest import mock

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.session import output
from minimixproxy.minimix.history import room_history
from minimixproxy.namespaces import NS_MUC
from tests.examples import examples
from tests.minimix.machine.client import Client
from tests.minimix.machine.managed_client import ManagedClient
from tests.minimix.machine.upstream import RESOURCE
from tests.minimix.machine.witness import TOKEN
from tests.minimix.machine.world import ALICE, World

ROOM = "open@muc.test"  # its archive has what was not on disk yet
LATER = 3.1  # seconds after which what was acknowledged is on disk


def tokens_of(data: bytes) -> list[str]:
    return TOKEN.findall(data.decode()) if b"<body>" in data else []


class Listener:
    """A device of alice's, over all of its sessions: what it has read. `due`: what was said since it was let in."""

    def __init__(self, world: World, resource: str, kind: type[Client]) -> None:
        self.jid = f"{ALICE}/{resource}"
        self.due: list[str] = []
        self.read: list[str] = []
        self.settled: set[str] = set()  # of these is on disk that it has them
        self.before = 0  # so many were read before the proxy was killed, perhaps without being on disk
        self.again: list[str] = []  # and it was given them all the same
        self.is_in = False  # the room was shown to it, not necessarily read
        self._world = world
        self._kind = kind

    @property
    def client(self) -> Client | None:
        return self._world.clients.get(self.jid)

    @property
    def managed(self) -> ManagedClient | None:
        client = self.client
        return client if isinstance(client, ManagedClient) else None

    def joins(self) -> None:
        """It logs in, if need be, and enters the room, if it is not there."""
        world = self._world
        client = self.client
        if client is None:
            client = world.clients[self.jid] = self._kind(world, self.jid, True, "")
            self._listen(client)
            if isinstance(client, ManagedClient):
                client.manages(self._written)
        occupancy = client.account.rooms.get(ROOM)
        if occupancy is not None and client in occupancy.attached:
            return
        client.says(f"<presence to='{ROOM}/alice' id='{client.next_id()}'><x xmlns='{NS_MUC}'/></presence>")

    def _written(self, data: bytes) -> None:
        self.is_in = self.is_in or b"<subject>" in data

    def _listen(self, client: Client) -> None:
        shown = client._shown

        def listening(data: bytes, *, passed: bool = False) -> None:
            shown(data, passed=passed)
            self._written(data)
            self.read += tokens_of(data)
            self.again += self.settled.intersection(tokens_of(data))

        client._shown = listening  # type: ignore[method-assign]

    def all_is_on_disk(self) -> None:
        if self.managed is not None:
            self.settled.update(token for data in self.managed.settled for token in tokens_of(data))
        elif self._kind is Client:
            self.settled.update(self.read[self.before :])


class Life:
    """A proxy and its devices; what happens to them is a method's name and a number."""

    def __init__(self) -> None:
        self.world = World(bookmarks="off", leave_grace=0.0, history=5000)
        self.devices = [
            Listener(self.world, "phone", ManagedClient),
            Listener(self.world, "tablet", ManagedClient),
            Listener(self.world, "desk", Client),
        ]
        self.whispered: list[str] = []
        self.devices[2].joins()
        self.world.settle()

    def happens(self, what: str, who: int, number: int) -> None:
        getattr(self, what)(self.devices[who], number)
        self.world.settle()

    def says(self, _device: Listener, number: int) -> None:
        room = self.world.rooms[ROOM]
        for _ in range(min(number, 2) if self.world.disk.late else number):  # the archive has the last 60
            token = self.world.witness.token()
            room.speaks("ghost", f"<body>{token}</body>")
            for device in self.devices:
                if device.is_in:
                    device.due.append(token)

    def whispers(self, _device: Listener, _number: int) -> None:
        """Said to the account in private, which no archive has."""
        if not self.world.disk.late:
            token = self.world.witness.token()
            self.whispered.append(token)
            to = f"{ALICE}/{RESOURCE}"
            body = f"<body>{token}</body>"
            self.world.to_stream(ALICE, f"<message type='chat' from='{ROOM}/ghost' to='{to}' id='w'>{body}</message>")

    def joins(self, device: Listener, _number: int) -> None:
        device.joins()

    def joins_again(self, device: Listener, _number: int) -> None:
        self.ends(device, 0)
        device.joins()

    def joins_slow(self, device: Listener, _number: int) -> None:
        """Its connection takes only the first part of what it is given."""
        device.joins()
        if device.managed is not None:
            device.managed.slow = True

    def reads(self, device: Listener, number: int) -> None:
        if device.managed is not None:
            device.managed.reads(number)

    def acknowledges(self, device: Listener, number: int) -> None:
        if device.managed is not None:
            device.managed.reads(number)
            device.managed.acknowledges()

    def slow(self, device: Listener, number: int) -> None:
        if device.managed is not None:
            device.managed.slow = number % 2 == 0
            device.managed.writes()

    def sleeps(self, device: Listener, _number: int) -> None:
        if device.managed is not None:
            device.managed.sleeps()

    def resumes(self, device: Listener, _number: int) -> None:
        if device.managed is not None:
            device.managed.resumes()

    def ends(self, device: Listener, _number: int) -> None:
        """Its session ends, with what it has not acknowledged."""
        client = device.client
        if client is not None:
            if isinstance(client, ManagedClient):
                device.settled.update(token for data in client.settled for token in tokens_of(data))
            client.closes()

    def time(self, _device: Listener, _number: int) -> None:
        self.world.clock.advance(LATER)
        self.world.settle()
        if not self.world.disk.late:
            for device in self.devices:
                device.all_is_on_disk()

    def disk(self, _device: Listener, number: int) -> None:
        self.world.disk.late = number % 2 == 0
        if not self.world.disk.late:
            self.world.disk.work()

    def killed(self, _device: Listener, number: int) -> None:
        """The account comes back at once, before anything is said."""
        if orderly := number % 4 == 0:
            self.world.disk.work()
        self.world.ends(orderly=orderly)
        for device in self.devices:
            self.world.memory.forget(device.jid)
            device.before = len(device.read)
        self.world.begins_again()
        for _ in range(10):
            self.world.clock.advance(1)
            self.world.settle()
        room = self.world.rooms[ROOM]
        if room.nick_of(f"{ALICE}/{RESOURCE}") is None:  # it was not on disk that it was there: the devices begin anew
            self.whispered.clear()
            for device in self.devices:
                device.due.clear()
                device.is_in = False
            self.devices[2].joins()

    def end(self) -> None:
        """Every device comes back and reads everything."""
        self.world.disk.late = False
        self.world.disk.work()
        self.world.settle()
        for device in self.devices:
            if not device.is_in:
                continue
            if device.managed is not None:
                device.managed.slow = False
                device.managed.resumes()
                device.managed.writes()
            device.joins()
            self.world.settle()
            if device.managed is not None:
                device.managed.reads(1_000_000)


HAPPENINGS = {
    "says": (1, 1, 3, 25, 130),
    "whispers": (0,),
    "joins": (0,),
    "joins_again": (0,),
    "joins_slow": (0,),
    "reads": (1, 5, 1000),
    "acknowledges": (1, 5, 40, 1000),
    "slow": (0, 1, 2, 30),
    "sleeps": (0,),
    "resumes": (0,),
    "ends": (0,),
    "time": (0,),
    "disk": (0, 1),
    "killed": (0, 1, 2, 3),
}
Step = tuple[str, int, int]
#: The phone has been there, and misses something.
AWAY: list[Step] = [("joins", 0, 0), ("acknowledges", 0, 40), ("time", 0, 0), ("ends", 0, 0)]
KILLED: list[Step] = [("time", 0, 0), ("killed", 0, 1)]


def steps() -> st.SearchStrategy[list[Step]]:
    def one(name: str) -> st.SearchStrategy[Step]:
        return st.tuples(st.just(name), st.sampled_from((0, 0, 0, 1, 2)), st.sampled_from(HAPPENINGS[name]))

    return st.lists(st.one_of([one(name) for name in HAPPENINGS]), min_size=3, max_size=40)


def lives(happenings: list[Step]) -> Life:
    patch = mock.patch.object
    # Nothing is shown again but what was not seen.
    shown = patch(room_history, "DEFAULT_REPLAY", 0), patch(room_history.RoomHistory, "room_shows")
    with shown[0], shown[1], patch(output, "_CHUNK", 1000):  # bytes of a replay that are written at once
        life = Life()
        life.world.witness.watch()
        try:
            for what, who, number in happenings:
                life.happens(what, who, number)
            life.end()
        finally:
            life.world.witness.unwatch()
    return life


class AcknowledgedTests(SynchronousTestCase):
    @settings(
        max_examples=examples(150),
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(steps())
    @example([("joins", 0, 0), ("says", 0, 130), ("killed", 0, 1)])
    @example([("joins", 0, 0), ("acknowledges", 0, 40), ("time", 0, 0), ("says", 0, 25), ("killed", 0, 1)])
    @example([("joins", 0, 0), ("ends", 2, 0), ("whispers", 0, 0), ("killed", 0, 1)])
    @example([("joins", 0, 0), ("ends", 2, 0), ("whispers", 0, 0), ("ends", 0, 0)])
    @example([("ends", 2, 0), ("whispers", 0, 0), ("joins", 0, 0), ("killed", 0, 1)])
    @example([*AWAY, ("says", 0, 130), ("joins", 0, 0), ("acknowledges", 0, 40), *KILLED])
    @example([*AWAY, ("says", 0, 130), ("joins", 0, 0), ("slow", 0, 0), ("acknowledges", 0, 1000), *KILLED])
    @example([*AWAY, ("says", 0, 130), ("joins_slow", 0, 0), ("acknowledges", 0, 1000), *KILLED])
    @example([*AWAY, ("says", 0, 25), ("joins", 0, 0), ("ends", 0, 0)])
    @example([*AWAY, ("says", 0, 25), ("joins", 0, 0), ("sleeps", 0, 0), *KILLED])
    def test_nothing_is_lost(self, happenings: list[Step]) -> None:
        life = lives(happenings)
        for device in life.devices:
            missing = [token for token in device.due if token not in device.read]
            self.assertEqual(missing, [], f"{device.jid} never reads what was said: {happenings}")
            self.assertEqual(device.again, [], f"{device.jid} is given what it has acknowledged: {happenings}")
        read = {token for device in life.devices for token in device.read}
        unheard = [token for token in life.whispered if token not in read]
        self.assertEqual(unheard, [], f"no device reads what was said in private: {happenings}")
        self.assertEqual(life.world.witness.complaints, [], happenings)
