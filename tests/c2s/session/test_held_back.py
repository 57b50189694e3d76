"""What is held back for an inactive client: told late, it comes to the same as told at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.session import held_back
from minimixproxy.c2s.session.held_back import NOTHING_WAITS, HeldBack
from minimixproxy.minimix.interfaces.weighed import Change, Weighed, What
from tests.examples import examples
from tests.log_events import log_events

ROOMS = ("coven", "heath")
NICKS = ("bob", "carol", "dave")
JID = "alice@a.test/phone"
HERE = {What.PRESENCE, What.TYPING}


@dataclass(eq=False)
class Told:
    """What a stanza of these tests says: shown in full by `str`."""

    room: str
    nick: str
    text: str  # "here …", "gone", "gone to …", "types", "types not", "says …", "subject …", "read …"
    person: str = ""

    def __str__(self) -> str:
        return f"{self.room}/{self.nick} {self.text}"


@dataclass
class Room:
    """A room as it is, or as a client believes it to be."""

    here: dict[str, tuple[str, str]] = field(default_factory=dict)  # who has a nick, and what they show
    typing: set[str] = field(default_factory=set)
    read: dict[str, str] = field(default_factory=dict)
    subject: str = ""


class Watcher:
    """A client that believes what it is told, and is told nothing that makes no sense."""

    def __init__(self) -> None:
        self.rooms = {room: Room() for room in ROOMS}
        self.heard: list[str] = []
        self.told: list[str] = []

    def take(self, told: Told) -> None:
        self.told.append(str(told))
        room, nick, (verb, _, rest) = self.rooms[told.room], told.nick, told.text.partition(" ")
        if verb == "here":
            before = room.here.get(nick, (told.person, ""))
            assert before[0] == told.person, f"{told}: {before[0]} has not left"
            room.here[nick] = (told.person, rest)
        elif verb == "gone":
            self._gone(room, told, rest.removeprefix("to "))
        elif verb == "subject":
            room.subject = rest
        else:
            assert room.here.get(nick, ("nobody", ""))[0] == told.person, f"{told}: by {room.here.get(nick)}"
            self._does(room, told, verb, rest)

    def _gone(self, room: Room, told: Told, new: str) -> None:
        assert told.nick in room.here, f"{told}: was never there"
        person, _ = room.here.pop(told.nick)
        assert person == told.person, f"{told}: it was {person}"
        room.typing.discard(told.nick)
        room.read.pop(told.nick, None)
        if new:
            assert new not in room.here, f"{told}: {room.here[new][0]} has it"
            room.here[new] = (person, "")

    def _does(self, room: Room, told: Told, verb: str, rest: str) -> None:
        if verb == "types":
            (room.typing.discard if rest else room.typing.add)(told.nick)
        elif verb == "read":
            room.read[told.nick] = rest
        else:
            self.heard.append(str(told))
            room.typing.discard(told.nick)


class World:
    """Rooms, a client that is told all at once, and one for which what can wait does."""

    def __init__(self) -> None:
        self.direct = Watcher()
        self.late = Watcher()
        self.held = HeldBack(lambda weighed: weighed.copy(""), lambda: JID)  # type: ignore[arg-type]
        self.waiting: list[int] = []  # sequences
        self.sequence = 0
        self.persons = 0

    def happens(self, told: Told, change: Change | None, *, matters: bool = False) -> None:
        self.direct.take(told)

        def copy(_jid: str) -> bytes:
            self.late.take(told)
            self.waiting.clear()
            return b""

        sequence = None
        if change is None:
            self.sequence += 1
            sequence = self.sequence
        weighed = Weighed(told.room, told.nick, copy, 100, matters, change, sequence)
        if matters:
            self.held.release_before(weighed)
            copy("")
        else:
            if sequence is not None:
                self.waiting.append(sequence)
            self.held.hold(weighed)

    # What occupants do; what cannot be done does not happen

    def shows(self, room: str, nick: str, number: int) -> None:
        there = self.direct.rooms[room].here.get(nick)
        if there is None:
            self.persons += 1
        person = there[0] if there is not None else f"p{self.persons}"
        before = hash(there[1]) if there is not None else None
        change = Change(What.PRESENCE, there is not None, whose=person, shows=hash(f"{number}"), shown_before=before)
        self.happens(Told(room, nick, f"here {number}", person), change)

    def comes_back(self, room: str, nick: str, number: int) -> None:
        there = self.direct.rooms[room].here.get(nick)
        if there is not None:
            self.leaves(room, nick, number)
            change = Change(What.PRESENCE, False, whose=there[0], shows=hash(f"{number}"))
            self.happens(Told(room, nick, f"here {number}", there[0]), change)

    def leaves(self, room: str, nick: str, _number: int) -> None:
        there = self.direct.rooms[room].here.get(nick)
        if there is not None:
            change = Change(What.PRESENCE, ends=True, whose=there[0], shown_before=hash(there[1]))
            self.happens(Told(room, nick, "gone", there[0]), change)

    def renames(self, room: str, nick: str, number: int) -> None:
        here, new = self.direct.rooms[room].here, NICKS[number % len(NICKS)]
        if nick in here and new not in here:
            person, shown = here[nick]
            change = Change(What.PRESENCE, ends=True, whose=person, becomes=new, shown_before=hash(shown))
            self.happens(Told(room, nick, f"gone to {new}", person), change)
            change = Change(What.PRESENCE, False, whose=person, shows=hash(shown))
            self.happens(Told(room, new, f"here {shown}", person), change)

    def types(self, room: str, nick: str, number: int) -> None:
        view = self.direct.rooms[room]
        if nick in view.here:
            ends = bool(number % 2)
            change = Change(What.TYPING, nick in view.typing, ends)
            self.happens(Told(room, nick, "types not" if ends else "types", view.here[nick][0]), change)

    def reads(self, room: str, nick: str, number: int) -> None:
        here = self.direct.rooms[room].here
        if nick in here:
            self.happens(Told(room, nick, f"read {number}", here[nick][0]), Change(What.MARKER))

    def says(self, room: str, nick: str, number: int) -> None:
        here = self.direct.rooms[room].here
        if nick in here:
            self.happens(Told(room, nick, f"says {number}", here[nick][0]), None)

    def matters(self, room: str, nick: str, number: int) -> None:
        here = self.direct.rooms[room].here
        if nick in here:
            self.happens(Told(room, nick, f"says {number}!", here[nick][0]), None, matters=True)
            assert self.late.heard == self.direct.heard
            if len(here) <= held_back.FEW:
                assert self.late.rooms[room].here == here

    def sets_subject(self, room: str, _nick: str, number: int) -> None:
        self.happens(Told(room, "", f"subject {number}"), Change(What.SUBJECT))

    def looks(self, _room: str, _nick: str, _number: int) -> None:
        self.held.release()
        assert self.late.rooms == self.direct.rooms
        assert self.late.heard == self.direct.heard


ACTIONS: tuple[Callable[[World, str, str, int], None], ...] = (
    World.shows,
    World.shows,
    World.shows,
    World.comes_back,
    World.leaves,
    World.leaves,
    World.renames,
    World.types,
    World.reads,
    World.says,
    World.matters,
    World.sets_subject,
    World.looks,
)
STEPS = st.lists(
    st.tuples(st.sampled_from(ACTIONS), st.sampled_from(ROOMS), st.sampled_from(NICKS), st.integers(0, 5)), max_size=40
)


class Model(SynchronousTestCase):
    @settings(max_examples=examples(200))
    @given(STEPS, st.sampled_from((3, 1000)), st.sampled_from((0, 1000)))
    def test_it_comes_to_the_same(
        self, steps: list[tuple[Callable[..., None], str, str, int]], most: int, few: int
    ) -> None:
        """In the end, and in a room whenever something there matters, if few wait; and each message in its place."""
        world = World()
        with patch.object(held_back, "MAX_HELD", most), patch.object(held_back, "FEW", few):
            for action, room, nick, number in steps:
                action(world, room, nick, number)
                assert len(world.held) <= most
                assert world.held.limit == (world.waiting[0] - 1 if world.waiting else NOTHING_WAITS)
                assert world.held.size == 100 * len(world.held)
            world.looks("", "", 0)
        assert len(world.late.told) <= len(world.direct.told)
        assert world.held.size == 0


class Tables(SynchronousTestCase):
    """What is told, in words, after the room has shown bob to everybody."""

    def told(self, *steps: tuple[Callable[..., None], str, int]) -> list[str]:
        world = World()
        world.shows("coven", "bob", 0)
        world.looks("", "", 0)
        for action, nick, number in steps:
            action(world, "coven", nick, number)
        world.held.release()
        return [one.removeprefix("coven/") for one in world.late.told[1:]]

    def test_what_is_told(self) -> None:
        shows, leaves, says, types = World.shows, World.leaves, World.says, World.types
        for steps, expected in (
            ([(shows, "bob", 1), (shows, "bob", 2)], ["bob here 2"]),
            ([(shows, "bob", 1), (shows, "bob", 0)], []),
            ([(shows, "carol", 1), (shows, "carol", 2)], ["carol here 2"]),
            ([(shows, "carol", 1), (leaves, "carol", 0)], []),
            ([(shows, "bob", 1), (leaves, "bob", 0)], ["bob gone"]),
            ([(World.comes_back, "bob", 3)], ["bob here 3"]),
            ([(World.comes_back, "bob", 0)], []),
            ([(leaves, "bob", 0), (shows, "bob", 1)], ["bob gone", "bob here 1"]),  # somebody else
            ([(leaves, "bob", 0), (shows, "bob", 1), (leaves, "bob", 0)], ["bob gone"]),
            (
                [(shows, "carol", 1), (says, "carol", 1), (shows, "carol", 2), (leaves, "carol", 0)],
                ["carol here 1", "carol says 1", "carol gone"],
            ),
            ([(says, "bob", 1), (shows, "bob", 1), (says, "bob", 2)], ["bob says 1", "bob here 1", "bob says 2"]),
            ([(types, "bob", 0)], ["bob types"]),
            ([(types, "bob", 0), (types, "bob", 1)], []),
            ([(types, "bob", 0), (says, "bob", 1)], ["bob says 1"]),
            ([(types, "bob", 0), (leaves, "bob", 0)], ["bob gone"]),
            (
                [(types, "bob", 0), (World.reads, "bob", 1), (shows, "bob", 1)],
                ["bob here 1", "bob types", "bob read 1"],
            ),
            ([(shows, "carol", 1), (types, "carol", 0), (shows, "carol", 2)], ["carol here 2", "carol types"]),
            ([(shows, "bob", 1), (types, "bob", 0), (shows, "bob", 2), (types, "bob", 1)], ["bob here 2"]),
            ([(World.renames, "bob", 1)], ["bob gone to carol", "carol here 0"]),
            ([(World.renames, "bob", 1), (leaves, "carol", 0)], ["bob gone to carol", "carol gone"]),
            (
                [(World.renames, "bob", 1), (World.renames, "carol", 2)],
                ["bob gone to carol", "carol gone to dave", "dave here 0"],
            ),
            ([(shows, "carol", 1), (World.renames, "carol", 2)], ["dave here 1"]),
            (
                [(World.renames, "bob", 1), (World.renames, "carol", 0)],
                ["bob gone to carol", "carol gone to bob", "bob here 0"],
            ),
            (
                [
                    (shows, "carol", 1),
                    (says, "carol", 1),
                    (leaves, "bob", 0),
                    (World.renames, "carol", 0),
                    (leaves, "bob", 0),
                ],
                ["carol here 1", "carol says 1", "bob gone", "carol gone to bob", "bob gone"],
            ),
            ([(World.sets_subject, "", 1), (World.sets_subject, "", 2)], [" subject 2"]),
            ([(World.reads, "bob", 1), (World.reads, "bob", 2)], ["bob read 2"]),
        ):
            self.assertEqual(self.told(*steps), expected, steps)

    def test_a_state_that_was_seen_ends(self) -> None:
        world = World()
        world.shows("coven", "bob", 0)
        world.types("coven", "bob", 0)
        world.looks("", "", 0)
        world.types("coven", "bob", 1)
        world.held.release()
        self.assertEqual(world.late.told[-1], "coven/bob types not")

    def test_another_room_waits_on(self) -> None:
        """But for its messages, and what belongs to them."""
        world = World()
        for room in ROOMS:
            world.shows(room, "bob", 0)
        world.matters("coven", "bob", 1)
        self.assertEqual(world.late.told, ["coven/bob here 0", "coven/bob says 1!"])
        self.assertEqual(len(world.held), 1)
        world.says("heath", "bob", 2)
        world.matters("coven", "bob", 3)
        self.assertEqual(world.late.told[2:], ["heath/bob here 0", "heath/bob says 2", "coven/bob says 3!"])

    def test_many_wait_on(self) -> None:
        """But for what is to be known before what is said."""
        world = World()
        with patch.object(held_back, "FEW", 1):
            world.shows("coven", "bob", 0)
            world.shows("coven", "carol", 0)
            world.shows("coven", "dave", 0)
            world.says("coven", "carol", 1)
            world.shows("coven", "carol", 2)
            world.matters("coven", "bob", 2)
            expected = ["coven/bob here 0", "coven/carol here 0", "coven/carol says 1", "coven/bob says 2!"]
            self.assertEqual(sorted(world.late.told), sorted(expected))
            world.shows("coven", "bob", 0)
            world.matters("coven", "bob", 3)
            self.assertEqual(world.late.told[4:], ["coven/bob says 3!"])
            world.looks("", "", 0)
            self.assertEqual(world.late.told[5:], ["coven/dave here 0", "coven/carol here 2"])

    def test_bytes_are_bounded(self) -> None:
        """The client is told, and the log says which one."""
        world, events = World(), log_events(self)
        world.shows("coven", "bob", 0)
        with patch.object(held_back, "MAX_BYTES", 250):
            world.says("coven", "bob", 1)
            self.assertEqual(world.late.told, [])
            world.says("coven", "bob", 2)
        self.assertEqual(len(world.late.told), 3)
        self.assertEqual(world.held.size, 0)
        self.assertEqual([event["jid"] for event in events], [JID])

    def test_nicks_that_nobody_takes_are_bounded(self) -> None:
        """A room may tell of changes of nick without end: no more of them are known than may wait."""
        told: list[Weighed] = []
        held = HeldBack(told.append, lambda: JID)
        for number in range(3000):
            change = Change(What.PRESENCE, ends=True, becomes=f"nobody {number}")
            held.hold(Weighed("coven", f"bob {number}", lambda _jid: b"", 100, change=change))
            held.release_before(Weighed("coven", "eve", lambda _jid: b"", 100, matters=True))
            self.assertLessEqual(len(held._announced), held_back.MAX_HELD)
        self.assertEqual(len(told), 3000)

    def test_who_cannot_be_known_is_somebody_else(self) -> None:
        """Without an id of the occupant, nobody can tell who has the nick now."""
        told: list[str] = []
        held = HeldBack(lambda weighed: told.append(weighed.copy("").decode()), lambda: JID)

        def hold(text: bytes, *, ends: bool) -> None:
            change = Change(What.PRESENCE, ends=ends, whose=None)
            held.hold(Weighed("coven", "bob", lambda _jid: text, 1, change=change))

        hold(b"gone", ends=True)
        hold(b"here", ends=False)
        held.release()
        self.assertEqual(told, ["gone", "here"])
