"""What was sent, and what of it the peer acknowledges."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.stream_management.unacknowledged import MODULUS, NotSent, Tracked, Unacknowledged, tracked_too


class UnacknowledgedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.queue = Unacknowledged()
        for stanza in (b"<a/>", b"<bb/>", b"<ccc/>"):
            self.queue.add(stanza)

    def test_what_is_acknowledged_goes(self) -> None:
        self.assertEqual(self.queue.arrived(2), 2)
        self.assertEqual(list(self.queue), [b"<ccc/>"])
        self.assertEqual((self.queue.size, self.queue.acknowledged, self.queue.sent), (6, 2, 3))

    def test_the_same_number_again_is_no_news(self) -> None:
        self.queue.arrived(2)
        self.assertEqual(self.queue.arrived(2), 0)

    def test_more_than_was_sent_changes_nothing(self) -> None:
        self.queue.arrived(1)
        for h in (4, 0, MODULUS - 1):  # too large, and going back
            with self.assertRaises(NotSent) as caught:
                self.queue.arrived(h)
            self.assertEqual((caught.exception.h, caught.exception.sent), (h, 3))
        self.assertEqual((len(self.queue), self.queue.acknowledged), (2, 1))

    def test_several_at_once(self) -> None:
        self.queue.add_all([b"<d/>", b"<e/>"], 8)
        self.assertEqual((len(self.queue), self.queue.size), (5, 23))

    def test_numbers_begin_anew(self) -> None:
        queue = Unacknowledged()
        queue.acknowledged = MODULUS - 1
        queue.add(b"<a/>")
        queue.add(b"<b/>")
        self.assertEqual(queue.arrived(0), 1)
        self.assertEqual(queue.arrived(1), 1)
        self.assertEqual(queue.sent, MODULUS + 1)

    def test_who_waits_is_called_when_all_before_has_arrived(self) -> None:
        calls: list[str] = []
        self.queue.when_arrived(lambda: calls.append("three"))
        self.queue.add(b"<d/>")
        self.queue.when_arrived(lambda: calls.append("four"))
        self.queue.arrived(2)
        self.assertEqual(calls, [])
        self.queue.arrived(3)
        self.assertEqual(calls, ["three"])
        self.queue.arrived(4)
        self.assertEqual(calls, ["three", "four"])

    def test_with_nothing_open_nobody_waits(self) -> None:
        calls: list[int] = []
        Unacknowledged().when_arrived(lambda: calls.append(1))
        self.assertEqual(calls, [1])

    def test_giving_up_returns_what_is_open_and_calls_who_waits(self) -> None:
        calls: list[int] = []
        self.queue.when_arrived(lambda: calls.append(1))
        self.queue.arrived(1)
        self.assertEqual(self.queue.give_up(), [b"<bb/>", b"<ccc/>"])
        self.assertEqual((calls, len(self.queue), self.queue.size), ([1], 0, 0))

    def test_several_wait_for_one_stanza(self) -> None:
        told: list[str] = []
        self.queue.add(tracked_too(tracked_too(b"<d/>", lambda: told.append("d")), lambda: told.append("e")))
        self.queue.arrived(3)
        self.assertEqual((told, list(self.queue)), ([], [b"<d/>"]))
        self.queue.arrived(4)
        self.assertEqual(told, ["e", "d"])

    def test_what_is_forgotten_counts(self) -> None:
        told: list[str] = []
        self.queue.add(Tracked(b"<d/>", lambda: told.append("d")))
        self.queue.forget(3, 100)
        self.assertEqual((list(self.queue), self.queue.size), ([b"", b"<bb/>", b"<ccc/>", b"<d/>"], 15))
        self.queue.forget(3, 9)
        self.assertEqual((list(self.queue), self.queue.size), ([b"", b"", b"", b"<d/>"], 4))
        self.assertEqual([self.queue.complete_behind(h) for h in (2, 3)], [False, True])
        self.queue.forget(0, 0)
        self.assertEqual((self.queue.size, told), (0, []))
        self.queue.add(b"<e/>")
        self.queue.arrived(3)
        self.assertEqual((self.queue.complete, told), (False, []))
        self.queue.arrived(4)
        self.assertEqual((self.queue.complete, told, list(self.queue)), (True, ["d"], [b"<e/>"]))

    def test_nothing_is_forgotten_within_the_bounds(self) -> None:
        self.queue.forget(3, 15)
        self.assertTrue(self.queue.complete)
