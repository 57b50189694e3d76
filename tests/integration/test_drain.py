"""`minimixproxy drain`: no more clients at a real proxy; those that are there go, or are told to."""

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.commands import run
from tests.integration.proxy import Proxy

NS_MUC = "http://jabber.org/protocol/muc"


@on_both_servers
class DrainTests(IntegrationTestCase):
    async def told(self, proxy: Proxy, *arguments: str) -> dict[str, Any]:
        done = await run(proxy, "drain", "--json", *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    async def test_drained_and_undone(self) -> None:
        proxy = self.own_proxy()
        alice = await self.account("alice")
        phone = await self.client(alice, "phone", proxy=proxy)
        laptop = await self.client(alice, "laptop", proxy=proxy)
        place = self.room()
        bob = await self.client(await self.account("bob"), "desk", direct=True)
        for client, nick in ((phone, "alice"), (bob, "bob")):
            client.send(f"<presence to='{place}/{nick}'><x xmlns='{NS_MUC}'/></presence>")
            await client.expect("<message type='groupchat'><subject/></message>")
        self.assertEqual(await self.told(proxy, "--no-wait"), {"clients": 2, "dismissed": 0, "accounts": 0})
        await self.assertFailure(Deferred.fromCoroutine(self.connect(proxy=proxy)), ConnectionRefusedError)
        await self.assertFailure(
            Deferred.fromCoroutine(self.connect(proxy=proxy, direct_tls=True)), ConnectionRefusedError
        )
        await phone.barrier()
        self.assertIn("no clients are accepted, 2 are still here", (await run(proxy, "status")).stdout)
        await laptop.close()
        self.assertEqual(await self.told(proxy, "--timeout", "0"), {"clients": 0, "dismissed": 1, "accounts": 0})
        await phone.expect_close("system-shutdown")
        bob.send(f"<message to='{place}' type='groupchat'><body>still here?</body></message>")
        await bob.expect("<message><body>still here?</body></message>")  # the account has not left
        self.assertEqual(await self.told(proxy, "--undo"), {"drained": True})
        again = await self.client(alice, "phone", proxy=proxy)
        again.send(f"<presence to='{place}/alice'><x xmlns='{NS_MUC}'/></presence>")
        await again.expect("<message><body>still here?</body></message>")
