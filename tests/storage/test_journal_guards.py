"""The journal's bounds, and its order in trouble: what waits, for how long, and what is written behind what."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred

from minimixproxy.minimix.interfaces.journal import KeptAccount, KeptMembership, KeptRoom
from minimixproxy.storage import durability
from minimixproxy.storage.batch import Batch
from minimixproxy.storage.durability import LOOKS, PATIENCE
from minimixproxy.storage.lease import HeldByAnother
from minimixproxy.storage.room_journal import SQLRoomJournal
from minimixproxy.timing.turn_end import Waiting
from tests.storage.cases import BARE, MEMBERSHIP, ROOM, Lab, StorageTestCase, message
from tests.storage.test_trouble import TroubleTestCase

OTHER = "other@muc.example.org"


class WaitingTests(TroubleTestCase):
    """Output waits for the disk, but neither for ever nor without a bound."""

    def begin(self, lab: Lab) -> None:
        super().begin(lab)
        self.given = lab.given

    def say(self, data: bytes) -> None:
        """Journal something, and say something that waits for it."""
        self.now.keep()
        self.now.deliver(data)
        self.now.turn()

    def pass_time(self, seconds: float, step: float = 0.1) -> None:
        for _ in range(round(seconds / step)):
            self.now.clock.advance(step)

    def test_each_batch_has_its_own_time(self) -> None:
        """The watch runs on behind one that was quick: what comes next has not waited for as long as that."""
        self.say(b"1")
        self.assertEqual(self.given, [b"1"])
        self.pass_time(PATIENCE / LOOKS - 0.1)
        self.writer.held_back = True
        self.say(b"2")
        self.pass_time(PATIENCE - 0.2)
        self.assertEqual((self.given, self.journal.status.durable), ([b"1"], True))
        self.pass_time(PATIENCE / LOOKS + 0.4)
        self.assertEqual((self.given, self.journal.status.durable), ([b"1", b"2"], False))

    def test_looks_at_an_earlier_batch_do_not_count(self) -> None:
        """The process stood still right after a batch that took long: the next one has not been tried so often."""
        self.writer.held_back = True
        self.say(b"1")
        self.pass_time(PATIENCE - 0.2)
        self.writer.work()
        self.writer.held_back = True
        self.say(b"2")
        self.now.clock.advance(60)
        self.assertEqual((self.given, self.journal.status.durable), ([b"1"], True))

    def test_each_trouble_begins_with_quick_attempts(self) -> None:
        self.writer.faults += [OSError("no space")] * 6
        self.say(b"1")
        self.pass_time(10)
        self.assertEqual(self.given, [b"1"])
        self.writer.faults.append(OSError("no space"))
        self.say(b"2")
        self.assertEqual(self.given, [b"1"])
        self.pass_time(durability.FIRST_RETRY + 0.1)
        self.assertEqual(self.given, [b"1", b"2"])

    def test_how_much_may_wait(self) -> None:
        self.patch(durability, "_WAITING_LIMIT", 10)
        self.writer.held_back = True
        self.say(b"0")
        for number in range(1, 8):
            self.now.deliver(b"%d" % number)
        self.now.keep()
        self.now.deliver(b"8")
        self.now.deliver(b"9")
        self.pass_time(PATIENCE / LOOKS + 0.1)
        self.assertEqual((self.given, self.journal.status.durable), ([], True), "as many as may wait")
        self.now.deliver(b"10")
        self.assertEqual(self.given, [])
        self.pass_time(PATIENCE / LOOKS)
        self.assertEqual(self.given, [b"%d" % number for number in range(11)])
        self.assertEqual(self.logged("error: state is not durable: writing takes too long"), 1)

    def test_what_is_told_of_it(self) -> None:
        """The fault that keeps it from being written, rather than that it takes long."""
        self.writer.faults += [OSError("no space")] * 1000
        self.say(b"1")
        self.pass_time(PATIENCE + 1)
        self.assertEqual(self.logged("error: state is not durable: OSError: no space"), 1)
        self.assertEqual(self.journal.status.error, "OSError: no space")

    def test_it_waits_again_once_something_is_written(self) -> None:
        """Not yet for the batch that was in trouble, but for the next one, which has begun."""
        self.writer.faults += [OSError("no space")] * 1000
        self.say(b"1")
        self.pass_time(PATIENCE + 1)
        self.now.keep()
        self.writer.held_back = True
        self.writer.faults.clear()
        self.pass_time(durability.LONGEST_RETRY)
        batch = self.writer.waiting.pop()
        self.writer.store.write(batch)
        self.writer._written(batch, None)
        self.now.deliver(b"2")
        self.assertEqual((self.given, self.messages()), ([b"1"], [1]))
        self.writer.work()
        self.assertEqual((self.given, self.messages()), ([b"1", b"2"], [1, 2]))

    def test_nothing_is_looked_at_when_all_is_written(self) -> None:
        self.say(b"1")
        self.pass_time(PATIENCE)
        self.assertEqual(self.now.clock.getDelayedCalls(), [])


class Failing:
    """Somebody who waits for the end of the turn, and meets a fault of ours then."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting

    def turn_ended(self) -> None:
        raise ZeroDivisionError

    def abort(self) -> None:
        self._waiting.abort()


class OrderTests(TroubleTestCase):
    """One batch at a time, none is left behind, and nothing is written for somebody else."""

    def test_one_at_a_time(self) -> None:
        """What comes while one is being written waits, at the end of a turn, too."""
        self.writer.held_back = True
        for _ in range(3):
            self.now.keep()
            self.now.turn()
        self.assertEqual(len(self.writer.waiting), 1)
        self.writer.work()
        self.assertEqual(self.messages(), [1, 2, 3])

    def test_added_to_the_turn_once(self) -> None:
        """However many batches it begins and writes: the turn's end wants it once."""
        added: list[object] = []
        real = self.now.turn_end.add

        def add(waiting: Waiting) -> None:
            added.append(waiting)
            real(waiting)

        self.patch(self.now.turn_end, "add", add)
        self.writer.held_back = True
        self.now.keep()
        self.journal.gated(self.journals)(b"1")
        self.now.turn()
        added.clear()
        self.now.keep()
        self.writer.work()
        self.assertEqual(len(added), 1)
        self.now.turn()
        self.assertEqual(self.messages(), [1, 2, 3])

    def journals(self, _data: object) -> None:
        self.now.keep()

    def test_the_end_waits_for_what_came_last(self) -> None:
        """While a batch was being written: it is written, too, before anybody is told of the end."""
        self.writer.held_back = True
        self.now.keep()
        self.now.turn()
        self.now.keep()
        stopped = self.journal.stop()
        self.assertNoResult(stopped)
        batch = self.writer.waiting.pop()
        self.writer.store.write(batch)
        self.writer._written(batch, None)
        self.assertNoResult(stopped)
        self.assertFalse(self.writer.stopped)
        self.writer.work()
        self.successResultOf(stopped)
        self.assertEqual(self.messages(), [1, 2])

    def test_nothing_is_begun_for_another(self) -> None:
        """Another proxy has the database: what is said from then on is neither written nor given out."""
        self.writer.faults.append(HeldByAnother("another proxy has it"))
        self.now.keep()
        self.now.deliver(b"1")
        self.now.turn()
        attempts = self.writer.attempts
        self.now.keep()
        self.now.deliver(b"2")
        for _ in range(100):
            self.now.clock.advance(1)
        self.assertEqual((self.now.given, self.writer.attempts, self.messages()), ([], attempts, []))
        self.assertEqual((len(self.now.lost), self.journal.status.durable), (1, False))
        stopped = self.journal.stop()
        self.successResultOf(stopped)

    def test_another_has_it_while_there_is_nothing_to_write(self) -> None:
        """The writer found out by itself: what comes then is not even tried, and not given out."""
        self.now.deliver(b"before")
        attempts = self.writer.attempts
        self.writer._written(None, HeldByAnother("another proxy has it"))
        self.now.deliver(b"1")
        self.now.keep()
        self.now.deliver(b"2")
        self.now.turn()
        self.assertEqual((self.now.given, self.writer.attempts, self.messages()), ([b"before"], attempts, []))
        self.successResultOf(self.journal.stop())
        self.assertEqual(self.now.given, [b"before"])

    def test_another_has_it_while_a_batch_is_to_be_tried_again(self) -> None:
        """The writer finds out between two attempts: there is no other."""
        self.writer.faults.append(OSError("gone"))
        self.now.keep()
        self.now.turn()
        attempts = self.writer.attempts
        self.writer._written(None, HeldByAnother("another proxy has it"))
        self.now.clock.advance(100)
        self.assertEqual((self.writer.attempts, self.messages(), self.now.clock.getDelayedCalls()), (attempts, [], []))

    def test_another_has_it_after_some_trouble(self) -> None:
        """Clients got what was on no disk; now they do not any more."""
        self.writer.faults += [OSError("no space")] * 10
        self.now.keep()
        self.now.deliver(b"1")
        for _ in range(50):
            self.now.clock.advance(0.1)
        self.assertEqual((self.now.given, self.journal.status.durable), ([b"1"], False))
        self.writer.faults[:] = [HeldByAnother("another proxy has it")]
        self.now.clock.advance(durability.LONGEST_RETRY)
        self.now.turn()
        self.now.deliver(b"2")
        self.now.keep()
        self.now.deliver(b"3")
        self.now.turn()
        self.assertEqual((self.now.given, self.messages()), ([b"1"], []))

    def test_a_fault_at_the_end_of_the_turn(self) -> None:
        """It is tried again, a little later: nothing that was journalled may be left behind."""
        real = self.now.turn_end.add
        self.patch(self.now.turn_end, "add", lambda waiting: real(Failing(waiting)))
        self.now.keep()
        self.now.deliver(b"1")
        self.now.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual((self.messages(), self.now.given), ([], []))
        self.now.clock.advance(durability.FIRST_RETRY)
        self.now.turn()
        self.assertEqual((self.messages(), self.now.given), ([1], [b"1"]))

    def test_who_waits_for_nothing_to_be_left(self) -> None:
        """A batch that has erased nothing yet ends nobody's waiting."""
        self.now.keep()
        waiting: Deferred[None] = self.journal.erased(copies=False)
        self.patch(self.writer.store, "write", self.write_only)
        self.now.turn()
        self.assertNoResult(waiting)

    def write_only(self, batch: Batch) -> None:
        batch.erasure = batch.erasure.NOWHERE


class SnapshotTests(TroubleTestCase):
    """All messages that there are are written when messages had to be let go."""

    def test_of_rooms_that_were_never_entered(self) -> None:
        """They have no row: what was said there would belong to nobody."""
        kept = self.now.keep(2)
        self.now.turn()
        rooms = [KeptRoom(ROOM, MEMBERSHIP, kept[:1]), KeptRoom(OTHER, MEMBERSHIP, kept[1:])]
        self.begin_with(lambda: [KeptAccount(BARE, None, False, 0.0, rooms)])
        self.journal.gathering.limit = 1
        self.now.keep()
        self.now.turn()
        self.assertEqual(self.execute("SELECT sequence, room_id FROM messages ORDER BY sequence"), [(1, self.room.id)])

    def test_that_fails(self) -> None:
        """A fault of ours costs what was let go, not what is on disk; and nobody waits for it."""
        self.now.keep(2)
        self.now.turn()

        def in_memory() -> Iterator[KeptAccount]:
            yield KeptAccount(BARE, None, False, 0.0, [KeptRoom(ROOM, MEMBERSHIP, [])])
            raise ZeroDivisionError

        self.begin_with(in_memory)
        self.journal.gathering.limit = 1
        self.now.keep()
        self.now.deliver(b"1")
        self.now.turn()
        self.assertEqual((self.messages(), self.now.given), ([1, 2], [b"1"]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.logged("state on disk lacks messages"), 1)


class ForgottenTests(TroubleTestCase):
    def test_in_the_batch_in_which_it_was_kept(self) -> None:
        """Nothing of it comes after it has gone."""
        self.now.crash()
        self.begin(self.lab())
        self.journal.account_kept(BARE, None, 5.0)
        self.now.keep()
        self.journal.account_forgotten(BARE)
        self.now.turn()
        for table in ("accounts", "rooms", "messages"):
            self.assertEqual(self.execute(f"SELECT count(*) FROM {table}"), [(0,)], table)

    def test_it_is_erased_soon(self) -> None:
        """Though nobody waits for that."""
        log = self.directory / "state.sqlite-wal"
        self.assertGreater(log.stat().st_size, 0)
        self.journal.account_forgotten(BARE)
        self.now.turn()
        self.assertEqual(log.stat().st_size, 0)


class FirstStartTests(StorageTestCase):
    from_nothing = True

    def test_given_out_from_the_start(self) -> None:
        """There is no mark from before: what never reached a client has not been seen because of that."""
        now = self.lab()
        room = now.journal.room(BARE, ROOM)
        room.membership(MEMBERSHIP)
        room.seen("phone", 0)
        now.turn()
        now.crash()
        (self.directory / "given_out").unlink()
        now = self.lab()
        now.writer.held_back = True
        now.journal.room(BARE, ROOM).attached("phone")
        now.keep(3)
        now.turn()
        now.writer.store.write(now.writer.waiting[0])  # on disk, but killed before the release
        self.assertEqual(self.again(now).kept[0].rooms[0].cursors, {"phone": 0})


class RoomTests(StorageTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.now = self.lab()
        self.room = self.now.journal.room(BARE, ROOM)
        self.room.membership(MEMBERSHIP)
        self.now.turn()

    def test_entered_again_as_before(self) -> None:
        """It was forgotten meanwhile: the same membership is news."""
        self.room.forgotten()
        self.now.turn()
        self.room.membership(MEMBERSHIP)
        self.now.turn()
        self.now = self.again(self.now)
        self.assertEqual([room.membership for room in self.now.kept[0].rooms], [MEMBERSHIP])

    def test_numbers_go_on_behind_what_clients_have_seen(self) -> None:
        """Though no message is left, and no mark: a client would take the next ones for those that it has seen."""
        self.room.seen("phone", 50)
        self.now.turn()
        self.now.crash()
        (self.directory / "given_out").unlink()
        self.now = self.lab()
        self.assertEqual(self.now.journal.room(BARE, ROOM).next_sequence(), 51)

    def test_entered_again_by_the_same(self) -> None:
        """It is the room's journal again, which has another row."""
        self.room.forgotten()
        self.room.membership(MEMBERSHIP)
        self.now.turn()
        self.assertIs(self.now.journal.room(BARE, ROOM), self.room)
        self.assertEqual(self.execute("SELECT id FROM rooms"), [(self.room.id,)])

    def test_the_first_membership(self) -> None:
        """Of a room that has no row, whatever it says."""
        self.now.journal.room(BARE, OTHER).membership(KeptMembership("alice", "alice"))
        self.now.turn()
        self.now = self.again(self.now)
        self.assertEqual(sorted(room.room for room in self.now.kept[0].rooms), sorted([OTHER, ROOM]))

    def test_trimming_that_takes_nothing_away(self) -> None:
        """It begins no batch: a room does so with each message."""
        self.room.trimmed(5)
        self.assertIsNone(self.now.journal.gathering.batch)
        first = self.now.keep(2)[0]
        self.now.turn()
        self.room.trimmed(first.sequence)
        self.assertIsNone(self.now.journal.gathering.batch)
        self.room.trimmed(first.sequence + 1)
        self.now.turn()
        self.assertEqual(self.execute("SELECT sequence FROM messages"), [(first.sequence + 1,)])

    def test_attached_again_in_the_batch_in_which_it_came(self) -> None:
        """It has seen what was given out since it came, not since it came again."""
        self.room.cursor_forgotten("phone")
        self.room.attached("phone")
        since = self.now.journal.gathering.sequence
        self.room.attached("phone")
        assert self.now.journal.gathering.batch is not None
        self.assertEqual(self.now.journal.gathering.batch.cursors, {(self.room.id, "phone"): (None, since)})
        self.room.seen("phone", 1)
        self.room.attached("phone")
        since = self.now.journal.gathering.sequence
        self.room.attached("phone")
        self.assertEqual(self.now.journal.gathering.batch.cursors, {(self.room.id, "phone"): (1, since)})

    def test_in_the_place_of_another(self) -> None:
        """A room has one row: what was kept by who was there before goes."""
        before = self.now.journal.room(BARE, OTHER)
        after = self.now.journal.room(BARE, OTHER)
        before.membership(MEMBERSHIP)
        before.message_kept(message(before.next_sequence()))
        membership = KeptMembership("other", "other")
        after.membership(membership)
        self.now.turn()
        self.now = self.again(self.now)
        (room,) = [room for room in self.now.kept[0].rooms if room.room == OTHER]
        self.assertEqual((room.membership, room.messages), (membership, []))
        self.assertEqual(self.execute("SELECT count(*) FROM rooms"), [(2,)])

    def test_forgotten_before_anything_was_kept(self) -> None:
        """It takes nothing from who is there, and begins no batch."""
        self.now.journal.room(BARE, ROOM)
        SQLRoomJournal(self.now.journal.gathering, self.now.journal._rows, BARE, ROOM).forgotten()
        self.now.journal.room("nobody@example.org", ROOM).forgotten()
        self.assertIsNone(self.now.journal.gathering.batch)
        self.assertIs(self.now.journal.room(BARE, ROOM), self.room)

    def test_the_lease_is_told_what_came_to_nothing(self) -> None:
        """And not what was written."""
        told: list[int] = []
        self.patch(self.now.lease, "rolled_back", lambda: told.append(self.now.journal.status.left_out))
        self.now.keep(2)
        self.now.turn()
        self.assertEqual(told, [])
        self.room.message_kept(message(1, raw=b"<message>another</message>"))
        self.now.turn()
        self.assertEqual((told, self.now.journal.status.left_out), ([0], 1))

    def test_the_connection_is_closed(self) -> None:
        store = self.now.writer.store
        for close in (store.close, store.end):
            store.rest()
            self.now.keep()
            self.now.turn()
            assert store._connection is not None
            driver: Any = store._connection.driver_connection
            close()
            self.assertRaises(sqlite3.ProgrammingError, driver.execute, "SELECT 1")
