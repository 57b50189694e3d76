"""What a Wokkel handler can rely on as a child of an account stream, whether it knows anything of ours or not."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.protocols.jabber.error import StanzaError
from twisted.words.protocols.jabber.xmlstream import TimeoutError
from twisted.words.xish import domish
from wokkel.generic import VersionHandler
from wokkel.subprotocols import XMPPHandler

from minimixproxy.accountstream.account_login import LoginContext
from minimixproxy.accountstream.accounts import Accounts
from minimixproxy.accountstream.lifecycle_rules import LONGEST_URGENT_WAIT
from minimixproxy.accountstream.phases import StreamState
from minimixproxy.accountstream.stream import AccountStream, StreamOptions
from minimixproxy.config.settings import Rooms, Settings
from minimixproxy.minimix.subprotocols.subprotocol import ByName, Subprotocol
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.trees import MAX_TAGS
from tests.accountstream.places import Places
from tests.known_keys import MemoryKeys, Unguarded
from tests.minimix.fakes import BARE, STREAM, FakeSession
from tests.minimix.null_journal import NullJournal
from tests.minimix.upstreams import LOGIN, FakeLogins, Upstream

IQ_TIMEOUT = 60.0
TIME = "urn:xmpp:time"


class Told(XMPPHandler):  # type: ignore[misc]
    """Notes what it is told, and which stanzas it sees."""

    def __init__(self, told: list[str], name: str = "") -> None:
        super().__init__()
        self.told = told
        self.name = name

    def note(self, what: str) -> None:
        self.told.append(f"{self.name}{what}")

    def connectionMade(self) -> None:
        self.note("made")

    def connectionInitialized(self) -> None:
        self.note("initialized")
        self.xmlstream.addObserver(f"/iq[@type='get']/time[@xmlns='{TIME}']", self.asked)

    def connectionLost(self, reason: Failure) -> None:
        self.note(f"lost {type(reason.value).__name__}")
        super().connectionLost(reason)

    def asked(self, stanza: Stanza) -> None:
        self.note(f"asked {stanza['id']}")


class Waits(Subprotocol):
    """One of ours, which is told of more."""

    query = ByName("presence")

    def __init__(self, told: list[str]) -> None:
        super().__init__(BARE)
        self.told = told

    def received(self, stanza: Stanza) -> None:
        self.told.append(f"presence {stanza.get('id')}")

    def unreachable(self, *, refused: bool) -> None:
        self.told.append(f"unreachable {refused}")


class Takes(Subprotocol):
    """One of ours that another handler can be before."""

    query = ByName("message")

    def __init__(self, told: list[str], name: str = "") -> None:
        super().__init__(BARE)
        self.told = told
        self.name = name

    def received(self, stanza: Stanza) -> None:
        self.told.append(f"{self.name}{stanza['id']}")

    def taken(self) -> None:
        if self.name == "raises":
            raise RuntimeError("a fault")


class Raises(XMPPHandler):  # type: ignore[misc]
    def connectionInitialized(self) -> None:
        raise RuntimeError("a fault")

    def connectionLost(self, reason: Failure) -> None:
        raise RuntimeError("a fault")


class HandlerTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.upstream = Upstream()
        options, slots = StreamOptions(iq_timeout=IQ_TIMEOUT), Places()
        self.stream = AccountStream(BARE, self.upstream, self.clock, slots, options, lambda: 0.5)
        self.told: list[str] = []

    def opened(self) -> None:
        self.stream.send(b"<a/>")
        self.upstream.accept()
        self.upstream.take()

    def breaks(self) -> None:
        assert self.upstream.xmlstream is not None
        self.upstream.xmlstream.connectionLost(Failure(ConnectionDone()))

    def asks_time(self, stanza_id: str, more: str = "") -> None:
        self.upstream.says(f"<iq type='get' id='{stanza_id}' from='bob@b.test'><time xmlns='{TIME}'/>{more}</iq>")


class Lifecycle(HandlerTest):
    def test_it_is_told_of_the_connection(self) -> None:
        Told(self.told).setHandlerParent(self.stream)
        self.opened()
        self.assertEqual(self.told, ["made", "initialized"])
        self.breaks()
        self.assertEqual(self.told, ["made", "initialized", "lost ConnectionDone"])
        self.stream.send(b"<b/>")
        self.clock.advance(2)  # the wait before another attempt is drawn by lot
        self.upstream.accept()
        self.assertEqual(self.told[3:], ["made", "initialized"])

    def test_one_that_comes_later_is_told_so(self) -> None:
        self.opened()
        Told(self.told).setHandlerParent(self.stream)
        self.assertEqual(self.told, ["made", "initialized"])
        self.asks_time("1")
        self.assertEqual(self.told[2:], ["asked 1"])

    def test_one_that_goes_is_told_nothing(self) -> None:
        told = Told(self.told)
        told.setHandlerParent(self.stream)
        told.disownHandlerParent(self.stream)
        self.opened()
        self.breaks()
        self.assertEqual(self.told, [])

    def test_it_hears_nothing_of_a_stream_that_was_closed(self) -> None:
        """The server may go on for a while; the handler has no observer to remove."""
        Told(self.told).setHandlerParent(self.stream)
        self.opened()
        former = self.upstream.xmlstream
        self.stream.close()
        assert former is not None
        former.dataReceived(f"<iq type='get' id='1'><time xmlns='{TIME}'/></iq>".encode())
        self.assertEqual(self.told, ["made", "initialized", "lost ConnectionDone"])

    def test_what_waits_is_sent_before_it_is_initialized(self) -> None:
        class Greets(XMPPHandler):  # type: ignore[misc]
            def connectionInitialized(self) -> None:
                self.send("<greets/>")

        Greets().setHandlerParent(self.stream)
        self.stream.send(b"<waits/>")
        self.upstream.accept()
        self.assertEqual(self.upstream.take(), b"<waits/><greets/>")

    def test_lost_while_what_waits_is_sent(self) -> None:
        """Handlers are not told that a stream is open after it is lost again."""
        Told(self.told).setHandlerParent(self.stream)
        Waits(self.told).setHandlerParent(self.stream)
        self.stream.send(b"<waits/>")
        self.upstream.accept(lambda _data: self.breaks())
        self.assertEqual(self.told, ["made", "lost ConnectionDone", "unreachable False"])

    def test_lost_before_all_that_waits_is_sent(self) -> None:
        """The rest is dropped: who sent it is told of the loss, and may mean something else by now."""
        self.stream.send(b"<first/>")
        self.stream.send(b"<second/>")
        self.upstream.accept(lambda _data: self.breaks())
        self.clock.advance(LONGEST_URGENT_WAIT)
        self.assertEqual((self.stream.state, self.upstream.attempts), (StreamState.CLOSED, []))

    def test_a_fault_of_one_is_not_the_others(self) -> None:
        Raises().setHandlerParent(self.stream)
        Told(self.told).setHandlerParent(self.stream)
        self.opened()
        self.breaks()
        self.assertEqual(self.told, ["made", "initialized", "lost ConnectionDone"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_ours_are_told_more(self) -> None:
        Waits(self.told).setHandlerParent(self.stream)
        self.opened()
        self.breaks()
        self.assertEqual(self.told, ["unreachable False"])
        self.stream.refuse()
        self.stream.send(b"<a/>")
        self.clock.advance(0)
        self.assertEqual(self.told, ["unreachable False", "unreachable True"])

    def test_who_waits_for_an_answer_is_told_last(self) -> None:
        self.stream.requests.ask("b.test", "get", b"<x/>", lambda answer: self.told.append(f"answer {answer}"))
        Waits(self.told).setHandlerParent(self.stream)
        self.upstream.accept()
        self.breaks()
        self.assertEqual(self.told, ["unreachable False", "answer None"])


class Observing(HandlerTest):
    """Who sees a stanza, whether one observes it or several do, by its name or by more."""

    def says(self, stanza_id: str) -> list[str]:
        del self.told[:]
        self.upstream.says(f"<message id='{stanza_id}' from='bob@b.test'/>")
        return self.told

    def setUp(self) -> None:
        super().setUp()
        self.takes = Takes(self.told)
        self.takes.setHandlerParent(self.stream)
        self.opened()

    def test_one(self) -> None:
        self.assertEqual(self.says("1"), ["1"])
        self.takes.disownHandlerParent(self.stream)
        self.assertEqual(self.says("2"), [])
        self.takes.setHandlerParent(self.stream)
        self.assertEqual(self.says("3"), ["3"])

    def test_two(self) -> None:
        other = Takes(self.told, "other ")
        other.setHandlerParent(self.stream)
        self.assertEqual(self.says("1"), ["1", "other 1"])
        self.takes.disownHandlerParent(self.stream)
        self.assertEqual(self.says("2"), ["other 2"])

    def test_others_by_more_than_its_name(self) -> None:
        assert self.takes.xmlstream is not None
        self.takes.xmlstream.addObserver("/message[@id='2']", lambda stanza: self.told.append("before"))
        self.assertEqual((self.says("1")[:], self.says("2")), (["1"], ["before", "2"]))

    def test_one_who_observes_once(self) -> None:
        self.takes.xmlstream.addOnetimeObserver("/message", lambda stanza: self.told.append("once"))
        self.assertEqual((self.says("1")[:], self.says("2")), (["once", "1"], ["2"]))

    def test_a_fault_of_one(self) -> None:
        self.takes.name = "raises"
        self.assertEqual(self.says("1"), ["raises1"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.takes.name = ""
        self.assertEqual(self.says("2"), ["2"])


class Sending(HandlerTest):
    def setUp(self) -> None:
        super().setUp()
        self.handler = XMPPHandler()
        self.handler.setHandlerParent(self.stream)

    def test_what_can_be_sent(self) -> None:
        element = domish.Element(("jabber:client", "message"))
        element["to"] = "bob@b.test"
        without = domish.Element((None, "presence"))
        for obj, expected in (
            (b"<a>\xc3\xbc</a>", b"<a>\xc3\xbc</a>"),
            ("<a>\xfc</a>", b"<a>\xc3\xbc</a>"),
            (element, b"<message to='bob@b.test'/>"),
            (without, b"<presence/>"),
            (Stanza(b"<iq/>", "jabber:client", "iq", {}, (), {}), b"<iq/>"),
        ):
            self.handler.send(obj)
            if self.upstream.attempts:
                self.upstream.accept()
            self.assertEqual(self.upstream.take(), expected)

    def asked(self, to: str | None = "b.test") -> tuple[Deferred[Any], str]:
        """Ask; return the result to come, and the id."""
        iq = domish.Element((None, "iq"))
        iq["type"] = "get"
        iq["id"] = "mine"
        if to is not None:
            iq["to"] = to
        iq.addElement((TIME, "time"))
        result = self.handler.request(iq)
        if self.upstream.attempts:
            self.upstream.accept()
        sent = self.upstream.take().decode()
        self.assertIn(f"<time xmlns='{TIME}'", sent)
        self.assertNotIn("mine", sent, "ids on the wire tell nothing")
        return result, sent.partition("id='")[2].partition("'")[0]

    def test_request(self) -> None:
        result, identity = self.asked()
        self.upstream.says(f"<iq type='result' id='{identity}' from='mallory@b.test'/>")
        self.assertNoResult(result)
        self.upstream.says(f"<iq type='result' id='{identity}' from='b.test'><time xmlns='{TIME}'/></iq>")
        self.assertEqual(self.successResultOf(result).time.uri, TIME)

    def test_request_of_the_own_account(self) -> None:
        result, identity = self.asked(None)
        self.upstream.says(f"<iq type='result' id='{identity}' from='{BARE}'/>")
        self.successResultOf(result)

    def test_request_that_fails(self) -> None:
        result, identity = self.asked()
        error = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        self.upstream.says(f"<iq type='error' id='{identity}' from='b.test'>{error}</iq>")
        self.assertEqual(self.failureResultOf(result, StanzaError).value.condition, "item-not-found")

    def test_request_that_nobody_answers(self) -> None:
        late, _ = self.asked()
        self.clock.advance(IQ_TIMEOUT)
        self.failureResultOf(late, TimeoutError)
        lost, _ = self.asked()
        self.breaks()
        self.failureResultOf(lost, TimeoutError)

    def test_an_answer_that_cannot_be_read(self) -> None:
        result, identity = self.asked()
        self.upstream.says(f"<iq type='result' id='{identity}' from='b.test'>{'<a/>' * MAX_TAGS}</iq>")
        self.failureResultOf(result, TimeoutError)


class AccountTest(SynchronousTestCase):
    """Beside the three subprotocols of an account."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.upstream = Upstream()
        settings = Settings.model_construct(rooms=Rooms(bookmarks="off"))
        logins = FakeLogins(self.upstream.connect)
        self.accounts = Accounts(
            LoginContext(settings, self.clock, NullJournal(), logins, lambda _bare: "", MemoryKeys(), Unguarded())
        )
        self.accounts.session_bound(FakeSession("phone", self.clock), LOGIN)
        ((self.account, self.stream),) = self.accounts.with_streams()

    def opened(self) -> None:
        self.stream.send(b"<a/>")
        self.upstream.accept()
        self.upstream.take_of_reader()


class Receiving(AccountTest):
    def test_what_another_has_handled_is_left_alone(self) -> None:
        """As Wokkel's own for XEP-0092: there is one answer."""
        VersionHandler("a fourth", "1").setHandlerParent(self.stream)
        self.opened()
        ask = f"<iq type='get' id='1' from='bob@b.test' to='{STREAM}'><query xmlns='jabber:iq:version'/></iq>"
        self.upstream.says(ask)
        sent = self.upstream.take()
        self.assertEqual((sent.count(b"<iq"), sent.count(b"a fourth")), (1, 1), sent)

    def test_one_that_nobody_is_to_look_into(self) -> None:
        """It matches no path into it, and the stream goes on."""
        told: list[str] = []
        Told(told).setHandlerParent(self.stream)
        self.opened()
        many = "<a/>" * MAX_TAGS
        for stanza_id, more in (("1", many), ("2", "")):
            self.upstream.says(f"<iq type='get' id='{stanza_id}' from='bob@b.test'><time xmlns='{TIME}'/>{more}</iq>")
        self.assertEqual(told, ["made", "initialized", "asked 2"])
        self.assertIs(self.stream.state, StreamState.OPEN)

    def test_streams_are_services_under_the_accounts(self) -> None:
        self.assertEqual(list(self.accounts), [self.stream])
        self.accounts.startService()
        self.assertTrue(self.stream.running)
        self.opened()
        stopped = self.accounts.stopService()
        self.assertEqual(self.upstream.take(), b"</stream:stream>")
        self.assertNoResult(stopped)
        assert self.upstream.xmlstream is not None
        self.upstream.xmlstream.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(stopped)

    def test_the_stream_of_an_account_that_goes(self) -> None:
        self.accounts.startService()
        self.accounts.forget(BARE)
        self.assertEqual((list(self.accounts), len(self.accounts), self.stream.running), ([], 0, 0))
