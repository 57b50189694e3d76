"""Archives of rooms (XEP-0313) as clients see them: the account's own where the room keeps none, else the room's."""

from typing import Any

import slixmpp

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client
from tests.integration.libraries import unusable, waiting
from tests.integration.test_rooms_clients import NS_MUC, SlixmppRooms

MAM = "urn:xmpp:mam:2"
DISCO = "http://jabber.org/protocol/disco#info"
OWN_FEATURE = f"{MAM}#extended"
# How a room's owner turns its archive off, and on.
SWITCH = {"prosody": "muc#roomconfig_enablearchiving", "ejabberd": "mam"}


async def features(client: Client, room: str) -> list[str]:
    """What a room says that it can, as a client of either sees it."""
    reply = await client.iq("get", room, f"<query xmlns='{DISCO}'/>")
    return [str(element["var"]) for element in reply.element.query.elements(DISCO, "feature")]


@on_both_servers
class ArchiveTests(IntegrationTestCase):
    async def begin(self, archive: bool) -> None:
        """Bob owns a room, with or without an archive; alice is in it, by her phone."""
        self.place = self.room()
        self.bob = await self.client(await self.account("bob"), "desk", direct=True)
        self.bob.send(f"<presence to='{self.place}/bob'><x xmlns='{NS_MUC}'/></presence>")
        await self.bob.expect("<message type='groupchat'><subject/></message>")
        await self.switch(archive)
        self.alice = await self.account("alice")
        self.phone = await self.client(self.alice, "phone")
        await self.enter(self.phone)

    async def switch(self, archive: bool) -> None:
        reply = await self.bob.iq(
            "set",
            self.place,
            f"<query xmlns='{NS_MUC}#owner'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>"
            f"<value>{NS_MUC}#roomconfig</value></field><field var='{SWITCH[self.server.name]}'>"
            f"<value>{int(archive)}</value></field></x></query>",
        )
        self.assertEqual(reply.get("type"), "result", reply)

    async def enter(self, client: Client) -> None:
        client.send(f"<presence to='{self.place}/alice'><x xmlns='{NS_MUC}'/></presence>")
        await client.expect("<message type='groupchat'><subject/></message>")

    async def bob_says(self, *texts: str, inner: str = "") -> None:
        for text in texts:
            self.bob.send(
                f"<message to='{self.place}' type='groupchat' id='{text}'><body>{text}</body>{inner}</message>"
            )
        await self.phone.expect(f"<message type='groupchat'><body>{texts[-1]}</body></message>")

    async def slixmpp(self, resource: str) -> Any:
        reason = unusable(slixmpp)
        if reason:
            self.skipTest(reason)
        device = SlixmppRooms(self.alice, resource)
        await self.says_password(self.alice)
        await device.login(self.proxy.port)
        self.addCleanup(device.logout)
        return device

    async def archived(self, device: Any, **settings: Any) -> list[str]:
        """The texts that slixmpp finds in the archive, page by page."""

        async def run() -> list[str]:
            found = device.xmpp["xep_0313"].iterate(slixmpp.JID(self.place), **settings)
            return [str(result["mam_result"]["forwarded"]["stanza"]["body"]) async for result in found]

        return await waiting(run())

    async def test_without_an_archive(self) -> None:
        await self.begin(archive=False)
        texts = [f"text{number}" for number in range(25)]
        await self.bob_says(*texts)
        self.assertNotIn(MAM, await features(self.bob, self.place))
        laptop = await self.client(self.alice, "laptop")
        for client in (self.phone, laptop):
            found = await features(client, self.place)
            self.assertEqual((found.count(MAM), found.count(OWN_FEATURE)), (1, 1))
        device = await self.slixmpp("tablet")
        self.assertEqual(await self.archived(device), texts)
        self.assertEqual(await self.archived(device, reverse=True), texts[::-1])
        await device.join(self.place, "alice")
        self.assertEqual(await self.archived(device, rsm={"max": 7}), texts)
        nobody = slixmpp.JID(f"{self.place}/nobody")
        self.assertEqual(await self.archived(device, with_jid=nobody), [])
        metadata = await waiting(device.xmpp["xep_0313"].get_archive_metadata(slixmpp.JID(self.place)))
        span = metadata["mam_metadata"]
        self.assertLessEqual(span["start"]["timestamp"], span["end"]["timestamp"])
        fields = await waiting(device.xmpp["xep_0313"].get_fields(slixmpp.JID(self.place)))
        self.assertIn("before-id", fields.get_fields())

    async def test_corrected_and_retracted(self) -> None:
        await self.begin(archive=False)
        await self.bob_says("wrong")
        await self.bob_says("right", inner="<replace xmlns='urn:xmpp:message-correct:0' id='wrong'/>")
        await self.bob_says("secret")
        await self.bob_says("gone", inner="<retract xmlns='urn:xmpp:message-retract:1' id='secret'/>")
        laptop = await self.client(self.alice, "laptop")
        await self.enter(laptop)
        await laptop.barrier(self.place)
        self.assertIn("right", laptop.transcript())
        self.assertNotIn("wrong</body>", laptop.transcript())
        self.assertNotIn("secret</body>", laptop.transcript())
        device = await self.slixmpp("tablet")
        self.assertEqual(await self.archived(device), ["right", "right", "", "gone"])

    async def test_with_an_archive(self) -> None:
        await self.begin(archive=True)
        texts = [f"text{number}" for number in range(15)]
        await self.bob_says(*texts)
        laptop = await self.client(self.alice, "laptop")
        expected = await features(self.bob, self.place)
        self.assertEqual(expected.count(MAM), 1)
        for client in (self.phone, laptop):
            self.assertEqual(await features(client, self.place), expected)
        device = await self.slixmpp("tablet")
        await device.join(self.place, "alice")
        self.assertEqual(await self.archived(device), texts)

    async def test_switched_on_and_off(self) -> None:
        await self.begin(archive=False)
        await self.bob_says("one")
        self.assertEqual((await features(self.phone, self.place)).count(MAM), 1)
        await self.switch(True)
        await self.phone.expect(f"<message><x xmlns='{NS_MUC}#user'><status/></x></message>")
        await self.phone.barrier(self.place)
        device = await self.slixmpp("tablet")
        await device.join(self.place, "alice")
        await self.bob_says("two")
        self.assertEqual(await self.archived(device), ["two"])
        await self.switch(False)
        await self.phone.expect(f"<message><x xmlns='{NS_MUC}#user'><status/></x></message>")
        await self.phone.barrier(self.place)
        self.assertEqual(await self.archived(device), ["one", "two"])
