"""What a hostile, slow or broken room service says to the account, on both servers."""

from tests.hostile.roomservice import NS_USER, RoomService, room_service
from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client

NS_MUC = "http://jabber.org/protocol/muc"
OWN = f"<presence><x xmlns='{NS_USER}'><status code='110'/></x></presence>"


class ServiceCase(IntegrationTestCase):
    async def scene(self) -> None:
        """A service with a room, and a phone that has not asked to join it."""
        self.service: RoomService = await room_service(self)
        self.own = self.own_proxy(rooms={"leave_grace": 0})
        self.alice = await self.account("alice")
        self.phone = await self.client(self.alice, "phone", proxy=self.own)
        self.room_jid = f"room@{self.service.domain}"

    def ask(self, client: Client, nick: str = "a") -> None:
        client.send(f"<presence to='{self.room_jid}/{nick}' id='mine'><x xmlns='{NS_MUC}'/></presence>")

    async def let_in(self) -> None:
        """The phone is in, beside bob."""
        self.ask(self.phone)
        join = await self.service.presence()
        self.stream = str(join.get("from"))
        self.service.shows(f"{self.room_jid}/bob", self.stream)
        self.service.shows(f"{self.room_jid}/a", self.stream, "110", f"id='{join.get('id')}'")
        self.service.subject(self.room_jid, self.stream)
        await self.phone.expect(f"<presence from='{self.room_jid}/a'/>")
        await self.phone.expect("<message type='groupchat'><subject/></message>")
        await self.phone.expect(f"<presence from='{self.room_jid}/bob'/>")

    async def says(self, text: str) -> None:
        """The room says something, and the phone hears it: all before has arrived."""
        start = f"<message type='groupchat' from='{self.room_jid}/bob' to='{self.stream}'"
        self.service.send(f"{start} id='{text}'><body>{text}</body></message>")
        await self.phone.expect(f"<message type='groupchat' id='{text}'/>")


@on_both_servers
class LateAnswerTests(ServiceCase):
    async def test_answers_to_a_join_that_was_given_up(self) -> None:
        """The room was silent for the whole of one stay, and then answers everything in its order."""
        await self.scene()
        self.ask(self.phone)
        first = await self.service.presence()
        self.stream = str(first.get("from"))
        self.phone.send(f"<presence to='{self.room_jid}/a' type='unavailable'/>")
        await self.service.presence("unavailable")
        self.ask(self.phone, "b")
        second = await self.service.presence(timeout=30.0)
        self.assertNotIn(second.get("id"), (first.get("id"), None, "mine"))
        self.phone.inbox.clear()
        self.service.refuses(first)
        self.service.shows(f"{self.room_jid}/old", self.stream)
        self.service.shows(f"{self.room_jid}/a", self.stream, "110", f"id='{first.get('id')}'")
        self.service.subject(self.room_jid, self.stream, "old")
        self.service.shows(f"{self.room_jid}/a", self.stream, "110", "type='unavailable'")
        self.service.refuses(second, occupant=f"{self.room_jid}/b", stanza_id="guessed")
        self.service.shows(f"{self.room_jid}/bob", self.stream)
        self.service.shows(f"{self.room_jid}/b", self.stream, "110", f"id='{second.get('id')}'")
        self.service.subject(self.room_jid, self.stream, "new")
        await self.phone.expect_next(f"<presence from='{self.room_jid}/bob'/>")
        own = await self.phone.expect_next(f"<presence from='{self.room_jid}/b' id='mine'/>")
        self.assertNotIn("code='210'", str(own).replace('"', "'"))
        await self.phone.expect_next("<message type='groupchat'><subject>new</subject></message>")
        await self.says("still")
        self.phone.nothing()

    async def test_a_refusal_is_told_with_the_clients_own_id(self) -> None:
        await self.scene()
        self.ask(self.phone)
        self.service.refuses(await self.service.presence())
        await self.phone.expect(f"<presence type='error' id='mine' from='{self.room_jid}/a'/>")


@on_both_servers
class WhoSaysThisTests(ServiceCase):
    async def test_what_others_presences_say(self) -> None:
        await self.scene()
        await self.let_in()
        for codes in ("307", "301 332", "303"):
            self.service.shows(f"{self.room_jid}/eve", self.stream, codes, "type='unavailable'", "nick='a'")
        self.service.send(
            f"<presence type='unavailable' from='{self.room_jid}/eve' to='{self.stream}'>"
            f"<x xmlns='{NS_USER}'><destroy/></x></presence>"
        )
        self.service.send(f"<presence type='error' from='{self.room_jid}/bob' to='{self.stream}' id='x'/>")
        await self.says("in")
        tablet = await self.client(self.alice, "tablet", proxy=self.own, online=False)
        self.ask(tablet)
        await tablet.expect_next(f"<presence from='{self.room_jid}/bob'/>")
        await tablet.expect_next(f"<presence from='{self.room_jid}/a' id='mine'/>")

    async def test_the_nick_of_somebody_else(self) -> None:
        """The account becomes bob: then nobody else is, for whoever joins later."""
        await self.scene()
        await self.let_in()
        self.service.shows(f"{self.room_jid}/a", self.stream, "303 110", "type='unavailable'", "nick='bob'")
        self.service.shows(f"{self.room_jid}/bob", self.stream, "110")
        await self.says("in")
        tablet = await self.client(self.alice, "tablet", proxy=self.own, online=False)
        self.ask(tablet, "bob")
        await tablet.expect_next(f"<presence from='{self.room_jid}/bob' id='mine'/>")
        await tablet.expect_next("<message type='groupchat' id='in'/>")

    async def test_two_nicks(self) -> None:
        """Shown as another one without a word, and then thrown out as a third: the phone can follow."""
        await self.scene()
        await self.let_in()
        self.service.shows(f"{self.room_jid}/other", self.stream, "110")
        change = await self.phone.expect_next(f"<presence type='unavailable' from='{self.room_jid}/a'/>")
        self.assertIn("303", str(change))
        await self.phone.expect_next(f"<presence from='{self.room_jid}/other'/>")
        self.service.shows(f"{self.room_jid}/third", self.stream, "110 307", "type='unavailable'")
        removal = await self.phone.expect_next(f"<presence type='unavailable' from='{self.room_jid}/other'/>")
        self.assertIn("307", str(removal))
