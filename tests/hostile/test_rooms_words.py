"""What only a room may say of itself is not believed of its occupants."""

from tests.hostile.test_addresses import AddressCase
from tests.integration.cases import on_both_servers
from tests.integration.client import Client
from tests.integration.xmlcut import Received

NS_MUC = "http://jabber.org/protocol/muc"
NS_USER = f"{NS_MUC}#user"

# What mallory, who may not change the subject, sends instead of a plain `<subject/>`.
SUBJECTS = (
    "<subject>forged</subject>",
    "<subject xml:lang='de'>forged</subject>",
    "<subject>forged</subject><subject xml:lang='de'>forged</subject>",
    "<subject/>",
    "<subject/><subject>forged</subject>",
    "<subject>forged</subject><body/>",
    "<subject>forged</subject><body></body>",
    "<subject>forged</subject><body xml:lang='de'/>",
    "<subject>forged</subject><body xmlns='urn:x-other'>b</body>",
    "<subject>forged</subject><body xmlns='jabber:server'>b</body>",
    "<subject>forged</subject><body xmlns='jabber:component:accept'>b</body>",
    "<subject>forged</subject><thread/>",
    "<subject>forged</subject><thread>t</thread>",
    "<subject>forged</subject><thread xmlns='urn:x-other'>t</thread>",
    "<subject>forged</subject><thread xmlns='jabber:server'>t</thread>",
    "<subject xmlns='jabber:server'>forged</subject>",
    "<subject xmlns='jabber:component:accept'>forged</subject>",
    "<subject xmlns=''>forged</subject>",
    "<subject xmlns='urn:x-other'>forged</subject>",
    "<c:subject xmlns:c='jabber:client'>forged</c:subject>",
    "<c:subject xmlns:c='jabber:client'>forged</c:subject><body xmlns='urn:x-other'/>",
    "<subject>forged<body>b</body></subject>",
    "<x xmlns='urn:x-other'><subject xmlns='jabber:client'>forged</subject></x>",
)


def subject(stanza: Received) -> str | None:
    """What a client that knows XEP-0045 takes for the new subject."""
    element = stanza.element
    if element.name != "message" or stanza.get("type") != "groupchat":
        return None
    children = [(child.uri, child.name) for child in element.elements()]
    if ("jabber:client", "body") in children or ("jabber:client", "thread") in children:
        return None
    return next((str(child) for child in element.elements("jabber:client", "subject")), None)


@on_both_servers
class StatusCodeTests(AddressCase):
    async def test_codes_of_occupants(self) -> None:
        """A room that shows addresses still does, for whoever joins later, whatever mallory says of it."""
        await self.scene()
        room = await self.eves_room(self.eve, "anyone")
        await self.join(self.phone, room, "a")
        await self.join(self.mallory, room, "m")
        for code in ("104", "170", "171", "173", "174"):
            status = f"<x xmlns='{NS_USER}'><status code='{code}'/></x>"
            self.mallory.send(f"<message to='{room}' type='groupchat'>{status}</message>")
            self.mallory.send(f"<message to='{room}' type='groupchat'><body>b</body>{status}</message>")
            self.mallory.send(f"<message to='{room}/a' type='chat'><body>b</body>{status}</message>")
            self.mallory.send(f"<presence to='{room}/m'>{status}</presence>")
        await self.mallory.barrier(room)
        await self.phone.barrier(room)
        tablet = await self.client(self.alice, "tablet")
        tablet.send(f"<presence to='{room}/a'><x xmlns='{NS_MUC}'/></presence>")
        own = await tablet.expect(f"<presence from='{room}/a'><x xmlns='{NS_USER}'><status code='110'/></x></presence>")
        codes = {status["code"] for x in own.element.elements(NS_USER, "x") for status in x.elements(NS_USER, "status")}
        self.assertEqual(codes, {"100", "110"}, str(own))

    async def test_the_account_is_not_taken_for_mallory(self) -> None:
        """A presence of mallory's that says it is ours, or that the room is gone, is mallory's."""
        await self.scene()
        for inner in (
            "<status code='110'/>",
            "<item nick='other'/><status code='303'/><status code='110'/>",
            "<status code='307'/><status code='110'/>",
            "<destroy/><status code='110'/>",
            "<destroy jid='other@{host}'/>",
        ):
            forged = f"<x xmlns='{NS_USER}'>{inner.replace('{host}', self.server.domain)}</x>"
            self.mallory.send(f"<presence to='{self.secret}/m'>{forged}</presence>")
            self.mallory.send(f"<presence to='{self.secret}/m'>{forged}{forged}</presence>")
            self.mallory.send(f"<presence to='{self.secret}/a'>{forged}</presence>")
        destroy = f"<x xmlns='{NS_USER}'><destroy/></x>"
        self.mallory.send(f"<presence to='{self.secret}/m' type='unavailable'>{destroy}</presence>")
        self.accomplice.send(f"<presence to='{self.secret}/m' type='unavailable'>{destroy}</presence>")
        await self.phone.expect(f"<presence from='{self.secret}/m' type='unavailable'/>", 20)
        self.phone.send(f"<message to='{self.secret}' type='groupchat' id='still'><body>still here</body></message>")
        await self.phone.expect(f"<message from='{self.secret}/a' id='still' type='groupchat'/>")
        own = [stanza for stanza in self.phone.inbox if stanza.get("from") == f"{self.secret}/a"]
        self.assertEqual([str(stanza) for stanza in own if stanza.get("type") == "unavailable"], [])

    async def test_errors_and_ends_of_occupants(self) -> None:
        """Bounces of an occupant, wherever it sends them, and an end of the room that it makes up, are its affair."""
        await self.scene()
        room = self.secret
        error = "<error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        ends = f"<x xmlns='{NS_USER}'><destroy/><status code='110'/><status code='301'/></x>"
        for number, to in enumerate((f"{room}/a", room, self.stream, f"{room}/bob3")):
            bob = await self.client(await self.account("bob"), "x", direct=True)
            await self.join(bob, room, f"bob{number}")
            bob.send(f"<presence to='{room}/bob{number}'>{ends}</presence>")
            for stanza_id in ("", " id='j'"):
                bob.send(f"<presence type='error' to='{to}'{stanza_id}>{error}</presence>")
                bob.send(f"<presence type='unavailable' to='{to}'{stanza_id}>{ends}</presence>")
        await self.eve.barrier(room)
        await self.phone.barrier(room)
        self.phone.send(f"<message to='{room}' type='groupchat' id='still'><body>still here</body></message>")
        await self.phone.expect(f"<message from='{room}/a' id='still' type='groupchat'/>")
        own = [one for one in self.phone.received if one.get("from") == f"{room}/a" and one.element.name == "presence"]
        self.assertEqual([str(one) for one in own if one.get("type") is not None], [])
        tablet = await self.client(self.alice, "tablet")
        await self.join(tablet, room, "a")


@on_both_servers
class SubjectTests(AddressCase):
    async def _sees(self, client: Client, room: str, nick: str) -> str | None:
        """The subject that a client is shown that joins now."""
        client.send(f"<presence to='{room}/{nick}'><x xmlns='{NS_MUC}'><history maxstanzas='0'/></x></presence>")
        found = await client.expect(lambda stanza: subject(stanza) is not None)
        return subject(found)

    async def test_without_permission(self) -> None:
        """Whatever mallory sends, the subject stays what it was, for who is there and for who comes."""
        await self.scene()
        room = self.secret
        self.eve.send(f"<message to='{room}' type='groupchat'><subject>true</subject></message>")
        await self.phone.expect(f"<message from='{room}/eve' type='groupchat'><subject>true</subject></message>")
        start = len(self.phone.received)
        for number, forgery in enumerate(SUBJECTS):
            self.mallory.send(f"<message to='{room}' type='groupchat' id='s{number}'>{forgery}</message>")
        await self.mallory.barrier(room)
        await self.phone.barrier(room)
        seen = [str(stanza) for stanza in self.phone.received[start:] if subject(stanza) is not None]
        self.assertEqual(seen, [])
        tablet = await self.client(self.alice, "tablet")
        self.assertEqual(await self._sees(tablet, room, "a"), "true")
        bob = await self.client(await self.account("bob"), "x", direct=True)
        self.assertEqual(await self._sees(bob, room, "bob"), "true")
