"""Whoever is meant to be out stays out, even over a restart of the proxy (XEP-0045 8.2, 9.1, 9.4, 9.6, 10.9)."""

from twisted.internet.threads import deferToThread

from tests.integration.cases import on_both_servers
from tests.integration.comingback import ReturnCase
from tests.integration.faults import Listener, Talker

NOTHING = "<history maxstanzas='0'/>"
MEMBER = "<item jid='{jid}' affiliation='member'/>"


@on_both_servers
class StayingOutTests(ReturnCase):
    async def opened(self, *names: str) -> list[str]:
        rooms = [self.room(name) for name in names]
        for room in rooms:
            await self.bob.open(room)
        return rooms

    async def test_every_way_out(self) -> None:
        """Out of six rooms in six ways; the proxy is killed, and the account comes back into the two others only."""
        await self.begin()
        first, last = stays = await self.opened("first", "last")
        names = ("kick", "ban", "affiliation", "closed", "destroyed", "left")
        kick, ban, affiliation, closed, destroyed, left = outs = await self.opened(*names)
        await self.bob.ask(affiliation, "admin", MEMBER.format(jid=self.alice.jid))
        await self.bob.configure(affiliation, membersonly=1)
        devices = await self.come("phone", "laptop", rooms=[first, *outs, last])

        await self.bob.ask(kick, "admin", "<item nick='alice' role='none'/>")
        await self.bob.ask(ban, "admin", f"<item jid='{self.alice.jid}' affiliation='outcast'/>")
        await self.bob.ask(affiliation, "admin", f"<item jid='{self.alice.jid}' affiliation='none'/>")
        await self.bob.configure(closed, membersonly=1)
        await self.bob.ask(destroyed, "owner", "<destroy><reason>over</reason></destroy>")
        for device in devices:
            device.client.send(f"<presence to='{left}/alice' type='unavailable'/>")
            for room in outs:
                await self.shown_out(device, room)
        await self.away(left)
        await self.on_disk(devices[0])
        for device in devices:
            device.drop()
            await device.client.until_lost()

        await self.kill_and_return(*stays)
        await self.are_without_alice(outs)

    async def test_banned_while_the_proxy_was_down(self) -> None:
        """The rejoin is refused, once more too, for it may have been a service that was down; then no more."""
        await self.begin()
        first, out, last = rooms = await self.opened("first", "out", "last")
        await self.come("phone", rooms=rooms)
        await deferToThread(self.behind.process.kill)
        await self.away(*rooms)
        await self.bob.ask(out, "admin", f"<item jid='{self.alice.jid}' affiliation='outcast'/>")
        await deferToThread(self.behind.start)
        await self.back(first, last)
        await self.behind.process.says(f"{out} does not let .* come back: forbidden")
        await self.are_without_alice([out])
        await self.log_is_read(self.behind)
        asked = [line for line in self.behind.process.lines if f"{out} does not let " in line]
        self.assertEqual(len(asked), 2, asked)

    async def shown_out(self, device: Listener, room: str) -> None:
        await device.client.until(lambda: not device[room].nick, f"the removal from {room}")
        self.assertEqual(len(device[room].removals), 1, device.client.transcript())

    async def are_without_alice(self, rooms: list[str]) -> None:
        """By now rejoins would have been asked for: a witness looks."""
        tablet = self.device("tablet")
        await tablet.connect()
        await self.settle(tablet)
        witness = await self.talker("witness")
        for room in rooms:
            if await self.is_gone(room, witness):
                continue
            if self.bob[room].nick:
                await self.bob.ask(room, "admin", MEMBER.format(jid=witness.client.bare))
            # Not bob: Prosody does not tell others of a removal with 322.
            await witness.enter(room, NOTHING)
            self.assertNotIn("alice", witness[room].occupants, witness.client.transcript())

    async def is_gone(self, room: str, witness: Talker) -> bool:
        """Prosody lets nobody into a room that was destroyed."""
        reply = await witness.client.iq("get", room, "<query xmlns='http://jabber.org/protocol/disco#info'/>")
        return "<gone xmlns" in str(reply)
