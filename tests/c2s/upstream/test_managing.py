"""Stream management is switched on, and a stream is resumed: what the server says to that, and what comes beside it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.protocols.jabber.xmlstream import Authenticator

from minimixproxy.c2s.errors import UpstreamProtocolError
from minimixproxy.c2s.upstream.managing import MAX_BEFORE_ENABLED, NotResumed, enable, resume
from minimixproxy.wire.events import Event, Skipped
from minimixproxy.wire.framing import FramingLimits
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.xmlstream import FramedXmlStream
from minimixproxy.xep.stream_management import Enabled
from tests.c2s.helpers import SERVER_HEADER

Result = TypeVar("Result")
ENABLED = "<enabled xmlns='urn:xmpp:sm:3' id='i' resume='true' max='300' location='[::1]:5222'/>"


class ManagingTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.xs = FramedXmlStream(Authenticator(), FramingLimits(max_stanza=10_000, skips=True))
        self.transport = StringTransport()
        self.xs.makeConnection(self.transport)
        self.xs.dataReceived(SERVER_HEADER)

    def begun(self, what: Coroutine[Deferred[Any], Any, Result]) -> Deferred[Result]:
        self.transport.clear()
        return Deferred.fromCoroutine(what)

    def says(self, xml: str) -> None:
        self.xs.dataReceived(xml.encode())

    @property
    def kept(self) -> list[Event]:
        return self.xs._held


class EnableTests(ManagingTest):
    def test_it_is_switched_on(self) -> None:
        working = self.begun(enable(self.xs, "alice@a.test/x"))
        self.assertEqual(self.transport.value(), b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
        self.says(ENABLED)
        self.assertEqual(self.successResultOf(working), Enabled("i", 300, "[::1]:5222"))

    def test_not_resumable(self) -> None:
        working = self.begun(enable(self.xs, "alice@a.test/x"))
        self.says("<enabled xmlns='urn:xmpp:sm:3'/>")
        self.assertEqual(self.successResultOf(working), Enabled("", None, ""))

    def test_refused(self) -> None:
        working = self.begun(enable(self.xs, "alice@a.test/x"))
        self.says("<failed xmlns='urn:xmpp:sm:3'><x xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
        self.assertIsNone(self.successResultOf(working))

    def test_what_comes_beside_the_answer(self) -> None:
        """Which stanzas count is told by the place of the answer among them."""
        working = self.begun(enable(self.xs, "alice@a.test/x"))
        self.says("<message id='1'/>")
        self.says(f"<message id='2'/>{ENABLED}<message id='3'/><iq id='4'>{'x' * 20_000}</iq>")
        self.successResultOf(working)
        self.says("<message id='5'/>")
        names = [(event.name, event.attributes["id"]) for event in self.kept if isinstance(event, Stanza | Skipped)]
        expected = [("message", "1"), ("message", "2"), ("enabled", "i"), ("message", "3"), ("iq", "4")]
        self.assertEqual(names, [*expected, ("message", "5")])

    def test_no_answer(self) -> None:
        working = self.begun(enable(self.xs, "alice@a.test/x"))
        self.says("<message/>" * (MAX_BEFORE_ENABLED - 1))
        self.assertNoResult(working)
        self.says("<enabled xmlns='urn:xmpp:sm:2' id='i'/>")
        self.failureResultOf(working, UpstreamProtocolError)


class ResumeTests(ManagingTest):
    def resumes(self, answer: str) -> Deferred[int]:
        working = self.begun(resume(self.xs, "a'b", 7))
        self.assertEqual(self.transport.value(), b"<resume xmlns='urn:xmpp:sm:3' previd='a&apos;b' h='7'/>")
        self.says(answer)
        return working

    def test_resumed(self) -> None:
        again = "".join(f"<message id='{number}'/>" for number in range(500))
        working = self.resumes(f"<resumed xmlns='urn:xmpp:sm:3' previd='a&apos;b' h='5'/>{again}")
        self.assertEqual(self.successResultOf(working), 5)
        ids = [event.attributes["id"] for event in self.kept if isinstance(event, Stanza)]
        self.assertEqual(ids, [str(number) for number in range(500)])

    def test_not_resumed(self) -> None:
        gone = "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
        for attribute, h in ((" h='3'", 3), ("", None), (" h='x'", None), (" h='-1'", None)):
            self.setUp()
            working = self.resumes(f"<failed xmlns='urn:xmpp:sm:3'{attribute}>{gone}</failed>")
            error = self.failureResultOf(working, NotResumed).value
            self.assertEqual((error.h, str(error)), (h, "the server does not resume the stream: item-not-found"))

    def test_what_is_no_answer(self) -> None:
        for answer in (
            "<resumed xmlns='urn:xmpp:sm:3' previd='another' h='5'/>",
            "<resumed xmlns='urn:xmpp:sm:3' h='5'/>",
            "<resumed xmlns='urn:xmpp:sm:3' previd='a&apos;b'/>",
            "<resumed xmlns='urn:xmpp:sm:3' previd='a&apos;b' h='4294967296'/>",
            "<resumed xmlns='urn:xmpp:sm:2' previd='a&apos;b' h='5'/>",
            "<message/>",
            "</stream:stream>",
        ):
            self.setUp()
            self.failureResultOf(self.resumes(answer), UpstreamProtocolError)
