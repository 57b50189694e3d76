"""The tables below the protocol: targets, open requests, sessions, limits."""

from collections.abc import Collection
from typing import TypedDict, Unpack

from twisted.internet.task import Clock
from twisted.trial import unittest

from minimixproxy.bounds.rate_limit import RateLimit
from minimixproxy.clientproxy.exchanges import (
    CONVERSATION,
    LONGEST_NAME,
    MOST_OF_ONE,
    Exchanges,
    begins_or_ends,
    exchange_of,
)
from minimixproxy.clientproxy.limits import AccessList
from minimixproxy.clientproxy.requests import Origin, Request, RequestLimits, Requests, TooMany
from minimixproxy.clientproxy.targets import MAX_FEATURES, Subscription, Targets
from minimixproxy.jids import parse_jid
from minimixproxy.namespaces import NS_COMMANDS
from tests.clientproxy.scene import stanza

A, B = "worker@example.org/a", "worker@example.org/b"


def targets(*jids: str, limit: int = 1000) -> Targets:
    made = Targets(["worker@example.org", "second@example.net"], limit)
    for jid in jids:
        made.available(parse_jid(jid), 0, "", "")
    return made


class TargetsTests(unittest.TestCase):
    def test_who_takes_requests(self) -> None:
        for priority, show, takes in (
            (0, "", True),
            (5, "chat", True),
            (0, "away", True),
            (0, "xa", True),
            (-1, "", False),
            (3, "dnd", False),
        ):
            made = targets()
            made.available(parse_jid(A), priority, show, "")
            self.assertEqual(made.candidates(), (A,) if takes else (), (priority, show))
            self.assertIsNotNone(made.get(A))

    def test_they_change_their_mind(self) -> None:
        made = targets(A, B)
        made.available(parse_jid(A), 0, "dnd", "")
        self.assertEqual(made.candidates(), (B,))
        made.available(parse_jid(A), 0, "", "")
        self.assertEqual(made.candidates(), (A, B))

    def test_gone(self) -> None:
        made = targets(A, B, "second@example.net/x")
        self.assertEqual(made.unavailable(parse_jid(A)), (A,))
        self.assertEqual(made.unavailable(parse_jid(A)), ())
        self.assertEqual(made.unavailable(parse_jid("worker@example.org")), (B,))
        self.assertEqual(made.candidates(), ("second@example.net/x",))

    def test_a_presence_without_resource_is_none(self) -> None:
        made = targets("worker@example.org")
        self.assertEqual(made.candidates(), ())

    def test_unsubscribed_believes_nothing_until_subscribed(self) -> None:
        made = targets(A)
        self.assertEqual(made.unsubscribed("worker@example.org"), (A,))
        made.available(parse_jid(B), 0, "", "")
        self.assertEqual(made.candidates(), ())
        made.subscribed("worker@example.org")
        made.available(parse_jid(B), 0, "", "")
        self.assertEqual(made.candidates(), (B,))

    def test_reset_forgets_resources_and_asks_anew(self) -> None:
        made = targets(A)
        made.subscribed("worker@example.org")
        self.assertEqual(made.reset(), (A,))
        self.assertEqual(made.candidates(), ())
        self.assertEqual(set(made.subscriptions.values()), {Subscription.ASKING})

    def test_bounded(self) -> None:
        made = targets(*(f"worker@example.org/{number}" for number in range(5)), limit=3)
        self.assertEqual(len(made.resources()), 3)
        for number in range(MAX_FEATURES + 10):
            made.candidates(f"urn:x:{number}")
        self.assertLessEqual(len(made._candidates), MAX_FEATURES)
        made.learn("worker@example.org/0", [f"urn:x:{number}" for number in range(MAX_FEATURES + 10)])
        resource = made.get("worker@example.org/0")
        assert resource is not None and resource.features is not None
        self.assertEqual(len(resource.features), MAX_FEATURES)

    def test_the_same_presence_again_is_no_news(self) -> None:
        made = targets()
        self.assertTrue(made.available(parse_jid(A), 1, "away", "v"))
        changes = made.changes
        self.assertFalse(made.available(parse_jid(A), 1, "away", "v"))
        self.assertEqual(made.changes, changes)
        for other in ((2, "away", "v"), (2, "", "v"), (2, "", "w")):
            made.available(parse_jid(A), *other)
            self.assertGreater(made.changes, changes)
            changes = made.changes

    def test_features_are_asked_for_once_and_when_they_change(self) -> None:
        made = targets()
        self.assertTrue(made.available(parse_jid(A), 0, "", "v1"))
        made.learn(A, ["x"])
        self.assertFalse(made.available(parse_jid(A), 0, "", "v1"))
        self.assertFalse(made.available(parse_jid(A), 0, "away", "v1"))
        self.assertTrue(made.available(parse_jid(A), 0, "away", "v2"))

    def test_a_request_goes_to_those_that_have_the_feature_if_any_has(self) -> None:
        made = targets(A, B)
        self.assertEqual(made.candidates("urn:one"), (A, B), "nobody has said anything yet")
        made.learn(A, ["urn:one", "urn:both"])
        made.learn(B, ["urn:both"])
        self.assertEqual(made.candidates("urn:one"), (A,))
        self.assertEqual(made.candidates("urn:both"), (A, B))
        self.assertEqual(made.candidates("urn:neither"), (A, B))

    def test_who_may_get_a_request_is_found_out_once(self) -> None:
        made = targets(A, B)
        found = {namespace: made.candidates(namespace) for namespace in ("", "urn:one", "urn:two")}
        for namespace, candidates in found.items():
            self.assertIs(made.candidates(namespace), candidates)
        made.learn(A, [])
        self.assertIsNot(made.candidates(""), found[""])

    def test_a_mute_one_is_a_last_resort(self) -> None:
        made = targets(A, B)
        resource = made.get(A)
        assert resource is not None
        made.muted(resource)
        self.assertEqual(made.candidates(), (B,))
        made.unavailable(parse_jid(B))
        self.assertEqual(made.candidates(), (A,))
        made.available(parse_jid(B), 0, "", "")
        made.heard(A, 1.0)
        self.assertEqual(made.candidates(), (A, B))

    def test_the_show_of_all(self) -> None:
        made = targets()
        self.assertIsNone(made.show())
        made.available(parse_jid(A), 0, "dnd", "")
        self.assertEqual(made.show(), "dnd")
        made.available(parse_jid(B), 0, "", "")
        self.assertEqual(made.show(), "")


def request(asker: str = "alice@x/1", peer: str = A, raw: bytes = b"", origin: Origin = Origin.USER) -> Request:
    return Request(asker, asker.partition("/")[0], "id", "proxy", peer, origin, "get", raw)


class Bounds(TypedDict, total=False):
    open: int
    per_asker: int
    kept: int


class RequestsTests(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def table(self, own_domains: Collection[str] = (), **limits: Unpack[Bounds]) -> Requests:
        return Requests(self.clock.seconds, "p.", RequestLimits(timeout=10.0, **limits), own_domains)

    def test_matched_on_peer_and_id(self) -> None:
        table = self.table()
        asked = request()
        sent_as = table.add(asked)
        self.assertIsNone(table.owed(sent_as, B))
        self.assertIsNone(table.owed("other", A))
        self.assertIs(table.owed(sent_as, A), asked)
        table.close(asked)
        self.assertIsNone(table.owed(sent_as, A))
        self.assertEqual(len(table), 0)

    def test_ids_are_never_used_twice(self) -> None:
        table = self.table(per_asker=1000)
        self.assertEqual(len({table.add(request()) for _ in range(100)}), 100)

    def test_a_reassigned_one_is_owed_by_the_other_only(self) -> None:
        table = self.table()
        asked = request()
        first = table.add(asked)
        second = table.reassign(asked, B)
        self.assertIsNone(table.owed(first, A))
        self.assertEqual((table.load(A), table.load(B)), (0, 1))
        self.assertIs(table.owed(second, B), asked)

    def test_limits(self) -> None:
        table = self.table(open=3, per_asker=2)
        table.add(request("alice@x/1"))
        table.add(request("alice@x/2"))
        self.assertRaises(TooMany, table.add, request("alice@x/3"))
        bob = request("bob@y/1")
        table.add(bob)
        self.assertRaises(TooMany, table.add, request("carol@z/1"))
        table.close(bob)
        table.add(request("carol@z/1"))

    def fill(self, table: Requests, *domains: str) -> list[int]:
        """Each domain asks as often as it may, by a new account each time; return how often that was."""
        counts = dict.fromkeys(domains, 0)
        left = list(domains)
        while left:
            for domain in list(left):
                try:
                    table.add(request(f"a{counts[domain]}@{domain}/x"))
                    counts[domain] += 1
                except TooMany:
                    left.remove(domain)
        return list(counts.values())

    def test_a_domain_has_no_more_than_are_left_for_all(self) -> None:
        """However many accounts it has: they cost it nothing."""
        self.assertEqual(self.fill(self.table(open=100), "x"), [50])
        self.assertEqual(self.fill(self.table(open=100), "x", "y", "z"), [25, 25, 25])
        table = self.table(open=100)
        self.fill(table, "x")
        table.add(request("somebody@else/x"))
        self.assertRaises(TooMany, table.add, request("new@x/1"))
        self.assertRaises(TooMany, table.add, request("x"))

    def test_subdomains_share_what_their_parent_has(self) -> None:
        self.assertEqual(sum(self.fill(self.table(open=100), *(f"s{number}.x.example" for number in range(20)))), 50)
        self.assertEqual(self.fill(self.table(open=90), "a.x.example", "y.example"), [30, 30])
        self.assertEqual(self.fill(self.table(open=90), "x", "y.x"), [30, 30])  # what has no dot is nobody's parent
        table = self.table({"own.example"}, open=100)
        self.fill(table, "muc.own.example")
        table.add(request("a@own.example/x"))
        for one in table.all():
            table.close(one)
        self.assertEqual(self.fill(table, "a.x.example"), [50])

    def test_subdomains_of_the_own_server(self) -> None:
        """What one of them takes costs the others no more than anybody's would."""
        unrelated = self.fill(self.table(open=100), "x", "y", "z")
        table = self.table({"own.example"}, open=100)
        self.assertEqual(self.fill(table, "a.own.example", "b.own.example", "c.own.example"), unrelated)

    def test_a_name_of_many_labels_has_two_shares(self) -> None:
        """Were each of its parents one, a request would cost the table 250 KB of names."""
        table = self.table()
        table.add(request(f"a@{'l.' * 500}x.example/1"))
        self.assertEqual(len(table._shares), 1 + 2, "its own, and that of the domain and of the part that is owned")

    def test_what_a_domain_has_closed_counts_no_more(self) -> None:
        table = self.table(open=10)
        for _ in range(3):
            self.assertEqual(self.fill(table, "x"), [5])
            for one in table.all():
                table.close(one)

    def test_the_target_has_no_more_than_there_are(self) -> None:
        """It has no share, but not all the places in the world either; only our own questions come on top."""
        table = self.table(open=3)
        for _ in range(3):
            table.add(request(origin=Origin.TARGET))
        self.assertRaises(TooMany, table.add, request(origin=Origin.TARGET))
        table.add(request(origin=Origin.OURSELVES))
        self.assertEqual(len(table), 4)

    def test_who_has_none_may_have_the_last(self) -> None:
        table = self.table(open=3)
        for asker in ("a@x/1", "b@y/1", "c@z/1"):
            table.add(request(asker))
        self.assertRaises(TooMany, table.add, request("d@u/1"))

    def test_accounts_of_the_own_server_have_shares_of_their_own(self) -> None:
        table = self.table({"own"}, open=100, per_asker=40)
        for number in range(90):
            table.add(request(f"a{number}@own/x"))
        for _ in range(5):
            table.add(request("b@own/x"))
        self.assertRaises(TooMany, table.add, request("b@own/x"))
        table.add(request("c@own/x"))

    def test_the_target_has_no_share_of_its_own(self) -> None:
        table = self.table(per_asker=1)
        for _ in range(3):
            table.add(request(origin=Origin.TARGET))
        self.assertEqual(len(table), 3)

    def test_our_own_questions_always_fit(self) -> None:
        table = self.table(open=1)
        table.add(request())
        table.add(request(origin=Origin.OURSELVES))
        self.assertEqual(len(table), 2)

    def test_kept_bytes_are_bounded(self) -> None:
        table = self.table(kept=10)
        first, second = request(raw=b"x" * 8), request(raw=b"y" * 8)
        table.add(first)
        table.add(second)
        self.assertEqual((first.raw, second.raw), (b"x" * 8, b""))
        self.assertRaises(TooMany, table.add, request(peer="", raw=b"z" * 8))
        table.close(first)
        third, fourth = request(raw=b"z" * 8), request(raw=b"z" * 2)
        table.add(third)
        table.add(fourth)
        self.assertEqual((third.raw, fourth.raw), (b"z" * 8, b"z" * 2), "so much, and no more")

    def test_time_runs_from_the_first_sending(self) -> None:
        table = self.table()
        early, late = request(), request()
        table.add(early)
        self.clock.advance(4)
        table.add(late)
        table.reassign(early, B)
        self.clock.advance(5.9)
        self.assertEqual(table.expired(), [])
        self.clock.advance(0.1)
        self.assertEqual(table.expired(), [early])
        self.clock.advance(4)
        self.assertEqual(table.expired(), [late])
        self.assertEqual((len(table), table.load(A), table.load(B)), (0, 0, 0))

    def test_nothing_is_left_behind(self) -> None:
        table = self.table(open=10_000, per_asker=10_000)
        for number in range(1000):
            asked = request(f"u{number % 7}@x/1", A if number % 2 else B, raw=b"x")
            table.add(asked)
            if number % 3:
                table.close(asked)
        self.clock.advance(10)
        table.expired()
        for name in ("_open", "_by_peer", "_shares", "_in_order"):
            self.assertEqual(len(getattr(table, name)), 0, name)
        self.assertEqual(table._kept, 0)


class SessionsTests(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def test_known_to_its_asker_only(self) -> None:
        sessions = Exchanges(self.clock.seconds)
        sessions.bind("alice@x/1", "s1", A)
        self.assertEqual(sessions.holder("alice@x/1", "s1"), (True, A))
        self.assertEqual(sessions.holder("bob@x/1", "s1"), (False, None))
        sessions.end("alice@x/1", "s1")
        self.assertEqual(sessions.holder("alice@x/1", "s1"), (False, None))

    def test_lost_with_its_resource_but_conversations_go_on(self) -> None:
        sessions = Exchanges(self.clock.seconds)
        sessions.bind("alice@x/1", "s1", A)
        sessions.bind("alice@x", CONVERSATION, A)
        sessions.resource_gone(A)
        self.assertEqual(sessions.holder("alice@x/1", "s1"), (True, None))
        self.assertEqual(sessions.holder("alice@x", CONVERSATION), (False, None))

    def test_a_resource_that_goes_costs_what_it_held(self) -> None:
        """Not all that others hold is looked at: a target's resource may come and go without end."""
        sessions = Exchanges(self.clock.seconds)
        for number in range(50):
            sessions.bind(f"u{number}@x/1", "s", B)
        sessions.bind("alice@x/1", "s", A)
        sessions.bind("alice@x/1", "s", B)
        sessions.bind("bob@x/1", "s", A)
        self.assertEqual({key: len(held) for key, held in sessions._held.items()}, {A: 1, B: 51})
        sessions.resource_gone(A)
        self.assertEqual(sessions.holder("bob@x/1", "s"), (True, None))
        self.assertEqual(sessions.holder("alice@x/1", "s"), (True, B))
        for number in range(50):
            sessions.end(f"u{number}@x/1", "s")
        sessions.end("alice@x/1", "s")
        sessions.end("bob@x/1", "s")
        self.assertEqual(sessions._held, {})

    def test_expires_when_idle(self) -> None:
        sessions = Exchanges(self.clock.seconds, lifetime=10.0)
        sessions.bind("alice@x/1", "s1", A)
        for _ in range(3):
            self.clock.advance(9)
            self.assertEqual(sessions.holder("alice@x/1", "s1"), (True, A), "each use counts")
        self.clock.advance(10)
        self.assertEqual(sessions.holder("alice@x/1", "s1"), (False, None))

    def test_what_has_expired_is_forgotten_when_another_comes(self) -> None:
        sessions = Exchanges(self.clock.seconds, lifetime=10.0)
        for number in range(3):
            sessions.bind("alice@x/1", f"s{number}", A)
            self.clock.advance(4)
        self.clock.advance(2)
        sessions.bind("bob@x/1", "s", A)
        self.assertEqual(len(sessions), 2, "those of 4 s and of now")
        self.assertEqual(sessions.holder("alice@x/1", "s2"), (True, A))

    def test_the_least_recently_used_is_forgotten(self) -> None:
        sessions = Exchanges(self.clock.seconds, max_sessions=2)
        sessions.bind("alice@x/1", "s1", A)
        sessions.bind("alice@x/1", "s2", A)
        sessions.holder("alice@x/1", "s1")
        sessions.bind("alice@x/1", "s3", A)
        self.assertEqual([sessions.holder("alice@x/1", f"s{number}")[0] for number in (1, 2, 3)], [True, False, True])
        sessions.end("alice@x/1", "never known")
        self.assertEqual(len(sessions), 2)

    def test_only_its_own_are_lost_with_a_resource(self) -> None:
        sessions = Exchanges(self.clock.seconds)
        sessions.bind("alice@x/1", "s1", A)
        sessions.bind("alice@x/1", "s2", B)
        sessions.resource_gone(A)
        self.assertEqual(sessions.holder("alice@x/1", "s2"), (True, B))

    def test_bounded(self) -> None:
        forgotten: list[str] = []
        sessions = Exchanges(self.clock.seconds, max_sessions=3, full=forgotten.append)
        for number in range(5):
            sessions.bind("alice@x/1", f"s{number}", A)
        self.assertEqual((len(sessions), forgotten), (3, ["max_sessions"] * 2))
        self.assertEqual(sessions.holder("alice@x/1", "s0"), (False, None))
        self.assertEqual(sessions.holder("alice@x/1", "s4"), (True, A))

    def test_one_user_pushes_out_only_their_own(self) -> None:
        sessions = Exchanges(self.clock.seconds, max_sessions=1000)
        sessions.bind("bob@x/1", "b", A)
        sessions.bind("alice@x/1", "first", A)
        for number in range(2000):
            sessions.bind(f"alice@x/{number}", f"s{number}", A)
        self.assertEqual(sessions.holder("bob@x/1", "b"), (True, A))
        self.assertEqual(sessions.holder("alice@x/1", "first"), (False, None))
        self.assertEqual(sessions.holder("alice@x/1999", "s1999"), (True, A))
        self.assertEqual(len(sessions), 101)
        sessions.end("alice@x/1999", "s1999")
        sessions.resource_gone(A)
        self.clock.advance(601)
        sessions.bind("carol@x/1", "c", A)
        self.assertEqual((len(sessions), len(sessions._of)), (1, 2))

    def test_one_domain_pushes_out_only_its_own(self) -> None:
        """With as many accounts, and subdomains, as it likes."""
        sessions = Exchanges(self.clock.seconds, max_sessions=100)
        others = [f"bob@{domain}/1" for domain in ("y", "b.example.org", "c.example.com")]
        for other in others:
            sessions.bind(other, "b", A)
        for number in range(1000):
            sessions.bind(f"eve{number}@m{number}.evil.example/1", f"s{number}", A)
        self.assertEqual([sessions.holder(other, "b") for other in others], [(True, A)] * 3)
        self.assertEqual(sessions.holder("eve999@m999.evil.example/1", "s999"), (True, A))
        self.assertEqual(len(sessions), 100)

    def test_what_no_domain_has_more_than_half_of(self) -> None:
        """The one idle longest goes, whosever it is."""
        sessions = Exchanges(self.clock.seconds, max_sessions=4)
        for number, domain in enumerate(("a.example", "b.example", "c.example", "b.example", "c.example")):
            sessions.bind(f"u{number}@{domain}/1", "s", A)
        self.assertEqual(
            [sessions.holder(f"u{one}@{d}.example/1", "s")[0] for one, d in enumerate("abcbc")], [False] + [True] * 4
        )

    def test_what_has_ended_counts_no_more(self) -> None:
        sessions = Exchanges(self.clock.seconds)
        sessions.bind("alice@x/1", "kept", A)
        for number in range(2 * MOST_OF_ONE):
            sessions.bind("alice@x/1", str(number), A)
            sessions.end("alice@x/1", str(number))
        self.assertEqual((len(sessions), sessions.holder("alice@x/1", "kept")), (1, (True, A)))

    def test_the_one_used_last_stays(self) -> None:
        sessions = Exchanges(self.clock.seconds)
        sessions.bind("alice@x/1", "used", A)
        for number in range(300):
            sessions.bind("alice@x/1", f"s{number}", A)
            self.assertEqual(sessions.holder("alice@x/1", "used"), (True, A))


class ExchangeTests(unittest.TestCase):
    def test_what_belongs_to_one(self) -> None:
        for payload, name in (
            ("<command xmlns='http://jabber.org/protocol/commands' sessionid='s'/>", "s"),
            ("<command xmlns='http://jabber.org/protocol/commands' sid='s' id='s'/>", ""),
            ("<open xmlns='http://jabber.org/protocol/ibb' sid='s'/>", "s"),
            ("<data xmlns='http://jabber.org/protocol/ibb' sid='s'/>", "s"),
            ("<close xmlns='http://jabber.org/protocol/ibb' sid='s'/>", "s"),
            ("<jingle xmlns='urn:xmpp:jingle:1' sid='s'/>", "s"),
            ("<query xmlns='http://jabber.org/protocol/bytestreams' sid='s'/>", "s"),
            ("<si xmlns='http://jabber.org/protocol/si' id='s'/>", "s"),
            ("<si xmlns='http://jabber.org/protocol/si' sid='s'/>", ""),
            ("<query xmlns='jabber:iq:private' sid='s'/>", ""),
            ("<open xmlns='urn:other' sid='s'/>", ""),
            ("", ""),
        ):
            self.assertEqual(exchange_of(stanza(f"<iq type='set'>{payload}</iq>")), name, payload)

    def test_a_name_of_256_characters_is_kept(self) -> None:
        for length in (LONGEST_NAME, LONGEST_NAME + 1):
            name = "x" * length
            found = exchange_of(stanza(f"<iq><command xmlns='{NS_COMMANDS}' sessionid='{name}'/></iq>"))
            self.assertEqual(found == name, length == LONGEST_NAME)

    def test_a_long_name_is_not_kept(self) -> None:
        """Ten thousand exchanges are remembered, and a name has room for half a megabyte."""
        names = set()
        for end in "ab":
            command = f"<command xmlns='http://jabber.org/protocol/commands' sessionid='{'x' * 100_000}{end}'/>"
            name = exchange_of(stanza(f"<iq type='set'>{command}</iq>"))
            self.assertEqual(begins_or_ends(stanza(f"<iq type='result'>{command}</iq>")), (name, True))
            names.add(name)
        self.assertEqual(len(names), 2)
        self.assertLess(max(map(len, names)), 100)

    def test_how_a_reply_leaves_a_session(self) -> None:
        for content, expected in (
            ("<command xmlns='http://jabber.org/protocol/commands' sessionid='s' status='executing'/>", ("s", True)),
            ("<command xmlns='http://jabber.org/protocol/commands' sessionid='s' status='completed'/>", ("s", False)),
            ("<command xmlns='http://jabber.org/protocol/commands' sessionid='s' status='canceled'/>", ("s", False)),
            ("<command xmlns='http://jabber.org/protocol/commands' sessionid='s'/>", ("s", True)),
            ("<command xmlns='http://jabber.org/protocol/commands' status='executing'/>", ("", True)),
            ("<query xmlns='jabber:iq:private'/>", ("", False)),
        ):
            self.assertEqual(begins_or_ends(stanza(f"<iq type='result'>{content}</iq>")), expected, content)


class LimitsTests(unittest.TestCase):
    def test_lists(self) -> None:
        for allow, deny, jid, permitted in (
            ((), (), "alice@example.org/x", True),
            (("example.org",), (), "alice@example.org/x", True),
            (("example.org",), (), "alice@sub.example.org/x", False),
            (("alice@example.org",), (), "bob@example.org/x", False),
            ((), ("example.net",), "bob@example.net/x", False),
            ((), ("bob@example.net/x",), "bob@example.net/y", True),
            (("example.org",), ("bob@example.org",), "bob@example.org/x", False),
            (("example.org",), ("bob@example.org",), "alice@example.org/x", True),
        ):
            self.assertEqual(AccessList(allow, deny).permits(parse_jid(jid)), permitted, (allow, deny, jid))

    def test_rate(self) -> None:
        clock = Clock()
        rate = RateLimit(2.0, 3, clock.seconds)
        self.assertEqual([rate.admits("a@x") for _ in range(5)], [True, True, True, False, False])
        self.assertTrue(rate.admits("b@x"))
        clock.advance(1)
        self.assertEqual([rate.admits("a@x") for _ in range(3)], [True, True, False])
        clock.advance(100)
        self.assertEqual([rate.admits("a@x") for _ in range(4)], [True, True, True, False])

    def test_no_rate_is_no_limit_and_no_memory(self) -> None:
        rate = RateLimit(0.0, 1, Clock().seconds)
        self.assertTrue(all(rate.admits("a@x") for _ in range(1000)))
        self.assertEqual(len(rate._buckets), 0)

    def test_bounded(self) -> None:
        forgotten: list[str] = []
        rate = RateLimit(1.0, 1, Clock().seconds, max_askers=10, full=forgotten.append)
        for number in range(50):
            rate.admits(f"u{number}@x")
        self.assertEqual((len(rate._buckets), len(forgotten)), (10, 40))

    def test_who_asks_goes_on_to_be_counted(self) -> None:
        """Strangers push out those who have not asked for longest, so nobody gets a full bucket by asking."""
        rate = RateLimit(1.0, 1, Clock().seconds, max_askers=10)
        admitted = 0
        for number in range(100):
            admitted += rate.admits("busy@x")
            rate.admits(f"u{number}@x")
        self.assertEqual(admitted, 1)

    def test_what_was_not_used_is_not_saved(self) -> None:
        clock = Clock()
        rate = RateLimit(0.5, 2, clock.seconds)
        for _ in range(3):
            self.assertEqual([rate.admits("a@x") for _ in range(3)], [True, True, False])
            clock.advance(1)
            self.assertFalse(rate.admits("a@x"), "half a stanza")
            clock.advance(1)
            self.assertEqual([rate.admits("a@x") for _ in range(2)], [True, False])
            clock.advance(1000)
