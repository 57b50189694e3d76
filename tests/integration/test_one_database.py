"""One database, one proxy: a second one is refused, and one that was taken for dead writes no more."""

import json
import os
import signal
import subprocess
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from tests.integration.cases import IntegrationTestCase
from tests.integration.client import Client
from tests.integration.proxy import Proxy
from tests.storage import postgresql
from tests.storage.cases import require_postgresql

NS_MUC = "http://jabber.org/protocol/muc"
Done = subprocess.CompletedProcess[str]


class OneDatabaseCase(IntegrationTestCase):
    timeout = 120

    def proxy_on(self, state: Path | str) -> Proxy:
        """A proxy, not started, with a directory of state of its own, and this database."""
        proxy = Proxy(self.server, start=False)
        lines = proxy.configuration.read_text().splitlines()
        assert lines[0].startswith("state = ")
        lines[:1] = [f"state = {json.dumps(str(state))}", f"state_directory = {json.dumps(str(proxy.directory / 's'))}"]
        proxy.configuration.write_text("\n".join(lines))
        return proxy

    async def start(self, proxy: Proxy) -> Proxy:
        """What it logs may be critical."""
        self.addCleanup(self._stop, proxy)
        await deferToThread(proxy.start)
        return proxy

    async def refused(self, proxy: Proxy) -> str:
        """Run the proxy, which must not start; return what it says."""
        done = await proxy.run_in_vain()
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stdout + done.stderr)
        return done.stdout.splitlines()[-1]  # the log

    async def in_a_room(self, proxy: Proxy) -> tuple[Client, str]:
        await proxy.process.says("state loaded")
        phone = await self.client(await self.account("alice"), "phone", proxy=proxy)
        place = self.room()
        phone.send(f"<presence to='{place}/alice'><x xmlns='{NS_MUC}'/></presence>")
        await phone.expect("<message type='groupchat'><subject/></message>")
        return phone, place

    async def say(self, phone: Client, place: str, numbers: range) -> None:
        for number in numbers:
            phone.send(f"<message to='{place}' type='groupchat'><body>n{number}</body></message>")
            await phone.expect(f"<message><body>n{number}</body></message>")


class PostgreSQLTests(OneDatabaseCase):
    def setUp(self) -> None:
        super().setUp()
        require_postgresql()
        self.url = postgresql.cluster().database()

    def messages(self) -> int:
        with postgresql.cluster().connect(self.url.partition("@/")[2].partition("?")[0]) as connection:
            (number,) = connection.execute("SELECT count(*) FROM messages").fetchone() or (0,)
            return int(number)

    async def test_second_one_is_refused(self) -> None:
        first = await self.start(self.proxy_on(self.url))
        phone, place = await self.in_a_room(first)
        refusal = await self.refused(self.proxy_on(self.url))
        self.assertRegex(refusal, "minimixproxy: postgresql://.*: is in use by another minimixproxy on .*: end")
        await self.say(phone, place, range(30))
        self.assertEqual(self.messages(), 30, "the first one goes on")

    async def test_both_at_once_on_an_empty_database(self) -> None:
        """One has it; the other is told so."""
        proxies = [self.proxy_on(self.url) for _ in range(2)]
        both = [Deferred.fromCoroutine(self.start(proxy)) for proxy in proxies]
        await gatherResults(both)
        said = [await proxy.process.says("state loaded|minimixproxy: postgresql", timeout=60) for proxy in proxies]
        winner, loser = (proxies[0], proxies[1]) if "state loaded" in said[0] else (proxies[1], proxies[0])
        self.assertIn("is in use by another minimixproxy", loser.process.lines[-1])
        self.assertEqual(await loser.process.ends(), 1)
        await self.in_a_room(winner)

    async def test_killed(self) -> None:
        """It comes back at once; another one when it is clear that the first is dead."""
        first = await self.start(self.proxy_on(self.url))
        phone, place = await self.in_a_room(first)
        await self.say(phone, place, range(3))
        await first.restart(kill=True)
        await first.process.says("state loaded: 1 accounts")
        self.assertFalse(any("waiting" in line for line in first.process.lines))
        await deferToThread(first.process.kill)
        other = await self.start(self.proxy_on(self.url))
        await other.process.says("has it, or had when it ended: waiting for up to 15 s")
        await other.process.says("state loaded: 1 accounts", timeout=60)

    async def test_taken_for_dead(self) -> None:
        """It was stopped for a while, and goes on: it writes nothing, says nothing, and ends."""
        first = await self.start(self.proxy_on(self.url))
        phone, place = await self.in_a_room(first)
        await self.say(phone, place, range(3))
        first.process.pause()
        other = await self.start(self.proxy_on(self.url))
        await other.process.says("state loaded: 1 accounts", timeout=60)
        before = self.messages()
        phone.send(f"<message to='{place}' type='groupchat'><body>late</body></message>")
        os.kill(first.process.pid, signal.SIGCONT)
        await first.process.says("another minimixproxy has taken it: nothing is written any more; this proxy ends")
        self.assertEqual(await first.process.ends(), 1)
        self.assertEqual(self.messages(), before)


class SQLiteTests(OneDatabaseCase):
    async def test_second_one_is_refused(self) -> None:
        """By whatever name it has the file."""
        first = self.own_proxy()
        phone, place = await self.in_a_room(first)
        file = first.directory / "state" / "state.sqlite"
        symbolic, hard = first.directory / "other0.sqlite", first.directory / "other1.sqlite"
        os.symlink(file, symbolic)
        os.link(file, hard)
        for name in (symbolic, hard):
            refusal = await self.refused(self.proxy_on(name))
            self.assertIn(
                f"minimixproxy: {name}: is in use by another minimixproxy. One database serves one proxy: end the "
                "other one, or name another state",
                refusal,
            )
        await self.say(phone, place, range(3))
        await first.restart(kill=True)
        await first.process.says("state loaded: 1 accounts")
