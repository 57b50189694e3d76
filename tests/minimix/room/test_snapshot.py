"""What is remembered of what a room shows: nothing of a time that is over."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.bounds.byte_budget import ByteBudget
from minimixproxy.config.settings import Rooms
from minimixproxy.minimix.history.room_history import RoomHistory
from minimixproxy.minimix.room.snapshot import RESERVED, SPEAKERS, Snapshot
from minimixproxy.wire.stanza import Stanza, parse_stanza
from tests.minimix.fakes import BARE, ROOM, STREAM, kinds, split
from tests.minimix.history.test_room_history import Recorder

BIG = "x" * 2 * RESERVED


class Forgetting(SynchronousTestCase):
    def setUp(self) -> None:
        self.budget = ByteBudget(100 * RESERVED)
        self.view = Snapshot(ROOM, Rooms(max_occupants=10), self.budget)

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


class Huge(SynchronousTestCase):
    """In a huge room a client that joins may be shown only those who matter (`replay_occupants`)."""

    def view(self, **settings: int) -> Snapshot:
        view = Snapshot(ROOM, Rooms(**settings), ByteBudget(100 * RESERVED))  # type: ignore[arg-type]
        for number in range(10):
            view.occupant_shown(f"n{number}", self.presence(f"n{number}"))
        view.occupant_shown("owner", self.presence("owner", affiliation="owner"))
        view.occupant_shown("mod", self.presence("mod", role="moderator"))
        view.own_shown(self.presence("alice"))
        return view

    @staticmethod
    def presence(nick: str, affiliation: str = "none", role: str = "participant") -> Stanza:
        item = f"<item affiliation='{affiliation}' role=\"{role}\"/>"
        user = f"<x xmlns='http://jabber.org/protocol/muc#user'>{item}</x>"
        return parse_stanza(f"<presence from='{ROOM}/{nick}' to='{STREAM}'>{user}</presence>")

    def shown(self, view: Snapshot) -> list[str]:
        history = RoomHistory(ROOM, Rooms(), Recorder()).select(None, "", 0.0)
        replay = split(b"".join(view.replay(f"{BARE}/phone", STREAM, "j", (), history)))
        return [stanza["from"].partition("/")[2] for stanza in replay if stanza.name == "presence"]

    def says(self, view: Snapshot, nick: str) -> None:
        view.message_seen(parse_stanza(f"<message type='groupchat' from='{ROOM}/{nick}'><body/></message>"))

    def test_all_by_default_and_up_to_the_bound(self) -> None:
        for view in (self.view(), self.view(replay_occupants=12)):
            self.says(view, "n1")
            self.assertEqual(len(self.shown(view)), 13)

    def test_beyond_it(self) -> None:
        view = self.view(replay_occupants=11)
        self.assertEqual(self.shown(view), ["owner", "mod", "alice"])
        self.says(view, "n3")
        self.says(view, "gone")
        self.assertEqual(self.shown(view), ["n3", "owner", "mod", "alice"])

    def test_of_those_who_spoke_the_last(self) -> None:
        view = self.view(replay_occupants=1)
        for nick in ("n1", "n2", *(f"x{number}" for number in range(SPEAKERS - 2)), "n1", "y"):
            self.says(view, nick)
        self.assertEqual(self.shown(view), ["n1", "owner", "mod", "alice"])
