"""Who had an account when: what a chaos run of a cluster takes for wrong, and what not."""

from itertools import product

from twisted.trial import unittest

from chaos.tenures import SHOWN, Change, Snapshot, Write, wrong

ALICE = "alice@example.org"
ONE, OTHER = 7, 8
FREE = 0


def done(*transactions: int) -> Snapshot:
    """What sees these as done, and no others."""
    high = max(transactions, default=0) + 1
    return Snapshot(0, high, frozenset(range(high)) - {*transactions})


def change(former: int, holder: int, epoch: int, by: int, transaction: int, *seen: int, over: bool = False) -> Change:
    return Change(ALICE, former, holder, epoch, over, by, transaction, done(*seen))


def write(by: int, transaction: int, *seen: int, bare: str = ALICE) -> Write:
    return Write(bare, by, "messages", transaction, done(*seen))


TAKEN = change(FREE, ONE, 1, ONE, 10)
TAKEN_OVER = change(ONE, OTHER, 2, OTHER, 20, 10, 15, over=True)


class SnapshotTests(unittest.TestCase):
    def test_as_postgresql_says_it(self) -> None:
        snapshot = Snapshot.parse("10:15:11,13")
        self.assertEqual([number for number in range(8, 17) if snapshot.sees(number)], [8, 9, 10, 12, 14])
        self.assertEqual(Snapshot.parse("3:3:"), Snapshot(3, 3, frozenset()))


class ChangesTests(unittest.TestCase):
    def test_nothing_wrong(self) -> None:
        handed_on = [TAKEN, change(ONE, FREE, 1, ONE, 20), change(FREE, OTHER, 2, OTHER, 30)]
        forgotten = [TAKEN, change(ONE, FREE, 0, ONE, 20), change(FREE, ONE, 3, ONE, 30)]
        for changes in ([], [TAKEN], [TAKEN, TAKEN_OVER], handed_on, forgotten):
            self.assertEqual(wrong(changes, []), [])

    def test_wrong(self) -> None:
        for changes, why in (
            ([TAKEN, change(ONE, OTHER, 2, OTHER, 20)], "was taken from 7 by 8, which was not over"),
            ([TAKEN, change(ONE, OTHER, 1, OTHER, 20, over=True)], "8 has it with epoch 1, as one before had"),
            ([TAKEN, change(FREE, OTHER, 2, OTHER, 20)], "went from 0 to 8, and 7 had it"),
            ([TAKEN_OVER], "went from 7 to 8, and 0 had it"),
        ):
            (fault,) = wrong(changes, [])
            self.assertIn(why, fault)


class WritesTests(unittest.TestCase):
    def test_by_whoever_has_it(self) -> None:
        written = [write(ONE, 10), write(ONE, 15, 10), write(OTHER, 20), write(OTHER, 30, 20)]
        self.assertEqual(wrong([TAKEN, TAKEN_OVER], written), [])

    def test_given_up_with_the_last_write(self) -> None:
        self.assertEqual(wrong([TAKEN, change(ONE, FREE, 1, ONE, 20, 10)], [write(ONE, 20, 10)]), [])

    def test_by_who_has_it_not(self) -> None:
        """Not yet, not any more, not at all; whatever the numbers of transactions are."""
        for written in (
            write(OTHER, 15, 10),  # before it has taken it over
            write(ONE, 16, 10),  # which who took it over did not see, though it began before
            write(ONE, 25, 10, 20),
            write(9, 15, 10),
            write(ONE, 15, 10, bare="bob@example.org"),
        ):
            (fault,) = wrong([TAKEN, TAKEN_OVER], [written])
            self.assertIn(f"{written.by} wrote messages of {written.bare} without having it", fault)

    def test_taken_twice(self) -> None:
        """What is written in between is written with an old epoch."""
        changes = [TAKEN, change(ONE, FREE, 1, ONE, 20, 10), change(FREE, ONE, 3, ONE, 40, 10, 20)]
        self.assertEqual(wrong(changes, [write(ONE, 50, 10, 20, 40)]), [])
        self.assertEqual(len(wrong(changes, [write(ONE, 30, 10, 20)])), 1)

    def test_any_order_of_two(self) -> None:
        """One writes, the other takes over: either that sees the write, or it is wrong."""
        for transaction, sees in product((15, 25), (False, True)):
            taken_over = change(ONE, OTHER, 2, OTHER, 20, 10, *([transaction] if sees else []), over=True)
            self.assertEqual(not wrong([TAKEN, taken_over], [write(ONE, transaction, 10)]), sees)

    def test_not_all_are_shown(self) -> None:
        faults = wrong([], [write(ONE, number) for number in range(2 * SHOWN)])
        self.assertEqual((len(faults), faults[-1]), (SHOWN + 1, f"... and {SHOWN} more"))
