"""Clients that come by WebSocket (RFC 7395), in rooms and with stream management, as those of TCP."""

from typing import Any

from tests.integration import websocket
from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client
from tests.integration.proxy import Proxy
from tests.integration.servers import Account
from tests.integration.websocket import WebSocketClient

SELF = "<presence><x xmlns='http://jabber.org/protocol/muc#user'><status code='110'/></x></presence>"
AS_IT_IS = "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>"


class WebSocketTestCase(IntegrationTestCase):
    async def browser(
        self, account: Account, resource: str = "tab", *, proxy: Proxy | None = None, **connection: Any
    ) -> WebSocketClient:
        """A client that has logged in by WebSocket, online."""
        label = f"{account.username}/{resource}"
        port = (proxy or self.proxy).websocket_port
        client = await websocket.connect(port, self.server.domain, label=label, **connection)
        self._clients.append(client)
        await client.login(account, resource)
        await client.online()
        return client

    async def join(self, client: Client, room: str, nick: str) -> None:
        client.send(f"<presence to='{room}/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        await client.expect(SELF)


@on_both_servers
class WebSocketTests(WebSocketTestCase):
    async def test_in_a_room_with_others(self) -> None:
        alice, bob = await self.account("alice"), await self.account("bob")
        room = self.room()
        tab = await self.browser(alice)
        phone = await self.client(alice, "phone")
        other = await self.client(bob, "desk", direct=True)
        await self.join(tab, room, "alice")
        await self.succeeds(tab, room, AS_IT_IS)
        await self.join(phone, room, "alice")
        await self.join(other, room, "bob")
        tab.send(f"<message to='{room}' type='groupchat'><body>from the tab</body></message>")
        for client in (tab, phone, other):
            await client.expect("<message type='groupchat'><body>from the tab</body></message>")
        other.send(f"<message to='{room}' type='groupchat'><body>grüße &amp; 🎉</body></message>")
        for client in (tab, phone, other):
            await client.expect("<message type='groupchat'><body>grüße &amp; 🎉</body></message>")
        await tab.close()
        self.assertEqual(tab.closed_with, 1000)
        self.assertTrue(tab.stream_closed)
