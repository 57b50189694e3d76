"""A rate that all askers share: nobody uses up what others may have."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.bounds.shared_rate import SharedRate


class SharedRateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.rate = SharedRate(2.0, 100, self.clock.seconds, max_askers=50)

    def admitted(self, asker: str, count: int = 1000) -> int:
        return sum(self.rate.admits(asker) for _ in range(count))

    def test_one_gets_half_at_once(self) -> None:
        self.assertEqual(self.admitted("eve"), 50)

    def test_what_is_left_is_for_others(self) -> None:
        self.admitted("eve")
        self.assertEqual(self.admitted("bob", 20), 20)
        self.assertEqual(self.admitted("eve"), 0)

    def test_all_together(self) -> None:
        self.assertEqual(sum(self.admitted(f"eve{number}") for number in range(200)), 100)

    def test_as_many_a_second_as_come_back(self) -> None:
        for asker in ("eve", "mallory"):
            self.admitted(asker)
        for _ in range(10):
            self.clock.advance(1)
            self.assertEqual(self.admitted("eve") + self.admitted("mallory"), 2)
        self.clock.advance(1000)
        self.assertEqual(self.admitted("eve"), 50)  # and no more for having waited longer

    def test_one_who_goes_on_leaves_as_much_to_others(self) -> None:
        for _ in range(100):
            self.admitted("eve")
            self.clock.advance(1)
        self.assertEqual(self.admitted("bob", 20), 20)

    def test_so_many_are_remembered(self) -> None:
        for number in range(200):
            self.rate.admits(f"eve{number}")
        self.assertEqual(len(self.rate), 50)
        self.clock.advance(1000)
        self.admitted("eve199")
        for number in range(49):
            self.rate.admits(f"bob{number}")
        self.assertEqual(self.admitted("eve199"), 0)  # not forgotten by then
