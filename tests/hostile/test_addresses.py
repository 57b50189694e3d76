"""What the proxy says of addresses is no oracle: who is in a semi-anonymous room is for its moderators to know.

alice (behind the proxy) and mallory (too, and a plain participant) are in rooms of eve's. mallory knows the address of
alice's account stream from a room that shows addresses.
"""

import base64

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client

NS_MUC = "http://jabber.org/protocol/muc"
NS_USER = f"{NS_MUC}#user"
NS_ADMIN = f"{NS_MUC}#admin"
SELF = f"<x xmlns='{NS_USER}'><status code='110'/></x>"

# What mallory puts into stanzas; {jid} is the address that she wonders about.
FORGERIES = (
    "<x xmlns='{user}'><item affiliation='member' jid='{jid}' role='participant'/></x>",
    "<x xmlns='{user}'><item><actor jid='{jid}'/></item></x><x xmlns='{user}'><item jid='{jid}'/></x>",
    "<x xmlns='{user}'><invite from='{jid}'/></x>",
    "<probe xmlns='urn:x-probe' jid='{jid}'/>",
    "<probe xmlns='urn:x-probe'><x xmlns='{user}'><item jid='{jid}'/></x></probe>",
    "<item xmlns='{user}' jid='{jid}'/>",
    "<query xmlns='{admin}'><item jid='{jid}'/></query>",
    '<q:x xmlns:q="{user}"><q:item jid="{jid}"/></q:x>',
    "<status>jid='{jid}' jid=\"{jid}\" &lt;item jid='{jid}'/></status>",
)


class AddressCase(IntegrationTestCase):
    async def join(self, client: Client, room: str, nick: str) -> None:
        client.send(f"<presence to='{room}/{nick}'><x xmlns='{NS_MUC}'><history maxstanzas='0'/></x></presence>")
        await client.expect(f"<presence from='{room}/{nick}'>{SELF}</presence>")
        await client.expect(f"<message from='{room}' type='groupchat'><subject/></message>")

    async def eves_room(self, eve: Client, whois: str = "moderators", name: str = "room") -> str:
        """A room in which everybody else is a plain participant, who may invite."""
        room = self.room(name)
        await self.join(eve, room, "eve")
        fields = {"FORM_TYPE": f"{NS_MUC}#roomconfig"}
        fields |= {"muc#roomconfig_whois": whois, "muc#roomconfig_allowinvites": "1"}
        fields |= {"muc#roomconfig_changesubject": "0"}
        form = "".join(f"<field var='{var}'><value>{value}</value></field>" for var, value in fields.items())
        config = f"<query xmlns='{NS_MUC}#owner'><x xmlns='jabber:x:data' type='submit'>{form}</x></query>"
        reply = await eve.iq("set", room, config)
        self.assertEqual(reply.get("type"), "result", str(reply))
        return room

    async def scene(self) -> None:
        self.eve = await self.client(await self.account("eve"), "x", direct=True)
        self.alice = await self.account("alice")
        self.phone = await self.client(self.alice, "phone")
        mallory = await self.account("mallory")
        self.mallory = await self.client(mallory, "one")
        self.accomplice = await self.client(mallory, "two")
        self.secret = await self.eves_room(self.eve)
        for client, nick in ((self.phone, "a"), (self.mallory, "m"), (self.accomplice, "m")):
            await self.join(client, self.secret, nick)
        presence = await self.eve.expect(f"<presence from='{self.secret}/a'/>")
        (item,) = next(presence.element.elements(NS_USER, "x")).elements(NS_USER, "item")
        self.stream = item["jid"]
        self.assertTrue(self.stream.startswith(f"{self.alice.jid}/minimix."), self.stream)
        presence = await self.eve.expect(f"<presence from='{self.secret}/m'/>")
        (item,) = next(presence.element.elements(NS_USER, "x")).elements(NS_USER, "item")
        self.mallorys_stream = item["jid"]
        # what mallory knows of her own account stream tells nothing of others
        self.assertNotEqual(self.mallorys_stream.partition("/")[2], self.stream.partition("/")[2])

    def forged(self, jid: str) -> list[str]:
        return [forgery.format(user=NS_USER, admin=NS_ADMIN, jid=jid) for forgery in FORGERIES]

    async def settle(self) -> None:
        for client in (self.mallory, self.accomplice, self.phone):
            await client.barrier(self.secret)

    def tells(self, client: Client, start: int, text: str) -> list[str]:
        return [str(stanza) for stanza in client.received[start:] if text in str(stanza)]


def _sent_id(shown: str) -> str:
    """The id of an IQ as it was sent, from the one that a room shows; ejabberd's says nothing of it."""
    if shown.startswith("rr-"):
        return shown.rpartition("-")[0].rpartition("-")[2]  # a hash
    return base64.b64decode(shown).split(b"\0")[1].decode()


@on_both_servers
class OracleTests(AddressCase):
    async def test_a_participant_learns_nothing(self) -> None:
        """Neither in presences nor in messages and IQs of mallory's own making."""
        await self.scene()
        starts = {client: len(client.received) for client in (self.mallory, self.accomplice)}
        for forgery in self.forged(self.stream):
            self.mallory.send(f"<presence to='{self.secret}/m'><show>dnd</show>{forgery}</presence>")
            self.mallory.send(f"<presence to='{self.secret}/m'>{forgery}</presence>")
            self.mallory.send(f"<message to='{self.secret}' type='groupchat'><body>b</body>{forgery}</message>")
            for nick in ("m", "eve"):
                self.mallory.send(f"<message to='{self.secret}/{nick}' type='chat'><body>b</body>{forgery}</message>")
        await self.settle()
        await self.eve.barrier(self.secret)
        for number, forgery in enumerate(self.forged(self.stream)):
            self.eve.send(f"<message to='{self.secret}/m' id='{number}' type='chat'><body>b</body>{forgery}</message>")
            self.eve.send(f"<presence to='{self.secret}/eve'>{forgery}</presence>")
        await self.eve.barrier(self.secret)
        await self.settle()
        for client, start in starts.items():
            self.assertEqual(self.tells(client, start, self.phone.jid), [])
            self.assertGreater(len(self.tells(client, start, self.stream)), 5, client.transcript())

    async def test_an_occupants_answer_is_not_the_rooms(self) -> None:
        """eve answers mallory's question for a list of members herself."""
        await self.scene()
        start = len(self.mallory.received)
        query = f"<query xmlns='{NS_ADMIN}'><item affiliation='member'/></query>"
        self.mallory.send(f"<iq type='get' to='{self.secret}/eve' id='list'>{query}</iq>")
        asked = await self.eve.expect(f"<iq type='get'>{query}</iq>")
        answer = f"<query xmlns='{NS_ADMIN}'><item jid='{self.stream}'/><item jid='{self.mallorys_stream}'/></query>"
        self.eve.send(f"<iq type='result' to='{asked.get('from')}' id='{asked.get('id')}'>{answer}</iq>")
        await self.mallory.expect(f"<iq type='result' id='list'>{answer}</iq>")
        self.assertEqual(self.tells(self.mallory, start, self.phone.jid), [])

    async def test_ids_do_not_tell_who_asks(self) -> None:
        """What alice's client asks eve in two rooms, of which one shows addresses, looks like two people's questions.

        eve makes a client ask, by features that it does not know yet. Prosody shows her the id that was sent.
        """
        await self.scene()
        public = await self.eves_room(self.eve, "anyone")
        await self.join(self.phone, public, "a")
        ids = []
        for room in (self.secret, public):
            self.phone.send(f"<iq type='get' to='{room}/eve' id='ask'><query xmlns='jabber:iq:version'/></iq>")
            asked = await self.eve.expect(f"<iq type='get' from='{room}/a'><query xmlns='jabber:iq:version'/></iq>")
            ids.append(_sent_id(str(asked.get("id"))))
        self.assertNotEqual(ids[0][:6], ids[1][:6])

    async def test_own_address_is_left_where_others_wrote_it(self) -> None:
        await self.scene()
        start = len(self.phone.received)
        for forgery in self.forged(self.stream):
            self.eve.send(f"<presence to='{self.secret}/eve'>{forgery}</presence>")
        await self.eve.barrier(self.secret)
        await self.settle()
        shown = [str(stanza).replace(f"to='{self.phone.jid}'", "") for stanza in self.phone.received[start:]]
        self.assertEqual([stanza for stanza in shown if self.phone.jid in stanza], [])
        self.assertGreater(len(self.tells(self.phone, start, self.stream)), 2, self.phone.transcript())


@on_both_servers
class ShownTests(AddressCase):
    """Where a room does show addresses, those of its accounts read as their clients."""

    async def test_a_room_that_shows_addresses(self) -> None:
        await self.scene()
        room = await self.eves_room(self.eve, "anyone")
        await self.join(self.mallory, room, "m")
        await self.join(self.phone, room, "a")
        shown = f"<x xmlns='{NS_USER}'><item jid='{self.phone.jid}'/></x>"
        await self.mallory.expect(f"<presence from='{room}/a'>{shown}</presence>")
        stream = f"<x xmlns='{NS_USER}'><item jid='{self.stream}'/></x>"
        await self.eve.expect(f"<presence from='{room}/a'>{stream}</presence>")
        self.phone.send(f"<presence to='{room}/a'><show>away</show></presence>")
        await self.phone.expect(f"<presence from='{room}/a'><show>away</show>{shown}</presence>")

    async def test_an_invitation(self) -> None:
        """alice's phone invites mallory: that is whom mallory sees. Nobody else can make the room say so."""
        await self.scene()
        room = await self.eves_room(self.eve, "anyone")
        await self.join(self.phone, room, "a")
        invite = f"<x xmlns='{NS_USER}'><invite to='{self.mallory.bare}'><reason>come</reason></invite></x>"
        self.phone.send(f"<message to='{room}' id='i'>{invite}</message>")
        for client in (self.mallory, self.accomplice):
            await client.expect(
                f"<message from='{room}'><x xmlns='{NS_USER}'><invite from='{self.phone.jid}'/></x></message>"
            )

    async def test_a_forged_invitation(self) -> None:
        await self.scene()
        start = len(self.accomplice.received)
        to, probe = f"to='{self.mallory.bare}'", f"<probe xmlns='urn:x-probe' jid='{self.stream}'/>"
        for inner in (
            f"<invite {to} from='{self.stream}'>{probe}</invite>",
            f"<invite {to}/><invite {to} from='{self.stream}'/>",
            f"<invite {to}/><item jid='{self.stream}'/>",
        ):
            self.mallory.send(f"<message to='{self.secret}'><x xmlns='{NS_USER}'>{inner}</x></message>")
        for forgery in self.forged(self.stream):
            invite = f"<x xmlns='{NS_USER}'><invite {to}/></x>"
            self.mallory.send(f"<message to='{self.secret}'>{invite}{forgery}</message>")
            self.mallory.send(f"<message to='{self.secret}'>{forgery}{invite}</message>")
            self.eve.send(f"<message to='{self.mallory.bare}'>{forgery}<body>b</body></message>")
        await self.settle()
        await self.eve.barrier(self.secret)
        await self.settle()
        self.assertEqual(self.tells(self.accomplice, start, self.phone.jid), [])
        self.assertGreater(len(self.tells(self.accomplice, start, self.stream)), 3, self.accomplice.transcript())
