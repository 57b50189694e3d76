"""`minimixproxy forget JID`: an account that was deleted at the server, and the one who has its address next."""

import json
from typing import Any

from twisted.internet.threads import deferToThread

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client
from tests.integration.commands import run
from tests.integration.proxy import Proxy
from tests.integration.servers import Account

NS_MUC = "http://jabber.org/protocol/muc"
SECRET = "nobody else's business"


class ForgetCase(IntegrationTestCase):
    async def begin(self) -> Proxy:
        """Alice is in a room by a phone; her laptop was there and is away; bob sees it all, not by the proxy."""
        proxy = self.own_proxy()
        self.alice = await self.account("alice")
        self.place = self.room()
        self.bob = await self.client(await self.account("bob"), "desk", direct=True)
        self.phone = await self.client(self.alice, "phone", proxy=proxy)
        laptop = await self.client(self.alice, "laptop", proxy=proxy)
        for client, nick in ((self.phone, "alice"), (laptop, "alice"), (self.bob, "bob")):
            await self.joins(client, nick)
        await laptop.close()
        self.phone.send(f"<message to='{self.place}' type='groupchat'><body>{SECRET}</body></message>")
        await self.phone.expect(f"<message><body>{SECRET}</body></message>")
        return proxy

    async def joins(self, client: Client, nick: str) -> None:
        client.send(f"<presence to='{self.place}/{nick}'><x xmlns='{NS_MUC}'/></presence>")
        await client.expect("<message type='groupchat'><subject/></message>")

    async def forget(self, proxy: Proxy, account: Account) -> str:
        done = await run(proxy, "forget", account.jid)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    async def accounts(self, proxy: Proxy) -> list[dict[str, Any]]:
        report = json.loads((await run(proxy, "status", "--json")).stdout)
        found: list[dict[str, Any]] = report["accounts"]
        return found

    def found_in_files(self, proxy: Proxy) -> set[str]:
        """The names of the files of state that hold something of alice's."""
        wanted = [text.encode() for text in (self.alice.username, self.place, SECRET)]
        files = [path for path in (proxy.directory / "state").rglob("*") if path.is_file()]
        return {path.name for path in files if any(text in path.read_bytes() for text in wanted)}


@on_both_servers
class ForgetTests(ForgetCase):
    async def test_deleted_at_the_server_and_made_anew(self) -> None:
        """Whoever has the address then is given nothing."""
        proxy = await self.begin()
        self.assertNotEqual(self.found_in_files(proxy), set())
        await self.server.remove(self.alice)
        self.assertEqual(await self.forget(proxy, self.alice), f"{self.alice.jid}: forgotten\n")
        await self.bob.expect(f"<presence type='unavailable' from='{self.place}/alice'/>")
        self.assertEqual(self.found_in_files(proxy), set())
        self.assertEqual(await self.accounts(proxy), [])
        await self.phone.until_lost()
        await self.server.register(self.alice.username, "another password")
        other = await self.client(self.alice._replace(password="another password"), "phone", proxy=proxy)
        await other.barrier()
        (account,) = await self.accounts(proxy)
        self.assertEqual((account["rooms"], account["devices"]), ([], ["phone"]))
        await self.joins(other, "eve")
        self.assertEqual([room["nick"] for room in (await self.accounts(proxy))[0]["rooms"]], ["eve"])

    async def test_not_deleted(self) -> None:
        """The room sees it leave; its clients log in anew, and begin with nothing."""
        proxy = await self.begin()
        await self.forget(proxy, self.alice)
        await self.bob.expect(f"<presence type='unavailable' from='{self.place}/alice'/>")
        await self.phone.expect_close("reset")
        again = await self.client(self.alice, "phone", proxy=proxy)
        await again.barrier()
        self.assertEqual([account["rooms"] for account in await self.accounts(proxy)], [[]])
        await self.joins(again, "alice")

    async def test_after_a_crash(self) -> None:
        """It has no client, and comes back from the disk only."""
        proxy = await self.begin()
        await deferToThread(proxy.process.kill)
        await self.server.remove(self.alice)
        await deferToThread(proxy.start)
        await proxy.process.says("state loaded: 1 accounts")
        self.assertEqual(await self.forget(proxy, self.alice), f"{self.alice.jid}: forgotten\n")
        self.assertEqual((self.found_in_files(proxy), await self.accounts(proxy)), (set(), []))
        await deferToThread(proxy.process.kill)
        await deferToThread(proxy.start)
        await proxy.process.says("state loaded: 0 accounts")


class CommandTests(ForgetCase):
    """One server is enough."""

    async def test_not_known(self) -> None:
        """It may be asked for again and again, and for accounts that never used the proxy."""
        proxy = await self.begin()
        self.assertEqual(await self.forget(proxy, self.alice), f"{self.alice.jid}: forgotten\n")
        for _ in range(2):
            answer = await self.forget(proxy, self.alice)
            self.assertEqual(answer, f"{self.alice.jid}: not known here, nothing is kept of it\n")

    async def test_another_account_stays_as_it_is(self) -> None:
        proxy = await self.begin()
        carol = await self.client(await self.account("carol"), "desk", proxy=proxy)
        await self.joins(carol, "carol")
        await self.forget(proxy, self.alice)
        carol.send(f"<message to='{self.place}' type='groupchat'><body>still here</body></message>")
        await carol.expect("<message><body>still here</body></message>")

    async def test_refused(self) -> None:
        proxy = self.own_proxy()
        await proxy.process.says("state loaded")
        for text in ("", "@", "alice", "prosody.test", "alice@prosody.test/phone", "a b@prosody.test", "x\n@a.test"):
            done = await run(proxy, "forget", "--", text)
            self.assertEqual((done.returncode, done.stdout), (1, ""), text)
            self.assertRegex(done.stderr, "^minimixproxy: [^\n]*\n$", text)
        await deferToThread(proxy.stop)
        done = await run(proxy, "forget", "alice@prosody.test")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("not running", done.stderr)
