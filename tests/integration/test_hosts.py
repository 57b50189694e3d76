"""Three nodes on three hosts, with TLS between them and HAProxy before them: what one of them sends is lost one way."""

from twisted.internet.threads import deferToThread

from tests.integration import client as raw
from tests.integration import network
from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client
from tests.integration.hosts import CLIENTS, HostedNode, Site
from tests.integration.nodes import NS_MUC
from tests.integration.servers import Account, in_path
from tests.storage.cases import require_postgresql

LONG = 60.0  # seconds: a row is good for 15
NODES = 3


class HostsCase(IntegrationTestCase):
    """A site of its own for each test."""

    timeout = 240

    async def begin(self) -> Site:
        self.need(network.missing())
        self.need(None if in_path("haproxy") else "haproxy")
        require_postgresql()
        site = Site()
        self.addCleanup(deferToThread, site.stop)
        self.addCleanup(self._close_clients)
        await deferToThread(site.begin, self.kind)
        self.server = site.server
        for _ in range(NODES):
            site.node()
        for node in site.nodes:
            await deferToThread(node.start)
        for node in site.nodes:
            await node.comes()
        await deferToThread(site.open)
        return site

    async def comes(self, account: Account, resource: str, address: str, port: int = CLIENTS) -> Client:
        """A client that is logged in and online, by whatever is at that address."""
        client = await raw.connect(port, account.domain, address=address, label=resource)
        self._clients.append(client)
        await client.login(account, resource)
        await client.online()
        return client

    async def witness(self, place: str) -> Client:
        bob = await self.comes(await self.account("bob"), "desk", self.server.address, self.server.port)
        await self.join(bob, place, "bob")
        return bob

    async def join(self, client: Client, place: str, nick: str = "alice") -> None:
        client.send(f"<presence to='{place}/{nick}'><x xmlns='{NS_MUC}'/></presence>")
        await client.expect("<message type='groupchat'><subject/></message>", LONG)

    def holder(self, site: Site, account: Account) -> HostedNode:
        statement = "SELECT name FROM leases JOIN holders ON holders.number = leases.holder WHERE bare = %s"
        with site.database.connect(site.database_name) as connection:
            ((name,),) = connection.execute(statement, (account.jid,)).fetchall()
        (found,) = [node for node in site.nodes if node.name == name]
        return found

    async def hears(self, client: Client, body: str) -> None:
        """In any order."""
        await client.until(lambda: any(one.text == body for one in client.received), body, LONG)


@on_both_servers
class ThreeHostsTests(HostsCase):
    async def test_one_way(self) -> None:
        """Devices of one account by HAProxy, on whichever nodes: each is served by the holder's, over TLS.

        What is lost on one way, from another node to the holder or from the server, comes when the way is there again.
        """
        site = await self.begin()
        for node in site.nodes:
            self._watch(node, 0)
        alice, place = await self.account("alice"), self.room()
        devices = []
        for number in range(NODES):
            devices.append(await self.comes(alice, f"device{number}", site.front.address))
            await self.join(devices[-1], place)
        bob = await self.witness(place)
        bob.send(f"<message to='{place}' type='groupchat'><body>to all</body></message>")
        for client in (bob, *devices):
            await self.hears(client, "to all")
        holder = self.holder(site, alice)
        peers = [node.host for node in site.nodes if node is not holder]
        for peer in peers:
            peer.lose(holder.host)
        for number, device in enumerate(devices):
            device.send(f"<message to='{place}' type='groupchat'><body>by {number}</body></message>")
        for peer in peers:
            peer.reach(holder.host)
        for client in (bob, *devices):
            for number in range(NODES):
                await self.hears(client, f"by {number}")
        site.server_host.lose(holder.host)
        for number in range(5):
            bob.send(f"<message to='{place}' type='groupchat'><body>meanwhile {number}</body></message>")
        await self.hears(bob, "meanwhile 4")
        site.server_host.reach(holder.host)
        for device in devices:
            await self.hears(device, "meanwhile 4")
            bodies = [one.text for one in device.received if one.text.startswith("meanwhile")]
            self.assertEqual(bodies, [f"meanwhile {number}" for number in range(5)])


class DatabaseTests(HostsCase):
    async def test_one_way(self) -> None:
        """One node is not heard by the database, another does not hear it: both end, and the third has the accounts."""
        site = await self.begin()
        accounts = {}
        for _ in range(2):  # by HAProxy: to those with the fewest clients
            alice, place = await self.account("alice"), self.room()
            phone = await self.comes(alice, "phone", site.front.address)
            await self.join(phone, place)
            accounts[alice] = place
        deaf, mute = (self.holder(site, alice) for alice in accounts)
        (other,) = (node for node in site.nodes if node not in (deaf, mute))
        site.database_host.lose(deaf.host)
        mute.host.lose(site.database_host)
        for node in (deaf, mute):
            await node.process.says("no sign of life could be given in time.*this proxy ends", LONG)
        for alice, place in accounts.items():
            await other.process.says(rf"{alice.jid} is in {place}, as alice", LONG)
            self.assertIs(self.holder(site, alice), other)
        site.database_host.reach(deaf.host)  # it ends sooner when its last words are heard
        mute.host.reach(site.database_host)
        for node in (deaf, mute):
            self.assertEqual(await node.process.ends(LONG), 1)
