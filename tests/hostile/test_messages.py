"""What occupants say to hurt those who hear of it later: empty corrections, made-up times, changes of others' words."""

from __future__ import annotations

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client
from tests.integration.comingback import ReturnCase
from tests.integration.servers import Account
from tests.integration.xmlcut import Received

NS_MUC = "http://jabber.org/protocol/muc"
NS_CORRECT = "urn:xmpp:message-correct:0"
NS_RETRACT = "urn:xmpp:message-retract:1"
NS_OCCUPANT = "urn:xmpp:occupant-id:0"
NS_DELAY = "urn:xmpp:delay"
DAY = 86400
# How a room's owner turns its archive off.
SWITCH = {"prosody": "muc#roomconfig_enablearchiving", "ejabberd": "mam"}


class MessagesCase(IntegrationTestCase):
    """Alice's phone is in a room through the proxy; bob and eve are directly at the server."""

    async def begin(self) -> None:
        self.place = self.room()
        self.account_of_bob = await self.account("bob")
        self.bob = await self.enter(self.account_of_bob, "bob", direct=True)
        self.alice = await self.account("alice")
        self.phone = await self.enter(self.alice, "alice", "phone")
        await self.sees(self.bob, "alice")

    async def enter(
        self, account: Account, nick: str, resource: str = "desk", *, direct: bool = False, wish: str = ""
    ) -> Client:
        client = await self.client(account, resource, direct=direct)
        client.send(f"<presence to='{self.place}/{nick}'><x xmlns='{NS_MUC}'>{wish}</x></presence>")
        await client.expect("<message type='groupchat'><subject/></message>")
        return client

    async def sees(self, client: Client, nick: str) -> None:
        await client.expect(f"<presence from='{self.place}/{nick}'/>")

    async def says(self, client: Client, nick: str, stanza_id: str, inner: str) -> Received:
        """Say something; returns it as alice's phone hears it."""
        client.send(f"<message to='{self.place}' type='groupchat' id='{stanza_id}'>{inner}</message>")
        return await self.phone.expect(f"<message from='{self.place}/{nick}' id='{stanza_id}'/>")

    async def told(self, resource: str, wish: str = "<history maxstanzas='100'/>") -> list[Received]:
        """What a device of alice that comes now is told of the past."""
        client = await self.client(self.alice, resource)
        client.send(f"<presence to='{self.place}/alice'><x xmlns='{NS_MUC}'>{wish}</x></presence>")
        await client.expect("<message type='groupchat'><subject/></message>")
        await client.barrier()
        return [
            stanza
            for stanza in client.received
            if stanza.element.name == "message" and (stanza.get("from") or "").startswith(f"{self.place}/")
        ]


@on_both_servers
class EmptyCorrectionTests(MessagesCase):
    async def test_is_nothing(self) -> None:
        await self.begin()
        await self.says(self.bob, "bob", "m", "<body>said</body>")
        replacing = f"<replace xmlns='{NS_CORRECT}' id='m'/>"
        for number, more in enumerate(("", "<store xmlns='urn:xmpp:hints'/>", "<body/>")):
            self.bob.send(f"<message to='{self.place}' type='groupchat' id='e{number}'>{replacing}{more}</message>")
        await self.says(self.bob, "bob", "n", "<body>after</body>")
        for resource in ("tablet", "laptop"):
            self.assertEqual([stanza.text for stanza in await self.told(resource)], ["said", "after"])
        await self.phone.barrier(self.place)


@on_both_servers
class LargeRetractionTests(MessagesCase):
    async def test_leaves_others_words_alone(self) -> None:
        """Of a message with a hundred corrections, by a stanza with an id of 200 KB; where the room gives no ids."""
        await self.begin()
        form = f"<field var='FORM_TYPE'><value>{NS_MUC}#roomconfig</value></field>"
        form += f"<field var='{SWITCH[self.server.name]}'><value>0</value></field>"
        form = f"<query xmlns='{NS_MUC}#owner'><x xmlns='jabber:x:data' type='submit'>{form}</x></query>"
        self.assertEqual((await self.bob.iq("set", self.place, form)).get("type"), "result")
        eve = await self.enter(await self.account("eve"), "eve", direct=True)
        await self.says(self.bob, "bob", "b", "<body>others</body>")
        await self.says(eve, "eve", "m", "<body>mine</body>")
        for number in range(100):
            replacing = f"<replace xmlns='{NS_CORRECT}' id='m'/>"
            await self.says(eve, "eve", f"c{number}", f"<body>mine {number}</body>{replacing}")
        await self.says(eve, "eve", "x" * 200_000, f"<body>-</body><retract xmlns='{NS_RETRACT}' id='m'/>")
        await self.says(self.bob, "bob", "n", "<body>after</body>")
        told = await self.told("tablet", "<history maxstanzas='3'/>")
        self.assertEqual([stanza.text for stanza in told], ["others", "after"])
        await self.phone.barrier(self.place)


@on_both_servers
class SendersTests(MessagesCase):
    """Prosody gives occupant-ids, ejabberd 23.01 does not."""

    async def changed_by(self, client: Client, nick: str, inner: str = "") -> list[str]:
        """What becomes of bob's message when another corrects and retracts it."""
        await self.says(client, nick, "c", f"<body>changed</body><replace xmlns='{NS_CORRECT}' id='m'/>{inner}")
        await self.says(client, nick, "r", f"<body>gone</body><retract xmlns='{NS_RETRACT}' id='m'/>{inner}")
        return [stanza.text for stanza in await self.told("tablet")]

    async def test_its_own(self) -> None:
        await self.begin()
        await self.says(self.bob, "bob", "m", "<body>said</body>")
        await self.says(self.bob, "bob", "c", f"<body>changed</body><replace xmlns='{NS_CORRECT}' id='m'/>")
        self.assertEqual([stanza.text for stanza in await self.told("tablet")], ["changed"])
        await self.says(self.bob, "bob", "r", f"<body>gone</body><retract xmlns='{NS_RETRACT}' id='m'/>")
        self.assertEqual([stanza.text for stanza in await self.told("laptop")], [])

    async def test_who_takes_over_a_nick(self) -> None:
        await self.begin()
        await self.says(self.bob, "bob", "m", "<body>said</body>")
        self.bob.send(f"<presence to='{self.place}/bob' type='unavailable'/>")
        await self.phone.expect(f"<presence from='{self.place}/bob' type='unavailable'/>")
        eve = await self.enter(await self.account("eve"), "bob", direct=True)
        self.assertEqual((await self.changed_by(eve, "bob"))[0], "said")

    async def test_who_takes_over_a_nick_that_was_changed(self) -> None:
        await self.begin()
        await self.says(self.bob, "bob", "m", "<body>said</body>")
        eve = await self.enter(await self.account("eve"), "eve", direct=True)
        self.bob.send(f"<presence to='{self.place}/bobby'/>")
        await self.phone.expect(f"<presence from='{self.place}/bob' type='unavailable'/>")
        eve.send(f"<presence to='{self.place}/bob'/>")
        await self.sees(self.phone, "bob")
        self.assertEqual((await self.changed_by(eve, "bob"))[0], "said")

    async def test_who_takes_over_a_nick_unseen(self) -> None:
        """The owner has the room show only moderators: nobody sees who leaves."""
        for before in (True, False):
            self.place = self.room()
            owner = await self.enter(await self.account("owner"), "owner", direct=True)
            if before:
                await self.hide(owner)
            self.alice = await self.account("alice")
            self.phone = await self.enter(self.alice, "alice", "phone")
            self.bob = await self.enter(await self.account("bob"), "bob", direct=True)
            if not before:
                await self.hide(owner)
            await self.says(self.bob, "bob", "m", "<body>said</body>")
            self.bob.send(f"<presence to='{self.place}/bob' type='unavailable'/>")
            await self.bob.expect(f"<presence from='{self.place}/bob' type='unavailable'/>")
            eve = await self.enter(await self.account("eve"), "bob", direct=True)
            self.assertEqual((await self.changed_by(eve, "bob"))[0], "said")

    async def hide(self, owner: Client) -> None:
        form = "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>"
        form += (
            f"{NS_MUC}#roomconfig</value></field><field var='muc#roomconfig_presencebroadcast'><value>moderator</value>"
        )
        reply = await owner.iq("set", self.place, f"<query xmlns='{NS_MUC}#owner'>{form}</field></x></query>")
        self.assertEqual(reply.get("type"), "result")

    async def test_a_forged_occupant_id_in_the_same_nick(self) -> None:
        await self.begin()
        forged = f"<occupant-id xmlns='{NS_OCCUPANT}' id='made-up'/>"
        await self.says(self.bob, "bob", "m", f"<body>said</body>{forged}")
        self.bob.send(f"<presence to='{self.place}/bob' type='unavailable'/>")
        await self.phone.expect(f"<presence from='{self.place}/bob' type='unavailable'/>")
        eve = await self.enter(await self.account("eve"), "bob", direct=True)
        self.assertEqual((await self.changed_by(eve, "bob", forged))[0], "said")

    async def test_a_forged_occupant_id(self) -> None:
        await self.begin()
        forged = f"<occupant-id xmlns='{NS_OCCUPANT}' id='made-up'/>"
        heard = await self.says(self.bob, "bob", "m", f"<body>said</body>{forged}")
        eve = await self.enter(await self.account("eve"), "eve", direct=True)
        ids = [child["id"] for child in heard.element.elements(NS_OCCUPANT, "occupant-id")]
        copies = "".join(f"<occupant-id xmlns='{NS_OCCUPANT}' id='{one}'/>" for one in {*ids, "made-up"})
        self.assertEqual((await self.changed_by(eve, "eve", copies))[0], "said")


@on_both_servers
class ForgedTimesTests(ReturnCase):
    async def test_account_comes_back_and_misses_nothing(self) -> None:
        await self.begin()
        place = self.room()
        await self.bob.open(place)
        (phone,) = await self.come("phone", rooms=[place])
        link = self.relay.links[-1]
        for number, stamp in enumerate(
            ("9999-12-31T23:59:59-12:00", "2030-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "1970-01-01T00:00:00Z")
        ):
            for who in ("", f" from='{place}'"):
                more = f"<delay xmlns='{NS_DELAY}'{who} stamp='{stamp}'/>"
                await self.bob.say(place, f"forged {number}{who and ' by the room'}", more=more)
                self.bob.sent[place].append(self.bob[place].bodies[-1])
        await phone.hears(place, self.bob.accepted(place))
        await self.relay.refuse()
        self.relay.cut(link)
        await self.away(place)
        await self.bob.say(place, "missed")
        self.bob.sent[place].append("missed")
        self.relay.start()
        await self.back(place)
        await self.check(phone, rooms=[place])
        tablet = self.device("tablet")
        await tablet.come_back(place, wish="<history maxstanzas='50'/>")
        await self.check(tablet, rooms=[place])
        told = [
            [one["stamp"] for one in stanza.element.elements(NS_DELAY, "delay") if one.getAttribute("from") == place]
            for stanza in tablet.client.received
            if "<body" in str(stanza)
        ]
        self.assertEqual([len(stamps) for stamps in told], [1] * 9)
        self.assertEqual([stamp for (stamp,) in told if stamp[:4] in ("2030", "9999", "0001", "1970")], [])


del MessagesCase
