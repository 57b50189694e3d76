"""Real client libraries log in and use a room: through the proxy, and directly for comparison."""

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.libraries import LIBRARIES, Aioxmpp, Slixmpp, unusable
from tests.integration.servers import Account


class LibraryCase(IntegrationTestCase):
    library: str
    direct = False

    def setUp(self) -> None:
        make, module = LIBRARIES[self.library]
        self.make = make
        reason = unusable(module)
        if reason:
            self.skipTest(reason)
        super().setUp()

    async def device(self, account: Account, resource: str) -> Slixmpp | Aioxmpp:
        device = self.make(account, resource)
        if not self.direct:
            await self.says_password(account)
        await device.login(self.server.port if self.direct else self.proxy.port)
        self.addCleanup(device.logout)
        return device

    async def test_login(self) -> None:
        account = await self.account("alice")
        device = await self.device(account, "phone")
        self.assertEqual(device.jid, f"{account.jid}/phone")

    async def test_room(self) -> None:
        room = self.room()
        alice, bob = await self.account("alice"), await self.account("bob")
        desk = await self.device(bob, "desk")
        await desk.join(room, "bob")
        phone = await self.device(alice, "phone")
        await phone.join(room, "alice")
        self.assertEqual(phone.occupants(room), ["alice", "bob"])
        phone.say(room, "hello")
        await phone.hears("hello")
        await desk.hears("hello")
        desk.say(room, "hello yourself")
        await phone.hears("hello yourself")


class TwoDevicesCase(LibraryCase):
    async def test_two_devices_are_one_occupant(self) -> None:
        room = self.room()
        alice = await self.account("alice")
        bob = await self.client(await self.account("bob"), "desk", direct=True)
        bob.send(f"<presence to='{room}/bob'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        await bob.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        phone = await self.device(alice, "phone")
        await phone.join(room, "alice")
        laptop = await self.device(alice, "laptop")
        await laptop.join(room, "alice")
        self.assertEqual(laptop.occupants(room), ["alice", "bob"])
        laptop.say(room, "from the laptop")
        await phone.hears("from the laptop")
        await laptop.hears("from the laptop")
        await bob.expect(f"<message from='{room}/alice'><body>from the laptop</body></message>")
        await bob.barrier(room)
        joins = [stanza for stanza in bob.received if stanza.get("from") == f"{room}/alice" and not stanza.get("type")]
        self.assertEqual(len(joins), 1, bob.transcript())


@on_both_servers
class SlixmppTests(TwoDevicesCase):
    library = "slixmpp"


@on_both_servers
class AioxmppTests(TwoDevicesCase):
    library = "aioxmpp"


@on_both_servers
class SlixmppDirectTests(LibraryCase):
    library = "slixmpp"
    direct = True


@on_both_servers
class AioxmppDirectTests(LibraryCase):
    library = "aioxmpp"
    direct = True


del LibraryCase, TwoDevicesCase  # else trial would run them by themselves
