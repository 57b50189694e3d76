"""A device that comes back with no wish for history is shown the room's last messages, seen before or not."""

from __future__ import annotations

from tests.integration.cases import on_both_servers
from tests.integration.comingback import ReturnCase
from tests.integration.faults import NS_DELAY, SHOWN, Listener
from tests.integration.xmlcut import Received


@on_both_servers
class JoiningAgainTests(ReturnCase):
    """Psi+ and profanity keep nothing between two starts, and have a fixed resource."""

    async def start(self, count: int) -> Listener:
        """Alice's phone has heard `count` messages, and is gone."""
        await self.begin()
        self.place = self.room()
        await self.bob.open(self.place)
        (self.phone,) = await self.come("phone", rooms=[self.place])
        await self.speak(count)
        await self.phone.hears(self.place, self.bob.sent[self.place])
        return self.phone

    async def gone(self) -> None:
        await self.phone.client.close()  # in order: what came just before a cut may come again

    async def speak(self, count: int) -> None:
        await self.bob.hears(self.place, [self.bob.speak(self.place) for _number in range(count)])

    async def shown(self, wish: str = "") -> list[Received]:
        """What the phone is shown when it comes anew."""
        if self.phone.client.lost is None:
            await self.gone()
        await self.phone.come_back(self.place, wish=wish)
        return [stanza for stanza in self.phone.client.received if "<body" in str(stanza)]

    async def bodies(self, wish: str = "") -> list[str]:
        return [stanza.text for stanza in await self.shown(wish)]

    async def test_again_and_again(self) -> None:
        await self.start(30)
        said = self.bob.sent[self.place]
        carol = await self.talker("carol")
        await carol.enter(self.place)
        self.assertEqual(carol[self.place].bodies, said[-SHOWN:])  # as a direct join has it
        await carol.client.close()
        await self.bob.misses(self.place, "carol")
        for _round in range(3):
            shown = await self.shown()
            self.assertEqual([stanza.text for stanza in shown], said[-SHOWN:])
            for stanza in shown:
                (delay,) = stanza.element.elements(NS_DELAY, "delay")
                self.assertEqual(delay["from"], self.place)
                self.assertEqual(stanza.get("id"), stanza.text)
        await self.check(self.phone, rooms=[self.place])

    async def test_what_is_new_comes_last(self) -> None:
        phone = await self.start(30)
        self.assertEqual(len(await self.bodies()), SHOWN)
        await self.gone()
        await self.speak(5)
        self.assertEqual(await self.bodies(), self.bob.sent[self.place][-SHOWN:])
        await self.gone()
        await self.speak(25)
        await phone.come_back(self.place)
        self.assertEqual(phone[self.place].again, [])
        await self.check(phone, rooms=[self.place])

    async def test_a_wish_is_a_wish(self) -> None:
        await self.start(5)
        for wish, count in (
            ("<history maxstanzas='0'/>", 0),
            ("<history maxstanzas='2'/>", 2),
            ("<history since='2099-01-01T00:00:00Z'/>", 0),
            ("<history seconds='0'/>", 0),
        ):
            self.assertEqual(len(await self.bodies(wish)), count, wish)

    async def test_after_a_restart(self) -> None:
        await self.start(30)
        await self.gone()
        await self.kill_and_return(self.place)
        self.assertEqual(await self.bodies(), self.bob.sent[self.place][-SHOWN:])
