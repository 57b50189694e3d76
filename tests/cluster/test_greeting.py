"""What an edge makes of what a holder says first: what it has to say, and whatever it says instead."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.server.elsewhere import Introduction, NotHandedOver
from minimixproxy.cluster.greeting import Greeting
from tests.c2s.helpers import SERVER_HEADER
from tests.cluster.test_handover_header import PLAINEST

HEADER, OPENING, RESPONSE = b"<stream>", b"<auth/>", b"<response/>"
FEATURES = b"<stream:features></stream:features>"
SASL = b" xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
CHALLENGE, FAILURE = b"<challenge%b/>" % SASL, b"<failure%b><invalid-mechanism/></failure>" % SASL


def greeting(opening: bytes = b"", response: bytes = b"") -> Greeting:
    client = Introduction(PLAINEST.peer, "a@example.org", HEADER, {}, opening=opening, response=response)
    return Greeting(b"PROXY", client)


class GreetingTest(SynchronousTestCase):
    def test_named_in_the_header(self) -> None:
        """All is for the client."""
        for said in (SERVER_HEADER, b"<", b"anything"):
            one = greeting()
            self.assertEqual((one.first, one.done), (b"PROXY<stream>", False))
            self.assertEqual(one.take(said), b"")
            self.assertEqual((one.done, one.behind), (True, said))

    def test_named_by_its_login(self) -> None:
        one = greeting(OPENING)
        self.assertEqual((one.take(SERVER_HEADER), one.done), (b"", False))
        self.assertEqual((one.take(FEATURES[:5]), one.done), (b"", False))
        self.assertEqual((one.take(FEATURES[5:]), one.done), (OPENING, True))
        self.assertEqual(one.behind, b"")

    def test_challenged_from_here(self) -> None:
        one = greeting(OPENING, RESPONSE)
        self.assertEqual((one.take(SERVER_HEADER + FEATURES), one.done), (OPENING, False))
        self.assertEqual((one.take(CHALLENGE), one.done, one.behind), (RESPONSE, True, b""))

    def test_not_challenged_there(self) -> None:
        """The client hears why."""
        one = greeting(OPENING, RESPONSE)
        one.take(SERVER_HEADER + FEATURES)
        self.assertEqual((one.take(FAILURE), one.done, one.behind), (b"", True, FAILURE))

    def test_absurd(self) -> None:
        for said, why in (
            (b"HTTP/1.1 400 Bad Request\r\n", "stream header"),
            (SERVER_HEADER + b"<stream:error/>", "stream features"),
            (SERVER_HEADER + b"</stream:stream>", "stream features"),
            (SERVER_HEADER + b"<features/>", "stream features"),
            (SERVER_HEADER + FEATURES + FAILURE + FEATURES, "more than it was asked"),
            (SERVER_HEADER + b"<stream:features>" + b"x" * 20_000, "stream features"),
            (SERVER_HEADER + FEATURES + b"</stream:stream>", "ends the stream"),
        ):
            self.assertIn(why, str(self.assertRaises(NotHandedOver, greeting(OPENING, RESPONSE).take, said)), said)

    @given(st.binary() | st.binary().map(lambda data: SERVER_HEADER + data))
    def test_anything(self, data: bytes) -> None:
        try:
            greeting(OPENING, RESPONSE).take(data)
        except NotHandedOver as error:
            self.assertTrue(str(error))
