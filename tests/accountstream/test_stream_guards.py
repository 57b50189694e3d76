"""Answers to others on an account stream whose server reads slowly: how many there may be."""

from __future__ import annotations

from minimixproxy.accountstream.stream import MAX_REPLIES
from tests.accountstream.test_stream import StreamTest


class ReplyTests(StreamTest):
    def waits(self, size: int) -> None:
        """The server does not read, and so much of the account's own waits for it."""
        self.producer.pauseProducing()
        while size > 0:
            self.stream.send(b"x" * min(size, 65536))
            size -= 65536
        self.upstream.take()

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
