"""The wire of a client that is gone: what still comes of it is nobody's."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial import unittest

from minimixproxy.c2s.transport.client_stream import LARGEST_OF_STRANGER, MOST_TAGS_OF_STRANGER, PIECE
from minimixproxy.wire.trees import BUILT
from tests.c2s.helpers import HEADER, SERVER_FEATURES, Lab, LabClient
from tests.c2s.server.test_negotiation import errors


class GoneTests(unittest.TestCase):
    def test_what_comes_behind_the_end(self) -> None:
        """As of TLS, whose last records may be handed up when the connection is lost already."""
        client = Lab(Path(self.mktemp())).client()
        client.stream.connectionLost(Failure(ConnectionDone()))
        for data in (HEADER, b"garbage", b"</stream:stream>"):
            client.stream.dataReceived(data)
        self.assertEqual(client.wire.take(), b"")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_fault_at_the_end(self) -> None:
        """It is gone all the same: the service's end waits for all clients."""
        lab = Lab(Path(self.mktemp()))
        client = lab.client()

        def fault() -> None:
            raise ZeroDivisionError

        self.patch(client.stream.handler, "client_lost", fault)
        with self.assertRaises(ZeroDivisionError):
            client.stream.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(lab.clients), 0)


class StrangerTests(unittest.TestCase):
    """Whoever is not logged in: what is read of it as a tree costs a hundred times what it costs to send."""

    def setUp(self) -> None:
        self.lab = Lab(Path(self.mktemp()))

    def client(self) -> LabClient:
        client = self.lab.client()
        client.send(HEADER)
        return client

    def test_too_many_tags(self) -> None:
        """In whatever it says, and however it is cut."""
        for name, content in (
            ("auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'", "{}"),
            ("authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'", "<initial-response>{}</initial-response>"),
            ("iq type='set' id='r'", "<query xmlns='jabber:iq:register'>{}</query>"),
            ("message", "{}"),
        ):
            for size in (200, PIECE, 65536):
                client, built = self.client(), BUILT.trees
                inner = content.format("<a/>" * (MOST_TAGS_OF_STRANGER + PIECE))
                said = f"<{name}>{inner}</{name.partition(' ')[0]}>".encode()
                pieces = [said[start : start + size] for start in range(0, len(said), size)]
                answer = b"".join(map(client.send, pieces))
                self.assertEqual(errors(answer), [b"policy-violation"], name)
                self.assertTrue(client.wire.closing)
                self.assertEqual(BUILT.trees, built)

    def test_too_large(self) -> None:
        """All of the piece in which the last thing ended counts with it."""
        for unfinished in (b"<message a='", b"<message>", b"<message><a>&amp;"):
            client = self.client()
            self.assertEqual(client.send(unfinished + b"x" * (LARGEST_OF_STRANGER - PIECE)), b"")
            self.assertEqual(errors(client.send(b"x" * PIECE)), [b"policy-violation"])

    def test_several_are_not_a_large_one(self) -> None:
        client = self.client()
        inner = b"<a/>" * (MOST_TAGS_OF_STRANGER // 2) + b"x" * (LARGEST_OF_STRANGER // 2)
        said = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='NONE'>%b</auth>" % inner
        for _ in range(2):
            self.assertEqual(errors(client.send(said)), [b"invalid-mechanism"])

    def test_once_it_is_in_session(self) -> None:
        client = self.lab.client()
        client.bind("a", SERVER_FEATURES)
        said = b"<message>%b%b</message>" % (b"<a/>" * 2 * MOST_TAGS_OF_STRANGER, b"x" * 2 * LARGEST_OF_STRANGER)
        for start in range(0, len(said), 16384):
            client.send(said[start : start + 16384])
            self.lab.clock.advance(0)
        self.assertEqual(client.upstream.take()[-len(said) :], said)
