"""Bookmarks on real servers: rooms that the account enters and leaves for them, and bookmarks that it writes."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client
from tests.integration.ejabberd import Ejabberd
from tests.integration.prosody import Prosody
from tests.integration.proxy import Proxy

NS_MUC = "http://jabber.org/protocol/muc"
NS_PUBSUB = "http://jabber.org/protocol/pubsub"
NS_BOOKMARKS = "urn:xmpp:bookmarks:1"
NS_DISCO = "http://jabber.org/protocol/disco#info"
EXTENSIONS = "<extensions><state xmlns='https://client.example/state' minimized='true'/></extensions>"


class BookmarksCase(IntegrationTestCase):
    """Alice has bookmarks, Bob is in the room and sees what comes of them."""

    behind: Proxy | None = None

    async def begin(self, *rooms: str) -> None:
        self.alice = await self.account("alice")
        self.place = rooms[0] if rooms else self.room()
        self.bob = await self.client(await self.account("bob"), "desk", direct=True)
        for place in rooms or (self.place,):
            self.bob.send(f"<presence to='{place}/bob'><x xmlns='{NS_MUC}'/></presence>")
            await self.bob.expect(f"<message from='{place}' type='groupchat'><subject/></message>")
            await self.bob.barrier(place)
        self.bob.inbox.clear()

    async def direct(self) -> Client:
        """Another client of alice's, which does not know of the proxy."""
        return await self.client(self.alice, "direct", direct=True)

    async def phone(self, resource: str = "phone") -> Client:
        return await self.client(self.alice, resource, proxy=self.behind)

    # Bookmarks, as a client has them

    async def bookmark(self, client: Client, attributes: str, inner: str = "", place: str = "") -> None:
        xml = f"<conference xmlns='{NS_BOOKMARKS}' {attributes}>{inner}</conference>"
        item = f"<item id='{place or self.place}'>{xml}</item>"
        await self.succeeds(
            client, None, f"<pubsub xmlns='{NS_PUBSUB}'><publish node='{NS_BOOKMARKS}'>{item}</publish></pubsub>"
        )

    async def retract(self, client: Client) -> None:
        inner = f"<retract node='{NS_BOOKMARKS}' notify='true'><item id='{self.place}'/></retract>"
        await self.succeeds(client, None, f"<pubsub xmlns='{NS_PUBSUB}'>{inner}</pubsub>")

    async def store(self, client: Client, conference: str) -> None:
        storage = f"<storage xmlns='storage:bookmarks'>{conference}</storage>"
        await self.succeeds(client, None, f"<query xmlns='jabber:iq:private'>{storage}</query>")

    async def bookmarks(self, client: Client) -> dict[str, Any]:
        """The items of the PEP node: room -> `<conference/>`."""
        answer = await client.iq("get", None, f"<pubsub xmlns='{NS_PUBSUB}'><items node='{NS_BOOKMARKS}'/></pubsub>")
        if answer.get("type") == "error":
            return {}
        (pubsub,) = answer.element.elements(NS_PUBSUB, "pubsub")
        (items,) = pubsub.elements(NS_PUBSUB, "items")
        return {item["id"]: next(item.elements(NS_BOOKMARKS, "conference")) for item in items.elements()}

    # What bob sees

    async def comes(self, nick: str = "", place: str = "") -> None:
        await self.bob.expect(f"<presence from='{place or self.place}/{nick or self.alice.username}'/>")

    async def goes(self, nick: str = "", place: str = "") -> None:
        await self.bob.expect(
            f"<presence type='unavailable' from='{place or self.place}/{nick or self.alice.username}'/>"
        )

    async def joins(self, client: Client, place: str = "", nick: str = "") -> None:
        place = place or self.place
        client.send(f"<presence to='{place}/{nick or self.alice.username}'><x xmlns='{NS_MUC}'/></presence>")
        await client.expect(f"<message from='{place}' type='groupchat'><subject/></message>")

    async def lets_go(self) -> None:
        """No bookmark keeps the account in the room any more."""
        await deferToThread(
            (self.behind or self.proxy).process.wait_for, f"the bookmark that kept it in {self.place} is gone"
        )

    async def leaves(self, client: Client, place: str = "", nick: str = "") -> None:
        occupant = f"{place or self.place}/{nick or self.alice.username}"
        client.send(f"<presence to='{occupant}' type='unavailable'/>")
        await client.expect(f"<presence type='unavailable' from='{occupant}'/>")

    async def wants_news(self, client: Client) -> None:
        """Have the server push changes of bookmarks to a client (XEP-0163 §4)."""
        feature = NS_BOOKMARKS + "+notify"
        name = client.bare  # a server asks once only for what it has never seen
        text = f"client/pc//{name}<{NS_DISCO}<{feature}<"
        ver = base64.b64encode(hashlib.sha1(text.encode()).digest()).decode()
        caps = f"<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:test' ver='{ver}'/>"
        client.send(f"<presence>{caps}</presence>")
        asked = await client.expect(
            lambda stanza: stanza.element.name == "iq" and stanza.get("type") == "get" and NS_DISCO in str(stanza)
        )
        sender = f" to='{asked.get('from')}'" if asked.get("from") else ""
        client.send(
            f"<iq type='result' id='{asked.get('id')}'{sender}><query xmlns='{NS_DISCO}' node='urn:test#{ver}'>"
            f"<identity category='client' type='pc' name='{name}'/><feature var='{NS_DISCO}'/>"
            f"<feature var='{feature}'/></query></iq>"
        )
        await client.barrier()


@on_both_servers
class FollowTests(BookmarksCase):
    async def test_entered_at_login(self) -> None:
        """Before the client asks for anything, and with the bookmark's nick."""
        await self.begin()
        desk = await self.direct()
        await self.bookmark(desk, "autojoin='true'", "<nick>Ally</nick>")
        await desk.close()
        phone = await self.client(self.alice, "phone", online=False)
        await self.comes("Ally")
        await self.joins(phone, nick="Ally")
        await phone.expect(f"<presence from='{self.place}/bob'/>")

    async def test_the_nick_is_that_of_the_account_if_the_bookmark_has_none(self) -> None:
        await self.begin()
        await self.bookmark(await self.direct(), "autojoin='1'")
        await self.phone()
        await self.comes()

    async def test_stays_when_the_last_client_leaves(self) -> None:
        second = self.room()
        await self.begin(self.room(), second)
        await self.bookmark(await self.direct(), "autojoin='true'")
        phone = await self.phone()
        await self.comes()
        await self.joins(phone)
        await self.joins(phone, second)
        await self.comes(place=second)
        await self.leaves(phone)
        await self.leaves(phone, second)
        await self.goes(place=second)  # later than it would from the other
        await self.bob.barrier(self.place)
        self.assertEqual([str(s) for s in self.bob.inbox if s.get("type") == "unavailable"], [])

    async def test_a_password(self) -> None:
        await self.begin()
        form = (
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>%s#roomconfig</value></field>%s</x>"
        )
        fields = "".join(
            f"<field var='muc#roomconfig_{name}'><value>{value}</value></field>"
            for name, value in (("passwordprotectedroom", 1), ("roomsecret", "sesame"))
        )
        owner = f"<query xmlns='{NS_MUC}#owner'>{form % (NS_MUC, fields)}</query>"
        answer = await self.bob.iq("set", self.place, owner)
        self.assertEqual(answer.get("type"), "result", str(answer))
        await self.bookmark(await self.direct(), "autojoin='true'", "<password>sesame</password>")
        await self.phone()
        await self.comes()

    async def test_written_and_retracted_by_a_client_of_the_proxy(self) -> None:
        await self.begin()
        phone = await self.phone()
        await self.bookmark(phone, "autojoin='true'")
        await self.comes()
        await self.joins(phone)
        await self.retract(phone)
        await self.lets_go()
        await self.leaves(phone)
        await self.goes()

    async def test_autojoin_switched_off_elsewhere(self) -> None:
        """The server tells a client of the proxy; nobody is thrown out, and the account leaves with the last."""
        await self.begin()
        desk = await self.direct()
        await self.bookmark(desk, "autojoin='true'", EXTENSIONS)
        phone = await self.phone()
        await self.comes()
        await self.wants_news(phone)
        tablet = await self.phone("tablet")
        for client in (phone, tablet):
            await self.joins(client)
        await self.bookmark(desk, "autojoin='false'", EXTENSIONS)
        await self.lets_go()
        for client in (phone, tablet):
            await client.barrier(self.place)
            self.assertEqual([one for one in client.inbox if one.get("type") == "unavailable"], [], client.transcript())
        await self.leaves(phone)
        await self.bob.barrier(self.place)
        self.assertEqual([one for one in self.bob.inbox if one.get("type") == "unavailable"], [])
        await self.leaves(tablet)
        await self.goes()

    async def test_retracted_elsewhere(self) -> None:
        """ejabberd 23.01 tells nobody: it is found the next time that bookmarks are read."""
        if self.kind is Ejabberd:
            self.behind = self.own_proxy(rooms={"bookmarks_interval": 1})
        await self.begin()
        desk = await self.direct()
        await self.bookmark(desk, "autojoin='true'")
        phone = await self.phone()
        await self.comes()
        await self.wants_news(phone)
        await self.retract(desk)
        await self.goes()

    async def test_changed_while_no_client_is_there(self) -> None:
        self.behind = self.own_proxy(rooms={"bookmarks_interval": 1})
        await self.begin()
        desk = await self.direct()
        await self.bookmark(desk, "autojoin='true'")
        phone = await self.phone()
        await self.comes()
        await phone.close()
        await self.retract(desk)
        await self.goes()
        await self.bookmark(desk, "autojoin='true'")
        await self.comes()

    async def test_gone_while_the_proxy_was_down(self) -> None:
        second = self.room()
        await self.begin(self.room(), second)
        self.behind = self.own_proxy()
        desk = await self.direct()
        await self.bookmark(desk, "autojoin='true'")
        phone = await self.phone()
        await self.comes()
        await self.joins(phone)
        await self.joins(phone, second)
        await self.comes(place=second)
        await deferToThread(self.behind.stop)
        await self.goes()
        await self.goes(place=second)
        await self.retract(desk)
        await deferToThread(self.behind.start)
        await self.comes(place=second)
        # it may have come back for a moment
        await deferToThread(self.behind.process.wait_for, f"the bookmark that kept it in {self.place} is gone")
        occupant = f"{self.place}/{self.alice.username}"
        shown = [stanza for stanza in self.bob.received if stanza.get("from") == occupant]
        if shown[-1].get("type") is None:
            await self.goes()

    async def test_private_xml(self) -> None:
        """Prosody keeps it as PEP items; ejabberd 23.01 does not, and has no such node."""
        await self.begin()
        desk = await self.direct()
        await self.store(desk, f"<conference jid='{self.place}' autojoin='1'><nick>Ally</nick></conference>")
        phone = await self.phone()
        await self.comes("Ally")
        await self.store(phone, f"<conference jid='{self.place}' autojoin='0'><nick>Ally</nick></conference>")
        await self.goes("Ally")

    async def test_removed_and_not_back(self) -> None:
        """Not for the bookmark as it is; if it is written anew, yes."""
        second = self.room()
        await self.begin(self.room(), second)
        phone = await self.phone()
        await self.bookmark(phone, "autojoin='true'")
        await self.comes()
        item = f"<item nick='{self.alice.username}' role='none'/>"
        await self.bob.iq("set", self.place, f"<query xmlns='{NS_MUC}#admin'>{item}</query>")
        await self.goes()
        await self.bookmark(phone, "autojoin='true'", place=second)
        await self.comes(place=second)
        await self.bob.barrier(self.place)
        self.bob.nothing()
        await self.bookmark(phone, "autojoin='true'")
        await self.comes()

    async def test_removed_and_not_back_after_a_restart(self) -> None:
        """Nobody joins, and the bookmark stays as it is. In private XML, for ejabberd's PEP node holds one item."""
        self.behind = self.own_proxy(rooms={"bookmarks_interval": 1})
        third = self.room()
        await self.begin(self.room(), third)
        desk = await self.direct()
        bookmark = f"<conference jid='{self.place}' autojoin='true'/>"
        await self.store(desk, bookmark)
        phone = await self.phone()
        await self.comes()
        await self.joins(phone)
        item = f"<item nick='{self.alice.username}' role='none'/>"
        await self.bob.iq("set", self.place, f"<query xmlns='{NS_MUC}#admin'>{item}</query>")
        await self.goes()
        await phone.expect(f"<presence from='{self.place}/{self.alice.username}' type='unavailable'/>")  # it is on disk
        await phone.close()
        await deferToThread(self.behind.process.kill)
        await self.bob.barrier(self.place)
        self.bob.inbox.clear()
        await deferToThread(self.behind.start)
        await self.store(desk, f"{bookmark}<conference jid='{third}' autojoin='true'/>")
        await self.comes(place=third)  # so bookmarks were read
        await self.bob.barrier(self.place)
        found = [one for one in self.bob.inbox if (one.get("from") or "").startswith(self.place)]
        self.assertEqual(found, [], self.bob.transcript())
        await self.store(desk, f"<conference jid='{self.place}' autojoin='true'><nick>again</nick></conference>")
        await self.comes("again")

    async def test_off(self) -> None:
        self.behind = self.own_proxy(rooms={"bookmarks": "off"})
        await self.begin()
        desk = await self.direct()
        await self.bookmark(desk, "autojoin='true'")
        phone = await self.phone()
        await self.bookmark(phone, "autojoin='true'")
        second = self.room()
        await self.joins(phone, second)  # by an account stream that has now been open
        await self.bob.barrier(self.place)
        self.bob.nothing()


@on_both_servers
class SyncTests(BookmarksCase):
    def setUp(self) -> None:
        super().setUp()
        self.behind = self.own_proxy(rooms={"bookmarks": "sync"})

    async def begin(self, *rooms: str) -> None:
        await super().begin(*rooms)
        self.desk = await self.direct()
        await self.wants_news(self.desk)

    async def until(self, autojoin: dict[str, bool]) -> dict[str, Any]:
        """Wait for news until the bookmarks are so."""
        while True:
            found = await self.bookmarks(self.desk)
            if {room: xml.getAttribute("autojoin") in ("true", "1") for room, xml in found.items()} == autojoin:
                return found
            await self.desk.expect(lambda stanza: NS_BOOKMARKS in str(stanza) and stanza.element.name == "message")

    async def test_join_and_leave(self) -> None:
        second = self.room()
        await self.begin(self.room(), second)
        phone = await self.phone()
        await self.joins(phone, nick="Ally")
        found = await self.until({self.place: True})
        self.assertEqual(str(found[self.place].nick), "Ally")
        await self.joins(phone, second)
        await self.until({self.place: True, second: True})
        await self.leaves(phone, nick="Ally")
        await self.goes("Ally")
        await self.until({self.place: False, second: True})
        await self.joins(phone, nick="Ally")
        await self.until({self.place: True, second: True})

    async def test_the_rest_is_preserved(self) -> None:
        await self.begin()
        await self.bookmark(self.desk, "name='A &amp; B' autojoin='true'", f"<nick>Ally</nick>{EXTENSIONS}")
        phone = await self.phone()
        await self.comes("Ally")
        await self.joins(phone, nick="Ally")
        await self.leaves(phone, nick="Ally")
        await self.goes("Ally")
        found = (await self.until({self.place: False}))[self.place]
        self.assertEqual((found["name"], str(found.nick)), ("A & B", "Ally"))
        (state,) = found.extensions.elements()
        self.assertEqual((state.uri, state["minimized"]), ("https://client.example/state", "true"))

    async def test_private_to_the_account(self) -> None:
        """The node that is made here can be read by nobody else, a contact included."""
        await self.begin()
        phone = await self.phone()
        self.bob.send(f"<presence type='subscribe' to='{self.desk.bare}'/>")
        await self.desk.expect(f"<presence type='subscribe' from='{self.bob.bare}'/>")
        self.desk.send(f"<presence type='subscribed' to='{self.bob.bare}'/>")
        await self.bob.expect(f"<presence from='{self.desk.jid}'/>")
        await self.joins(phone)
        await self.until({self.place: True})
        answer = await self.bob.iq(
            "get", self.desk.bare, f"<pubsub xmlns='{NS_PUBSUB}'><items node='{NS_BOOKMARKS}'/></pubsub>"
        )
        self.assertEqual(answer.get("type"), "error", str(answer))


class ProsodyWithoutPEP(Prosody):
    def template(self) -> str:
        return super().template().replace('"pep", ', "").replace('"bookmarks", ', "").replace('"vcard_legacy",', "")


class EjabberdWithoutPEP(Ejabberd):
    def configuration(self, certificate: Path) -> str:
        lines = super().configuration(certificate).splitlines()
        begin = lines.index("  mod_pubsub:")
        end = next(number for number in range(begin + 1, len(lines)) if lines[number].startswith("  mod_"))
        return "\n".join(lines[:begin] + lines[end:])


class PrivateXMLCase(BookmarksCase):
    """A server that keeps bookmarks in private XML, and knows of nothing else."""

    REST = (
        "<url name='w' url='https://w.example/'/>"
        "<conference jid='other@muc.example' name='O'><x xmlns='y'/></conference>"
    )

    async def stored(self, client: Client) -> Any:
        answer = await client.iq(
            "get", None, "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/></query>"
        )
        (query,) = answer.element.elements("jabber:iq:private", "query")
        return next(query.elements("storage:bookmarks", "storage"))

    async def written(self, client: Client, autojoin: str) -> Any:
        """Wait until the proxy says that it has written the bookmark so: no client is told of private XML."""
        assert self.behind is not None
        await self.behind.process.says(f"bookmark of {self.place} written, autojoin {autojoin.capitalize()}")
        storage = await self.stored(client)
        found = [c for c in storage.elements("storage:bookmarks", "conference") if c["jid"] == self.place]
        self.assertEqual([conference["autojoin"] for conference in found], [autojoin], storage.toXml())
        return storage

    async def test_follow(self) -> None:
        await self.begin()
        desk = await self.direct()
        await self.store(
            desk, f"{self.REST}<conference jid='{self.place}' autojoin='true'><nick>Ally</nick></conference>"
        )
        phone = await self.phone()
        await self.comes("Ally")
        await self.store(phone, self.REST)
        await self.goes("Ally")

    async def test_sync(self) -> None:
        self.behind = self.own_proxy(rooms={"bookmarks": "sync"})
        await self.begin()
        desk = await self.direct()
        await self.store(desk, self.REST)
        phone = await self.phone()
        await self.joins(phone)
        await self.written(desk, "true")
        await self.leaves(phone)
        await self.goes()
        storage = await self.written(desk, "false")
        url, other, _ = storage.elements()
        self.assertEqual((url["url"], other["name"], next(other.elements()).uri), ("https://w.example/", "O", "y"))


class PrivateXMLTestsOnProsody(PrivateXMLCase):
    kind = ProsodyWithoutPEP


class PrivateXMLTestsOnEjabberd(PrivateXMLCase):
    kind = EjabberdWithoutPEP


del BookmarksCase, PrivateXMLCase  # else trial would run them by themselves
