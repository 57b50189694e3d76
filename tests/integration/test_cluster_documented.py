"""The recipe for HAProxy in docs/cluster.md, as it stands there, before two nodes."""

import socket

from twisted.internet.threads import deferToThread

from tests.integration import client as raw
from tests.integration.cases import on_both_servers
from tests.integration.client import Client
from tests.integration.hosts import recipe
from tests.integration.nodes import ClusterCase, Node
from tests.integration.ports import free_port
from tests.integration.processes import LoggedProcess
from tests.integration.proxy import toml
from tests.integration.servers import Account, in_path

AT = "interface=127.0.0.1"


class Relay:
    """HAProxy with that recipe; `entrance` is where clients go."""

    def __init__(self, ports: list[tuple[int, int]], one: Node, every: str) -> None:
        """`ports` are those of each node, for clients and of its site; it asks them `every` so often."""
        with socket.socket() as front:
            front.bind(("127.0.0.1", 0))
            front.listen()
            text = recipe().replace("bind :5222", f"bind fd@{front.fileno()}")
            for number, (port, site) in enumerate(ports, start=1):
                assert f"10.0.0.{number}:5222" in text
                text = text.replace(f"10.0.0.{number}:5222", f"127.0.0.1:{port} port {site} inter {every}")
            configuration = one.directory / f"haproxy-{every}.cfg"
            configuration.write_text(text)
            arguments = [in_path("haproxy") or "", "-db", "-f", str(configuration)]
            self.process = LoggedProcess("haproxy", arguments, pass_fds=(front.fileno(),))
            self.entrance: int = front.getsockname()[1]


@on_both_servers
class DocumentedTests(ClusterCase):
    def setUp(self) -> None:
        super().setUp()
        self.need(None if in_path("haproxy") else "haproxy")

    async def relayed(self) -> tuple[Node, int, int]:
        """A node for HAProxy, with a site; its port for that, and the site's."""
        port, site = free_port(), free_port()
        node = self.node(listen=[{"endpoint": f"haproxy:tcp:{port}:{AT}"}])
        with node.configuration.open("a") as file:
            file.write("\n" + toml("web", {"endpoint": f"tcp:{site}:{AT}"}))
        self.addCleanup(self._stop, node)
        await deferToThread(node.start)
        await node.process.says("state loaded")
        return node, port, site

    def relay(self, ports: list[tuple[int, int]], one: Node, every: str) -> Relay:
        relay = Relay(ports, one, every)
        self.addCleanup(relay.process.stop)
        return relay

    async def at(self, relay: Relay, account: Account, place: str) -> Client:
        """A client that has come by it, and is in the room."""
        client = await raw.connect(relay.entrance, self.server.domain)
        self._clients.append(client)
        await client.login(account)
        await client.online()
        await self.join(client, place)
        return client

    async def test_haproxy(self) -> None:
        """Clients come by it, and their addresses are known; what comes for a node that has ended goes to the other.

        That holds before it has found out, and when it has.
        """
        (one, *ports_of_one), (other, *ports_of_other) = await self.relayed(), await self.relayed()
        ports = [(ports_of_one[0], ports_of_one[1]), (ports_of_other[0], ports_of_other[1])]
        asking, unaware = self.relay(ports, one, "200ms"), self.relay(ports, one, "1h")
        alice, place = await self.account("alice"), self.room()
        clients = [await self.at(asking, alice, place) for _ in range(4)]  # to both, in turn
        await self.say(clients[0], place, "to all")
        for client in clients[1:]:
            await client.expect("<message><body>to all</body></message>")
        holder = {"node-0": one, "node-1": other}[self.holder(alice) or ""]
        left = other if holder is one else one
        await deferToThread(holder.stop)
        await left.process.says(rf"is in {place}, as alice")
        for _ in range(2):  # both nodes' turn
            await self.at(unaware, alice, place)
        await asking.process.says(rf"Server nodes/node-{'ab'[holder is other]} is DOWN")
        for _ in range(2):
            await self.at(asking, alice, place)
