"""How many stanzas count as handled."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.stream_management.handled import MAX_NAMED, Handled
from minimixproxy.stream_management.unacknowledged import MODULUS


class HandledTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.progress: list[int] = []
        self.handled = Handled(lambda: self.progress.append(self.handled.h))

    def receive(self, count: int = 1) -> None:
        for _ in range(count):
            self.assertTrue(self.handled.receive())

    def test_what_nobody_holds_is_handled_at_once(self) -> None:
        self.receive(3)
        self.assertEqual((self.handled.h, self.progress), (3, []))

    def test_one_that_is_held_holds_those_behind_it(self) -> None:
        self.receive(2)
        done = self.handled.hold()
        self.receive(2)
        self.assertEqual(self.handled.h, 1)
        done()
        self.assertEqual((self.handled.h, self.progress), (4, [4]))

    def test_order_counts_not_who_is_first_to_be_done(self) -> None:
        self.receive()
        first = self.handled.hold()
        self.receive()
        second = self.handled.hold()
        second()
        self.assertEqual((self.handled.h, self.progress, self.handled.unhandled), (0, [], 2))
        first()
        self.assertEqual((self.handled.h, self.progress, self.handled.unhandled), (2, [2], 0))

    def test_many_at_once_behind_one_that_is_held(self) -> None:
        """The last of them can be held, too."""
        self.receive()
        first = self.handled.hold()
        self.handled.receive_all(3)
        last = self.handled.hold()
        self.assertEqual((self.handled.h, self.handled.unhandled), (0, 4))
        first()
        self.assertEqual((self.handled.h, self.handled.unhandled, self.progress), (3, 1, [3]))
        last()
        self.assertEqual((self.handled.h, self.progress), (4, [3, 4]))

    def test_several_hold_one(self) -> None:
        self.receive()
        one, other = self.handled.hold(), self.handled.hold()
        one()
        one()
        self.assertEqual((self.handled.h, self.progress), (0, []))
        other()
        self.assertEqual((self.handled.h, self.progress), (1, [1]))

    def test_numbers_begin_anew(self) -> None:
        self.handled.received = MODULUS - 1
        self.receive()
        done = self.handled.hold()
        self.receive()
        self.assertEqual(self.handled.h, MODULUS - 1)
        done()
        self.assertEqual(self.handled.h, 1)


class ResumedTests(SynchronousTestCase):
    """What is sent again is not handled again."""

    def setUp(self) -> None:
        self.handled = Handled()
        self.holds: list[Callable[[], None]] = []
        for key in "abc":
            self.handled.receive(key)
            self.holds.append(self.handled.hold())
        self.holds.pop(0)()
        self.handled.resume()

    def test_what_comes_again_is_known(self) -> None:
        self.assertEqual((self.handled.h, self.handled.received), (1, 1))
        self.assertEqual([self.handled.receive(key) for key in "bcd"], [False, False, True])
        self.assertEqual((self.handled.h, self.handled.received), (1, 4))

    def test_whether_something_may_come_again(self) -> None:
        """Until all of it has come, or something new; with a name, also behind that."""
        for key, more in (("b", True), ("c", False)):
            self.assertIs(self.handled.expects_again, True)
            self.handled.receive(key)
            self.assertIs(self.handled.expects_again, more)
        handled = Handled()
        self.assertIs(handled.expects_again, False)
        handled.receive("a", named=True)
        handled.hold()
        self.assertIs(handled.expects_again, False)
        handled.resume()
        for key, more in (("b", True), ("a", False)):
            self.assertIs(handled.expects_again, True)
            handled.receive(key, named=True)
            self.assertIs(handled.expects_again, more)

    def test_it_counts_as_handled_when_it_is(self) -> None:
        self.handled.receive("b")
        self.holds[0]()
        self.handled.receive("c")
        self.assertEqual(self.handled.h, 2)
        self.holds[1]()
        self.assertEqual(self.handled.h, 3)

    def test_it_may_have_been_handled_meanwhile(self) -> None:
        for done in self.holds:
            done()
        self.assertEqual([self.handled.receive(key) for key in "bcd"], [False, False, True])
        self.assertEqual(self.handled.h, 4)

    def test_a_peer_that_does_not_send_all_again(self) -> None:
        self.assertEqual([self.handled.receive(key) for key in "cd"], [False, True])
        self.assertEqual(self.handled.received, 3)
        self.holds[0]()  # what was not sent again holds nothing
        self.holds[1]()
        self.assertEqual(self.handled.h, 3)

    def test_behind_something_new_nothing_comes_again(self) -> None:
        self.assertEqual([self.handled.receive(key) for key in "db"], [True, True])

    def test_in_reverse_order_with_names(self) -> None:
        """As aioxmpp does: behind what never came, there is what came."""
        handled = Handled()
        done = {}
        for key in "abc":
            handled.receive(key, named=True)
            done[key] = handled.hold()
        done["a"]()
        handled.resume()
        self.assertEqual([handled.receive(key, named=True) for key in "edcb"], [True, True, False, False])
        self.assertEqual((handled.received, handled.h), (5, 3))
        self.assertEqual([handled.receive(key, named=True) for key in "bc"], [True, True], "once")
        done["c"]()
        self.assertEqual(handled.h, 4)

    def test_cut_again_in_reverse_order(self) -> None:
        handled = Handled()
        handled.receive("a", named=True)
        done = handled.hold()
        handled.resume()
        handled.receive("b", named=True)
        handled.resume()
        self.assertEqual([handled.receive(key, named=True) for key in "ca"], [True, False])
        done()
        self.assertEqual(handled.h, 3)

    def test_names_have_a_bound(self) -> None:
        """A peer that sends nothing again, and resumes without end."""
        handled = Handled()
        for key in range(MAX_NAMED + 1):
            handled.receive(key, named=True)
            handled.hold()
            handled.resume()
        self.assertEqual([handled.receive(key, named=True) for key in (0, 1)], [True, False])

    def test_what_bears_a_name_has_a_bound(self) -> None:
        """A peer that gives one name to many, and never sends all of them again."""
        handled = Handled()
        each = 50
        for name in range(2 * MAX_NAMED // each):
            for earlier in range(name):
                handled.receive(earlier, named=True)
                handled.hold()
            for _ in range(each):
                handled.receive(name, named=True)
                handled.hold()
            handled.resume()
        again = [not handled.receive(name, named=True) for name in range(2 * MAX_NAMED // each) for _ in range(each)]
        self.assertEqual(sum(again), MAX_NAMED)
        self.assertTrue(all(again[-each:]), "the latest")

    def test_as_many_names_as_are_open(self) -> None:
        """More than are remembered of what is not sent again: all of these are about to be."""
        handled = Handled()
        keys = range(MAX_NAMED + 2)
        for key in keys:
            handled.receive(key, named=True)
            handled.hold()
        handled.resume()
        self.assertEqual([key for key in keys if handled.receive(key, named=True)], [])

    def test_a_name_that_several_bear(self) -> None:
        """Some programs give all their messages one id: each is known, also if the peer was cut off in between."""
        handled = Handled()
        done = []
        for _ in range(3):
            handled.receive("a", named=True)
            done.append(handled.hold())
        handled.receive("q")
        handled.resume()
        self.assertEqual([handled.receive("a", named=True) for _ in range(2)], [False, False])
        handled.resume()
        self.assertEqual([handled.receive("a", named=True) for _ in range(3)], [False, False, False])
        self.assertEqual((handled.receive("q"), handled.receive("a", named=True)), (False, True))
        done[1]()
        self.assertEqual(handled.h, 0)
        done[0]()
        self.assertEqual(handled.h, 2, "in the order in which they were received first")
        done[2]()
        self.assertEqual((handled.h, handled.expects_again), (5, False))

    def test_twice_the_same(self) -> None:
        handled = Handled()
        for _ in range(2):
            handled.receive("x")
            handled.hold()
        handled.resume()
        self.assertEqual([handled.receive("x") for _ in range(3)], [False, False, True])

    def test_resumed_again_before_all_was_sent_again(self) -> None:
        self.handled.receive("b")
        self.handled.resume()
        self.assertEqual([self.handled.receive(key) for key in "bcd"], [False, False, True])
