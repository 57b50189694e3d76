"""What waits on an account stream whose server reads slowly: answers to others, and what clients say."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from minimixproxy.accountstream.errors import CannotOpen
from minimixproxy.accountstream.stream import MAX_REPLIES, MAX_SAID, MAX_SAID_STANZAS
from minimixproxy.xep.stream_management import Enabled
from tests.accountstream.test_stream import StreamTest


class SlowServerTest(StreamTest):
    def waits(self, size: int) -> None:
        """The server does not read, and so much of the account's own waits for it."""
        self.producer.pauseProducing()
        while size > 0:
            self.stream.send(b"x" * min(size, 65536))
            size -= 65536
        self.upstream.take()

    def lost(self) -> None:
        assert self.upstream.xmlstream is not None
        self.upstream.xmlstream.connectionLost(Failure(ConnectionDone()))


class ReplyTests(SlowServerTest):
    def test_as_long_as_little_waits(self) -> None:
        for size, answered in ((0, True), (MAX_REPLIES - 1, True), (MAX_REPLIES, True), (MAX_REPLIES + 1, False)):
            self.setUp()
            self.opened()
            self.waits(size)
            self.stream.reply(b"<answer/>")
            self.assertEqual(self.upstream.take(), b"<answer/>" if answered else b"", size)

    def test_when_it_reads_again(self) -> None:
        """However much has waited before."""
        self.opened()
        self.waits(MAX_REPLIES + 1)
        self.producer.resumeProducing()
        self.stream.reply(b"<answer/>")
        self.assertEqual(self.upstream.take(), b"<answer/>")

    def test_before_it_opens(self) -> None:
        """Nobody knows yet how the server reads."""
        for _ in range(MAX_REPLIES // 65536 + 1):
            self.stream.send(b"x" * 65536)
        self.stream.reply(b"<answer/>")
        self.upstream.accept()
        self.assertTrue(self.upstream.take().endswith(b"<answer/>"))

    def test_its_own_are_sent_all_the_same(self) -> None:
        self.opened()
        self.waits(MAX_REPLIES + 1)
        self.stream.send(b"<own/>")
        self.assertEqual(self.upstream.take(), b"<own/>")


class TakenTests(SlowServerTest):
    """Who is told when the server has taken what was sent."""

    def setUp(self) -> None:
        super().setUp()
        self.taken: list[str] = []

    def told(self, what: str) -> Callable[[], None]:
        return lambda: self.taken.append(what)

    def test_a_server_that_reads(self) -> None:
        self.opened()
        self.stream.send(b"<message/>")
        self.stream.when_taken(self.told("at once"))
        self.assertEqual(self.taken, ["at once"])

    def test_a_server_that_does_not_read(self) -> None:
        self.opened()
        self.waits(1)
        for what in ("one", "two"):
            self.stream.when_taken(self.told(what))
        self.assertEqual(self.taken, [])
        self.producer.resumeProducing()
        self.assertEqual(self.taken, ["one", "two"])
        self.producer.pauseProducing()
        self.producer.resumeProducing()
        self.assertEqual(self.taken, ["one", "two"])

    def test_the_stream_is_lost_meanwhile(self) -> None:
        for end in (lambda: self.stream.close(), self.lost):
            self.setUp()
            self.opened()
            self.waits(1)
            self.stream.when_taken(self.told("lost"))
            end()
            self.assertEqual(self.taken, ["lost"])

    def test_who_waits_sends_more(self) -> None:
        """And the server does not read that either."""
        self.opened()
        self.waits(1)

        def more() -> None:
            self.producer.pauseProducing()
            self.stream.when_taken(self.told("more"))

        self.stream.when_taken(more)
        self.producer.resumeProducing()
        self.assertEqual(self.taken, [])
        self.producer.resumeProducing()
        self.assertEqual(self.taken, ["more"])

    def test_one_that_acknowledges(self) -> None:
        self.stream.reopen()
        self.upstream.accept(enabled=Enabled("id", 300, ""))
        self.stream.send(b"<message/>")
        self.waits(1)
        self.stream.when_taken(self.told("acknowledged"))
        self.producer.resumeProducing()
        self.assertEqual(self.taken, [])
        self.upstream.says("<a xmlns='urn:xmpp:sm:3' h='0'/>")
        self.assertEqual(self.taken, [])
        self.upstream.says("<a xmlns='urn:xmpp:sm:3' h='1'/>")
        self.assertEqual(self.taken, ["acknowledged"])

    def test_before_it_opens(self) -> None:
        self.stream.send(b"<message/>")
        self.stream.when_taken(self.told("open"))
        self.assertEqual(self.taken, [])
        self.upstream.accept()
        self.assertEqual(self.taken, ["open"])

    def test_it_does_not_open(self) -> None:
        self.stream.send(b"<message/>")
        self.stream.when_taken(self.told("lost"))
        self.upstream.attempts.pop().errback(CannotOpen("not now"))
        self.assertEqual(self.taken, ["lost"])


class FullTests(SlowServerTest):
    """When clients are to say no more."""

    def test_a_server_that_does_not_read(self) -> None:
        self.opened()
        self.waits(MAX_SAID)
        self.assertFalse(self.stream.full)
        self.stream.send(b"x")
        self.assertTrue(self.stream.full)
        self.producer.resumeProducing()
        self.assertFalse(self.stream.full)

    def test_before_it_opens(self) -> None:
        for _ in range(MAX_SAID // 65536 + 1):
            self.stream.send(b"x" * 65536)
        self.assertTrue(self.stream.full)
        self.upstream.accept()
        self.assertFalse(self.stream.full)

    def test_a_server_that_does_not_acknowledge(self) -> None:
        self.stream.reopen()
        self.upstream.accept(enabled=Enabled("id", 300, ""))
        message = b"<message>%b</message>" % (b"x" * 65536)
        for _ in range(MAX_SAID // 65536):
            self.stream.send(message)
        self.assertTrue(self.stream.full)
        self.lost()
        self.assertTrue(self.stream.full, "while it is resumed")
        self.upstream.accept(enabled=Enabled("id", 300, ""), resumed=True)
        self.upstream.says(f"<a xmlns='urn:xmpp:sm:3' h='{MAX_SAID // 65536}'/>")
        self.assertFalse(self.stream.full)

    def test_stanzas_count_too(self) -> None:
        self.stream.reopen()
        self.upstream.accept(enabled=Enabled("id", 300, ""))
        for _ in range(MAX_SAID_STANZAS):
            self.stream.send(b"<message/>")
        self.assertFalse(self.stream.full)
        self.stream.send(b"<message/>")
        self.assertTrue(self.stream.full)
