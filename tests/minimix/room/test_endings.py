"""Why accounts are not in rooms: what is kept of it, and that it has bounds."""

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.interfaces.endings import Ended, Ending, Why
from minimixproxy.minimix.room import endings
from minimixproxy.minimix.room.endings import ACCOUNT_BYTES, ALL_BYTES, MAX_ROOMS, MAX_TEXT, Endings

KICKED = Ending(Why.KICKED, "307", "spam", "boss")


class EndingsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.endings = Endings()

    def test_the_last_counts(self) -> None:
        self.assertEqual(self.endings["a@x"], {})
        self.endings.note("a@x", "one@muc", KICKED, 1.0)
        self.endings.note("a@x", "two@muc", Ending(Why.REFUSED), 2.0)
        self.endings.note("a@x", "one@muc", Ending(Why.NO_ANSWER), 3.0)
        self.assertEqual(
            list(self.endings["a@x"].items()),
            [("two@muc", Ended(2.0, Ending(Why.REFUSED))), ("one@muc", Ended(3.0, Ending(Why.NO_ANSWER)))],
        )
        self.assertEqual(self.endings["b@x"], {})

    def test_gone_when_it_is_in_again_or_forgotten(self) -> None:
        self.endings.note("a@x", "one@muc", KICKED, 1.0)
        self.endings.note("a@x", "two@muc", KICKED, 1.0)
        self.endings.joined("a@x", "one@muc")
        self.endings.joined("a@x", "three@muc")
        self.endings.joined("b@x", "one@muc")
        self.assertEqual(list(self.endings["a@x"]), ["two@muc"])
        self.endings.forgotten("a@x")
        self.endings.forgotten("a@x")
        self.assertEqual(self.endings["a@x"], {})
        self.assertEqual(self.endings._size, 0)

    def test_nothing_is_left_of_the_last_room(self) -> None:
        self.endings.note("a@x", "one@muc", KICKED, 1.0)
        self.endings.joined("a@x", "one@muc")
        self.assertEqual((self.endings._size, len(self.endings._accounts)), (0, 0))

    def test_few_rooms_of_one_account(self) -> None:
        for number in range(MAX_ROOMS + 3):
            self.endings.note("a@x", f"{number}@muc", KICKED, number)
        self.assertEqual(list(self.endings["a@x"]), [f"{number}@muc" for number in range(3, MAX_ROOMS + 3)])

    def test_few_bytes_of_one_account(self) -> None:
        text = "\U0001f600" * 10_000
        for number in range(MAX_ROOMS):
            room = f"{number:04}{'r' * 1019}@{'m' * 1023}"
            self.endings.note("a@x", room, Ending(Why.REFUSED, text, text, text), number)
        kept = self.endings["a@x"]
        self.assertIn(room, kept)
        self.assertEqual(len(kept[room].ending.text), MAX_TEXT)
        self.assertLessEqual(sum(len(name) + 3 * len(text[:MAX_TEXT].encode()) for name in kept), ACCOUNT_BYTES)
        self.assertGreater(len(kept), 3)

    def test_few_bytes_of_all(self) -> None:
        """Whoever makes much of it costs those of whom nothing was noted for long."""
        self.patch(endings, "ALL_BYTES", 100_000)
        self.assertGreaterEqual(ALL_BYTES, 100 * ACCOUNT_BYTES)
        for number in range(1000):
            self.endings.note(f"{number}@x", "one@muc", KICKED, number)
            self.endings.note("often@x", "one@muc", KICKED, number)
        self.assertLessEqual(self.endings._size, 100_000)
        self.assertEqual(self.endings["0@x"], {})
        self.assertIn("one@muc", self.endings["often@x"])
        self.assertIn("one@muc", self.endings["999@x"])
        for account in list(self.endings._accounts):
            self.endings.forgotten(account)
        self.assertEqual(self.endings._size, 0)
