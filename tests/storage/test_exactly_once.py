"""How far a client has seen a room, if the proxy ends without being able to say so."""

import errno
import os

from twisted.logger import formatEvent

from minimixproxy.storage.given_out import GivenOut
from tests.log_events import log_events
from tests.storage.cases import BARE, MEMBERSHIP, ROOM, StorageTestCase, on_both_databases

FIRST = 2  # sequence of the first message: that a session is attached takes one, too


@on_both_databases
class AttachedAtACrashTests(StorageTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.now = self.lab()
        self.room = self.now.journal.room(BARE, ROOM)
        self.room.membership(MEMBERSHIP)
        self.room.attached("phone")
        self.now.turn()

    def cursor(self, number: int = 0) -> int | None:
        self.now = self.again(self.now)
        return self.now.kept[0].rooms[number].cursors.get("phone")

    def test_has_seen_what_was_given_out(self) -> None:
        self.now.keep(3)
        self.now.turn()
        self.assertEqual(self.cursor(), FIRST + 2)

    def test_has_not_seen_what_waited_at_the_gate(self) -> None:
        self.now.keep(3)
        self.now.turn()
        self.now.writer.held_back = True
        self.now.keep(2)
        self.now.turn()
        self.now.writer.store.write(self.now.writer.waiting[0])  # on disk, but killed before the release
        self.assertEqual(self.cursor(), FIRST + 2)
        self.assertEqual(len(self.now.kept[0].rooms[0].messages), 5)

    def test_killed_while_it_is_given_out(self) -> None:
        """Between the write to a client and the mark: that transaction's messages come again, and nothing else does.

        The mark must not come first: what was not given out would be lost.
        """
        self.now.keep(3)
        self.now.turn()
        cursors = []
        given = self.now.journal.gated(lambda _data: cursors.append(self.cursor()))
        self.now.keep(2)
        given(b"")
        self.now.turn()
        self.assertEqual(cursors, [FIRST + 2])
        self.assertEqual(len(self.now.kept[0].rooms[0].messages), 5)

    def test_marked_as_soon_as_it_is_given_out(self) -> None:
        """Nothing comes between the last write to a client and the mark."""
        file, marks, turn = self.directory / "given_out", [], self.now.turn_end
        end = turn.end

        def last_write() -> None:
            end()
            marks.append(file.read_text())

        self.patch(turn, "end", last_write)
        for _ in range(2):
            self.now.keep(1)
            self.now.deliver(b"")
            self.now.turn()
            marks.append(file.read_text())
        numbers = [int(mark.split()[1]) for mark in marks]
        self.assertEqual(numbers, [FIRST - 1, FIRST, FIRST, FIRST + 1])

    def test_is_not_attached_after_a_restart(self) -> None:
        """What another room gives out later says nothing of this one."""
        self.now.keep(1)
        self.now.turn()
        self.assertEqual(self.cursor(), FIRST)
        self.now.keep(1)  # for a client that has not come back
        other = self.now.journal.room(BARE, "other@muc.example.org")
        other.membership(MEMBERSHIP)
        other.attached("desk")
        self.now.keep(5, room="other@muc.example.org")
        self.now.turn()
        self.assertEqual(self.cursor(), FIRST)

    def test_no_further_than_the_room(self) -> None:
        self.now.keep(2)
        self.now.keep(5, room="other@muc.example.org")
        self.now.turn()
        self.assertEqual(self.cursor(), FIRST + 1)

    def test_sequences_go_on_behind_the_mark(self) -> None:
        self.now.keep(5, room="never@entered")
        self.now.turn()
        self.now = self.again(self.now)
        self.assertEqual(self.now.journal.room(BARE, ROOM).next_sequence(), FIRST + 5)

    def test_mark_of_another_database(self) -> None:
        self.now.keep(3)
        self.now.turn()
        file = self.directory / "given_out"
        file.write_text("0" * 32 + file.read_text()[32:])
        self.assertEqual(self.cursor(), FIRST + 2)

    def test_killed_before_anything_reached_it(self) -> None:
        """What it had seen before counts: what it missed meanwhile is still to be given to it."""
        for seen in (None, 1):
            if seen is not None:
                self.room.seen("phone", seen)
            self.now.keep(3)
            self.now.turn()
            self.now.writer.held_back = True
            self.room.attached("phone")
            self.now.deliver(b"replay")
            self.now.turn()
            self.now.writer.store.write(self.now.writer.waiting[0])  # on disk, but killed before the release
            self.assertEqual(self.cursor(), seen or FIRST + 2)
            self.room = self.now.journal.room(BARE, ROOM)

    def test_attached_for_the_first_time_and_killed(self) -> None:
        self.now.writer.held_back = True
        self.room.attached("desk")
        self.now.turn()
        self.now.writer.store.write(self.now.writer.waiting[0])
        self.cursor()
        self.assertEqual(list(self.now.kept[0].rooms[0].cursors), ["phone"])

    def test_last_word_of_a_turn(self) -> None:
        kept = self.now.keep(3)[-1].sequence
        steps = {
            "attached": lambda: self.room.attached("phone"),
            "seen": lambda: self.room.seen("phone", FIRST),
            "forgotten": lambda: self.room.cursor_forgotten("phone"),
        }
        expected = {
            ("seen", "attached"): kept,
            ("forgotten", "attached"): kept,
            ("attached", "seen"): FIRST,
            ("attached", "forgotten"): None,
            ("forgotten", "seen"): FIRST,
            ("seen", "forgotten"): None,
            ("attached", "seen", "attached"): kept,
        }
        for names, wanted in expected.items():
            for name in names:
                steps[name]()
            self.now.turn()
            self.assertEqual(self.cursor(), wanted, names)
            self.room = self.now.journal.room(BARE, ROOM)

    def test_detached_before(self) -> None:
        self.room.seen("phone", 0)
        self.now.keep(3)
        self.now.turn()
        self.assertEqual(self.cursor(), 0)

    def test_orderly_end(self) -> None:
        """Nothing waits when the service has stopped."""
        self.now.keep(3)
        stopped = self.now.journal.stop()
        self.assertNoResult(stopped)
        self.now.turn()
        self.successResultOf(stopped)
        self.assertTrue(self.now.writer.stopped)
        self.assertEqual(self.cursor(), FIRST + 2)


class MarkTests(StorageTestCase):
    def test_spoilt_file(self) -> None:
        file = self.directory / "given_out"
        own, others = "a" * 32, ("12", " 12", "a" * 31 + " 12", "b" * 32 + " 12")
        for text in ("", "nonsense", *others, f"{own} ", f"{own}12", f"{own} 12x", f"{own} -5"):
            file.write_text(text)
            mark = GivenOut(file)
            self.assertIsNone(mark.open("a" * 32), text)
            mark.close()

    def test_no_file_can_be_made(self) -> None:
        mark = GivenOut(self.directory / "missing" / "given_out")
        self.assertIsNone(mark.open("a" * 32))
        mark.write(5)  # does nothing

    def test_a_disk_that_fails(self) -> None:
        """It is said once; the database does without the mark."""
        mark = GivenOut(self.directory / "given_out")
        mark.open("a" * 32)
        events = log_events(self)

        def fail(*_arguments: object) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        before = len(os.listdir("/proc/self/fd"))
        self.patch(os, "pwrite", fail)
        for number in range(3):
            mark.write(number)
        told = [f"{self.directory}/given_out cannot be written: Input/output error"]
        self.assertEqual([formatEvent(event) for event in events], told)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before - 1)

    def test_smaller_number(self) -> None:
        mark = GivenOut(self.directory / "given_out")
        mark.open("a" * 32)
        mark.write(10**15)
        mark.write(7)
        mark.close()
        self.assertEqual(mark.open("a" * 32), 7)
        mark.close()
