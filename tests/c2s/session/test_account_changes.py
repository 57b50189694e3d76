"""A changed password and a removed account: who is believed, and what follows for the session and its server."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial import unittest
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.session.request_watch import MAX_WATCHED, Learned, PasswordChanged, Removed, RequestWatch
from minimixproxy.c2s.transport.client_stream import CLOSE_TIMEOUT
from minimixproxy.c2s.upstream.binding import Own
from minimixproxy.wire.stanza import MalformedStanza, parse_stanza
from tests.c2s.helpers import Lab
from tests.c2s.session.test_request_watch import BIND, OTHERS, OWN, SERVER, iq

NS = "jabber:iq:register"
NAME, PASSWORD = "<username>alice</username>", "<password>new</password>"
FORM = (
    "<x xmlns='jabber:x:data' type='submit'><field var='username'><value>{}</value></field>"
    "<field var='password'><value>{}</value></field></x>"
)
CHANGED = PasswordChanged("new")
END = b"</stream:stream>"


def query(content: str) -> str:
    return f"<query xmlns='{NS}'>{content}</query>"


def stream_error(condition: str) -> str:
    namespace = "urn:ietf:params:xml:ns:xmpp-streams"
    return f"<error xmlns='http://etherx.jabber.org/streams'><{condition} xmlns='{namespace}'/></error>"


class WatchTest(SynchronousTestCase):
    def learn(self, content: str, answer: str = "result", sender: str = "", to: str = "") -> Learned | None:
        """Ask that of the server and have it answered."""
        self.watch = RequestWatch(OWN)
        self.watch.asked(iq("set", "1", query(content), to))
        return self.watch.heard(iq(answer, "1", "", sender))

    def test_what_is_asked(self) -> None:
        cases: dict[str, Learned | None] = {
            NAME + PASSWORD: CHANGED,
            PASSWORD + "<username>ALICE</username>" + "<email>x</email>": CHANGED,
            FORM.format("alice", "new"): CHANGED,
            NAME + PASSWORD + FORM.format("alice", "new"): CHANGED,
            NAME + PASSWORD + FORM.format("alice", "other"): None,
            NAME + "<password/>": None,
            NAME: None,
            PASSWORD: None,
            "<username>mallory</username>" + PASSWORD: None,
            "<username>alice@a.test</username>" + PASSWORD: None,
            "<username>@</username>" + PASSWORD: None,
            FORM.format("mallory", "new"): None,
            "": None,
            "<remove/>": Removed(certain=True),
            "<remove/>" + NAME + PASSWORD: Removed(certain=False),
            NAME + PASSWORD + "<remove/>": Removed(certain=False),
            "<remove xmlns='other'/>": Removed(certain=False),
        }
        for content, learned in cases.items():
            self.assertEqual(self.learn(content), learned, content)
            self.assertIsNone(self.learn(content, answer="error"), content)
            self.assertFalse(self.watch)

    def test_who_answers(self) -> None:
        for content, learned in ((NAME + PASSWORD, CHANGED), ("<remove/>", Removed(certain=True))):
            for sender in SERVER:
                self.assertEqual(self.learn(content, sender=sender), learned, sender)
            for sender in OTHERS:
                self.assertIsNone(self.learn(content, sender=sender), sender)
                self.assertIsNone(self.learn(content, to=sender.replace("from", "to")), sender)

    def test_a_get_changes_nothing(self) -> None:
        watch = RequestWatch(OWN)
        watch.asked(iq("get", "1", query(NAME + PASSWORD)))
        self.assertIsNone(watch.heard(iq("result", "1")))

    def test_how_the_stream_ends(self) -> None:
        """It counts only if a removal was asked for, and not refused."""
        for content in ("<remove/>", NAME + PASSWORD + "<remove/>"):
            for answer in ("", "result", "error"):
                for condition in ("not-authorized", "conflict", "reset", "system-shutdown"):
                    watch = RequestWatch(OWN)
                    watch.asked(iq("set", "1", query(content)))
                    learned = [watch.heard(iq(answer, "1"))] if answer else []
                    learned.append(watch.heard(parse_stanza(stream_error(condition))))
                    expected = content == "<remove/>" and answer == "result"
                    expected = expected or (condition in ("not-authorized", "conflict") and answer != "error")
                    self.assertEqual(Removed(certain=True) in learned, expected, (content, answer, condition))

    def test_requests_whose_answers_tell_nothing(self) -> None:
        """Servers remove the account all the same; then the end of the stream tells."""
        remove, enable = query("<remove/>"), "<enable xmlns='urn:xmpp:carbons:2'/>"
        crowd = [iq("set", str(number), enable) for number in range(MAX_WATCHED)]
        for asked in (
            [iq("set", "", remove)],
            [iq("set", "1", remove, "to='a.test/x'")],
            [iq("set", "1", remove), iq("set", "1", enable)],
            [iq("set", "1", enable), iq("set", "1", remove)],
            [iq("set", "1", enable), iq("set", "1", remove, "to='a.test/x'")],
            [iq("set", "", remove), iq("set", "1", enable), iq("set", "1", enable)],
            [*crowd, iq("set", "more", remove)],
        ):
            for condition, expected in (("not-authorized", True), ("conflict", True), ("reset", False)):
                watch = RequestWatch(OWN)
                for request in asked:
                    watch.asked(request)
                self.assertTrue(watch and watch.lasting)
                for answer in ("1", "1", "more", ""):
                    self.assertNotIn(watch.heard(iq("result", answer)), (Removed(certain=True), Removed(certain=False)))
                learned = watch.heard(parse_stanza(stream_error(condition)))
                self.assertEqual(learned == Removed(certain=True), expected, asked)

    def test_removals_elsewhere(self) -> None:
        for to in OTHERS:
            address = to.replace("from", "to")
            if address == "to='a.test/x'":
                continue
            for stanza_id in ("", "1"):
                watch = RequestWatch(OWN)
                watch.asked(iq("set", "1", BIND))
                watch.asked(iq("set", stanza_id, query("<remove/>"), address))
                self.assertIsNone(watch.heard(parse_stanza(stream_error("not-authorized"))), address)

    def test_how_it_ends_for_others(self) -> None:
        watch = RequestWatch(OWN)
        watch.asked(iq("set", "1", query(NAME + PASSWORD)))
        watch.asked(iq("set", "2", query("<remove/>"), "to='mallory@a.test/x'"))
        self.assertIsNone(watch.heard(parse_stanza(stream_error("not-authorized"))))
        self.assertIsNone(watch.heard(parse_stanza("<error><not-authorized/></error>")))
        watch.asked(iq("set", "3", query("<remove/>")))
        self.assertIsNone(watch.heard(parse_stanza("<error xmlns='http://etherx.jabber.org/streams'/>")))

    def test_the_password_is_not_in_the_repr(self) -> None:
        self.assertNotIn("new", repr(CHANGED))

    @given(st.text(alphabet="<>/remove usrnampwd='x", max_size=40))
    def test_nothing_raises(self, content: str) -> None:
        try:
            request = iq("set", "1", query(content))
        except MalformedStanza:
            return
        watch = RequestWatch(Own("alice@a.test", "a.test"))
        watch.asked(request)
        watch.heard(iq("result", "1"))


class SessionTest(unittest.TestCase):
    def setUp(self) -> None:
        self.lab = Lab(Path(self.mktemp()))
        self.client = self.lab.client()
        self.client.bind()

    def asks(self, content: str, behind: bytes = b"") -> bytes:
        """Return what the server gets."""
        self.client.send(b"<iq type='set' id='r'>%b</iq>" % query(content).encode() + behind)
        return self.client.upstream.take()

    def test_password(self) -> None:
        self.asks("<username>a</username><password>new</password>")
        self.assertEqual(self.client.serve(b"<iq type='result' id='r' from='m@example.org/x'/>")[:3], b"<iq")
        self.assertEqual(self.lab.accounts.passwords, [])
        self.client.serve(b"<iq type='result' id='r'/>")
        self.client.serve(b"<iq type='result' id='r'/>")
        self.assertEqual(self.lab.accounts.passwords, [("a@example.org", "new")])

    def test_removal(self) -> None:
        self.asks("<remove/>")
        self.assertEqual(self.lab.accounts.removals, [])
        self.assertEqual(self.client.serve(b"<iq type='result' id='r'/>"), b"<iq type='result' id='r'/>")
        self.assertEqual(self.lab.accounts.removals, ["a@example.org"])

    def test_the_client_hears_of_a_removal_first(self) -> None:
        """What the proxy does then ends its session."""
        seen: list[bytes] = []
        self.patch(self.lab.accounts, "removed", lambda _bare: seen.append(self.client.wire.value()))
        self.asks("<remove/>")
        self.client.wire.clear()
        answer = b"<iq type='result' id='r'/>"
        self.client.serve(answer)
        self.assertEqual(seen, [answer])

    def test_removal_without_an_answer(self) -> None:
        self.asks("<remove/>")
        self.client.serve(b"<stream:error><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>")
        self.assertEqual(self.lab.accounts.removals, ["a@example.org"])

    def test_the_goodbye_waits_for_the_answer(self) -> None:
        self.assertNotIn(END, self.asks("<remove/>", behind=END))
        self.client.serve(b"<iq type='result' id='r'/>")
        self.assertEqual(self.client.upstream.take(), END)
        self.assertEqual(self.lab.accounts.removals, ["a@example.org"])

    def test_one_goodbye(self) -> None:
        """Whatever the server says behind it, and though another answer is still due."""
        self.client.send(b"<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        self.asks("<remove/>")
        self.client.vanish()
        self.client.serve(b"<iq type='result' id='r'/><message/>")
        self.client.serve(b"<message/>")
        self.assertEqual(self.client.upstream.take(), END)

    def test_the_goodbye_does_not_wait_for_ever(self) -> None:
        self.asks("<remove/>", behind=END)
        self.lab.clock.advance(CLOSE_TIMEOUT)
        self.lab.clock.advance(CLOSE_TIMEOUT)
        self.assertEqual(self.client.upstream.take(), END)
        self.assertTrue(self.client.upstream.closing)
        self.lab.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.client.upstream.disconnected)
        self.assertEqual(self.lab.accounts.removals, [])

    def test_the_client_is_gone(self) -> None:
        for content in ("<remove/>", "<username>a</username><password>new</password>"):
            self.setUp()
            self.asks(content)
            self.client.vanish()
            self.assertEqual(self.client.upstream.take(), b"")
            self.client.serve(b"<iq type='result' id='r' from='m@example.org/x'/><message/>")
            self.assertFalse(self.client.upstream.closing)
            self.client.serve(b"<iq type='result' id='r'/>")
            self.assertEqual(self.client.upstream.take(), END)
            self.assertTrue(self.client.upstream.closing)
            self.assertEqual(len(self.lab.accounts.removals) + len(self.lab.accounts.passwords), 1)

    def test_what_cannot_be_read_is_no_answer(self) -> None:
        for gone in (False, True):
            self.setUp()
            self.asks("<remove/>")
            if gone:
                self.client.vanish()
            self.client.serve(b"<iq q:x='1' type='result' id='r'></iq>")
            self.assertEqual(self.lab.accounts.removals, [])
            self.client.serve(b"<iq type='result' id='r'/>")
            self.assertEqual(self.lab.accounts.removals, ["a@example.org"])

    def test_the_client_is_gone_and_nobody_answers(self) -> None:
        self.asks("<remove/>")
        self.client.vanish()
        self.lab.clock.advance(CLOSE_TIMEOUT)
        self.assertEqual(self.client.upstream.take(), END)
        self.lab.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.client.upstream.disconnected)
        self.assertEqual((self.lab.accounts.removals, self.lab.clock.getDelayedCalls()), ([], []))
