"""`minimixproxy status` asks a proxy that works for real clients, one that was killed, and one that is not there."""

import json
import signal
import stat
from typing import Any

from twisted.internet.threads import deferToThread

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.commands import Done, run
from tests.integration.proxy import Proxy
from tests.integration.servers import Account
from tests.operator.schema import faults

NS_MUC = "http://jabber.org/protocol/muc"


async def status(proxy: Proxy, *arguments: str) -> Done:
    """Run the command as an operator does, from elsewhere."""
    return await run(proxy, "status", *arguments)


@on_both_servers
class StatusTests(IntegrationTestCase):
    async def report(self, proxy: Proxy, *arguments: str, wrong: bool = False) -> Any:
        done = await status(proxy, "--json", *arguments)
        self.assertEqual((done.returncode, done.stderr), (int(wrong), ""))
        report = json.loads(done.stdout)
        self.assertEqual(list(faults(report)), [])
        return report

    async def test_report(self) -> None:
        proxy = self.own_proxy()
        account = await self.account("alice")
        phone = await self.client(account, "phone", proxy=proxy)
        await self.client(account, "laptop", proxy=proxy)
        other = await self.client(await self.account("bob"), "desk", proxy=proxy)
        place = self.room()
        phone.send(f"<presence to='{place}/alice'><x xmlns='{NS_MUC}'/></presence>")
        await phone.expect("<message type='groupchat'><subject/></message>")
        phone.send(f"<message to='{place}' type='groupchat'><body>a secret</body></message>")
        await phone.expect("<message><body>a secret</body></message>")
        report = await self.report(proxy)
        self.assertEqual(report["pid"], proxy.process.pid)
        self.assertGreater(report["uptime"], 0)
        self.assertTrue(report["journal"]["durable"])
        totals = report["totals"]
        self.assertEqual((totals["accounts"], totals["sessions"], totals["rooms"]), (2, 3, {"joined": 1}))
        (alice,) = (entry for entry in report["accounts"] if entry["account"] == account.jid)
        self.assertEqual((alice["stream"], alice["devices"]), ("open", ["laptop", "phone"]))
        (room,) = alice["rooms"]
        self.assertEqual((room["room"], room["nick"], room["state"]), (place, "alice", "joined"))
        self.assertEqual((room["devices"], room["messages"]), (["phone"], 1))
        only = await self.report(proxy, "--account", other.bare)
        self.assertEqual([entry["account"] for entry in only["accounts"]], [other.bare])

        text = (await status(proxy)).stdout
        self.assertRegex(text, rf"\n    {place} +alice +joined +phone +1 +no\n")
        for told in (text, json.dumps(report)):
            self.assertNotIn("a secret", told)
            self.assertNotIn(account.password, told)

    async def test_the_server_is_gone(self) -> None:
        """What an operator wants to see: rooms out of reach, and that they will be tried again."""
        proxy = self.own_proxy()
        phone = await self.client(await self.account("alice"), "phone", proxy=proxy)
        place = self.room()
        phone.send(f"<presence to='{place}/alice'><x xmlns='{NS_MUC}'/></presence>")
        await phone.expect("<message type='groupchat'><subject/></message>")
        proxy.process.process.send_signal(signal.SIGTERM)
        await deferToThread(proxy.process.process.wait)
        # The same state, and a server that is not there.
        configuration = proxy.configuration.read_text()
        proxy.configuration.write_text(configuration.replace(f":{self.server.port}", ":1"))
        await deferToThread(proxy.start)
        await proxy.process.says("state loaded")
        report = await self.report(proxy, wrong=True)
        self.assertIn("no-stream", [trouble["code"] for trouble in report["troubles"]])
        (alice,) = report["accounts"]
        self.assertIn(alice["stream"], ("waiting", "opening"))
        self.assertEqual([(room["room"], room["state"]) for room in alice["rooms"]], [(place, "interrupted")])
        self.assertEqual(alice["devices"], [])


@on_both_servers
class WhyTests(IntegrationTestCase):
    """Why is user X not in room Y? Asked of real servers' rooms."""

    async def asked(self, account: Account, room: str, expected: int) -> Any:
        """Return the answer; all of what is told is as docs/status.md says."""
        done = await status(self.proxy, "--json", "--account", account.jid, "--room", room)
        self.assertEqual((done.returncode, done.stderr), (expected, ""))
        report = json.loads(done.stdout)
        self.assertEqual(list(faults(report)), [])
        return report["answer"]

    async def test_in_kicked_banned_and_refused(self) -> None:
        alice, bob = await self.account("alice"), await self.account("bob")
        owner = await self.client(alice, "desk")
        phone = await self.client(bob, "phone")
        place = self.room()
        self.assertEqual((await self.asked(bob, place, 1))["code"][:9], "bookmark-")
        for client, nick in ((owner, "alice"), (phone, "bob")):
            client.send(f"<presence to='{place}/{nick}'><x xmlns='{NS_MUC}'/></presence>")
            await client.expect("<message type='groupchat'><subject/></message>")
        self.assertEqual((await self.asked(bob, place, 0))["code"], "in")

        for item, code, expected in (
            ("nick='bob' role='none'", "kicked", "307"),
            (f"jid='{bob.jid}' affiliation='outcast'", "banned", "301"),
        ):
            query = f"<query xmlns='{NS_MUC}#admin'><item {item}><reason>spam</reason></item></query>"
            owner.send(f"<iq type='set' to='{place}' id='{code}'>{query}</iq>")
            await phone.expect(f"<presence type='unavailable' from='{place}/bob'/>")
            told = await self.asked(bob, place, 1)
            self.assertEqual((told["code"], told["last"]["text"]), (code, "spam"))
            self.assertIn(expected, told["last"]["condition"])
            phone.send(f"<presence to='{place}/bob'><x xmlns='{NS_MUC}'/></presence>")
            if code == "kicked":
                await phone.expect("<message type='groupchat'><subject/></message>")
        await phone.expect(f"<presence type='error' from='{place}/bob'><error/></presence>")
        told = await self.asked(bob, place, 1)
        self.assertEqual((told["code"], told["last"]["condition"]), ("join-refused", "forbidden"))

    async def test_of_whom_the_proxy_has_never_heard(self) -> None:
        done = await status(self.proxy, "--json", "--account", f"nobody@{self.server.domain}", "--room", self.room())
        self.assertEqual((done.returncode, json.loads(done.stdout)["answer"]["code"]), (1, "account-unknown"))
        done = await status(self.proxy, "--account", f"nobody@{self.server.domain}")
        self.assertEqual(done.returncode, 3)


class LifeTests(IntegrationTestCase):
    async def running_proxy(self) -> Proxy:
        """A proxy that has said how it is: its ports are bound a moment before it can."""
        proxy = self.own_proxy()
        await proxy.process.says("state loaded")
        self.assertEqual((await status(proxy)).returncode, 0)
        return proxy

    async def test_not_running(self) -> None:
        proxy = await self.running_proxy()
        socket = proxy.directory / "state" / "control"
        self.assertEqual(stat.S_IMODE(socket.stat().st_mode), 0o600)
        await deferToThread(proxy.stop)
        done = await status(proxy)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertEqual(done.stderr, f"minimixproxy: not running: there is no {socket}\n")

    async def test_killed_and_started_again(self) -> None:
        proxy = await self.running_proxy()
        socket = proxy.directory / "state" / "control"
        proxy.process.process.kill()
        await deferToThread(proxy.process.process.wait)
        done = await status(proxy)
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stderr, f"minimixproxy: not running: nobody listens on {socket}\n")
        await deferToThread(proxy.start)
        await proxy.process.says("state loaded")
        self.assertEqual((await status(proxy)).returncode, 0)

    async def test_two_on_one_state_directory(self) -> None:
        proxy = await self.running_proxy()
        done = await proxy.run_in_vain()
        self.assertEqual(done.returncode, 1)
        directory = proxy.directory / "state"
        self.assertEqual(done.stderr, f"minimixproxy: {directory} is in use by another minimixproxy\n")
        self.assertEqual((await status(proxy)).returncode, 0, "the first one goes on")
