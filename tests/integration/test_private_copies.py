"""What one device says to an occupant in private, as the account's other devices and its archive have it."""

import re

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client
from tests.integration.xmlcut import Received

NS_MUC = "http://jabber.org/protocol/muc"
NS_MAM = "urn:xmpp:mam:2"
ID = "5a2f0c6e-3a3a-4e0c-9a44-0f3f6f0f6a10"
CARBONS = "<enable xmlns='urn:xmpp:carbons:2'/>"


@on_both_servers
class PrivateCopyTests(IntegrationTestCase):
    async def join(self, client: Client, room: str, nick: str) -> None:
        client.send(f"<presence to='{room}/{nick}'><x xmlns='{NS_MUC}'/></presence>")
        await client.expect(f"<presence><x xmlns='{NS_MUC}#user'><status code='110'/></x></presence>")
        await client.expect(f"<message from='{room}' type='groupchat'><subject/></message>")

    async def archived(self, client: Client) -> tuple[str, str]:
        """Address of the sender and archive id of the message, as the account's archive has them."""
        await client.iq("set", None, f"<query xmlns='{NS_MAM}' queryid='q'/>")

        def ours(stanza: Received) -> bool:
            return "urn:xmpp:mam:2" in str(stanza) and ID in str(stanza) and stanza.element.name == "message"

        found = await client.expect(ours)
        (result,) = found.element.elements(NS_MAM, "result")
        (message,) = next(result.elements("urn:xmpp:forward:0", "forwarded")).elements("jabber:client", "message")
        return message["from"], result["id"]

    async def test_the_same_as_in_the_archive(self) -> None:
        """By these Dino knows a message again: else it shows it twice."""
        alice, room = await self.account("alice"), self.room()
        bob = await self.client(await self.account("bob"), "x", direct=True)
        await self.join(bob, room, "bob")
        phone, laptop = await self.client(alice, "phone"), await self.client(alice, "laptop")
        for client in (phone, laptop):
            reply = await client.iq("set", None, CARBONS)
            self.assertEqual(reply.get("type"), "result")
            await self.join(client, room, "a")
        phone.send(f"<message to='{room}/bob' type='chat' id='{ID}'><body>psst</body></message>")
        await bob.expect(f"<message from='{room}/a' id='{ID}'/>")
        sent = f"<message xmlns='jabber:client' id='{ID}' to='{room}/bob'><x xmlns='{NS_MUC}#user'/></message>"
        forwarded = f"<forwarded xmlns='urn:xmpp:forward:0'>{sent}</forwarded>"
        copy = await laptop.expect(
            f"<message from='{alice.jid}'><sent xmlns='urn:xmpp:carbons:2'>{forwarded}</sent></message>"
        )
        sender, archive_id = await self.archived(laptop)
        self.assertEqual(sender.partition("/")[2][:8], "minimix.")
        self.assertIn(f"from='{sender}'", copy.raw.decode())
        self.assertIn(f"id='{archive_id}'", copy.raw.decode(), "the stanza-id by which the archive is known again")
        self.assertEqual(await self.archived(phone), (phone.jid, archive_id), "whose sender knows it by its address")
        for client in (phone, laptop):
            await client.barrier(room)
            self.assertEqual([str(stanza) for stanza in client.inbox if "carbons" in str(stanza)], [])

    async def test_what_was_said_comes_before_what_is_answered(self) -> None:
        """As Gajim and Dino mark it, whether or not the server makes a copy of such messages."""
        alice, room = await self.account("alice"), self.room()
        bob = await self.client(await self.account("bob"), "x", direct=True)
        await self.join(bob, room, "bob")
        phone, laptop = await self.client(alice, "phone"), await self.client(alice, "laptop")
        await laptop.iq("set", None, CARBONS)
        for client in (phone, laptop):
            await self.join(client, room, "a")
        mark = f"<x xmlns='{NS_MUC}#user'/>"
        for number in range(3):
            phone.send(f"<message to='{room}/bob' type='chat' id='q{number}'><body>well?</body>{mark}</message>")
            await bob.expect(f"<message from='{room}/a' id='q{number}'/>")
            bob.send(f"<message to='{room}/a' type='chat' id='a{number}'><body>well.</body>{mark}</message>")
            await phone.expect(f"<message from='{room}/bob' id='a{number}'/>")
        said = [f"{kind}{number}" for number in range(3) for kind in "qa"]

        def heard() -> list[str]:
            found = (re.search(r"id=['\"]([qa]\d)['\"]", str(stanza)) for stanza in laptop.inbox)
            return [match[1] for match in found if match is not None]

        await laptop.until(lambda: len(heard()) >= len(said), "what was said and answered")
        await laptop.barrier(room)
        self.assertEqual(heard(), said)
