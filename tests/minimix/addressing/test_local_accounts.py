"""Accounts of the same proxy in the same room see each other's clients."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.addressing.local_accounts import as_before
from minimixproxy.wire.stanza import Stanza, parse_stanza
from minimixproxy.wire.trees import BUILT
from tests.minimix.fakes import ROOM, STREAM, World

JULIET = "juliet@a.test"
HERS = f"{JULIET}/minimix.4567"
CLIENT = f"{JULIET}/phone"


def juliet(kind: str, inner: str) -> str:
    x = f"<x xmlns='http://jabber.org/protocol/muc#user'><item jid='{HERS}'/></x>"
    return f"<presence {kind} from='{ROOM}/juliet' to='{STREAM}'>{inner}{x}</presence>"


class Neighbours(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        (self.phone,) = self.world.joined("phone")

    def shown(self) -> list[str]:
        return [
            item.getAttribute("jid")
            for stanza in self.phone.take()
            for x in stanza.element.elements()
            if x.name in ("x", "query")
            for item in x.elements()
            if item.name == "item"
        ]

    def test_shown_by_their_client(self) -> None:
        self.world.neighbours[(HERS, ROOM)] = CLIENT
        self.world.shows("juliet", item=f"jid='{HERS}'")
        self.assertEqual(self.shown(), [CLIENT])
        self.world.asks_to_join(self.phone)
        self.assertIn(CLIENT, self.shown())

    def test_as_they_are_without_a_client(self) -> None:
        self.world.shows("juliet", item=f"jid='{HERS}'")
        self.assertEqual(self.shown(), [HERS])

    def test_gone_by_the_address_that_was_shown(self) -> None:
        self.world.neighbours[(HERS, ROOM)] = CLIENT
        self.world.shows("juliet", item=f"jid='{HERS}'")
        self.world.neighbours.clear()
        self.world.gone("juliet", item=f"jid='{HERS}'")
        self.assertEqual(self.shown(), [CLIENT, CLIENT])

    def test_strangers_are_left_alone(self) -> None:
        self.world.neighbours[("mercutio@b.test/minimix.9999", ROOM)] = CLIENT
        for jid in ["mercutio@b.test/minimix.4567", "mercutio@b.test/x"]:
            self.world.shows("mercutio", item=f"jid='{jid}'")
            self.assertEqual(self.shown(), [jid])
        self.world.gone("mercutio", item="jid='mercutio@b.test/y'")
        self.assertEqual(self.shown(), ["mercutio@b.test/y"])

    def test_whose_last_presence_reads_otherwise(self) -> None:
        """Only a neighbour's that was shown by another address, and only where the room names it."""

        def presence(item: str, inner: str = "", kind: str = "") -> Stanza:
            x = f"<x xmlns='http://jabber.org/protocol/muc#user'><item {item}/></x>"
            return parse_stanza(f"<presence {kind} from='{ROOM}/juliet'>{inner}{x}</presence>")

        status = "<status>/minimix.4567</status>"
        shown = presence(f"jid='{CLIENT}'")
        for gone, before, changes in (
            (f"jid='{HERS}'", shown, True),
            (f"jid='{HERS}'", None, False),
            (f"jid='{HERS}'", presence("role='none'"), False),
            ("role='none'", shown, False),
            ("jid='juliet@a.test/phone'", shown, False),
        ):
            for inner in ("", status):
                stanza = presence(gone, inner, "type='unavailable'")
                result = as_before(stanza, before, STREAM)
                self.assertEqual(result is not stanza, changes, f"{gone} {inner} {before}")
                self.assertEqual(as_before(stanza, before, "") is not stanza, changes, "before there is a stream")
                self.assertEqual(CLIENT.encode() in result.raw, changes or CLIENT in gone)
                self.assertEqual(status.encode() in result.raw, bool(inner))

    def test_who_has_shown_much_costs_no_tree(self) -> None:
        """Neither on coming, nor on going: the mark in an address is known, and anybody can write it."""
        much = "<s xmlns='urn:x'>" + "<a/>" * 5000 + "<b>/minimix.4567</b></s>"
        built = BUILT.trees
        for _ in range(3):
            self.world.room(juliet("", much))
            self.world.room(juliet("", "<b>/minimix.4567</b>"))
            self.world.room(juliet("", much))
            self.world.room(juliet("type='unavailable'", "<b>/minimix.4567</b>"))
            self.world.room(juliet("", much))
            self.world.room(juliet("type='unavailable'", much))
        self.assertLessEqual(BUILT.trees - built, 3 * 2, "of those that are small, no more")
        self.assertEqual(len(self.phone.take()), 3 * 6)

    def test_an_answer_that_nobody_waits_for_costs_no_tree(self) -> None:
        self.world.neighbours[(HERS, ROOM)] = CLIENT
        items = f"<item jid='{HERS}'/>" * 1000
        admin = f"<query xmlns='http://jabber.org/protocol/muc#admin'>{items}</query>"
        built = BUILT.trees
        self.world.room(f"<iq type='result' from='{ROOM}' to='{STREAM}' id='1'>{admin}</iq>")
        self.assertEqual((BUILT.trees, self.phone.take()), (built, []))

    def test_own_stays_own(self) -> None:
        self.world.neighbours[(STREAM, ROOM)] = CLIENT
        self.world.shows("alice", "110", item=f"jid='{STREAM}'")
        self.assertEqual(self.shown(), [self.phone.jid])

    def test_lists(self) -> None:
        self.world.neighbours[(HERS, ROOM)] = CLIENT
        admin = "xmlns='http://jabber.org/protocol/muc#admin'"
        self.world.client(
            self.phone, f"<iq type='get' to='{ROOM}' id='1'><query {admin}><item role='none'/></query></iq>"
        )
        wire_id = self.world.stream.take()[0]["id"]
        items = f"<item jid='{HERS}'/><item jid='{STREAM}'/>"
        self.world.room(
            f"<iq type='result' from='{ROOM}' to='{STREAM}' id='{wire_id}'><query {admin}>{items}</query></iq>"
        )
        self.assertEqual(self.shown(), [CLIENT, self.phone.jid])

    def test_who_stands_for_the_account(self) -> None:
        self.assertEqual(self.world.account.client_in(ROOM), self.phone.jid)
        self.assertIsNone(self.world.account.client_in("other@muc.test"))
        laptop = self.world.session("laptop")
        self.world.clock.advance(1)
        self.world.asks_to_join(laptop)
        self.assertEqual(self.world.account.client_in(ROOM), laptop.jid)
        for session in (laptop, self.phone):
            self.world.account.session_closed(session)
        self.assertIsNone(self.world.account.client_in(ROOM))
