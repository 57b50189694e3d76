"""`minimixproxy backup` of a proxy that runs, restored; `migrate`, there and back; all rooms are there afterwards."""

import json
import shutil
import stat

from twisted.internet.threads import deferToThread

from tests.integration.cases import IntegrationTestCase
from tests.integration.client import Client
from tests.integration.commands import run
from tests.integration.proxy import Proxy
from tests.storage import postgresql
from tests.storage.cases import require_postgresql

NS_MUC = "http://jabber.org/protocol/muc"


class BackupTests(IntegrationTestCase):
    async def begin(self) -> Proxy:
        """Alice is in two rooms; bob sees her there."""
        proxy = self.own_proxy()
        self.alice = await self.account("alice")
        self.phone = await self.client(self.alice, "phone", proxy=proxy)
        self.bob = await self.client(await self.account("bob"), "desk", direct=True)
        self.places = [self.room(), self.room()]
        for place in self.places:
            for client, nick in ((self.phone, "alice"), (self.bob, "bob")):
                await self.joins(client, place, nick)
            self.bob.send(f"<message to='{place}' type='groupchat'><body>kept</body></message>")
            await self.phone.expect(f"<message from='{place}/bob'><body>kept</body></message>")
        return proxy

    async def joins(self, client: Client, place: str, nick: str) -> None:
        client.send(f"<presence to='{place}/{nick}'><x xmlns='{NS_MUC}'/></presence>")
        await client.expect(f"<message type='groupchat' from='{place}'><subject/></message>")

    async def come_back(self, proxy: Proxy) -> None:
        """Nobody has logged in; the account is in its rooms, and tells what was said before."""
        await proxy.process.says("state loaded: 1 accounts")
        for place in self.places:
            await self.bob.expect(f"<presence from='{place}/alice'/>")
        again = await self.client(self.alice, "phone", proxy=proxy)
        for place in self.places:
            again.send(f"<presence to='{place}/alice'><x xmlns='{NS_MUC}'/></presence>")
            await again.expect(f"<message from='{place}/bob'><body>kept</body></message>")

    async def test_restored(self) -> None:
        proxy = await self.begin()
        state = proxy.directory / "state" / "state.sqlite"
        copy = proxy.directory / "backup.sqlite"
        done = await run(proxy, "backup", "--json", str(copy))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        report = json.loads(done.stdout)
        self.assertEqual((report["accounts"], report["rooms"]), (1, 2))
        self.assertEqual(stat.S_IMODE(copy.stat().st_mode), 0o600)
        again = await run(proxy, "backup", str(copy))
        self.assertEqual((again.returncode, again.stdout), (1, ""))
        self.assertIn("is there already", again.stderr)
        text = (await run(proxy, "backup", "--force", str(copy))).stdout
        self.assertIn("seal.key", text)
        await self.phone.barrier()
        # What the operator does whose disk has failed: all but the key is lost.
        await deferToThread(proxy.process.kill)
        for path in state.parent.glob("state.sqlite*"):
            path.unlink()
        shutil.copy(copy, state)
        await deferToThread(proxy.start)
        await self.come_back(proxy)

    async def test_migrated(self) -> None:
        require_postgresql()
        proxy = await self.begin()
        url = postgresql.cluster().database()
        running = await run(proxy, "migrate", "--to", url)
        self.assertEqual((running.returncode, running.stdout), (1, ""))
        self.assertIn("end the proxy first", running.stderr)
        await deferToThread(proxy.stop)
        for target in (url, str(proxy.directory / "back.sqlite")):
            done = await run(proxy, "migrate", "--json", "--to", target)
            self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
            rows = json.loads(done.stdout)["rows"]
            self.assertEqual((rows["accounts"], rows["rooms"]), (1, 2))
            text = proxy.configuration.read_text()
            first, _, rest = text.partition("\n")
            self.assertTrue(first.startswith("state = "), first)
            kept = (
                "" if "state_directory" in rest else f"state_directory = {json.dumps(str(proxy.directory / 'state'))}\n"
            )
            proxy.configuration.write_text(f"state = {json.dumps(target)}\n{kept}{rest}")
            backup = await run(proxy, "backup", str(proxy.directory / "backup.sqlite"))
            self.assertEqual(backup.returncode, 1 if target == url else 0)
            if target == url:
                self.assertIn("pg_dump --format=custom --file=", backup.stderr)
            await deferToThread(proxy.start)
            await self.come_back(proxy)
            await deferToThread(proxy.stop)
