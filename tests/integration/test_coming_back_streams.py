"""The account stream ends under attached sessions: the account comes back, and they see only the difference."""

from collections.abc import Callable
from typing import Any

from tests.integration.cases import on_both_servers
from tests.integration.comingback import ReturnCase
from tests.integration.faults import Listener


class StreamCase(ReturnCase):
    async def start(self, *, archive: bool = True, **settings: Any) -> None:
        """Alice's phone and laptop, bob and carol in a room; dave outside."""
        await self.begin(**settings)
        self.place = self.room()
        await self.bob.open(self.place, archive=archive)
        self.carol, self.dave = await self.talker("carol"), await self.talker("dave")
        await self.carol.enter(self.place)
        self.devices = await self.come("phone", rooms=[self.place])
        self.link = self.relay.links[-1]  # of the account stream: opened by the first join
        self.devices += await self.come("laptop", rooms=[self.place])
        for device in self.devices:
            await device.sees(self.place, "carol")

    async def meanwhile(self) -> None:
        """While the account is away: carol goes, dave comes, bob speaks."""
        await self.away(self.place)
        self.carol.client.send(f"<presence to='{self.place}/carol' type='unavailable'/>")
        await self.bob.misses(self.place, "carol")
        await self.dave.enter(self.place)
        await self.bob.sees(self.place, "dave")
        self.missed = [self.bob.speak(self.place) for _number in range(5)]
        await self.bob.hears(self.place, self.missed)

    async def only_the_difference(self) -> None:
        await self.back(self.place)
        after = [self.bob.speak(self.place) for _number in range(3)]
        for device in self.devices:
            await device.hears(self.place, self.missed + after)
            await device.sees(self.place, "dave")
            await device.misses(self.place, "carol")
        await self.settle(*self.devices)
        for device in self.devices:
            self.saw_no_join(device)
            place = device[self.place]
            self.assertEqual(place.gone, ["carol"], device.client.transcript())
            self.assertEqual(sorted(place.come), ["bob", "carol", "dave"], device.client.transcript())
            self.assertEqual(set(place.occupants), {"alice", "bob", "dave"})
            self.assertEqual(place.bodies, self.missed + after, device.client.transcript())
            self.assertEqual([heard.delayed for heard in place.heard[: len(self.missed)]], [True] * len(self.missed))

    def saw_no_join(self, device: Listener) -> None:
        place, transcript = device[self.place], device.client.transcript()
        self.assertEqual(place.removals, [], transcript)
        self.assertEqual((place.entered, place.subjects, place.nick), (1, 1, "alice"), transcript)

    async def go_away_by(self, fault: Callable[[], object]) -> None:
        """New connections fail until the others have done what they do meanwhile."""
        await self.relay.refuse()
        fault()
        await self.meanwhile()
        self.relay.start()
        await self.only_the_difference()


@on_both_servers
class CutTests(StreamCase):
    async def test_reset(self) -> None:
        await self.start()
        await self.go_away_by(lambda: self.relay.cut(self.link))

    async def test_end_without_a_word(self) -> None:
        await self.start()
        await self.go_away_by(lambda: self.relay.cut(self.link, reset=False))

    async def test_without_an_archive(self) -> None:
        """What was missed is in the room's own history for who joins."""
        await self.start(archive=False)
        await self.go_away_by(lambda: self.relay.cut(self.link))

    async def test_in_traffic(self) -> None:
        """Again and again, with the link of a client too."""
        await self.begin()
        rooms = [self.room("one"), self.room("two")]
        for room in rooms:
            await self.bob.open(room)
        (phone,) = await self.come("phone", rooms=rooms)
        phone_link, account_link = self.relay.links
        (laptop,) = await self.come("laptop", rooms=rooms)
        laptop_link = self.relay.links[-1]
        self.bob.start(50.0)
        for _round in range(3):
            await self.bob.said(30)
            opened = self.relay.opened
            self.relay.cut(account_link, phone_link)
            await self.away(*rooms)
            await self.relay.until_opened(opened + 1)
            await self.back(*rooms)
            account_link = self.relay.links[-1]
            await phone.client.until_lost()
            await laptop.client.barrier()
            self.assertEqual([laptop[room].removals for room in rooms], [[], []])
            await phone.come_back(*rooms)
            phone_link, laptop_link = laptop_link, self.relay.links[-1]
            phone, laptop = laptop, phone
        await self.bob.said(20)
        self.bob.stop()
        await self.check(phone, laptop, rooms=rooms)

    async def test_conflict(self) -> None:
        """Another client takes the resource of the account stream."""
        await self.start()
        resource = await self.stream_resource()
        await self.relay.refuse()
        thief = await self.client(self.alice, resource, direct=True, online=False)
        await self.meanwhile()
        thief.drop()
        await thief.until_lost()
        self.relay.start()
        await self.only_the_difference()

    async def test_kept_out_with_no_client(self) -> None:
        """No client is there when the stream ends, nor when it comes back."""
        await self.start()
        for device in self.devices:
            device.drop()
            await device.client.until_lost()
        await self.relay.refuse()
        self.relay.cut()
        await self.meanwhile()
        self.relay.start()
        await self.back(self.place)
        for device in self.devices:
            await device.come_back(self.place)
            await device.hears(self.place, self.missed)
        await self.settle(*self.devices)
        for device in self.devices:
            self.assertEqual(device[self.place].bodies, self.missed)


class SilenceTests(StreamCase):
    """One server is enough: it is the proxy that notices."""

    async def test_silence(self) -> None:
        await self.start(rooms={"ping_interval": 5.0})
        self.relay.silence(self.link)
        self.missed = [self.bob.speak(self.place) for _number in range(5)]
        for device in self.devices:
            await device.hears(self.place, self.missed)
        await self.settle(*self.devices)
        for device in self.devices:
            self.saw_no_join(device)
            self.assertEqual(device[self.place].bodies, self.missed)
            self.assertEqual(device[self.place].gone, [])


class PausedTests(StreamCase):
    """A process that stands still for a while, without losing a connection. One server is enough."""

    async def test_paused_proxy(self) -> None:
        await self.start()
        self.bob.start(50.0)
        await self.bob.said(20)
        self.behind.process.pause()
        await self.bob.said(50)
        self.behind.process.resume()
        await self.bob.said(20)
        self.bob.stop()
        await self.bob.settled()
        for device in self.devices:
            await device.hears(self.place, self.bob.accepted(self.place))
        await self.settle(*self.devices)
        for device in self.devices:
            self.saw_no_join(device)
            self.assertEqual(device[self.place].bodies, self.bob.accepted(self.place))


del StreamCase  # else trial would look into it for tests
