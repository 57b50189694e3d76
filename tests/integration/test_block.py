"""`minimixproxy block JID`: no way to log in gets a blocked account in, on real servers; unblocked, it comes back."""

import json
from typing import Any

from twisted.internet.threads import deferToThread

from tests.integration.cases import on_both_servers
from tests.integration.commands import run
from tests.integration.logins.cases import LoginRulesCase
from tests.integration.logins.device import Device
from tests.integration.logins.rules import CONVERSATIONS, DINO, GAJIM
from tests.integration.servers import Account
from tests.integration.xmlcut import Received

NS_MUC = "http://jabber.org/protocol/muc"
DISABLED = "is refused: account-disabled"


def names(answer: Received) -> list[str]:
    return [child.name for child in answer.element.elements()]


@on_both_servers
class BlockTests(LoginRulesCase):
    async def begin(self) -> None:
        self.our_proxy = self.own_proxy(domain={"logins": ["SCRAM", "PLAIN"]})
        self.alice = await self.account("alice")
        self.place = self.room()
        self.bob = await self.client(await self.account("bob"), "desk", direct=True)
        self.phone = await self.client(self.alice, "phone", proxy=self.our_proxy)
        for client, nick in ((self.phone, "alice"), (self.bob, "bob")):
            client.send(f"<presence to='{self.place}/{nick}'><x xmlns='{NS_MUC}'/></presence>")
            await client.expect("<message type='groupchat'><subject/></message>")

    async def told(self, *arguments: str) -> str:
        done = await run(self.our_proxy, *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    async def sees_alice(self, kind: str) -> None:
        await self.bob.expect(f"<presence {kind} from='{self.place}/alice'/>")

    async def refused(self, account: Account, *devices: Device) -> None:
        """By PLAIN, in both profiles, and by SCRAM, here and relayed, whether or not a session sleeps."""
        for device in (*devices, *(Device(rules, account) for rules in (DINO, GAJIM, CONVERSATIONS))):
            self.assertEqual(await self.outcome(device, self.our_proxy.port), DISABLED, device.rules.client)
        for name in (account.username, account.username.upper()):
            client = await self.connect(proxy=self.our_proxy)
            await client.open()
            await client.starttls()
            await client.open()
            answer = await client.authenticate(name, account.password)
            self.assertEqual(names(answer)[0], "account-disabled")
            answer = await client.authenticate(name, "a guess")
            self.assertEqual(names(answer)[0], "not-authorized")
            client.drop()

    async def test_every_way_in(self) -> None:
        await self.begin()
        device = Device(CONVERSATIONS, self.alice)
        sleeper = await self.login(device, self.our_proxy.port)
        self.assertIsNotNone(device.token)
        device.cut()
        await self.our_proxy.process.says(f"session of {sleeper.jid} sleeps")
        said = await self.told("block", "--reason", "spam", self.alice.jid.upper())
        self.assertEqual(said, f"{self.alice.jid}: blocked; 2 sessions ended\n")
        await self.phone.expect_close("not-authorized")
        await self.sees_alice("type='unavailable'")
        await self.refused(self.alice, device)
        await deferToThread(self.our_proxy.process.kill)
        await deferToThread(self.our_proxy.start)
        await self.our_proxy.process.says(f"{self.alice.jid} is blocked")
        await self.refused(self.alice, Device(CONVERSATIONS, self.alice))
        self.assertEqual([entry["account"] for entry in (await self.listed())["blocked"]], [self.alice.jid])
        self.assertEqual(await self.told("unblock", self.alice.jid), f"{self.alice.jid}: unblocked\n")
        await self.sees_alice("")  # nobody has logged in: it comes back by what is kept
        again = await self.client(self.alice, "phone", proxy=self.our_proxy)
        await again.barrier()
        self.assertEqual((await self.listed())["total"], 0)

    async def listed(self) -> Any:
        return json.loads(await self.told("blocked", "--json"))

    async def test_others_notice_nothing(self) -> None:
        await self.begin()
        carol = await self.client(await self.account("carol"), "desk", proxy=self.our_proxy)
        await self.told("block", self.alice.jid)
        await carol.barrier()
        other = await self.client(await self.account("alice"), "phone", proxy=self.our_proxy)
        await other.barrier()
