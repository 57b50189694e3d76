"""What Gajim showed: its library, nbxmpp, is strict, and takes itself for joined until it is plainly told otherwise."""

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client
from tests.integration.nbxmpp_device import Nbxmpp

NS_BOOKMARKS = "urn:xmpp:bookmarks:1"
NS_COMMANDS = "http://jabber.org/protocol/commands"
NS_MUC = "http://jabber.org/protocol/muc"
NS_PUBSUB = "http://jabber.org/protocol/pubsub"
OWN_COMMANDS = ["rooms", "leave", "detach", "enroll", "tokens", "forget"]
SELF, KICKED, NICK_CHANGED = "110", "307", "303"


@on_both_servers
class NbxmppTests(IntegrationTestCase):
    def setUp(self) -> None:
        self.need(Nbxmpp.missing())
        super().setUp()

    async def device(self) -> Nbxmpp:
        device = Nbxmpp(self.alice, "gajim")
        await self.says_password(self.alice)
        await device.login(self.proxy.port)
        self.addCleanup(device.logout)
        self.addCleanup(lambda: self.assertEqual(device.seen("complaint"), []))
        return device

    async def begin(self, *, bookmarked: bool = False) -> None:
        """Bob owns a room and has said something; Alice has Gajim and a phone, and both are in the room."""
        self.alice, self.place = await self.account("alice"), self.room()
        self.bob = await self.client(await self.account("bob"), "desk", direct=True)
        await self.enter(self.bob, "bob")
        self.says(self.bob, "before")
        self.gajim = await self.device()
        if bookmarked:
            self.gajim.do("bookmark", room=self.place, nick="alice", autojoin=True)
            await self.bob.expect(f"<presence from='{self.place}/alice'/>")
        await self.gajim.join(self.place, "alice")
        self.phone = await self.client(self.alice, "phone")
        await self.phone.iq("set", None, "<enable xmlns='urn:xmpp:carbons:2'/>")
        await self.enter(self.phone, "alice")

    async def enter(self, client: Client, nick: str) -> None:
        client.send(f"<presence to='{self.place}/{nick}'><x xmlns='{NS_MUC}'/></presence>")
        await client.expect(f"<message from='{self.place}' type='groupchat'><subject/></message>")

    async def leave(self, client: Client, nick: str) -> None:
        client.send(f"<presence to='{self.place}/{nick}' type='unavailable'/>")
        await client.expect(f"<presence from='{self.place}/{nick}' type='unavailable'/>")

    def says(self, client: Client, text: str) -> None:
        client.send(f"<message to='{self.place}' type='groupchat'><body>{text}</body></message>")

    async def both_ways(self, nick: str = "alice") -> None:
        """Gajim is in the room for itself, and for the others."""
        self.assertTrue(await self.gajim.takes_itself_for_joined(self.place))
        self.says(self.bob, "are you there?")
        await self.gajim.hears("are you there?")
        self.gajim.say(self.place, "here")
        await self.gajim.hears("here")
        await self.bob.expect(f"<message from='{self.place}/{nick}'><body>here</body></message>")

    async def test_commands(self) -> None:
        """Gajim lists none if one item repeats its namespace; neither the account's nor the server's own."""
        self.alice = await self.account("alice")
        gajim = await self.device()
        for address in (self.server.domain, self.alice.jid):
            gajim.do("commands", of=address)
            answer = await gajim.sees("commands")
            self.assertIn("result", answer)
            self.assertEqual([command["node"] for command in answer["result"]][-len(OWN_COMMANDS) :], OWN_COMMANDS)
        gajim.do("commands", of=self.server.domain)
        servers = [command for command in (await gajim.sees("commands"))["result"] if "@" not in command["jid"]]
        self.assertTrue(servers, "one of the server's own")

    async def test_conversation(self) -> None:
        await self.begin()
        room = self.place
        self.assertEqual(
            [(one["nick"], one["mine"]) for one in self.gajim.seen("presence", room=room)],
            [("bob", False), ("alice", True)],
        )
        self.says(self.phone, "from the phone")
        self.gajim.say(room, "from Gajim")
        for text, nick in (("before", "bob"), ("from the phone", "alice"), ("from Gajim", "alice")):
            await self.gajim.hears(text, sender=f"{room}/{nick}")
            await self.phone.expect(f"<message from='{room}/{nick}'><body>{text}</body></message>")
            await self.bob.expect(f"<message from='{room}/{nick}'><body>{text}</body></message>")
        await self.in_private()
        await self.gajim.barrier(room)
        self.assertEqual(self.gajim.seen("message", kind="groupchat", subject=None), [])
        self.assertEqual(self.gajim.seen("message", kind="chat"), [])
        await self.gajim.leave(room)
        self.says(self.phone, "still here")
        await self.bob.expect(f"<message from='{room}/alice'><body>still here</body></message>")

    async def in_private(self) -> None:
        mark = f"<x xmlns='{NS_MUC}#user'/>"
        occupant = f"{self.place}/bob"
        self.gajim.do("say", to=occupant, body="psst", kind="chat")
        await self.bob.expect(f"<message from='{self.place}/alice' type='chat'><body>psst</body></message>")
        sent = f"<message xmlns='jabber:client' to='{occupant}'><body>psst</body></message>"
        forwarded = f"<forwarded xmlns='urn:xmpp:forward:0'>{sent}</forwarded>"
        await self.phone.expect(f"<message><sent xmlns='urn:xmpp:carbons:2'>{forwarded}</sent></message>")
        self.phone.send(f"<message to='{occupant}' type='chat'><body>hush</body>{mark}</message>")
        await self.gajim.hears("hush", copy="sent", private=True, receiver=occupant)
        self.bob.send(f"<message to='{self.place}/alice' type='chat'><body>what?</body>{mark}</message>")
        await self.gajim.hears("what?", copy=None, private=True, sender=occupant)

    async def test_nick(self) -> None:
        """What is shown with a new nick is shown once, whatever makes the account show itself later."""
        await self.begin()
        self.gajim.do("change_nick", room=self.place, nick="ally", show="chat")
        changed = await self.gajim.sees("presence", room=self.place, new_nick="ally")
        self.assertEqual((changed["nick"], changed["codes"]), ("alice", [SELF, NICK_CHANGED]))
        await self.gajim.sees("presence", room=self.place, nick="ally", show="chat")
        await self.both_ways("ally")
        await self.leave(self.phone, "ally")
        await self.both_ways("ally")
        self.assertEqual(self.gajim.seen("presence", room=self.place, nick="ally", show="chat"), [])

    async def test_removed_by_the_other_device(self) -> None:
        """Its user told the account to leave. What looks like the answer to a leave is none to Gajim, which did not."""
        await self.begin()
        mine = await self.gajim.sees("presence", room=self.place, mine=True)
        begun = await self.succeeds(self.phone, self.alice.jid, f"<command xmlns='{NS_COMMANDS}' node='leave'/>")
        field = f"<field var='rooms'><value>{self.place}</value></field>"
        await self.succeeds(
            self.phone,
            self.alice.jid,
            f"<command xmlns='{NS_COMMANDS}' node='leave' action='complete' sessionid='{begun['sessionid']}'>"
            f"<x xmlns='jabber:x:data' type='submit'>{field}</x></command>",
        )
        gone = await self.gajim.sees("presence", room=self.place, mine=True, available=False)
        self.assertEqual((gone["nick"], gone["kicked"], gone["codes"]), ("alice", True, [SELF, KICKED]))
        self.assertIn("one of its devices", gone["reason"])
        self.assertEqual(gone["occupant_id"], mine["occupant_id"])
        self.assertFalse(await self.gajim.takes_itself_for_joined(self.place))
        await self.gajim.join(self.place, "alice")
        await self.both_ways()

    async def test_kicked(self) -> None:
        await self.begin()
        item = "<item nick='alice' role='none'><reason>enough</reason></item>"
        await self.succeeds(self.bob, self.place, f"<query xmlns='{NS_MUC}#admin'>{item}</query>")
        gone = await self.gajim.sees("presence", room=self.place, mine=True, available=False)
        self.assertEqual((gone["kicked"], gone["reason"]), (True, "enough"))

    async def test_stays_when_the_bookmark_goes(self) -> None:
        """The other device retracts it, and leaves: Gajim has asked for neither."""
        await self.begin(bookmarked=True)
        self.gajim.do("bookmarks")
        (bookmark,) = (await self.gajim.sees("bookmarks"))["result"]
        self.assertEqual((bookmark["jid"], bookmark["nick"], bookmark["autojoin"]), (self.place, "alice", True))
        retract = f"<retract node='{NS_BOOKMARKS}' notify='true'><item id='{self.place}'/></retract>"
        await self.succeeds(self.phone, None, f"<pubsub xmlns='{NS_PUBSUB}'>{retract}</pubsub>")
        await self.proxy.process.says(f"the bookmark that kept it in {self.place} is gone")
        await self.leave(self.phone, "alice")
        await self.both_ways()
        await self.gajim.leave(self.place)
        await self.bob.expect(f"<presence from='{self.place}/alice' type='unavailable'/>")
