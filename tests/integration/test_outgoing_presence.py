"""What others in a room see of the account: its caps stand for what it answers, its changes come at a measured pace."""

import base64
import hashlib

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client
from tests.integration.xmlcut import Received

NS_MUC = "http://jabber.org/protocol/muc"
NS_CAPS = "http://jabber.org/protocol/caps"
NS_INFO = "http://jabber.org/protocol/disco#info"
CHANGES = 30


def verification(answer: Received) -> str:
    """The `ver` that an answer to disco#info stands for (XEP-0115 §5.1); without forms."""
    (query,) = answer.element.elements()
    identities = sorted(
        f"{identity['category']}/{identity['type']}//{identity['name']}<"
        for identity in query.elements(NS_INFO, "identity")
    )
    features = sorted(f"{feature['var']}<" for feature in query.elements(NS_INFO, "feature"))
    text = "".join(identities + features)
    return base64.b64encode(hashlib.sha1(text.encode()).digest()).decode()


@on_both_servers
class OutgoingPresenceTests(IntegrationTestCase):
    async def begin(self) -> None:
        self.place = self.room()
        self.bob = await self.client(await self.account("bob"), "desk", direct=True)
        await self.enter(self.bob, "bob")
        self.phone = await self.client(await self.account("alice"), "phone")
        await self.enter(self.phone, "alice")
        await self.bob.expect(f"<presence from='{self.place}/alice'/>")

    async def enter(self, client: Client, nick: str) -> None:
        client.send(f"<presence to='{self.place}/{nick}'><x xmlns='{NS_MUC}'/></presence>")
        await client.expect("<message type='groupchat'><subject/></message>")
        client.inbox.clear()

    async def check_caps(self, presence: Received) -> None:
        """What the caps of a presence stand for is what is answered to who asks, with and without naming them."""
        (caps,) = presence.element.elements(NS_CAPS, "c")
        for node in (f"{caps['node']}#{caps['ver']}", ""):
            attribute = f" node='{node}'" if node else ""
            answer = await self.bob.iq("get", f"{self.place}/alice", f"<query xmlns='{NS_INFO}'{attribute}/>")
            self.assertEqual(answer.get("type"), "result", answer)
            self.assertEqual(verification(answer), caps["ver"])

    async def test_caps(self) -> None:
        """The same with a device there and without."""
        await self.begin()
        theirs = (
            f"<c xmlns='{NS_CAPS}' hash='sha-1' node='https://example.org/phone' ver='8RovUdtOmiAjzj+xI7SK5BCw3A8='/>"
        )
        self.phone.send(f"<presence><show>dnd</show>{theirs}</presence>")
        await self.check_caps(await self.bob.expect(f"<presence from='{self.place}/alice'><show>dnd</show></presence>"))
        self.phone.drop()
        await self.check_caps(
            await self.bob.expect(f"<presence from='{self.place}/alice'><show>away</show></presence>")
        )

    async def test_pace(self) -> None:
        """Of many changes in a moment the room sees a few, and the last one for certain."""
        await self.begin()
        self.phone.send(
            "".join(f"<presence><show>away</show><status>{number}</status></presence>" for number in range(CHANGES))
        )
        await self.bob.expect(f"<presence from='{self.place}/alice'><status>{CHANGES - 1}</status></presence>")
        await self.bob.barrier(self.place)
        seen = [stanza for stanza in self.bob.received if stanza.get("from") == f"{self.place}/alice"]
        self.assertLess(len(seen), CHANGES / 2)
