"""The faults that tests inject happen: to relayed connections, to processes, to rooms."""

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client, connect
from tests.integration.relay import Relay
from tests.integration.servers import breakable

NS_MUC = "http://jabber.org/protocol/muc"


class RelayTests(IntegrationTestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        super().setUp()
        self.relay = Relay(self.server.port)
        self.relay.start()
        self.addCleanup(self.relay.stop)

    async def through(self) -> Client:
        client = await connect(self.relay.port, self.server.domain)
        self._clients.append(client)
        await client.login(await self.account())
        return client

    async def test_passes_and_cuts_one(self) -> None:
        first, second = await self.through(), await self.through()
        self.relay.cut(self.relay.links[0])
        await first.until_lost()
        await second.barrier()
        self.assertEqual(len(self.relay.links), 1)

    async def test_fin(self) -> None:
        client = await self.through()
        self.relay.cut(reset=False)
        await client.until_lost()

    async def test_silence(self) -> None:
        silent, other = await self.through(), await self.through()
        self.relay.silence(self.relay.links[0])
        silent.send("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>")
        await other.barrier()
        await other.barrier()
        silent.nothing()
        self.assertIsNone(silent.lost)

    async def test_refuses(self) -> None:
        client = await self.through()
        await self.relay.refuse()
        await self.assertFailure(self._fails(), ConnectError)
        await client.barrier()
        self.relay.start()
        await self.through()

    def _fails(self) -> "Deferred[Client]":
        return Deferred.fromCoroutine(connect(self.relay.port, self.server.domain))

    async def test_delay(self) -> None:
        client = await self.through()
        self.relay.delay = 0.05
        await client.barrier()


@on_both_servers
class ServerFaultTests(IntegrationTestCase):
    """What a test may do to a server that is there to be broken."""

    async def begin(self) -> Client:
        self.server = breakable(self.kind)
        return await self.client(await self.account("bob"), direct=True)

    async def enter(self, bob: Client, room: str) -> None:
        bob.send(f"<presence to='{room}/bob'><x xmlns='{NS_MUC}'/></presence>")
        await bob.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        form = "<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>"
        form += "<field var='muc#roomconfig_persistentroom'><value>1</value></field>"
        query = f"<query xmlns='{NS_MUC}#owner'><x xmlns='jabber:x:data' type='submit'>{form}</x></query>"
        self.assertEqual((await bob.iq("set", room, query)).get("type"), "result")

    async def is_in(self, bob: Client, room: str) -> bool:
        """Ask as XEP-0410 has it."""
        reply = await bob.iq("get", f"{room}/bob", "<ping xmlns='urn:xmpp:ping'/>")
        return "not-acceptable" not in str(reply)

    async def test_rooms_are_lost_silently(self) -> None:
        bob, room, other = await self.begin(), self.room(), self.room()
        await self.enter(bob, room)
        await self.enter(bob, other)
        await bob.barrier(room, other)
        bob.inbox.clear()
        await self.server.lose_rooms(room)
        await bob.barrier()
        bob.nothing()
        self.assertFalse(await self.is_in(bob, room))
        self.assertTrue(await self.is_in(bob, other))

    async def test_room_service_restarts(self) -> None:
        bob, room = await self.begin(), self.room()
        await self.enter(bob, room)
        await self.server.restart_rooms()
        if self.server.name == "ejabberd":
            await bob.expect(f"<presence from='{room}/bob' type='unavailable'/>")
        else:
            self.assertTrue(await self.is_in(bob, room))

    async def test_kill_and_restart(self) -> None:
        bob, room = await self.begin(), self.room()
        await self.enter(bob, room)
        await self.server.restart(kill=True)
        await bob.until_lost()
        await self.client(await self.account("carol"), direct=True)

    async def test_pause(self) -> None:
        bob = await self.begin()
        self.server.process.pause()
        bob.send("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>")
        self.server.process.resume()
        await bob.barrier()
