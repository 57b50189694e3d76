"""A presence that is held back for a moment, directed by a client that waits for its reflection (fuzz, seed 763)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.minimix.fakes import ROOM, World

AWAY = "<show>away</show>"


class HeldBack(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        (self.phone,) = self.world.joined("phone")
        self.world.clock.advance(10)
        self.world.stream.take()
        self.phone.take()

    def shows(self, nick: str, stanza_id: str, inner: str = "") -> None:
        self.world.client(self.phone, f"<presence to='{ROOM}/{nick}' id='{stanza_id}'>{inner}</presence>")

    def test_back_to_what_the_room_sees_already(self) -> None:
        """Nothing is sent then, so it is for the account to reflect it."""
        self.shows("alice", "a", AWAY)
        self.world.shows("alice", "110", inner=AWAY)
        self.phone.take()
        self.shows("alice", "b")
        self.shows("alice", "c", AWAY)
        self.world.clock.advance(10)
        self.assertIn("c", [one.get("id") for one in self.phone.take()])

    def test_what_came_with_a_change_of_nick_that_is_never_answered(self) -> None:
        """The room may not have taken it, and is shown it by the nick that the account has."""
        self.shows("liz", "n", "<show>dnd</show>")
        self.world.stream.take()
        self.world.clock.advance(60)
        self.assertEqual([one["to"] for one in self.world.stream.take()], [f"{ROOM}/alice"])
