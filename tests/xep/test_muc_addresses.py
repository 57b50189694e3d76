"""Addresses are rewritten where a room writes them, nowhere else (protocol notes, *Who is believed*)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.namespaces import NS_MUC_ADMIN, NS_MUC_USER
from minimixproxy.wire.stanza import MAX_PAYLOADS, Stanza, parse_stanza
from minimixproxy.xep import muc_addresses
from minimixproxy.xep.muc_addresses import MAX_READ, MOST_TAGS, AddressTemplate, may_name, with_addresses
from tests.minimix.fakes import BARE, ROOM, STREAM, World, split

USER = "xmlns='http://jabber.org/protocol/muc#user'"
ADMIN = "xmlns='http://jabber.org/protocol/muc#admin'"
JULIET = "juliet@a.test"
HERS = f"{JULIET}/minimix.4567"
CLIENT = f"{JULIET}/phone"

# A stanza that names the address {0}, and how often the room does so.
PLACES = [
    (f"<presence><x {USER}><item jid='{{0}}'/></x></presence>", 1),
    (f"<presence><x {USER}><item jid='{{0}}'><actor jid='{{0}}' nick='n'/></item></x></presence>", 2),
    (f'<presence><q:x xmlns:q={USER[6:]}><q:item jid="{{0}}"/></q:x></presence>', 1),
    (f"<iq type='result'><query {ADMIN}><item jid='{{0}}'/><item jid='x@y'/><item jid='{{0}}'/></query></iq>", 2),
    (f"<message><x {USER}><invite from='{{0}}'><reason>{{0}}</reason></invite></x><body>{{0}}</body></message>", 1),
    (f"<presence><x {USER}><item jid='{{0}}'/></x><x {USER}><item jid='{{0}}'/></x></presence>", 0),
    (f"<presence><x {USER}><item jid='{{0}}'/></x><x {USER}/></presence>", 0),
    (f"<presence><status>jid='{{0}}'</status><x {USER}><item/></x></presence>", 0),
    (f"<presence><probe xmlns='urn:x' jid='{{0}}'/><x {USER}><item/></x></presence>", 0),
    (f"<presence><probe xmlns='urn:x'><x {USER}><item jid='{{0}}'/></x></probe></presence>", 0),
    (f"<presence><x {USER}><probe xmlns='urn:x' jid='{{0}}'/><item nick='{{0}}' x='{{0}}'/></x></presence>", 0),
    (f"<presence><x {USER}><item xmlns='urn:x' jid='{{0}}'/></x></presence>", 0),
    (f"<presence><x {USER}><item jid='{{0}}x'/><item jid='x{{0}}'/></x></presence>", 0),
    (f"<presence><x {USER}><invite from='{{0}}'/><actor jid='{{0}}'/></x></presence>", 0),
    (f"<presence><query {ADMIN}><item jid='{{0}}'/></query></presence>", 0),
    (f"<message><x {USER}><item jid='{{0}}'/></x></message>", 0),
    (f"<message><x {USER}><decline from='{{0}}'/></x></message>", 0),
    (f"<iq type='result'><x {USER}><item jid='{{0}}'/></x></iq>", 0),
]


class Places(SynchronousTestCase):
    def test_where_a_room_names_addresses(self) -> None:
        for xml, count in PLACES:
            stanza = parse_stanza(xml.format(STREAM))
            copy = AddressTemplate(stanza, STREAM).copy("new@a.test/it's <new>")
            self.assertEqual(str(parse_stanza(copy).element.toXml()).count("new@a.test/it"), count, xml)
            changed = with_addresses(stanza, lambda found: "n@a.test/x" if found == STREAM else None)
            self.assertEqual(changed.raw.count(b"n@a.test/x"), count, xml)
            self.assertEqual(changed is stanza, count == 0, xml)

    def test_in_large_ones(self) -> None:
        """A list of the room is read however large it is; what occupants made large is not worth the time."""
        pad = "<item nick='x'/>" * (MAX_READ // 10)
        for stanza, changes in (
            (f"<iq type='result'><query xmlns='{NS_MUC_ADMIN}'><item jid='a@b/c'/>{pad}</query></iq>", True),
            (f"<presence><x xmlns='{NS_MUC_USER}'><item jid='a@b/c'/></x>{pad}</presence>", False),
            (f"<presence><x xmlns='{NS_MUC_USER}'><item jid='a@b/c'/></x><s>{'x' * MAX_READ}</s></presence>", False),
            (f"<presence><x xmlns='{NS_MUC_USER}'><item jid='a@b/c'/></x></presence>", True),
            (f"<iq type='result'><query xmlns='{NS_MUC_USER}'><item jid='a@b/c'/></query></iq>", False),
            (f"<presence><query xmlns='{NS_MUC_ADMIN}'><item jid='a@b/c'/></query></presence>", False),
            (f"<other><x xmlns='{NS_MUC_USER}'><item jid='a@b/c'/></x></other>", False),
        ):
            changed = with_addresses(parse_stanza(stanza), lambda _found: "new@x/y")
            self.assertEqual(b"new@x/y" in changed.raw, changes, stanza[:100])

    def test_in_those_of_many_elements(self) -> None:
        """What an occupant shows is read for each account that is in the room: a tree of little costs little."""
        pad = "<a/>" * MOST_TAGS
        for stanza, changes in (
            (f"<presence><x xmlns='{NS_MUC_USER}'><item jid='a@b/c'/></x><s xmlns='urn:x'>{pad}</s></presence>", False),
            (f"<presence><x xmlns='{NS_MUC_USER}'><item jid='a@b/c'/></x>{pad[: -4 * 5]}</presence>", True),
            (f"<message><x xmlns='{NS_MUC_USER}'><invite from='a@b/c'/></x>{pad}</message>", False),
            (f"<iq type='result'><query xmlns='{NS_MUC_ADMIN}'><item jid='a@b/c'/>{pad}</query></iq>", True),
        ):
            changed = with_addresses(parse_stanza(stanza), lambda _found: "new@x/y")
            self.assertEqual(b"new@x/y" in changed.raw, changes, stanza[:100])

    def test_cheap_where_there_is_none(self) -> None:
        """No stanza is parsed that does not have the address beside its `to`."""
        world = World()
        world.joined("phone", "laptop")
        self.patch(muc_addresses, "parse_element", None)
        world.shows("bob", item="jid='bob@b.test/x'")
        self.assertFalse(may_name(parse_stanza(f"<presence to='{STREAM}'/>"), STREAM))
        self.assertFalse(may_name(parse_stanza("<presence/>"), ""))
        self.assertTrue(may_name(parse_stanza(f"<presence to='{STREAM}'><a b='{STREAM}'/></presence>"), STREAM))


class Oracle(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.phone, self.laptop = self.world.joined("phone", "laptop")
        self.world.neighbours[(HERS, ROOM)] = CLIENT

    def shown(self) -> bytes:
        return b"".join(stanza.raw for session in (self.phone, self.laptop) for stanza in session.take())

    def test_what_occupants_write(self) -> None:
        """In presences, messages and IQs; neither a neighbour's address nor the own one is rewritten."""
        for jid in (HERS, STREAM):
            nested = f"<x {USER}><item jid='{jid}'/></x>"
            for forged in (f"<p xmlns='urn:x' jid='{jid}'/>", f"<p xmlns='urn:x'>{nested}</p>"):
                self.world.shows("bob", inner=forged)
                self.assertEqual(self.shown().count(jid.encode()), 2, forged)
                self.world.asks_to_join(self.phone)
                self.assertIn(jid.encode(), self.shown())
            for forged in (f"<x {USER}><item jid='{jid}'/></x>", f"<x {USER}><invite from='{jid}'/></x>"):
                for kind in ("groupchat", "chat", "normal"):
                    self.world.room(
                        f"<message type='{kind}' from='{ROOM}/bob' to='{STREAM}'><body>b</body>{forged}</message>"
                    )
                    self.assertEqual(self.shown().count(jid.encode()), 2, forged)

    def test_what_an_occupant_writes_behind_more_than_is_noted(self) -> None:
        """The room adds its own element at the end."""
        self.world.shows("bob", inner="<p xmlns='urn:x'/>" * (MAX_PAYLOADS - 1) + f"<x {USER}><item jid='{HERS}'/></x>")
        self.assertFalse(CLIENT.encode() in self.shown())

    def test_an_occupants_answer(self) -> None:
        self.world.client(self.phone, f"<iq type='get' to='{ROOM}/bob' id='1'><query {ADMIN}><item/></query></iq>")
        wire_id = self.world.stream.take()[0]["id"]
        items = f"<item jid='{HERS}'/><item jid='{STREAM}'/>"
        self.world.room(
            f"<iq type='result' from='{ROOM}/bob' to='{STREAM}' id='{wire_id}'><query {ADMIN}>{items}</query></iq>"
        )
        shown = self.shown()
        self.assertEqual((shown.count(HERS.encode()), shown.count(STREAM.encode())), (1, 1))


class Invitations(SynchronousTestCase):
    """On a session's own stream, since they go to the bare JID."""

    def setUp(self) -> None:
        self.world = World()
        (self.phone,) = self.world.joined("phone")
        self.world.neighbours[(HERS, "other@muc.test")] = CLIENT

    def comes(self, xml: str) -> bytes:
        """What the client is given, by us or by passing."""
        (stanza,) = split(xml.encode())
        if self.world.account.from_server(self.phone, stanza):
            (stanza,) = self.phone.take()
        self.assertIsInstance(stanza, Stanza)
        return stanza.raw

    def test_by_a_room(self) -> None:
        for opened in (True, False):
            if not opened:
                self.world.stream.jid = ""
            invitation = f"<x {USER}><invite from='{HERS}'/></x>"
            raw = self.comes(f"<message from='other@muc.test' to='{BARE}'>{invitation}</message>")
            self.assertEqual((raw.count(CLIENT.encode()), raw.count(HERS.encode())), (1, 0))

    def test_by_somebody_else(self) -> None:
        for sender in ("from='other@muc.test/x'", "from='third@muc.test'", "from='@'", "", "from=''", f"from='{BARE}'"):
            xml = f"<message {sender} to='{BARE}'><x {USER}><invite from='{HERS}'/></x></message>"
            self.assertEqual(self.comes(xml), xml.encode())

    def test_of_a_stranger(self) -> None:
        for address in ("mercutio@b.test/minimix.0123", f"{JULIET}/minimix.0123", f"{JULIET}/minimix.45678", STREAM):
            xml = f"<message from='other@muc.test' to='{BARE}'><x {USER}><invite from='{address}'/></x></message>"
            self.assertEqual(self.comes(xml), xml.encode())

    def test_something_that_cannot_be_read(self) -> None:
        """It is for the client to say so: what only passes is not parsed."""
        raw = f"<message from='other@muc.test'><p:x/><x {USER}><invite from='{HERS}'/></x></message>".encode()
        stanza = Stanza(raw, "jabber:client", "message", {"from": "other@muc.test"}, None, {"": "jabber:client"})
        self.assertFalse(self.world.account.from_server(self.phone, stanza))


class WordsOfTheRoom(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        (self.phone,) = self.world.joined("phone")

    def says_codes(self, sender: str, codes: str, kind: str = "groupchat") -> None:
        statuses = "".join(f"<status code='{code}'/>" for code in codes.split())
        self.world.room(f"<message type='{kind}' from='{sender}' to='{STREAM}'><x {USER}>{statuses}</x></message>")

    def codes(self) -> set[str]:
        self.phone.take()
        self.world.asks_to_join(self.phone)
        own = next(stanza for stanza in self.phone.take() if stanza.get("from") == f"{ROOM}/alice")
        return {status["code"] for x in own.elements() for status in x.elements() if status.name == "status"}

    def test_configuration(self) -> None:
        self.says_codes(f"{ROOM}/bob", "170 173")
        self.assertEqual(self.codes(), {"100", "110"})
        self.says_codes(ROOM, "170 173")
        self.assertEqual(self.codes(), {"110", "170"})

    def test_who_makes_us_ask(self) -> None:
        occupancy = self.world.account.rooms[ROOM]
        occupancy.info.refresh()
        self.world.tells_of_itself("urn:xmpp:mam:2")
        for sender, asked in ((f"{ROOM}/bob", 0), (ROOM, 1)):
            self.says_codes(sender, "104")
            self.assertEqual(len(self.world.stream.take()), asked)

    def test_an_occupants_presence_counts_for_the_occupant(self) -> None:
        for inner in ("<destroy/>", "<destroy jid='x@y'/>"):
            self.world.room(
                f"<presence type='unavailable' from='{ROOM}/bob' to='{STREAM}'><x {USER}>{inner}</x></presence>"
            )
        for codes in ("301", "307 333", "321", "332"):
            self.world.gone("bob", codes)
        self.assertIn(ROOM, self.world.account.rooms)
        self.assertTrue(self.world.account.rooms[ROOM].attached)
