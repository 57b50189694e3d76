"""The routing tables of docs/architecture.md, row by row: who says what to whom, and where it goes.

What a row pins is the fate of one stanza: `passes` (upstream, byte for byte), or it is taken. What was taken went out
on the account stream (`room: …`), was answered (`told: …`), ended the session (`closed: …`), or went to
nobody (`nothing`).
"""

from __future__ import annotations

from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.wire.stanza import MAX_PAYLOADS, parse_stanza
from tests.minimix.fakes import BARE, DISCO, ROOM, STREAM, FakeSession, World

OTHER = "other@muc.test"
JOIN = "<x xmlns='http://jabber.org/protocol/muc'/>"
INFO = f"<query xmlns='{DISCO}'/>"
MAM = "<query xmlns='urn:xmpp:mam:2' queryid='q'/>"
METADATA = "<metadata xmlns='urn:xmpp:mam:2'/>"
PING = "<ping xmlns='urn:xmpp:ping'/>"
Q = "<q xmlns='urn:q'/>"
MANY = "<many xmlns='urn:q'/>" * MAX_PAYLOADS


def presence(to: str, kind: str = "", inner: str = "", more: str = "") -> str:
    return _stanza("presence", to, kind, inner, more)


def message(to: str, kind: str = "groupchat", inner: str = "<body>x</body>", more: str = "") -> str:
    return _stanza("message", to, kind, inner, more)


def iq(to: str, kind: str = "get", inner: str = Q, more: str = "") -> str:
    return _stanza("iq", to, kind, inner, f"id='1' {more}")


def _stanza(name: str, to: str, kind: str, inner: str, more: str) -> str:
    addressed = f"to='{to}'" if to else ""
    typed = f"type='{kind}'" if kind else ""
    return f"<{name} {addressed} {typed} {more}>{inner}</{name}>"


class Case(SynchronousTestCase):
    """phone and laptop are in the room as alice, car waits for its turn to be let in, tablet is not in."""

    def setUp(self) -> None:
        self.world = World()
        self.phone, self.laptop = self.world.joined("phone", "laptop")
        self.tablet = self.world.session("tablet")

    def fate(self, session: FakeSession, xml: str) -> str:
        """What becomes of a client's stanza."""
        taken = self.world.client(session, xml)
        sent = [f"room: {one.name} {one.get('type') or '-'} {one['to']}" for one in self.world.stream.take()]
        told = [f"told: {one.name} {one.get('type') or '-'}" for one in session.take()]
        closed = [f"closed: {session.closed}"] if session.closed else []
        if not taken:
            self.assertEqual((sent, told, closed), ([], [], []), f"passed, and more: {xml}")
            return "passes"
        return ", ".join(sent + told[:1] + closed) or "nothing"

    def table(self, rows: dict[tuple[str, str], str]) -> None:
        for (who, xml), expected in rows.items():
            self.setUp()
            self.assertEqual(self.fate(getattr(self, who), xml), expected, f"{who}: {xml[:200]}")


class Presences(Case):
    def test_of_who_is_in(self) -> None:
        self.table(
            {
                ("phone", presence(f"{ROOM}/alice")): "told: presence -",
                ("phone", presence(f"{ROOM}/liz")): f"room: presence - {ROOM}/liz",
                ("phone", presence(ROOM)): "passes",
                ("phone", presence(ROOM, "unavailable")): "told: presence unavailable",
                ("phone", presence(f"{ROOM}/bob", "unavailable")): "told: presence unavailable",
                ("phone", presence(f"{ROOM}/alice", inner=JOIN)): "told: presence -",
                ("phone", presence(ROOM, inner=JOIN)): "passes",
                ("phone", presence(f"{ROOM}/bob", "probe")): f"room: presence probe {ROOM}/bob",
                ("phone", presence(ROOM, "probe")): f"room: presence probe {ROOM}",
                ("phone", presence(f"{ROOM}/bob", "error")): "nothing",
                ("phone", presence(f"{ROOM}/alice", "error")): "told: presence unavailable",
                ("phone", presence(ROOM, "error")): "told: presence unavailable",
            }
        )

    def test_alone(self) -> None:
        """The room itself takes out who bounces its own presence."""
        for address, goes in ((f"{ROOM}/alice", True), (ROOM, True), (f"{ROOM}/bob", False)):
            self.setUp()
            self.world.account.session_closed(self.laptop)
            self.world.stream.take()
            expected = f"room: presence error {address}" if goes else "nothing"
            self.assertEqual(self.fate(self.phone, presence(address, "error")), expected, address)

    def test_of_who_is_not_in(self) -> None:
        rows = {
            presence(f"{ROOM}/alice", inner=JOIN): "told: presence -",
            presence(f"{ROOM}/alice", "error"): "nothing",
            presence(f"{ROOM}/bob", "error"): "nothing",
            presence(ROOM, "error"): "nothing",
            presence(f"{OTHER}/alice", inner=JOIN): f"room: presence - {OTHER}/alice",
        }
        for xml in (
            presence(f"{ROOM}/alice"),
            presence(ROOM, inner=JOIN),
            presence(f"{ROOM}/alice", "unavailable"),
            presence(f"{ROOM}/alice", "probe"),
        ):
            rows[xml] = "passes"
        self.table({("tablet", xml): expected for xml, expected in rows.items()})

    def test_that_are_nobodys_affair(self) -> None:
        """A room that the account is not in, types that mean nothing to a room, addresses that cannot be."""
        kinds = ("", "unavailable", "probe", "error", "subscribe", "unsubscribed", "bogus")
        rows = [presence(f"{OTHER}/alice", kind) for kind in kinds]
        rows += [presence("bob@b.test", kind) for kind in kinds]
        rows += [presence(to, inner=JOIN) for to in ("bob@b.test/x\N{LINE SEPARATOR}", "a@@b")]
        rows += [presence("", "subscribe")]
        for where in (f"{ROOM}/alice", f"{OTHER}/alice", ROOM):
            rows += [presence(where, kind) for kind in ("subscribe", "unsubscribed", "bogus")]
            rows += [presence(where, kind, JOIN) for kind in ("subscribe", "bogus")]
        rows += [presence(f"{OTHER}/alice", kind, JOIN) for kind in ("unavailable", "error", "probe")]
        rows += [f"<presence xmlns='urn:x' to='{ROOM}/alice' type='{kind}'/>" for kind in kinds]
        rows += [f"<presence xmlns='urn:x' to='{ROOM}/alice'>{JOIN}</presence>"]
        self.table({(who, xml): "passes" for xml in rows for who in ("phone", "tablet")})

    def test_of_who_waits(self) -> None:
        """It has joined from its own point of view: what it says of itself is for the room, and said by its join."""
        for xml, expected in (
            (presence(f"{ROOM}/alice"), "nothing"),
            (presence(f"{ROOM}/alice", "unavailable"), "told: presence unavailable"),
            (presence(f"{ROOM}/alice", "error"), "nothing"),
            (presence(f"{ROOM}/bob", "probe"), f"room: presence probe {ROOM}/bob"),
            (presence(ROOM), "passes"),
        ):
            self.world = World()
            phone = self.world.session("phone")
            self.world.asks_to_join(phone)
            self.world.stream.take()
            self.assertEqual(self.fate(phone, xml), expected, xml)


class MessagesAndIQs(Case):
    def test_of_who_is_in(self) -> None:
        self.table(
            {
                ("phone", message(ROOM)): f"room: message groupchat {ROOM}",
                ("phone", message(f"{ROOM}/bob", "chat")): f"room: message chat {ROOM}/bob",
                ("phone", message(ROOM, "error")): "nothing",
                ("phone", message(f"{ROOM}/bob", "error")): "nothing",
                ("phone", iq(ROOM)): f"room: iq get {ROOM}",
                ("phone", iq(ROOM, "set")): f"room: iq set {ROOM}",
                ("phone", iq(f"{ROOM}/bob")): f"room: iq get {ROOM}/bob",
                ("phone", iq(f"{ROOM}/bob", "result")): "nothing",
                ("phone", iq(f"{ROOM}/bob", "error")): "nothing",
                ("phone", iq(ROOM, inner=INFO)): f"room: iq get {ROOM}",
                ("phone", iq(f"{ROOM}/bob", "set", MAM)): f"room: iq set {ROOM}/bob",
                ("phone", iq(f"{ROOM}/alice", inner=PING)): "told: iq result",  # it is there, no doubt
                ("phone", iq(f"{ROOM}/alice", "set", PING)): f"room: iq set {ROOM}/alice",
                ("phone", iq(f"{ROOM}/alice")): f"room: iq get {ROOM}/alice",
                ("phone", iq(f"{ROOM}/bob", inner=PING)): f"room: iq get {ROOM}/bob",
            }
        )

    def test_of_who_is_not_in(self) -> None:
        """What a client may ask a room before it joins is asked by the account, which gets a better answer."""
        rows = {
            ("tablet", iq(ROOM, inner=INFO)): f"room: iq get {ROOM}",
            ("tablet", iq(ROOM, "set", MAM)): f"room: iq get {ROOM}",  # whether it has an archive
            ("tablet", iq(ROOM, "get", METADATA)): f"room: iq get {ROOM}",
        }
        for xml in (
            message(ROOM),
            message(f"{ROOM}/bob", "chat"),
            message(ROOM, "get", INFO),
            message(ROOM, "set", MAM),
            iq(ROOM),
            iq(ROOM, "set"),
            iq(ROOM, "set", INFO),
            iq(ROOM, "result", INFO),
            iq(ROOM, "result", MAM),
            iq(f"{ROOM}/bob", inner=INFO),
            iq(f"{ROOM}/bob", "set", MAM),
        ):
            rows["tablet", xml] = "passes"
        self.table(rows)

    def test_that_are_nobodys_affair(self) -> None:
        rows = [message(OTHER), message("", "chat"), message("bob@b.test", "chat"), message("a@@b", "chat")]
        rows += [iq(OTHER), iq(OTHER, inner=INFO), iq(OTHER, "set", MAM), iq("bob@b.test"), iq(""), iq("a@@b")]
        rows += [f"<{name} xmlns='urn:x' type='get' to='{ROOM}'/>" for name in ("message", "iq")]
        rows += [f"<foo to='{ROOM}'/>", f"<foo to='{ROOM}' type='get'>{INFO}</foo>"]
        self.table({(who, xml): "passes" for xml in rows for who in ("phone", "tablet")})

    def test_while_the_room_is_out_of_reach(self) -> None:
        """Who is in has to wait; who is not asks by itself."""
        for who, xml, expected in (
            ("phone", message(ROOM), "nothing"),
            ("phone", iq(ROOM), "nothing"),
            ("phone", iq(ROOM, inner=INFO), "nothing"),
            ("tablet", iq(ROOM, inner=INFO), "passes"),
            ("tablet", iq(ROOM, "set", MAM), "passes"),
        ):
            self.setUp()
            self.world.stream.jid = ""
            self.world.stream.lost()
            self.world.stream.take()
            self.assertEqual(self.fate(getattr(self, who), xml), expected, xml)

    def test_whom_a_client_may_say_that_it_is(self) -> None:
        """Itself or its account (RFC 6120 §8.1.2.1); else the account stream would end, with all of the rooms."""
        for sender, its_own in (
            (BARE, True),
            (f"{BARE}/phone", True),
            ("ALICE@a.test", True),
            (f"{BARE}/laptop", False),
            (STREAM, False),
            ("bob@b.test", False),
            ("bob@a.test", False),
            (f"{ROOM}/alice", False),
            ("a@@b", False),
        ):
            for xml, goes in (
                (message(ROOM, more=f"from='{sender}'"), f"room: message groupchat {ROOM}"),
                (iq(ROOM, more=f"from='{sender}'"), f"room: iq get {ROOM}"),
                (presence(f"{OTHER}/alice", inner=JOIN, more=f"from='{sender}'"), f"room: presence - {OTHER}/alice"),
                (presence(f"{ROOM}/bob", "probe", more=f"from='{sender}'"), f"room: presence probe {ROOM}/bob"),
            ):
                self.setUp()
                expected = goes if its_own else "closed: invalid-from"
                self.assertEqual(self.fate(self.phone, xml), expected, f"from {sender}: {xml}")
            self.setUp()
            elsewhere = message("bob@b.test", "chat", more=f"from='{sender}'")
            self.assertEqual(self.fate(self.phone, elsewhere), "passes", "the server is to judge that")


class ToTheAccountItself(Case):
    """At the address of its account stream."""

    def test_table(self) -> None:
        rows = {iq(STREAM, inner=PING): "told: iq result", iq(STREAM, inner=Q): "told: iq error"}
        rows[iq(STREAM, "set", Q)] = "told: iq error"
        rows[iq(STREAM, inner=PING, more=f"from='{BARE}'")] = "told: iq result"
        rows[iq(STREAM, inner=PING, more="from='bob@b.test'")] = "closed: invalid-from"
        for xml in (
            iq(STREAM, "result", PING),
            iq(STREAM, "error", PING),
            iq(STREAM, "", PING),
            message(STREAM, "get", PING),
            message(STREAM, "chat"),
            presence(STREAM, "get", PING),
            presence(STREAM),
            iq(BARE, inner=PING),
            iq(f"{BARE}/other", inner=PING),
            iq("mallory@a.test/minimix.0123", inner=PING),
        ):
            rows[xml] = "passes"
        self.table({("tablet", xml): expected for xml, expected in rows.items()})


class Unreadable(Case):
    """Too many elements to look at: refused where the account would have to look, else it is the receiver's affair."""

    def test_table(self) -> None:
        rows = {
            ("phone", message(ROOM, inner=MANY)): "told: message error",
            ("phone", message(f"{ROOM}/bob", "chat", MANY)): "told: message error",
            ("phone", iq(ROOM, inner=MANY)): "told: iq error",
            ("phone", iq(ROOM, "result", MANY)): "nothing",
            ("phone", message(ROOM, "error", MANY)): "nothing",
            ("phone", presence(f"{ROOM}/alice", inner=MANY)): "told: presence error",
            ("tablet", presence(f"{ROOM}/alice", inner=JOIN + MANY)): "told: presence error",
            ("tablet", presence(f"{OTHER}/alice", inner=JOIN + MANY)): "told: presence error",
            ("tablet", iq(STREAM, inner=MANY)): "told: iq error",
        }
        for who, xml in (
            ("tablet", message(ROOM, inner=MANY)),
            ("tablet", iq(ROOM, inner=MANY)),
            ("tablet", presence(f"{ROOM}/alice", inner=MANY)),
            ("tablet", presence(f"{ROOM}/alice", "unavailable", JOIN + MANY)),
            ("tablet", message(f"{OTHER}/alice", "", JOIN + MANY)),
            ("tablet", iq(OTHER, inner=JOIN + MANY)),
            ("phone", message(OTHER, inner=MANY)),
            ("phone", message("bob@b.test", "chat", MANY)),
            ("phone", message("a@@b", "chat", MANY)),
            ("phone", message("", "chat", MANY)),
            ("phone", message("", "unavailable", MANY)),
            ("phone", presence("", "", MANY)),
            ("phone", presence("", "subscribe", MANY)),
        ):
            rows[who, xml] = "passes"
        self.table(rows)

    def test_undirected(self) -> None:
        """That a device is away is in its first tag. What it shows when it comes cannot be read."""
        for xml, is_in in (
            (presence("", "unavailable", MANY), False),
            (presence("", "", MANY), True),
            (presence("", "subscribe", MANY), True),
            (message("", "unavailable", MANY), True),
            (iq("", "unavailable", MANY), True),
        ):
            self.setUp()
            self.assertEqual(self.fate(self.phone, xml), "passes")
            self.assertEqual(self.phone in self.world.account.rooms[ROOM].attached, is_in, xml[:40])


class Unplanned(World):
    planned = ""


class FromTheServer(Case):
    """What comes on a client's own stream; True: it must not reach the client."""

    FORWARD: ClassVar[str] = (
        "<{0} xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>"
        "<message xmlns='jabber:client' from='{1}' to='{2}' type='chat' id='c'><body>x</body></message>"
        "</forwarded></{0}>"
    )

    def taken(self, xml: str) -> bool:
        taken = self.world.account.from_server(self.phone, parse_stanza(xml))
        self.assertEqual((self.world.stream.take(), self.phone.take()), ([], []))
        return taken

    def test_table(self) -> None:
        sent = self.FORWARD.format("sent", STREAM, f"{ROOM}/bob")
        got = self.FORWARD.format("received", f"{ROOM}/bob", STREAM)
        others = self.FORWARD.format("sent", f"{BARE}/desk", "bob@b.test")
        rows = {
            f"<presence type='unavailable' from='{STREAM}'/>": True,
            f"<presence type='unavailable' from='ALICE@a.test/{STREAM.partition('/')[2]}'/>": True,
            f"<presence from='{STREAM}'/>": False,
            "<presence type='unavailable'/>": False,
            f"<presence type='unavailable' from='{BARE}'/>": False,
            f"<presence type='unavailable' from='{BARE}/desk'/>": False,
            "<presence type='unavailable' from='a@@b'/>": False,
            f"<message from='{BARE}'>{sent}</message>": True,
            f"<message from='{BARE}'>{got}</message>": True,
            f"<message from='{BARE}'>{others}</message>": False,
            f"<message from='bob@b.test'>{sent}</message>": False,
            f"<message>{sent}</message>": True,  # as good as from the bare JID
            f"<message from='{BARE}/desk'>{sent}</message>": False,
            f"<iq type='set' id='1' from='{BARE}'>{sent}</iq>": False,
            f"<presence from='{BARE}'>{sent}</presence>": False,
            f"<message from='{BARE}'>{sent}{MANY}</message>": False,
        }
        for xml, expected in rows.items():
            self.setUp()
            self.assertEqual(self.taken(xml), expected, xml[:300])

    def test_of_which_stream_is_not_known_yet(self) -> None:
        """Nobody's carbon is taken then, not even one that lacks addresses."""
        self.world = Unplanned()
        self.phone = self.world.session("phone")
        carbon = self.FORWARD.format("sent", STREAM, f"{ROOM}/bob")
        for xml in (carbon, carbon.replace(f" to='{ROOM}/bob'", ""), carbon.replace(f" from='{STREAM}'", "")):
            self.assertFalse(self.taken(f"<message from='{BARE}'>{xml}</message>"))
        self.assertFalse(self.taken("<presence type='unavailable'/>"))
