"""Real clients prove themselves to their server through the proxy, and use a room as they would without it."""

from typing import Any

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.libraries import Aioxmpp, Slixmpp, aioxmpp, unusable
from tests.integration.nbxmpp_device import Nbxmpp
from tests.integration.profanity import Profanity

NS_MUC = "http://jabber.org/protocol/muc"


@on_both_servers
class RelayedClientsTests(IntegrationTestCase):
    """None of them has said its password: their accounts are not enrolled, which a login by PLAIN would have done."""

    timeout = 120

    async def use_a_room(self, device: Any) -> None:
        """Log in, join, and say something that bob hears who is there without the proxy."""
        proxy = self.own_proxy(domain={"logins": ["SCRAM", "PLAIN"]})
        place = self.room()
        bob = await self.client(await self.account("bob"), "desk", direct=True)
        bob.send(f"<presence to='{place}/bob'><x xmlns='{NS_MUC}'/></presence>")
        await bob.expect("<message type='groupchat'><subject/></message>")
        await device.login(proxy.port)
        self.addCleanup(device.logout)
        await proxy.process.says("joins rooms by itself: the account is not enrolled")
        if isinstance(device, Profanity):
            await device.join(place)
            device.type("hello")
            hears, answer = "hello", r" bob: hello yourself\b"
        else:
            await device.join(place, "alice")
            device.say(place, "hello")
            hears, answer = "hello", "hello yourself"
        await bob.expect(f"<message type='groupchat'><body>{hears}</body></message>")
        bob.send(f"<message to='{place}' type='groupchat'><body>hello yourself</body></message>")
        await (device.shows(answer) if isinstance(device, Profanity) else device.hears(answer))

    async def test_slixmpp(self) -> None:
        if reason := unusable(True):
            self.skipTest(reason)
        await self.use_a_room(Slixmpp(await self.account(), "phone"))

    async def test_aioxmpp(self) -> None:
        if reason := unusable(aioxmpp):
            self.skipTest(reason)
        await self.use_a_room(Aioxmpp(await self.account(), "phone"))

    async def test_nbxmpp(self) -> None:
        self.need(Nbxmpp.missing())
        await self.use_a_room(Nbxmpp(await self.account(), "phone"))

    async def test_profanity(self) -> None:
        self.need(Profanity.missing())
        await self.use_a_room(Profanity(await self.account(), "phone"))
