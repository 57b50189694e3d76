"""What is known of sessions that are over: bounded, and each account has its share."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.session.ended_sessions import PER_ACCOUNT, TOGETHER, EndedSessions


class EndedSessionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ended = EndedSessions()

    def end(self, account: str, count: int = 1) -> None:
        """So many sessions of an account end, of which so many stanzas were handled as there were sessions before."""
        for number in range(count):
            self.ended.add(f"{account}-{number}", account, number)

    def known(self, account: str, count: int) -> list[int]:
        """Of so many sessions of an account, those that are known."""
        numbers = range(count)
        return [number for number in numbers if self.ended.handled(f"{account}-{number}", account) == number]

    def test_to_its_own_account_only(self) -> None:
        self.end("a", 2)
        self.assertEqual(self.ended.handled("a-1", "a"), 1)
        self.assertIsNone(self.ended.handled("a-1", "b"))
        self.end("b")
        self.assertIsNone(self.ended.handled("a-1", "b"))
        self.assertIsNone(self.ended.handled("a-7", "a"))

    def test_one_account_pushes_out_its_own(self) -> None:
        self.end("victim")
        self.end("hostile", TOGETHER + 10)
        self.assertEqual(self.known("victim", 1), [0])
        self.assertEqual(self.known("hostile", TOGETHER + 10), list(range(TOGETHER + 10 - PER_ACCOUNT, TOGETHER + 10)))
        self.assertEqual(len(self.ended), PER_ACCOUNT + 1)

    def test_many_hostile_accounts(self) -> None:
        self.end("victim", 3)
        for number in range(2 * TOGETHER // PER_ACCOUNT):
            self.end(f"hostile{number}", PER_ACCOUNT)
        self.assertEqual(self.known("victim", 3), [0, 1, 2])
        self.assertEqual(len(self.ended), TOGETHER)

    def test_more_accounts_than_places(self) -> None:
        for number in range(TOGETHER + 5):
            self.end(f"account{number}")
        known = [number for number in range(TOGETHER + 5) if self.known(f"account{number}", 1)]
        self.assertEqual(known, list(range(5, TOGETHER + 5)))
        self.assertEqual(len(self.ended), TOGETHER)
        self.ended.add("one more", "account5", 7)  # it has more than any other then
        self.assertEqual((self.ended.handled("one more", "account5"), self.known("account5", 1)), (7, []))
        self.assertEqual(self.known("account6", 1), [0])
