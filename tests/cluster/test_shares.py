"""All processes agree who takes what."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.cluster.shares import own_share, surplus

ACCOUNTS = [f"user{number}@example.org" for number in range(300)]
NUMBERS = st.lists(st.integers(1, 2**40), min_size=1, max_size=6, unique=True)


class ShareTests(SynchronousTestCase):
    @given(NUMBERS)
    def test_each_account_is_for_exactly_one(self, live: list[int]) -> None:
        shares = [own_share(ACCOUNTS, live, own) for own in live]
        self.assertEqual(sorted(bare for share in shares for bare in share), sorted(ACCOUNTS))

    @given(NUMBERS, st.integers(2**41, 2**42))
    def test_nothing_moves_between_those_that_stay(self, live: list[int], new: int) -> None:
        for own in live:
            self.assertLessEqual(set(own_share(ACCOUNTS, [*live, new], own)), set(own_share(ACCOUNTS, live, own)))

    def test_about_as_much_for_each(self) -> None:
        live = [7, 8, 9]
        for own in live:
            self.assertGreater(len(own_share(ACCOUNTS, live, own)), 60)

    def test_no_account(self) -> None:
        self.assertEqual(own_share([], [1], 1), [])

    def test_what_is_too_many(self) -> None:
        for counts, expected in (
            ({7: 0}, 0),
            ({7: 100}, 0),
            ({7: 100, 8: 0}, 50),
            ({7: 100, 8: 90}, 0),
            ({7: 30, 8: 15}, 0),
            ({7: 40, 8: 10}, 15),
            ({7: 1200, 8: 1000}, 0),
            ({7: 1300, 8: 1000}, 150),
            ({7: 0, 8: 100}, 0),
        ):
            self.assertEqual(surplus(counts, 7), expected, counts)
