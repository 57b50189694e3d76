"""What is remembered of what a room shows: nothing of a time that is over."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.bounds.byte_budget import OBJECT, ByteBudget
from minimixproxy.bounds.shared_bytes import SharedBytes
from minimixproxy.config.settings import Rooms
from minimixproxy.minimix.history.room_history import RoomHistory
from minimixproxy.minimix.room import snapshot
from minimixproxy.minimix.room.snapshot import RESERVED, SPEAKERS, Snapshot
from minimixproxy.wire.stanza import Stanza, parse_stanza
from tests.log_events import log_events
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

    def test_what_the_room_says_of_its_configuration(self) -> None:
        """Who joins later is to know whether it is logged, and shows everybody who one is (XEP-0045 §10.2)."""
        for code, lasting in (
            ("172", {"100"}),
            ("170", {"100", "170"}),
            ("104", {"100", "170"}),
            ("173", {"170"}),
            ("171", set()),
        ):
            x = f"<x xmlns='http://jabber.org/protocol/muc#user'><status code='{code}'/></x>"
            self.view.message_seen(parse_stanza(f"<message from='{ROOM}' type='groupchat'>{x}</message>"))
            self.assertEqual(self.view.codes, lasting, code)

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

    def test_half_is_for_whole_stanzas(self) -> None:
        """What would take more is stripped, so that there is place for who comes later; that is told once."""
        events = log_events(self)
        presence = parse_stanza(f"<presence from='{ROOM}/bob'><x xmlns='urn:x'>{BIG}</x></presence>")
        half = 2 * RESERVED + OBJECT + len(presence.unaddressed)
        for limit, whole in ((2 * half, True), (2 * half - 1, False)):
            self.view = Snapshot(ROOM, Rooms(), ByteBudget(limit), account=BARE)
            self.view.occupant_shown("bob", presence)
            self.assertEqual(presence.unaddressed == self.view.occupants["bob"], whole)
            self.assertEqual(len(events), 0 if whole else 1)
        self.view.occupant_shown("dan", presence)
        said = f"not all that {ROOM} shows {BARE} is kept: it shows too many bytes (limit {2 * half - 1})"
        self.assertEqual([formatEvent(event) for event in events], [said])

    def test_the_own_presence_is_whole_where_there_is_place(self) -> None:
        """Also beyond what is reserved for it."""
        for limit, whole in ((100 * RESERVED, True), (5 * RESERVED, False)):
            self.view = Snapshot(ROOM, Rooms(), ByteBudget(limit))
            self.show("alice")
            assert self.view.self_presence is not None
            self.assertEqual(BIG.encode() in self.view.self_presence.raw, whole)

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


class Shared(SynchronousTestCase):
    """What rooms tell several accounts is kept once, and what only one was told is only its own."""

    def setUp(self) -> None:
        self.told = SharedBytes()
        self.views = {jid: self.view() for jid in (STREAM, "eve@a.test/minimix.4567")}

    def view(self) -> Snapshot:
        return Snapshot(ROOM, Rooms(max_occupants=10), ByteBudget(100 * RESERVED), told=self.told)

    def show(self, nick: str, inner: str = "", only: str = "") -> None:
        for jid, view in self.views.items():
            if only in ("", jid):
                xml = f"<presence from='{ROOM}/{nick}' to='{jid}' xml:lang='en'><x xmlns='urn:x'>{inner}</x></presence>"
                view.occupant_shown(nick, parse_stanza(xml))

    def test_once(self) -> None:
        for nick in ("bob", "dan", "bob"):
            self.show(nick)
        one, other = (view.occupants for view in self.views.values())
        for nick in ("bob", "dan"):
            self.assertIs(one[nick], other[nick])
        self.assertEqual(len(self.told), 2)

    def test_what_differs(self) -> None:
        """The moderator sees addresses, the others do not; each is shown what it was sent."""
        self.show("bob", "<address of='bob'/>", only=STREAM)
        self.show("bob", "", only="eve@a.test/minimix.4567")
        shown = {jid: self.replayed(view, jid) for jid, view in self.views.items()}
        self.assertIn(b"<address of='bob'/>", shown[STREAM])
        self.assertNotIn(b"address", shown["eve@a.test/minimix.4567"])

    def replayed(self, view: Snapshot, jid: str) -> bytes:
        view.own_shown(parse_stanza(f"<presence from='{ROOM}/alice' to='{jid}'/>"))
        history = RoomHistory(ROOM, Rooms(), Recorder()).select(None, "", 0.0)
        return b"".join(view.replay("phone@a.test/x", jid, "j", (), history))

    def test_addressed_to_the_session(self) -> None:
        self.show("bob")
        for jid, view in self.views.items():
            replayed = self.replayed(view, jid)
            self.assertNotIn(jid.encode(), replayed)
            self.assertIn(b"to='phone@a.test/x'", replayed)

    def test_where_the_room_names_the_account_stream(self) -> None:
        """In the presence of another client of the same account, for one; then it names the session."""
        inner = f"<x xmlns='http://jabber.org/protocol/muc#user'><item jid='{STREAM}'/></x>"
        xml = f"<presence from='{ROOM}/bob' to='{STREAM}'>{inner}</presence>"
        self.views[STREAM].occupant_shown("bob", parse_stanza(xml))
        replayed = self.replayed(self.views[STREAM], STREAM)
        self.assertIn(b"phone@a.test/x", replayed.partition(b"<item")[2])
        self.assertNotIn(STREAM.encode(), replayed)

    def test_nothing_is_left(self) -> None:
        for nick in ("bob", "dan", "sam"):
            self.show(nick)
        one, other = self.views.values()
        for nick in ("bob", "nobody"):
            one.occupant_gone(nick)
        self.assertEqual(len(self.told), 3, "the other has it still")
        other.occupant_gone("bob")
        self.assertEqual(len(self.told), 2)
        one.close()
        one.close()
        self.assertEqual(len(self.told), 2)
        other.start_anew()
        self.assertEqual(len(self.told), 0)

    def test_what_has_no_place(self) -> None:
        """Neither is what was there before kept on."""
        small = Snapshot(ROOM, Rooms(), ByteBudget(2 * RESERVED + 1100), told=self.told)
        small.occupant_shown("bob", parse_stanza(f"<presence from='{ROOM}/bob'/>"))
        self.assertEqual(len(self.told), 1)
        texts = "".join(f"<{name}>{'x' * 1000}</{name}>" for name in ("show", "status"))
        small.occupant_shown("bob", parse_stanza(f"<presence from='{ROOM}/bob'>{texts}</presence>"))
        self.assertEqual((small.occupants, len(self.told), small.complete), ({}, 0, False))

    def test_a_fault(self) -> None:
        """What was given back is not given back again: the occupant is forgotten."""
        view = Snapshot(ROOM, Rooms(), ByteBudget(2 * RESERVED + 1100), told=self.told)
        view.occupant_shown("bob", parse_stanza(f"<presence from='{ROOM}/bob'/>"))
        self.patch(snapshot, "stripped", lambda _presence: 1 / 0)
        large = parse_stanza(f"<presence from='{ROOM}/bob'><status>{'x' * 2000}</status></presence>")
        self.assertRaises(ZeroDivisionError, view.occupant_shown, "bob", large)
        self.assertEqual((view.occupants, len(self.told), view.complete), ({}, 0, False))
        view.close()
