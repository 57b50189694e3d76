"""The proxy is killed, or restarted, in the middle of groupchat: nothing is lost, and nothing comes twice.

But for what was written in the very instant of a kill: see `ReturnCase.instant`.
"""

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from tests.integration.cases import on_both_servers
from tests.integration.comingback import ReturnCase
from tests.integration.faults import Listener, verdict

RATE = 50.0  # messages a second, in all rooms together


@on_both_servers
class KilledProxyTests(ReturnCase):
    async def in_traffic(self, *, archive: bool, kill: bool, rounds: int) -> None:
        """An even number of rounds of: traffic, the end of the proxy, its start, the return of account and devices."""
        await self.begin(rooms={"history": 20_000})  # what is said meanwhile depends on how long a start takes
        rooms = [self.room("one"), self.room("two")]
        for room in rooms:
            await self.bob.open(room, archive=archive)
        phone, laptop = await self.come("phone", "laptop", rooms=rooms)
        self.bob.start(RATE)
        for number in range(rounds):
            await self.bob.said(60)
            await self.end(kill, rooms, archive, phone, laptop)
            await self.back(*rooms)  # before any client
            for room in rooms:
                self.bob.go_on(room)
            await self.bob.said(20)
            await phone.come_back(*rooms)
            if number % 2:  # the laptop misses a round
                await laptop.come_back(*rooms)
        await self.bob.said(20)
        self.bob.stop()
        await self.check(phone, laptop, rooms=rooms)

    async def end(self, kill: bool, rooms: list[str], archive: bool, *devices: Listener) -> None:
        """End and start the proxy. What a room without an archive says meanwhile must fit its history for joiners."""
        if not archive:  # what would be said until the end is seen by all depends on how long that takes
            for room in rooms:
                self.bob.hush(room)
        await deferToThread(self.behind.process.kill if kill else self.behind.process.stop)
        await self.away(*rooms)
        if kill:
            await self.instant(*devices)
        if archive:
            await self.bob.said(10)
        else:
            for room in rooms:
                await self.bob.hears(room, [self.bob.speak(room) for _number in range(5)])
        await deferToThread(self.behind.start)

    async def test_killed_archive(self) -> None:
        await self.in_traffic(archive=True, kill=True, rounds=4)

    async def test_killed_no_archive(self) -> None:
        await self.in_traffic(archive=False, kill=True, rounds=2)

    async def test_restarted(self) -> None:
        await self.in_traffic(archive=True, kill=False, rounds=2)

    async def test_killed_while_nobody_listens(self) -> None:
        """Messages kept for a device that is away survive, and do not come again."""
        await self.begin()
        room = self.room()
        await self.bob.open(room, archive=False)
        (phone,) = await self.come("phone", rooms=[room])
        phone.drop()
        await phone.client.until_lost()
        self.bob.start(RATE)
        await self.bob.said(100)
        self.bob.stop()
        await self.bob.settled()
        # more than a room's own history; nobody was told that the proxy has it: a later message proves it
        (witness,) = await self.come("witness", rooms=[room])
        self.bob.speak(room)
        await witness.hears(room, self.bob.sent[room][-1:])
        for _round in range(2):
            await self.behind.restart(kill=True)
            await self.back(room)
            await phone.come_back(room)
            await phone.hears(room, self.bob.accepted(room))
            await self.settle(phone)
        self.assertEqual(verdict(phone[room].bodies, self.bob.accepted(room)), "")

    async def test_killed_while_a_device_is_inactive(self) -> None:
        """What waited for it (XEP-0352) it has not seen, and what it was told it has."""
        await self.begin()
        room = self.room()
        await self.bob.open(room, archive=False)
        phone, laptop = await self.come("phone", "laptop", rooms=[room])
        for _number in range(10):
            self.bob.speak(room)
        await phone.hears(room, self.bob.sent[room])
        phone.client.send("<inactive xmlns='urn:xmpp:csi:0'/>")
        await phone.client.barrier()
        told = len(phone[room].bodies)
        for _number in range(60):  # more than any client is shown that joins
            self.bob.speak(room)
        await laptop.hears(room, self.bob.sent[room])
        self.assertEqual(len(phone[room].bodies), told)
        await self.behind.restart(kill=True)
        await self.back(room)
        for device in (phone, laptop):
            await device.come_back(room)
            await device.hears(room, self.bob.accepted(room))
        await self.settle(phone, laptop)
        for device in (phone, laptop):
            self.assertEqual(verdict(device[room].bodies, self.bob.accepted(room)), "")


class ManyTests(ReturnCase):
    """Many accounts in five rooms each come back after a kill, by themselves. One server is enough."""

    timeout = 180
    ACCOUNTS = 16  # more than are restored in a turn, and opened at once; each more is seen by all others
    ROOMS = 5

    async def test_many_accounts(self) -> None:
        await self.begin()
        rooms = [self.room() for _number in range(self.ROOMS)]
        for room in rooms:
            await self.bob.open(room)
        nicks = {f"user{number}" for number in range(self.ACCOUNTS)}
        for nick in sorted(nicks):
            device = Listener(nick, self._dial(await self.account(nick), "phone"), nick)
            await device.come_back(*rooms)
            device.drop()
        for room in rooms:
            await self.bob_sees(room, nicks | {"bob"})
        await deferToThread(self.behind.process.kill)
        for room in rooms:
            await self.bob_sees(room, {"bob"})
        await deferToThread(self.behind.start)
        await gatherResults([Deferred.fromCoroutine(self.bob_sees(room, nicks | {"bob"}, 90.0)) for room in rooms])

    async def bob_sees(self, room: str, nicks: set[str], timeout: float = 30.0) -> None:
        place = self.bob[room]
        await self.bob.client.until(lambda: set(place.occupants) == nicks, f"{len(nicks)} occupants", timeout)
