"""What a room's answer says of its servers, for the pace at which accounts come back."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.occupancy import rejoining
from minimixproxy.timing.answered_line import Turn
from tests.minimix.fakes import ROOM, STREAM, World

STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"


class TurnsTest(SynchronousTestCase):
    def setUp(self) -> None:
        """The account was in a room, and is on its way back."""
        self.world = World()
        self.world.joined("phone")
        self.outcomes: list[str] = []
        self.lose_stream()
        outlet = self.world.account.occupancies.outlet
        self.patch(outlet, "rejoin_turn", lambda room, call: Recorded(call, self.outcomes))
        self.world.stream.jid = STREAM
        self.world.stream.opened()
        self.assertEqual(self.outcomes, ["asked"])
        self.outcomes.clear()

    def lose_stream(self) -> None:
        self.world.stream.jid = ""
        self.world.stream.lost()

    def refuse(self, condition: str) -> None:
        sender = f"from='{ROOM}/alice' to='{STREAM}'"
        error = f"<error type='wait'><{condition} xmlns='{STANZAS}'/></error>"
        self.world.room(f"<presence type='error' {sender}>{error}</presence>")

    def test_the_own_presence_is_an_answer(self) -> None:
        self.world.shows("bob")
        self.assertEqual(self.outcomes, [])
        self.world.shows("alice", "110")
        self.world.subject()
        self.world.shows("alice", "110")
        self.assertEqual(self.outcomes, ["answered"])

    def test_so_is_a_refusal(self) -> None:
        for condition, outcome in (
            ("registration-required", "answered"),
            ("not-allowed", "answered"),
            ("service-unavailable", "answered"),  # the room is full, for instance
            ("forbidden", "answered"),
            ("resource-constraint", "trouble"),
            ("remote-server-timeout", "trouble"),
            ("remote-server-not-found", "trouble"),
            ("internal-server-error", "trouble"),
        ):
            self.setUp()
            self.refuse(condition)
            self.assertEqual(self.outcomes[:1], [outcome], condition)

    def test_nothing_is_learned_when_the_stream_is_lost_or_the_account_leaves(self) -> None:
        self.lose_stream()
        self.assertEqual(self.outcomes, ["over"])
        self.setUp()
        self.world.account.rooms[ROOM].leave_room()
        self.assertEqual(self.outcomes, ["over"])

    def test_nor_from_what_comes_too_late(self) -> None:
        self.world.clock.advance(rejoining.ANSWER_TIMEOUT + 0.5)
        self.assertEqual(self.outcomes[:1], ["over"])


class Recorded(Turn):
    """Comes at once."""

    def __init__(self, call: Callable[[], None], outcomes: list[str]) -> None:
        self._begin, self._outcomes = call, outcomes

    def ask(self, *, urgent: bool = False) -> None:
        self._outcomes.append("asked")
        self._begin()

    def answered(self, *, trouble: bool = False) -> None:
        self._outcomes.append("trouble" if trouble else "answered")

    def end(self) -> None:
        self._outcomes.append("over")
