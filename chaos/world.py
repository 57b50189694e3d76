"""What a chaos run is made of: a server, the proxy behind a relay, accounts with devices, observers, rooms."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from random import Random
from typing import NamedTuple

from twisted.internet.defer import Deferred

from chaos.people import Observer, Plain, Returning, Since, dial
from chaos.phones import Phone
from chaos.writers import Handset, Place, Writer
from tests.integration.ejabberd import Ejabberd
from tests.integration.faults import Dial, pause
from tests.integration.prosody import Prosody
from tests.integration.proxy import Proxy
from tests.integration.relay import Relay
from tests.integration.servers import Account, Server

SERVERS: dict[str, type[Server]] = {"prosody": Prosody, "ejabberd": Ejabberd}
# What the bounds of a history are is tested elsewhere; here nobody is to miss a thing.
ROOMS = {"history": 100_000, "self_ping": 5.0, "leave_grace": 0.3}
RESUME = 10  # seconds for which a session sleeps; some phones stay away for longer


class Size(NamedTuple):
    """How much there is of everything."""

    accounts: int = 6
    rooms: int = 4
    rate: float = 20.0  # messages a second, in all rooms together


class Somebody:
    """An account with its devices, and the rooms it should be in."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.rooms: set[str] = set()
        self.inexact: set[str] = set()  # rooms it has been out of: not all that was said there is for it
        self.unaware: set[str] = set()  # of these, those of which its account has not heard that it is out
        self.devices: list[Returning] = []

    @property
    def nick(self) -> str:
        return self.account.username


class World(ABC):
    """Starts all of it."""

    server: Server

    def __init__(self, size: Size, dice: Random) -> None:
        self.dice, self.size = dice, size
        self.rooms: list[str] = []
        self.people: list[Somebody] = []
        self.observers: list[Observer] = []
        self.friends: list[Writer] = []  # directly at the server; each phone has one
        self.said: dict[str, set[str]] = {}  # all that was sent to a room, whether it got there or not
        self.times: dict[str, float] = {}  # when it was
        self.talking = True  # until the end of the faults
        self.hushed = False  # for a moment

    @property
    @abstractmethod
    def entrance(self) -> Place:
        """Where devices connect to."""

    @abstractmethod
    async def proof(self) -> list[str]:
        """What is wrong with the proxy, when everything else is proved."""

    async def before_proof(self) -> None:  # noqa: B027
        """Have everything run again; nobody speaks."""

    async def admit(self) -> None:  # noqa: B027
        """Everything is heard: let devices have heard twice what may come twice (`Listener.in_between`)."""

    async def summary(self) -> str:
        """What else was proved."""
        return ""

    @abstractmethod
    def logs(self) -> list[str]:
        """All that the programs have logged that are put to the test."""

    @property
    def devices(self) -> list[Returning]:
        return [device for somebody in self.people for device in somebody.devices]

    @property
    def phones(self) -> list[Phone]:
        return [device for device in self.devices if isinstance(device, Phone)]

    @property
    def everybody(self) -> list[Returning | Writer]:
        return [*self.observers, *self.friends, *self.devices]

    async def begin(self) -> None:
        """Rooms are open, and everybody is in theirs."""
        for number in range(2):
            self.observers.append(await self._observer(f"observer{number}"))
        owner = self.observers[0]
        await owner.connect()
        for number in range(self.size.rooms):
            room = self.server.room(f"room{number}")
            self.rooms.append(room)
            self.said[room] = set()
            await owner.open(room)
        owner.drop()
        for observer in self.observers:
            observer.wanted = set(self.rooms)
            self._start(observer)
        for number in range(self.size.accounts):
            self.people.append(await self._somebody(number))
        for friend in self.friends:
            self._start(friend)
        for device in self.devices:
            self._start(device)
        await self.all_ready()

    async def _observer(self, name: str) -> Observer:
        account = await self.server.account(name)
        observer = Observer(name, self.direct(account, "desk"), self.server, name)
        observer.dice = Random(name)
        return observer

    def direct(self, account: Account, resource: str) -> Dial:
        """How somebody comes to the server without the proxy."""
        return dial(lambda: self.server.port, account, resource, self.server.address)

    def _entering(self, account: Account, resource: str) -> Dial:
        return dial(lambda: self.entrance.port, account, resource, self.entrance.address)

    async def _somebody(self, number: int) -> Somebody:
        """Every other device states a wish; an account has two or three of them and a phone, and is in most rooms."""
        somebody = Somebody(await self.server.account(f"user{number}x"))
        somebody.rooms = set(self.dice.sample(self.rooms, max(2, len(self.rooms) - number % 2)))
        for index in range(2 + number % 2):
            kind, name = (Plain, Since)[(index + number) % 2], f"{somebody.nick}/device{index}"
            device = kind(name, self._entering(somebody.account, f"device{index}"), somebody.nick)
            device.wanted = somebody.rooms
            device.dice = Random(f"{self.dice.random()}")
            if isinstance(device, Since):
                device.times = self.times
            somebody.devices.append(device)
        somebody.devices.append(await self._phone(somebody))
        return somebody

    async def _phone(self, somebody: Somebody) -> Phone:
        """A phone, and the friend whom it writes to."""
        phone = Phone(f"{somebody.nick}/phone", somebody.account, self.entrance, "phone", self._own_dice())
        phone.wanted = somebody.rooms
        account = await self.server.account("friend")
        name = f"{account.username}/desk"
        handset = Handset(account, self.server.port, "desk", name)
        handset.address = self.server.address
        friend = Writer(name, handset, self._own_dice())
        phone.peer, friend.peer = friend, phone
        self.friends.append(friend)
        return phone

    def _own_dice(self) -> Random:
        return Random(f"{self.dice.random()}")

    def _start(self, person: Returning | Writer) -> None:
        Deferred.fromCoroutine(person.live()).addErrback(lambda failure: print(f"{person.name}: {failure}"))

    async def all_ready(self, timeout: float = 150.0) -> list[str]:
        """Wait until everybody is in all rooms they want; returns who is not, when it takes too long."""
        waited = 0.0
        while waiting := [person.name for person in self.everybody if not person.ready]:
            if waited > timeout:
                return waiting
            waited += 0.2
            await pause(0.2)
        return []

    # What is said

    async def talk(self) -> None:
        """Observers, and now and then devices, say numbered things until `talking` ends; every third is a letter."""
        number, dice = 0, Random("talk")
        while self.talking:
            number += 1
            speakers: list[Returning] = list(self.observers)
            if number % 5 == 0:
                speakers = list(self.phones if number % 10 else self.devices)
            if not self.hushed and number % 3:
                self._speak(dice.choice(speakers), number)
            elif not self.hushed:
                dice.choice([*self.friends, *self.phones]).write(number)
            await pause(1 / self.size.rate)

    def _speak(self, speaker: Returning, number: int) -> None:
        rooms = [room for room in sorted(speaker.wanted) if speaker.connections and speaker[room].nick]
        if not rooms:
            return
        room = rooms[number % len(rooms)]
        body = f"{number} {speaker.nick}"
        self.said[room].add(body)
        self.times[body] = time.time()
        speaker.talk_in(room, body, f"n{number}")

    def taken(self, room: str) -> list[str]:
        """What the room took, in order: what any observer heard."""
        bodies: dict[str, None] = {}
        for observer in self.observers:
            bodies.update(dict.fromkeys(observer[room].bodies))
        return list(bodies)

    async def end(self) -> None:
        """Stop everything."""
        for person in self.everybody:
            await person.quit()


class OneProxy(World):
    """One proxy, on loopback, which reaches the server by a relay."""

    def __init__(self, server: str, size: Size, dice: Random) -> None:
        super().__init__(size, dice)
        self.server = SERVERS[server]()
        self.relay = Relay(self.server.port)
        self.relay.start()
        upstream = {"upstream": f"tcp:127.0.0.1:{self.relay.port}"}
        self.proxy = Proxy(self.server, domain=upstream, rooms=ROOMS, sessions={"resume": RESUME})

    @property
    def entrance(self) -> Place:
        return Place(self.proxy.host.address, self.proxy.port)

    async def proof(self) -> list[str]:
        return self.proxy.faults()

    def logs(self) -> list[str]:
        return ["--- the proxy", *self.proxy.log]

    async def end(self) -> None:
        await super().end()
        await self.relay.stop()
        self.proxy.stop()
        self.server.process.stop()
