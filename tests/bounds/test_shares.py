"""Counts by whoever has something."""

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.bounds.shares import Shares


class SharesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.shares: Shares[str] = Shares()

    def test_who_has_none_takes_no_place(self) -> None:
        self.shares.take(["a", "b"])
        self.shares.take(["a"])
        self.shares.give_back(["a", "b"])
        self.assertEqual(dict(self.shares), {"a": 1})
        self.shares.give_back(["a"])
        self.assertTrue(self.shares.leave_one(["a"], 1))
        self.assertEqual(dict(self.shares), {})

    def test_who_gives_back_what_it_never_had_has_no_more_for_it(self) -> None:
        self.shares.give_back(["a"])
        self.assertEqual(dict(self.shares), {})

    def test_nobody_has_more_than_are_left(self) -> None:
        """Of ten things one who takes all it can gets five, and whoever comes later still gets some."""
        for who, gets in (("a", 5), ("b", 3), ("c", 1), ("d", 1)):
            while self.shares.leave_one([who], 10 - self.shares.total()):
                self.shares.take([who])
            self.assertEqual(self.shares[who], gets, who)

    def test_of_several_each_must_be_able_to_have_one(self) -> None:
        self.shares.take(["a", "a", "b"])
        self.assertFalse(self.shares.leave_one(["a", "b"], 2))
        self.assertTrue(self.shares.leave_one(["a", "b"], 3))
        self.assertFalse(self.shares.leave_one(["b", "a"], 2))
