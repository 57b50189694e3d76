"""Rooms that are shut down under the account (XEP-0045 17.3): by the server's end, or by that of its room service."""

from typing import Any

from tests.integration.cases import IntegrationTestCase
from tests.integration.client import Client
from tests.integration.ejabberd import Ejabberd
from tests.integration.prosody import Prosody
from tests.integration.servers import fresh
from tests.integration.xmlcut import Received

NS_MUC = "http://jabber.org/protocol/muc"


class ShutdownCase(IntegrationTestCase):
    async def begin(self) -> list[Client]:
        """Alice's phone and laptop in a room of a server that may be shut down."""
        self.server = fresh(self.kind)
        self.addCleanup(lambda: self.server.process.stop())
        self.behind = self.own_proxy()
        self.alice, self.place = await self.account("alice"), self.room()
        return [await self.joined("phone"), await self.joined("laptop")]

    async def joined(self, resource: str) -> Client:
        client = await self.client(self.alice, resource, proxy=self.behind)
        client.ignore = lambda stanza: stanza.element.name == "presence" and not self._of_the_room(stanza)
        await self.join(client)
        return client

    def _of_the_room(self, stanza: Received) -> bool:
        return (stanza.get("from") or "").startswith(self.place + "/")

    async def join(self, client: Client) -> None:
        client.send(f"<presence to='{self.place}/alice'><x xmlns='{NS_MUC}'/></presence>")
        await client.expect(f"<presence from='{self.place}/alice'/>")
        await client.expect(f"<message from='{self.place}' type='groupchat'><subject/></message>")
        await client.barrier(self.place)
        client.nothing()

    def out(self, code: str) -> str:
        return (
            f"<presence from='{self.place}/alice' type='unavailable'><x xmlns='{NS_MUC}#user'><item role='none'/>"
            f"<status code='110'/><status code='{code}'/></x></presence>"
        )


class ProsodyShutdownTests(ShutdownCase):
    kind: Any = Prosody

    async def test_server_ends_and_comes_back(self) -> None:
        devices = await self.begin()
        self.server.process.process.terminate()
        for device in devices:
            # Prosody ends streams before rooms, this one and that of the account in any order
            await device.expect_close("system-shutdown")
        await self.server.process.ends()
        self.server.process = self.server.start()
        await self.joined("phone")


class EjabberdShutdownTests(ShutdownCase):
    kind: Any = Ejabberd

    async def test_room_service_ends_and_comes_back(self) -> None:
        devices = await self.begin()
        assert isinstance(self.server, Ejabberd)
        await self.server.call("restart_module", host=self.server.domain, module="mod_muc")
        for device in devices:
            await device.expect_next(self.out("332"))
        for device in devices:
            await self.join(device)


del ShutdownCase  # else trial would run it by itself
