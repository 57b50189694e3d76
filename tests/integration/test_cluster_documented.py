"""The recipe for HAProxy in docs/cluster.md, as it stands there, before two nodes."""

import socket

from twisted.internet.threads import deferToThread

from tests.integration import client as raw
from tests.integration.cases import on_both_servers
from tests.integration.hosts import recipe
from tests.integration.nodes import ClusterCase, Node
from tests.integration.ports import free_port
from tests.integration.processes import LoggedProcess
from tests.integration.proxy import toml
from tests.integration.servers import in_path

AT = "interface=127.0.0.1"


@on_both_servers
class DocumentedTests(ClusterCase):
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

    async def test_haproxy(self) -> None:
        """Clients come by it, and their addresses are known; of a node that ends it learns by itself."""
        self.need(None if in_path("haproxy") else "haproxy")
        (one, *ports_of_one), (other, *ports_of_other) = await self.relayed(), await self.relayed()
        with socket.socket() as front:
            front.bind(("127.0.0.1", 0))
            front.listen()
            text = recipe().replace("bind :5222", f"bind fd@{front.fileno()}")
            for address, (port, site) in (("10.0.0.1", ports_of_one), ("10.0.0.2", ports_of_other)):
                self.assertIn(f"{address}:5222", text)
                text = text.replace(f"{address}:5222", f"127.0.0.1:{port} port {site} inter 200ms")
            configuration = one.directory / "haproxy.cfg"
            configuration.write_text(text)
            haproxy = LoggedProcess(
                "haproxy", [in_path("haproxy") or "", "-db", "-f", str(configuration)], pass_fds=(front.fileno(),)
            )
            self.addCleanup(haproxy.stop)
            entrance = front.getsockname()[1]
        alice, place = await self.account("alice"), self.room()
        clients = []
        for _ in range(4):  # to both, in turn
            client = await raw.connect(entrance, self.server.domain)
            self._clients.append(client)
            await client.login(alice)
            await client.online()
            await self.join(client, place)
            clients.append(client)
        await self.say(clients[0], place, "to all")
        for client in clients[1:]:
            await client.expect("<message><body>to all</body></message>")
        holder = {"node-0": one, "node-1": other}[self.holder(alice) or ""]
        left = other if holder is one else one
        await deferToThread(holder.stop)
        await left.process.says(rf"is in {place}, as alice")
        again = await raw.connect(entrance, self.server.domain)
        self._clients.append(again)
        await again.login(alice)
        await again.online()
        await self.join(again, place)
