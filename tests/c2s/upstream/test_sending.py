"""How much is under way to a server at a time, and when it is asked what of it is handled."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.upstream.sending import WINDOW, Sending
from minimixproxy.stream_management.unacknowledged import NotSent, Unacknowledged
from minimixproxy.xep.stream_management import REQUEST

HALF = b"x" * (WINDOW // 2)


class SendingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.unacknowledged = Unacknowledged()
        self.written: list[bytes] = []
        self.sending = Sending(self.unacknowledged, self.written.append)

    def take(self) -> list[bytes]:
        written, self.written[:] = self.written[:], []
        return written

    def test_the_server_is_asked_with_the_first_one(self) -> None:
        for stanza in (b"1", b"2", b"3"):
            self.sending.send(stanza)
        self.assertEqual(self.take(), [b"1" + REQUEST, b"2", b"3"])

    def test_it_is_asked_again_when_it_has_answered_and_there_is_more(self) -> None:
        for stanza in (b"1", b"2"):
            self.sending.send(stanza)
        self.take()
        self.sending.acknowledged(1)
        self.assertEqual(self.take(), [REQUEST])
        self.sending.acknowledged(2)
        self.assertEqual(self.take(), [])
        self.sending.send(b"3")
        self.assertEqual(self.take(), [b"3" + REQUEST])

    def test_no_more_than_the_server_reads_at_once_is_under_way(self) -> None:
        for _ in range(5):
            self.sending.send(HALF)
        self.assertEqual(self.take(), [HALF + REQUEST, HALF])
        self.sending.acknowledged(1)
        self.assertEqual(self.take(), [HALF + REQUEST])
        self.sending.acknowledged(3)
        self.assertEqual(self.take(), [HALF + HALF + REQUEST])

    def test_one_that_is_larger_goes_alone(self) -> None:
        large = b"x" * (2 * WINDOW)
        for stanza in (b"1", large, b"2"):
            self.sending.send(stanza)
        self.assertEqual(self.take(), [b"1" + REQUEST])
        self.sending.acknowledged(1)
        self.assertEqual(self.take(), [large + REQUEST])
        self.sending.acknowledged(2)
        self.assertEqual(self.take(), [b"2" + REQUEST])

    def test_what_was_not_acknowledged_on_another_connection_is_sent_again(self) -> None:
        for stanza in (b"1", b"2"):
            self.sending.send(stanza)
        self.take()
        self.unacknowledged.add(b"3")  # meanwhile
        self.unacknowledged.arrived(1)
        again = Sending(self.unacknowledged, self.written.append)
        again.go_on()
        self.assertEqual(self.take(), [b"23" + REQUEST])
        again.acknowledged(3)
        again.send(b"4")
        self.assertEqual(self.take(), [b"4" + REQUEST])

    def test_nothing_to_send_again(self) -> None:
        self.sending.go_on()
        self.assertEqual(self.take(), [])

    def test_a_server_that_counts_wrongly(self) -> None:
        for _ in range(3):
            self.sending.send(HALF)
        for h in (4, 2**32 - 1):
            self.assertRaises(NotSent, self.sending.acknowledged, h)
        self.assertRaises(NotSent, self.sending.acknowledged, 3)  # the third one waits here

    def test_who_is_told_may_send(self) -> None:
        self.sending.send(b"1")
        self.unacknowledged.when_arrived(lambda: self.sending.send(b"2"))
        self.take()
        self.sending.acknowledged(1)
        self.assertEqual(self.take(), [b"2" + REQUEST])
