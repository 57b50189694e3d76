"""Processes of a cluster, as nodes of one machine: one PostgreSQL database, UNIX sockets between them."""

import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from tests.integration.cases import IntegrationTestCase
from tests.integration.client import Client
from tests.integration.managed import Device
from tests.integration.proxy import Proxy, toml
from tests.integration.servers import Account, Server
from tests.storage import postgresql
from tests.storage.cases import require_postgresql

NS_MUC = "http://jabber.org/protocol/muc"


class Node(Proxy):
    """One process; not started."""

    def __init__(self, server: Server, url: str, name: str, secret: Path, **options: Any) -> None:
        self._url = url
        super().__init__(server, start=False, **options)
        cluster = {"name": name, "endpoint": f"unix:{self.directory}/internal.sock", "secret": str(secret)}
        with self.configuration.open("a") as file:
            file.write("\n" + toml("cluster", cluster))

    @property
    def _state(self) -> str:
        directory = self.directory / "state"
        return f"state = {json.dumps(self._url)}\nstate_directory = {json.dumps(str(directory))}\n"


class ClusterCase(IntegrationTestCase):
    """Tests with several nodes."""

    timeout = 240

    def setUp(self) -> None:
        super().setUp()
        require_postgresql()
        self.url = postgresql.cluster().database()
        self._secret = Path(self.mktemp()).absolute()
        self._secret.touch(0o600)
        self._secret.write_text(secrets.token_hex(32))
        self._made: list[Node] = []

    def node(self, *, database: int | None = None, **options: Any) -> Node:
        """Another node, not started. `database`: a port on loopback by which it reaches that."""
        url = self.url
        if database is not None:
            url = f"postgresql://tests@127.0.0.1:{database}/{self.name}"
        node = Node(self.server, url, f"node-{len(self._made)}", self._secret, **options)
        self._made.append(node)
        return node

    async def nodes(self, number: int = 2, **options: Any) -> Sequence[Node]:
        """So many, started."""
        made = [self.node(**options) for _ in range(number)]
        for node in made:
            await self.start(node)
        return made

    async def start(self, node: Node) -> None:
        self.addCleanup(self._stop, node)
        await deferToThread(node.start)

    @property
    def name(self) -> str:
        """Of the database."""
        return self.url.partition("@/")[2].partition("?")[0]

    def query(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Ask the database from aside."""
        with postgresql.cluster().connect(self.name) as connection:
            return connection.execute(statement, parameters).fetchall()

    def holder(self, account: Account) -> str | None:
        """The name of the node that has an account."""
        rows = self.query(
            "SELECT holders.name FROM leases JOIN holders ON holders.number = leases.holder WHERE bare = %s",
            account.jid,
        )
        return rows[0][0] if rows else None

    async def join(self, client: Client | Device, place: str, nick: str = "alice") -> None:
        client.send(f"<presence to='{place}/{nick}'><x xmlns='{NS_MUC}'/></presence>")
        await client.expect("<message type='groupchat'><subject/></message>")

    async def in_a_room(self, node: Node) -> tuple[Account, Client, str]:
        """An account with a phone in a room of its own, by that node."""
        alice, place = await self.account("alice"), self.room()
        phone = await self.client(alice, "phone", proxy=node)
        await self.join(phone, place)
        return alice, phone, place

    async def witness(self, place: str) -> Client:
        """Somebody else in a room, who needs no proxy."""
        bob = await self.client(await self.account("bob"), "desk", direct=True)
        await self.join(bob, place, "bob")
        return bob

    async def say(self, client: Client, place: str, body: str) -> None:
        client.send(f"<message to='{place}' type='groupchat'><body>{body}</body></message>")
        await client.expect(f"<message><body>{body}</body></message>")
