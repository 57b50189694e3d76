"""What is believed of answers to a client's dealings with its server, and which JIDs may be bound to a login."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.session.request_watch import (
    LARGEST,
    MAX_WATCHED,
    Bound,
    CarbonsChanged,
    Learned,
    Misbound,
    RequestWatch,
)
from minimixproxy.c2s.upstream.binding import BadBinding, Own
from minimixproxy.wire.children import stanza_of_bytes
from minimixproxy.wire.stanza import Stanza, parse_stanza
from minimixproxy.wire.trees import MAX_TAGS
from minimixproxy.xep.sasl import account_key

OWN = Own("alice@a.test", "a.test")
BIND = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
JID = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>{}</jid></bind>"
ENABLE = "<enable xmlns='urn:xmpp:carbons:2'/>"
DISABLE = "<disable xmlns='urn:xmpp:carbons:2'/>"
REGISTER = "<query xmlns='jabber:iq:register'>{}</query>"
ALICE = JID.format("alice@a.test/phone")
VICTIM = JID.format("victim@a.test/x")

SERVER = ("", "from='a.test'", "from='alice@a.test'", "from='A.TEST'", "from='ALICE@a.test'")
OTHERS = (
    "from='mallory@a.test/x'",
    "from='mallory@a.test'",
    "from='alice@b.test'",
    "from='b.test'",
    "from='muc.a.test'",
    "from='a.test/x'",
    "from='alice@a.test/other'",
    "from=''",
    "from='@'",
    "from='a.test.evil.test'",
)


def iq(kind: str, stanza_id: str | None, payload: str = "", more: str = "") -> Stanza:
    identifier = f" id='{stanza_id}'" if stanza_id is not None else ""
    return parse_stanza(f"<iq type='{kind}'{identifier} {more}>{payload}</iq>")


class WatchTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.watch = RequestWatch(OWN)

    def exchange(self, *stanzas: tuple[str, Stanza]) -> list[Learned]:
        """Let the client ask ("c") and answers arrive ("s"); return what was learned."""
        learned = []
        for who, stanza in stanzas:
            if who == "c":
                self.watch.asked(stanza)
            elif (one := self.watch.answered(stanza)) is not None:
                learned.append(one)
        return learned

    def test_answers_of_the_server(self) -> None:
        for sender in SERVER:
            for payload, answer, expected in (
                (BIND, ALICE, Bound("alice@a.test/phone")),
                (ENABLE, "", CarbonsChanged(True)),
                (DISABLE, "", CarbonsChanged(False)),
            ):
                learned = self.exchange(("c", iq("set", "1", payload)), ("s", iq("result", "1", answer, sender)))
                self.assertEqual(learned, [expected], sender)
                self.assertFalse(self.watch)

    def test_answers_of_anybody_else(self) -> None:
        """They count for nothing, and the server's own is still waited for."""
        for sender in OTHERS:
            for kind in ("result", "error"):
                learned = self.exchange(
                    ("c", iq("set", "1", BIND)),
                    ("c", iq("set", "2", ENABLE)),
                    ("s", iq(kind, "1", VICTIM, sender)),
                    ("s", iq(kind, "2", "", sender)),
                    ("s", iq("result", "1", ALICE)),
                    ("s", iq("result", "2")),
                )
                self.assertEqual(learned, [Bound("alice@a.test/phone"), CarbonsChanged(True)], sender)

    def test_requests_to_anybody_else(self) -> None:
        for address in (*OTHERS, "from='alice@a.test/phone'"):
            to = address.replace("from=", "to=")
            self.exchange(("c", iq("set", "1", BIND, to)), ("c", iq("set", "2", ENABLE, to)))
            self.assertFalse(self.watch, to)

    def test_requests_to_the_server_by_its_names(self) -> None:
        for address in SERVER:
            to = address.replace("from=", "to=")
            learned = self.exchange(("c", iq("set", "1", BIND, to)), ("s", iq("result", "1", ALICE)))
            self.assertEqual(learned, [Bound("alice@a.test/phone")], to)

    def test_only_the_first_answer(self) -> None:
        asked = ("c", iq("set", "1", ENABLE))
        answered = ("s", iq("result", "1"))
        self.assertEqual(self.exchange(asked, answered, answered), [CarbonsChanged(True)])
        self.assertEqual(self.exchange(asked, ("s", iq("error", "1")), answered), [])

    def test_an_id_that_is_open_twice(self) -> None:
        """Neither answer counts; afterwards the id is as good as any."""
        for second in (
            iq("set", "1", ENABLE),
            iq("set", "1", BIND),
            iq("get", "1", "<query xmlns='jabber:iq:roster'/>"),
        ):
            learned = self.exchange(
                ("c", iq("set", "1", BIND)),
                ("c", second),
                ("s", iq("result", "1", ALICE)),
                ("s", iq("result", "1", VICTIM)),
            )
            self.assertEqual(learned, [])
            self.assertFalse(self.watch)
        self.assertEqual(
            self.exchange(("c", iq("set", "1", DISABLE)), ("s", iq("result", "1"))), [CarbonsChanged(False)]
        )

    def test_the_answer_to_one_is_not_taken_for_that_to_a_later_one(self) -> None:
        """While one of two that had an id is still to be answered, a third with it is not followed either."""
        learned = self.exchange(
            ("c", iq("set", "1", BIND)),
            ("c", iq("get", "1", "<query xmlns='jabber:iq:roster'/>")),
            ("s", iq("result", "1", ALICE)),
            ("c", iq("set", "1", ENABLE)),
            ("s", iq("result", "1")),
            ("s", iq("error", "1")),
        )
        self.assertEqual(learned, [])
        self.assertFalse(self.watch)

    def test_too_large_to_be_kept(self) -> None:
        """Ids and passwords of a client that reads no answer; a removal is looked for in how the stream ends."""
        for request in (
            iq("set", "1" * LARGEST, BIND),
            iq("set", "1", REGISTER.format("<username>alice</username><password>" + "p" * LARGEST + "</password>")),
        ):
            self.assertIs(self.watch.asked(request), False)
        self.assertFalse(self.watch)
        self.assertIs(self.watch.asked(iq("set", "1" * LARGEST, REGISTER.format("<remove/>"))), False)
        self.assertTrue(self.watch.lasting)

    def test_a_removal_with_too_much_in_it_to_be_read(self) -> None:
        """Servers read it: nobody is to hide one, for the next owner to be put into the rooms."""
        much = "<a/>" * MAX_TAGS

        def large(query: str) -> Stanza:
            return stanza_of_bytes(f"<iq type='set' id='1'>{query}</iq>".encode())

        for query in (f"<remove>{much}</remove>", f"<remove/>{much}", f"{much}<remove/>"):
            watch = RequestWatch(OWN)
            self.assertIs(watch.asked(large(REGISTER.format(query))), False)
            self.assertTrue(watch.lasting, query[:10])
        self.assertIs(self.watch.asked(large(f"<query xmlns='jabber:iq:roster'>{much}</query>")), True)
        self.assertFalse(self.watch)

    def test_what_is_no_excess(self) -> None:
        roster = "<query xmlns='jabber:iq:roster'/>"
        for request in (
            iq("set", "1", BIND),
            iq("set", "1", ENABLE),
            iq("get", "2", BIND),
            iq("set", "3", roster),
            iq("set", None, ENABLE),
            iq("set", "4", ENABLE, "to='mallory@a.test/x'"),
        ):
            self.assertIs(self.watch.asked(request), True)

    def test_what_is_no_answer(self) -> None:
        """A request of the server may have any id: that of one that it has not answered yet, too."""
        for kind in ("get", "set", "", "results"):
            learned = self.exchange(
                ("c", iq("set", "1", BIND)), ("s", iq(kind, "1", VICTIM)), ("s", iq("result", "1", ALICE))
            )
            self.assertEqual(learned, [Bound("alice@a.test/phone")], kind)

    def test_what_uses_the_id_otherwise(self) -> None:
        """A request to somebody else is no second one, since its answer comes from there; an answer is no request."""
        for other in (iq("set", "1", BIND, "to='mallory@a.test/x'"), iq("result", "1"), iq("error", "1")):
            learned = self.exchange(("c", iq("set", "1", BIND)), ("c", other), ("s", iq("result", "1", ALICE)))
            self.assertEqual(learned, [Bound("alice@a.test/phone")])

    def test_requests_that_cannot_be_matched(self) -> None:
        for stanza_id in (None, ""):
            learned = self.exchange(("c", iq("set", stanza_id, ENABLE)), ("s", iq("result", stanza_id)))
            self.assertEqual((learned, len(self.watch)), ([], 0))

    def test_no_more_than_a_few_are_open(self) -> None:
        followed = [self.watch.asked(iq("set", str(number), ENABLE)) for number in range(MAX_WATCHED + 2)]
        self.assertEqual(followed, [True] * MAX_WATCHED + [False] * 2)
        self.assertEqual(len(self.watch), MAX_WATCHED)
        self.assertTrue(self.watch.asked(iq("set", "other", "<query xmlns='jabber:iq:roster'/>")))
        self.assertIsNone(self.watch.answered(iq("result", str(MAX_WATCHED))))
        self.assertEqual(self.watch.answered(iq("result", "0")), CarbonsChanged(True))
        self.assertTrue(self.watch.asked(iq("set", "more", ENABLE)))

    def test_bound_to_somebody_else(self) -> None:
        for answer in (VICTIM, JID.format("alice@b.test/x"), JID.format("alice@a.test"), JID.format(""), "", BIND):
            learned = self.exchange(("c", iq("set", "1", BIND)), ("s", iq("result", "1", answer)))
            self.assertEqual([type(one) for one in learned], [Misbound], answer)


class OwnTest(SynchronousTestCase):
    def test_bound_jids(self) -> None:
        for username, text in (
            ("alice", "alice@a.test/x"),
            ("ALICE", "alice@a.test/x"),
            ("alice", "Alice@A.test/x"),
            ("Stra\u00dfe", "strasse@a.test/x"),
            ("\u212alaus", "klaus@a.test/x"),
            ("d'or\\27", "d'or\\27@a.test/x"),
            ("alice", "alice@a.test/x@y/z"),
        ):
            own = Own(account_key(username, "a.test"), "a.test")
            result = iq("result", "1", JID.format(text.replace("'", "&apos;")))
            if "'" in text:
                self.assertRaises(BadBinding, own.bound_jid, result)  # no server has such an account
            else:
                self.assertEqual(own.bound_jid(result), text)

    def test_others(self) -> None:
        for username, text in (
            ("alice", "alice2@a.test/x"),
            ("alice", "a.test/x"),
            ("alice", "alice@a.test.b.test/x"),
            ("alice", "alice@sub.a.test/x"),
            ("alice@a.test/x", "alice@a.test/x"),
            ("alice", "alice@a.test@b.test/x"),
            ("alice", "alice@a.test/"),
            ("alice", "/x"),
            ("alice", "x" * 2000),
        ):
            own = Own(account_key(username, "a.test"), "a.test")
            self.assertRaises(BadBinding, own.bound_jid, iq("result", "1", JID.format(text)))
