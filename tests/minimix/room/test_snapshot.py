"""What is remembered of what a room shows: nothing of a time that is over."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.bounds.byte_budget import ByteBudget
from minimixproxy.config.settings import Rooms
from minimixproxy.minimix.history.room_history import RoomHistory
from minimixproxy.minimix.room.snapshot import RESERVED, Snapshot
from minimixproxy.wire.stanza import Stanza, parse_stanza
from tests.minimix.fakes import BARE, ROOM, STREAM, kinds, split
from tests.minimix.history.test_room_history import Recorder

BIG = "x" * 2 * RESERVED


class Forgetting(SynchronousTestCase):
    def setUp(self) -> None:
        self.budget = ByteBudget(100 * RESERVED)
        self.view = Snapshot(ROOM, 10, self.budget)

    def show(self, nick: str, inner: str = BIG) -> None:
        sender = f"{ROOM}/{nick}" if nick else ROOM
        xml = f"<presence from='{sender}' to='{STREAM}'><x xmlns='urn:x'>{inner}</x></presence>"
        self.view_of(nick)(parse_stanza(xml))

    def view_of(self, nick: str) -> Callable[[Stanza], object]:
        if not nick:
            return self.view.room_shown
        return self.view.own_shown if nick == "alice" else lambda stanza: self.view.occupant_shown(nick, stanza)

    def subject(self, text: str) -> None:
        self.view.message_seen(parse_stanza(f"<message from='{ROOM}/bob'><subject>{text}</subject></message>"))

    def fill(self) -> None:
        self.show("")
        self.show("bob")
        self.show("alice")
        self.subject(BIG)

    def replayed(self) -> list[str]:
        history = RoomHistory(ROOM, Rooms(), Recorder()).select(None, "", 0.0)
        replay = b"".join(self.view.replay(f"{BARE}/phone", STREAM, "j", (), history))
        return kinds(split(replay))

    def test_a_stay_that_is_over(self) -> None:
        self.fill()
        self.assertGreater(self.budget.used, 5 * RESERVED)
        self.assertEqual(len(self.replayed()), 4)
        self.view.start_anew()
        self.assertEqual((self.view.self_presence, self.view.subject, self.view.room_presence), (None, None, None))
        self.assertEqual(("bob" in self.view, self.budget.used), (False, 2 * RESERVED))
        self.show("alice", "")
        self.assertEqual(self.replayed(), ["presence alice 110", "subject "])
        self.fill()
        self.view.close()
        self.assertEqual((self.budget.used, self.view.occupants), (0, {}))

    def test_what_is_replaced_takes_no_place(self) -> None:
        """Again and again, by something large and by something small: what is used is for what is there."""
        self.fill()
        used = self.budget.used
        for _ in range(50):
            for nick in ("", "bob", "alice"):
                self.show(nick, "")
            self.subject("")
            self.assertLess(self.budget.used, 3 * RESERVED)
            self.fill()
            self.assertEqual(self.budget.used, used)
        self.assertEqual(len(self.replayed()), 4)

    def test_nobody_else_has_the_accounts_nick(self) -> None:
        self.view.occupant_shown("alice", parse_stanza(f"<presence from='{ROOM}/alice'/>"))
        self.show("alice", "")
        self.assertEqual(self.replayed(), ["presence alice 110", "subject "])
