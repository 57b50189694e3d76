"""Clients that come by WebSocket (RFC 7395): in rooms, across reloads, by each login, behind a reverse proxy."""

from __future__ import annotations

from typing import Any

from tests.integration import websocket
from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.logins.device import Device as LoginDevice
from tests.integration.logins.rules import ALL_PLUS, CONVERSATIONS, CONVERSE, NEW_LISTS_HASH, Rules
from tests.integration.managed import Device
from tests.integration.managedcase import bodies, enter, hear, say
from tests.integration.prosody import Prosody
from tests.integration.servers import Account
from tests.integration.websocket import Tab, WebSocketClient

AS_IT_IS = "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>"
SOURCE = "127.0.0.2"  # from where the reverse proxy connects
BOUND = (("1.3", "tls-exporter"), ("1.2", "tls-server-end-point"))


class WebSocketTestCase(IntegrationTestCase):
    timeout = 120

    def setUp(self) -> None:
        super().setUp()
        self.tabs: list[Device] = []

    async def browser(self, account: Account, resource: str, port: int, **connection: Any) -> WebSocketClient:
        """A client that has logged in by WebSocket, online."""
        client = await websocket.connect(port, self.server.domain, label=f"{account.username}/{resource}", **connection)
        self._clients.append(client)
        await client.login(account, resource)
        await client.online()
        return client

    async def tab(self, account: Account) -> Tab:
        """One that has stream management."""
        tab = Tab(account, self.proxy.websocket_port, "tab")
        self.tabs.append(tab)
        await tab.come()
        return tab

    async def _close_clients(self) -> None:
        for tab in self.tabs:
            tab.drop_all()
            for line in tab.lines:
                await line.until_lost()
        await super()._close_clients()


@on_both_servers
class WebSocketTests(WebSocketTestCase):
    async def test_in_a_room_with_others(self) -> None:
        alice, bob = await self.account("alice"), await self.account("bob")
        room = self.room()
        tab = await self.browser(alice, "tab", self.proxy.websocket_port)
        await enter(tab, room, "alice")
        await self.succeeds(tab, room, AS_IT_IS)
        phone = await self.client(alice, "phone")
        other = await self.client(bob, "desk", direct=True)
        await enter(phone, room, "alice")
        await enter(other, room, "bob")
        for sender, body in ((tab, "from the tab"), (other, "grüße &amp; 🎉"), (phone, "x" * 70_000)):
            sender.send(f"<message to='{room}' type='groupchat'><body>{body}</body></message>")
            for client in (tab, phone, other):
                await hear(client, body)
        await tab.close()
        self.assertEqual(tab.closed_with, 1000)
        self.assertTrue(tab.stream_closed)

    async def test_page_is_reloaded_again_and_again(self) -> None:
        """In the middle of a talk: nothing is lost, nothing comes twice, and the room sees nobody leave."""
        alice, room = await self.account("alice"), self.room()
        tab = await self.tab(alice)
        await enter(tab, room, "alice")
        await self.succeeds(tab, room, AS_IT_IS)
        bob = await self.client(await self.account("bob"), "desk", direct=True)
        await enter(bob, room, "bob")
        said = []
        for number in range(4):
            said += [f"before {number}", f"meanwhile {number}", f"tab {number}"]
            say(bob, room, f"before {number}", "groupchat")
            tab.reload()
            say(bob, room, f"meanwhile {number}", "groupchat")
            await hear(bob, f"meanwhile {number}")
            await tab.line.until_lost()
            self.assertTrue(await tab.resume())
            say(tab, room, f"tab {number}", "groupchat")
            await hear(bob, f"tab {number}")
        await tab.barrier(room)
        await bob.barrier(room)
        self.assertEqual(bodies(tab, "groupchat"), said)
        self.assertEqual(bodies(bob, "groupchat"), said)
        left = [one for one in bob.received if one.element.name == "presence" and one.get("type") == "unavailable"]
        self.assertEqual((left, tab.resumptions), ([], 4))

    async def test_session_goes_on_over_tcp(self) -> None:
        """Resuming asks for the account and the id, not for the same kind of connection."""
        tab = await self.tab(await self.account())
        phone = Device(tab.account, self.proxy.port, "tab")
        phone.resumable, phone.jid = tab.resumable, tab.jid
        phone.handled, phone.acknowledged, phone._counting = tab.handled, tab.acknowledged, True
        phone.out = tab.out
        self.tabs.append(phone)
        self.assertTrue(await phone.resume())
        await tab.line.expect_close("conflict")
        assert isinstance(tab.line, WebSocketClient | websocket.WebSocketLine)
        self.assertEqual(tab.line.closed_with, 1000)
        await phone.barrier()

    async def test_every_way_to_log_in(self) -> None:
        """SCRAM, bound to TLS or not; SASL2 with Bind2, a token, and resumption, all in the first message."""
        account = await self.account()
        await self.says_password(account)
        hash_name = "SCRAM-SHA-1" if self.kind is Prosody else "SCRAM-SHA-256"
        for tls, type_ in BOUND:
            rules = Rules("binds", ALL_PLUS, {tls: (type_,)}, lists_hash=NEW_LISTS_HASH, needs_binding=True)
            device = LoginDevice(rules, account)
            await self.logged_in(device, tls)
            self.assertEqual(device.way.mechanism, f"{hash_name}-PLUS")
        device = LoginDevice(CONVERSE, account)
        await self.logged_in(device)
        self.assertEqual(device.way.mechanism, hash_name)
        device = LoginDevice(CONVERSATIONS, account)
        self._clients.append(await device.login(self.proxy.websocket_port, websocket=True))
        self.assertIsNotNone(device.token)
        jid = device.client.jid
        device.cut()
        await self.proxy.process.says(f"session of {jid} sleeps")
        await self.logged_in(device)
        self.assertTrue(device.resumed)
        self.assertTrue(device.way.mechanism.startswith("HT-"), device.way)
        self.assertEqual(device.client.jid, jid)

    async def logged_in(self, device: LoginDevice, tls: str = "1.3") -> None:
        client = await device.login(self.proxy.websocket_port, tls, websocket=True)
        self._clients.append(client)
        await client.barrier()

    async def test_wrong_password(self) -> None:
        account = await self.account()
        client = await websocket.connect(self.proxy.websocket_port, self.server.domain)
        self._clients.append(client)
        await client.open()
        reply = await client.authenticate(account.username, "wrong")
        self.assertEqual(reply.element.name, "failure")
        reply = await client.authenticate(account.username, account.password)
        self.assertEqual(reply.element.name, "success")
        await client.open()
        await client.bind()
