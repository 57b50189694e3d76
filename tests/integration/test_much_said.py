"""One device says more to a room than the server takes: it has to wait, nobody else, and nothing is lost (XEP-0198)."""

from __future__ import annotations

from tests.integration.cases import on_all_servers
from tests.integration.managedcase import ManagedCase, bodies, enter, say

COUNT, SIZE = 200, 60 * 1024  # 12 MB, in large stanzas: of small ones a server takes only some hundred a second
PATIENCE = 150  # seconds


@on_all_servers
class MuchSaidTests(ManagedCase):
    timeout = 2 * PATIENCE + 60

    async def test_twelve_mebibytes(self) -> None:
        proxy = self.own_proxy(limits={"send_queue": 64 * 1024 * 1024})  # this process may be slow to read all that
        account, room = await self.account(), self.room()
        phone = await self.device(account, port=proxy.port)
        tablet = await self.device(account, "tablet", port=proxy.port)
        bob = await self.device(await self.account("bob"), port=proxy.port)
        for device, nick in ((bob, "bob"), (phone, "alice"), (tablet, "alice")):
            await enter(device, room, nick)

        def opened() -> int:
            return sum("account stream open" in line for line in proxy.process.lines)

        before = opened()
        said = [f"{number} ".ljust(SIZE, "x") for number in range(COUNT)]
        for body in said:
            say(phone, room, body, "groupchat")

        def heard() -> int:
            return sum(b"<body>" in stanza.raw for stanza in bob.received)

        await tablet.barrier(room)
        self.assertLess(heard(), COUNT, "the other device has not waited for all of it")
        await bob.until(lambda: heard() >= COUNT // 2, "half of it", PATIENCE)
        await tablet.barrier(room)
        await bob.until(lambda: heard() >= COUNT, "all of it", PATIENCE)
        await phone.barrier(room)
        await bob.barrier(room)
        for listener in (bob, phone):
            self.assertEqual(bodies(listener), said)
        await phone.until_acknowledged()
        self.assertEqual(opened(), before, "no stream was lost")
