"""The room service that measurements have: what it shows to whom."""

from twisted.trial.unittest import SynchronousTestCase

from bench.roomservice import Room

ALICE, BOB = "alice@bench.test/one", "bob@bench.test/two"


class RoomTests(SynchronousTestCase):
    """A room has as many occupants as its name says."""

    def setUp(self) -> None:
        self.room = Room("r3-a@rooms.bench.test")

    def test_who_joins_sees_everybody_then_itself_then_the_subject(self) -> None:
        text = self.room.joined(ALICE, "alice")
        self.assertEqual(text.count("</presence>"), 4)
        self.assertEqual(text.count(f"to='{ALICE}'"), 5)
        self.assertLess(text.index("occupant2'"), text.index("<status code='110'/>"))
        self.assertLess(text.index("<status code='110'/>"), text.index("<subject/>"))

    def test_what_is_said_reaches_members(self) -> None:
        self.room.joined(ALICE, "alice")
        self.room.joined(BOB, "bob")
        self.assertEqual(self.room.to_all("<message to='@to@'/>"), f"<message to='{ALICE}'/><message to='{BOB}'/>")

    def test_who_asks_since_when_is_told_what_was_said(self) -> None:
        self.room.joined(ALICE, "alice")
        self.assertEqual(self.room.say("<message to='@to@'>"), f"<message to='{ALICE}'></message>")
        self.assertIn(f"<message to='{BOB}'><delay ", self.room.joined(BOB, "bob", "2000-01-01T00:00:00.5Z"))
        for since in ("", "9999-01-01T00:00:00Z"):
            self.assertNotIn("<delay", self.room.joined(BOB, "bob", since))

    def test_who_leaves_is_told_once(self) -> None:
        self.room.joined(ALICE, "alice")
        self.assertIn("type='unavailable'", self.room.left(ALICE))
        self.assertEqual(self.room.left(ALICE), "")

    def test_a_name_without_a_number(self) -> None:
        self.assertEqual(Room("other@rooms.bench.test").size, 0)
