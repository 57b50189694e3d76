"""Bookmarks on the wire: what is read, and that what is changed keeps all the rest."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.bookmarks.events import told_by_server, written_by_client
from minimixproxy.wire.children import stanza_of_bytes
from minimixproxy.wire.stanza import Stanza, parse_stanza
from minimixproxy.wire.trees import BUILT
from minimixproxy.xep import bookmarks
from minimixproxy.xep.bookmarks import Bookmark, Bookmarks
from tests.examples import examples
from tests.minimix.fakes import BARE

PUBSUB = "http://jabber.org/protocol/pubsub"
BOOKMARKS = "urn:xmpp:bookmarks:1"


def items(*conferences: tuple[str, str]) -> Stanza:
    """The result of reading the PEP node; a conference is its id and its XML."""
    inner = "".join(f"<item id={quoteattr(identity)}>{xml}</item>" for identity, xml in conferences)
    return parse_stanza(
        f"<iq type='result' id='1'><pubsub xmlns='{PUBSUB}'><items node='{BOOKMARKS}'>{inner}</items></pubsub></iq>"
    )


def storage(inner: str) -> Stanza:
    return parse_stanza(
        "<iq type='result' id='1'><query xmlns='jabber:iq:private'>"
        f"<storage xmlns='storage:bookmarks'>{inner}</storage></query></iq>"
    )


def native(attributes: str = "autojoin='true'", inner: str = "") -> str:
    return f"<conference xmlns='{BOOKMARKS}' {attributes}>{inner}</conference>"


def short(found: Bookmarks) -> list[tuple[str, bool, str | None, str | None]]:
    return [(b.room, b.autojoin, b.nick, b.password) for b in found.rooms.values()]


def one(found: Bookmarks) -> Bookmark:
    (bookmark,) = found.rooms.values()
    return bookmark


def without_autojoin(xml: bytes | str) -> str:
    """Canonical XML, less the attribute that was changed."""
    root = ElementTree.fromstring(xml)
    for element in root.iter():
        if element.tag in ("{%s}conference" % BOOKMARKS, "{storage:bookmarks}conference"):  # noqa: UP031
            element.attrib.pop("autojoin", None)
    return ElementTree.canonicalize(ElementTree.tostring(root, encoding="unicode"))


class Items(SynchronousTestCase):
    def test_all_of_it(self) -> None:
        found = bookmarks.read_items(
            items(
                ("Room@Muc.Test", native("name='R' autojoin='true'", "<nick>al</nick><password>pw</password>")),
                ("b@muc.test", native("autojoin='1'")),
                ("c@muc.test", native("autojoin='false'", "<nick/>")),
                ("d@muc.test", native("")),
            )
        )
        self.assertEqual(
            short(found),
            [
                ("room@muc.test", True, "al", "pw"),
                ("b@muc.test", True, None, None),
                ("c@muc.test", False, None, None),
                ("d@muc.test", False, None, None),
            ],
        )
        self.assertEqual(found.rooms["room@muc.test"].written_as, "Room@Muc.Test")
        self.assertIsNone(found.storage)

    def test_nothing(self) -> None:
        self.assertEqual(bookmarks.read_items(items()).rooms, {})
        self.assertEqual(bookmarks.read_items(parse_stanza("<iq type='result' id='1'/>")).rooms, {})

    def test_one_that_makes_no_sense_costs_no_other(self) -> None:
        for address, xml in (
            ("", native()),
            ("a b@muc.test", native()),
            ("muc.test", native()),
            ("a@muc.test/nick", native()),
            ("a@muc.test", native("autojoin='perhaps'")),
            ("a@muc.test", "<conference xmlns='urn:xmpp:bookmarks:0' autojoin='true'/>"),
            ("a@muc.test", ""),
        ):
            found = bookmarks.read_items(items((address, xml), ("good@muc.test", native())))
            self.assertEqual(list(found.rooms), ["good@muc.test"], (address, xml))
            self.assertEqual(found.unreadable, {address})

    def test_a_nick_that_no_room_takes_is_none(self) -> None:
        found = bookmarks.read_items(items(("a@muc.test", native(inner="<nick>a\u200e\u2028</nick>"))))
        self.assertIsNone(one(found).nick)

    def test_a_nick_of_another_namespace_is_none(self) -> None:
        found = bookmarks.read_items(items(("a@muc.test", native(inner="<nick xmlns='other'>x</nick>"))))
        self.assertIsNone(one(found).nick)

    def test_two_for_a_room(self) -> None:
        found = bookmarks.read_items(
            items(("a@muc.test", native("autojoin='false'")), ("A@muc.test", native()), ("a@MUC.test", native()))
        )
        self.assertTrue(one(found).autojoin)
        self.assertEqual(one(found).written_as, "A@muc.test")

    def test_a_password_is_not_shown(self) -> None:
        found = bookmarks.read_items(items(("a@muc.test", native(inner="<password>sesame</password>"))))
        self.assertNotIn("sesame", repr(found))


class Storage(SynchronousTestCase):
    def test_all_of_it(self) -> None:
        found = bookmarks.read_storage(
            storage(
                "<conference jid='Room@muc.test' name='R' autojoin='1'><nick>al</nick>"
                "<password>pw</password></conference>"
                "<url name='w' url='http://w.test/'/><conference jid='b@muc.test'/><conference autojoin='1'/>"
            )
        )
        self.assertEqual(short(found), [("room@muc.test", True, "al", "pw"), ("b@muc.test", False, None, None)])
        self.assertEqual(found.unreadable, {""})

    def test_nothing(self) -> None:
        for answer in (storage(""), parse_stanza("<iq type='result' id='1'/>")):
            found = bookmarks.read_storage(answer)
            self.assertEqual(found.rooms, {})
            self.assertEqual(found.storage, b"<storage xmlns='storage:bookmarks'/>")

    def test_a_room_is_added(self) -> None:
        before = "<url name='w' url='http://w.test/'/><conference jid='b@muc.test'><x xmlns='y'/></conference>"
        found = bookmarks.read_storage(storage(before))
        assert found.storage is not None
        after = bookmarks.storage_with(found.storage, bookmarks.new_bookmark("a@muc.test", "Al & Co"))
        self.assertEqual(
            ElementTree.canonicalize(after.decode()),
            ElementTree.canonicalize(
                f"<storage xmlns='storage:bookmarks'>{before}"
                "<conference jid='a@muc.test' autojoin='true'><nick>Al &amp; Co</nick></conference></storage>"
            ),
        )

    def test_every_bookmark_of_the_room_is_changed(self) -> None:
        found = bookmarks.read_storage(
            storage(
                "<conference jid='a@muc.test' autojoin='1'/><conference jid='A@muc.test' autojoin='1'/>"
                "<conference jid='/'/>"
            )
        )
        assert found.storage is not None
        changed = bookmarks.with_autojoin(one(found), False)
        after = bookmarks.storage_with(found.storage, changed)
        self.assertEqual(after.count(b"autojoin='false'"), 2)
        request = bookmarks.storage_request(after)
        self.assertEqual(request, b"<query xmlns='jabber:iq:private'>" + after + b"</query>")


class Requests(SynchronousTestCase):
    def test_a_new_item(self) -> None:
        request = bookmarks.publication(bookmarks.new_bookmark("a'b@muc.test", "<al>"), options=False)
        self.assertEqual(
            request,
            b"<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:xmpp:bookmarks:1'>"
            b"<item id='a&apos;b@muc.test'><conference xmlns='urn:xmpp:bookmarks:1' autojoin='true'>"
            b"<nick>&lt;al&gt;</nick></conference></item></publish></pubsub>",
        )

    def test_the_node_is_for_nobody_else(self) -> None:
        bookmark = bookmarks.new_bookmark("a@muc.test", "al")
        for request, kind in (
            (bookmarks.publication(bookmark, options=True), b"publish-options"),
            (bookmarks.creation(), b"node_config"),
            (bookmarks.configuration(), b"node_config"),
        ):
            self.assertIn(b"<value>http://jabber.org/protocol/pubsub#" + kind + b"</value>", request)
            for option in (
                b"<field var='pubsub#access_model'><value>whitelist</value></field>",
                b"<field var='pubsub#persist_items'><value>true</value></field>",
                b"<field var='pubsub#max_items'><value>max</value></field>",
                b"<field var='pubsub#send_last_published_item'><value>never</value></field>",
            ):
                self.assertIn(option, request)


_names = st.from_regex(r"[a-z][a-z0-9.-]{0,8}", fullmatch=True)
_text = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_characters="\x7f"), max_size=12)
_uris = st.sampled_from(["urn:x:1", "urn:x:2", BOOKMARKS, "storage:bookmarks", "jabber:client", "http://e.test/?a&b"])


_plain = st.dictionaries(_names.filter(lambda n: n not in ("autojoin", "jid", "xmlns", "id")), _text, max_size=3)
_booleans = st.booleans()


@st.composite
def attributes(draw: st.DrawFn) -> str:
    plain = draw(_plain)
    prefixed = draw(_booleans)
    text = "".join(f" {name}={quoteattr(value)}" for name, value in plain.items())
    return text + (f" xmlns:p={quoteattr(draw(_uris))} p:a={quoteattr(draw(_text))} xml:lang='de'" if prefixed else "")


_elements = st.recursive(
    _text.map(escape),
    lambda inner: st.builds(
        lambda name, uri, attrs, children: f"<{name} xmlns={quoteattr(uri)}{attrs}>{''.join(children)}</{name}>",
        _names.filter(lambda name: name not in ("conference", "xml")),
        _uris,
        attributes(),
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)


class Preservation(SynchronousTestCase):
    """Whatever else a client has put there comes back as it was."""

    @settings(max_examples=examples(40))
    @given(attributes(), st.lists(_elements, max_size=4), st.booleans(), st.sampled_from(["", " autojoin='0'"]))
    def test_items(self, attrs: str, children: list[str], autojoin: bool, before: str) -> None:
        inner = "".join(children) + "<nick>al</nick><extensions><s xmlns='urn:state' min='true'/></extensions>"
        original = f"<conference xmlns='{BOOKMARKS}'{attrs}{before}>{inner}</conference>"
        found = bookmarks.read_items(items(("a@muc.test", original)))
        changed = bookmarks.with_autojoin(one(found), autojoin)
        self.assertEqual(without_autojoin(changed.xml), without_autojoin(original))
        again = one(bookmarks.read_items(items(("a@muc.test", changed.xml.decode()))))
        self.assertEqual((again.autojoin, again.nick), (autojoin, one(found).nick))

    @settings(max_examples=examples(40))
    @given(attributes(), st.lists(_elements, max_size=3), st.lists(_elements, max_size=3), st.booleans())
    def test_storage(self, attrs: str, inside: list[str], beside: list[str], autojoin: bool) -> None:
        inner = (
            "".join(beside)
            + f"<conference jid='Other@muc.test' autojoin='true'{attrs}>{''.join(inside)}</conference>"
            + f"<conference jid='A@muc.test' name='x'{attrs}>{''.join(inside)}</conference>"
        )
        found = bookmarks.read_storage(storage(inner))
        assert found.storage is not None
        bookmark = bookmarks.with_autojoin(found.rooms["a@muc.test"], autojoin)
        after = bookmarks.storage_with(found.storage, bookmark)
        self.assertEqual(
            without_autojoin(after), without_autojoin(f"<storage xmlns='storage:bookmarks'>{inner}</storage>")
        )
        answer = b"<iq type='result'>" + bookmarks.storage_request(after) + b"</iq>"
        again = bookmarks.read_storage(parse_stanza(answer))
        self.assertEqual(
            {room: b.autojoin for room, b in again.rooms.items()}, {"other@muc.test": True, "a@muc.test": autojoin}
        )


class WhatOthersWrite(SynchronousTestCase):
    def test_clients(self) -> None:
        pubsub = f"<pubsub xmlns='{PUBSUB}'>%s</pubsub>"
        owner = f"<pubsub xmlns='{PUBSUB}#owner'>%s</pubsub>"
        publish = pubsub % f"<publish node='{BOOKMARKS}'><item id='A@muc.test'/><item id='/'/></publish>"
        private = "<query xmlns='jabber:iq:private'><%s xmlns='%s'/></query>"
        for kind, inner, expected in (
            ("set", publish, {"a@muc.test"}),
            ("get", publish, None),
            ("set", pubsub % f"<retract node='{BOOKMARKS}'><item id='b@muc.test'/></retract>", {"b@muc.test"}),
            ("set", pubsub % "<publish node='storage:bookmarks'><item id='current'/></publish>", set()),
            ("set", owner % f"<delete node='{BOOKMARKS}'/>", set()),
            ("set", pubsub % "<publish node='urn:xmpp:avatar:data'><item id=':bookmarks'/></publish>", None),
            ("set", private % ("storage", "storage:bookmarks"), set()),
            ("set", private % ("roster", "roster:bookmarks"), None),
            ("set", "<query xmlns='other:bookmarks'/>", None),
        ):
            stanza = parse_stanza(f"<iq type='{kind}' id='1'>{inner}</iq>")
            self.assertEqual(written_by_client(stanza), expected, inner)
        message = parse_stanza(f"<message type='set'>{publish}</message>")
        self.assertIsNone(written_by_client(message))

    def test_server(self) -> None:
        event = f"<event xmlns='{PUBSUB}#event'>%s</event>"
        news = event % f"<items node='{BOOKMARKS}'><item id='a@muc.test'/><retract id='b@muc.test'/></items>"
        for sender, inner, expected in (
            (f"from='{BARE}'", news, {"a@muc.test"}),
            ("", news, {"a@muc.test"}),
            ("from='mallory@a.test'", news, None),
            (f"from='{BARE}'", news + "<delay xmlns='urn:xmpp:delay' stamp='2020-01-01T00:00:00Z'/>", set()),
            (f"from='{BARE}'", event % f"<purge node='{BOOKMARKS}'/>", set()),
            (f"from='{BARE}'", event % "<items node='storage:bookmarks'><item id='current'/></items>", set()),
            (f"from='{BARE}'", event % "<items node='urn:xmpp:avatar:data'><item id=':bookmarks'/></items>", None),
            (f"from='{BARE}'", "<body>urn:xmpp:bookmarks:1</body>", None),
        ):
            stanza = parse_stanza(f"<message {sender} to='{BARE}/x'>{inner}</message>")
            self.assertEqual(told_by_server(stanza, BARE), expected, inner)

    def test_an_event_of_thousands_of_tags(self) -> None:
        """No tree is made of it: each of an account's sessions is told, and each tree took some 20 ms."""
        item = f"<items node='{BOOKMARKS}'><item id='a@muc.test'><e>{'<a/>' * 990}</e>%s</item></items>"
        event = f"<message from='{BARE}'><%s xmlns='{PUBSUB}#event'>%s</%s></message>"
        before = BUILT.trees
        for name, more, expected, trees in (
            ("event", "", {"a@muc.test"}, 1),
            ("event", "<a/>" * 990, set(), 0),
            ("other", "<a/>" * 990, None, 0),
        ):
            stanza = stanza_of_bytes((event % (name, item % more, name)).encode())
            self.assertEqual(told_by_server(stanza, BARE), expected)
            self.assertEqual(BUILT.trees - before, trees)
            before = BUILT.trees

    def test_what_is_not_meant_is_not_read(self) -> None:
        class Unread(Stanza):
            @property
            def attributes(self) -> dict[str, str]:
                raise AssertionError("read")

            @attributes.setter
            def attributes(self, _value: dict[str, str]) -> None: ...

        stanza = Unread(b"<message><body>hello</body></message>", "jabber:client", "message", {}, None, {})
        self.assertIsNone(told_by_server(stanza, BARE))

    def test_what_cannot_be_read_of_a_client(self) -> None:
        raw = b"<iq type='set'><query xmlns='a b:bookmarks'/></iq>"
        stanza = Stanza(raw, "jabber:client", "iq", {"type": "set"}, None, {"": "jabber:client"})
        self.assertIsNone(written_by_client(stanza))

    def test_broken_bytes_of_a_server(self) -> None:
        raw = b"<message><event>urn:xmpp:bookmarks:1</message>"
        stanza = Stanza(raw, "jabber:client", "message", {}, None, {"": "jabber:client"})
        self.assertIsNone(told_by_server(stanza, BARE))
