"""The disk is full, the database locked, damaged or gone: what is lost then, and what is not."""

import os
import sqlite3
import subprocess
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from twisted.logger import LogEvent

from minimixproxy.minimix.interfaces.journal import KeptAccount, KeptMessage, KeptPrivate, KeptRoom
from minimixproxy.storage import durability, wal
from minimixproxy.storage.batch import ROW_SIZE, Batch
from minimixproxy.storage.durability import WRITING
from minimixproxy.storage.store import Execution
from tests import other_process
from tests.log_events import observe
from tests.storage import postgresql
from tests.storage.cases import BARE, MEMBERSHIP, ROOM, Lab, StorageTestCase, message, on_both_databases

ROOT = Path(__file__).resolve().parent.parent.parent
OTHER = "bob@example.org"


class TroubleTestCase(StorageTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.said: list[str] = []
        observe(self, self._observe)
        self.begin(self.lab())

    def begin(self, lab: Lab) -> None:
        self.now, self.journal, self.writer = lab, lab.journal, lab.writer
        self.room = self.journal.room(BARE, ROOM)
        self.room.membership(MEMBERSHIP)
        self.now.turn()

    def begin_with(self, in_memory: Callable[[], Iterable[KeptAccount]]) -> None:
        """Begin anew, with a journal that can ask for all there is."""
        self.now.crash()
        self.begin(self.lab(in_memory=in_memory))

    def _observe(self, event: LogEvent) -> None:
        if str(event.get("log_namespace", "")).startswith("minimixproxy.storage"):
            self.said.append(f"{event['log_level'].name}: {event['log_format'].format_map(event)}")

    def logged(self, text: str) -> int:
        return sum(text in line for line in self.said)

    def messages(self) -> list[int]:
        return [row[0] for row in self.execute("SELECT sequence FROM messages ORDER BY sequence")]


@on_both_databases
class FailureTests(TroubleTestCase):
    """Faults from a list; real ones below."""

    def meet_faults(self, times: int) -> None:
        self.writer.faults += [OSError("no space")] * times

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds * 20)):
            self.now.clock.advance(0.05)

    def test_tried_again(self) -> None:
        self.meet_faults(3)
        self.now.keep(2)
        self.now.deliver(b"1")
        self.now.turn()
        self.assertEqual(self.now.given, [])
        self.now.keep(2)
        self.now.deliver(b"2")
        self.wait(1)
        self.assertEqual((self.messages(), self.now.given), ([1, 2, 3, 4], [b"1", b"2"]))
        self.assertEqual((self.logged("trying again: OSError: no space"), self.logged("can be written again")), (1, 1))
        self.assertEqual(self.logged("not durable"), 0)

    def test_all_of_a_batch_or_nothing(self) -> None:
        """What breaks behind the last row takes all of them back, before it is tried again, or after a crash."""
        store, executions = self.writer.store, self.writer.store._executions

        def breaks(batch: Batch, *, singly: bool = False) -> Iterator[Execution]:
            yield from executions(batch, singly=singly)
            raise OSError("gone")

        self.patch(store, "_executions", breaks)
        self.journal.account_kept("other@example.org", None, 5.0)
        self.now.keep(2)
        self.now.deliver(b"1")
        self.now.turn()
        self.assertEqual((self.messages(), self.execute("SELECT bare FROM accounts")), ([], [(BARE,)]))
        self.patch(store, "_executions", executions)
        self.wait(1)
        self.assertEqual((self.messages(), self.now.given), ([1, 2], [b"1"]))
        self.assertEqual(len(self.execute("SELECT bare FROM accounts")), 2)

    def test_a_connection_that_cannot_roll_back(self) -> None:
        """It is of no use any more: the next batch gets another one."""
        store = self.writer.store
        begin = store._begin

        def gone() -> None:
            raise OSError("gone")

        def broken() -> None:
            begin()
            self.patch(store._connection, "rollback", gone)
            raise OSError("no space")

        self.patch(store, "_begin", broken)
        self.now.keep(1)
        self.now.turn()
        self.assertIsNone(store._connection)
        self.patch(store, "_begin", begin)
        self.wait(1)
        self.assertEqual(self.messages(), [1])

    def test_how_long_it_takes_is_counted(self) -> None:
        """With all that did not succeed; and as long as it does not, how long it has taken so far can be asked."""
        before, seconds = WRITING.cumulated()[-1][1], WRITING.seconds
        self.meet_faults(2)
        self.now.keep(1)
        self.now.turn()
        self.now.clock.advance(0.1)
        self.assertAlmostEqual(self.journal.status.lag, 0.1)
        self.assertEqual(WRITING.cumulated()[-1][1], before)
        self.wait(1)
        self.assertEqual((self.messages(), self.journal.status.lag), ([1], 0.0))
        self.assertEqual(WRITING.cumulated()[-1][1], before + 1)
        self.assertGreater(WRITING.seconds, seconds + 0.1)

    def test_attempts_become_rare(self) -> None:
        self.meet_faults(1000)
        self.now.keep()
        self.now.turn()
        self.wait(60)
        self.assertLess(self.writer.attempts, 25)
        self.assertGreater(self.writer.attempts, 10)

    def test_output_waits_only_so_long(self) -> None:
        self.meet_faults(1000)
        self.now.keep()
        self.now.deliver(b"1")
        self.now.turn()
        self.now.keep()
        self.now.deliver(b"2")
        self.wait(durability.PATIENCE - 0.5)
        self.assertEqual((self.now.given, self.journal.status.durable), ([], True))
        self.wait(1.5)
        self.assertEqual(self.now.given, [b"1", b"2"])
        self.now.keep()
        self.now.deliver(b"3")
        self.assertEqual(self.now.given, [b"1", b"2", b"3"])
        self.assertEqual(self.room.given_out(), 3)
        self.assertEqual(self.journal.status.durable, False)
        self.assertEqual(self.journal.status.error, "OSError: no space")
        self.assertGreater(self.journal.status.waiting, 0)
        self.wait(20)
        self.assertEqual(self.logged("error: state is not durable"), 1)

    def test_a_process_that_stood_still_has_not_waited(self) -> None:
        """A machine that was asleep, or too busy for us: the thread that writes did not run either."""
        self.writer.held_back = True
        self.now.keep()
        self.now.deliver(b"1")
        self.now.turn()
        self.now.clock.advance(60)
        self.wait(durability.PATIENCE / 2)
        self.assertEqual((self.now.given, self.logged("not durable")), ([], 0))
        self.wait(durability.PATIENCE)
        self.assertEqual((self.now.given, self.logged("not durable")), ([b"1"], 1))

    def test_healed(self) -> None:
        self.meet_faults(1000)
        self.now.keep()
        self.now.turn()
        self.wait(5)
        self.now.keep()
        self.writer.faults.clear()
        self.wait(6)
        self.assertEqual((self.logged("durable again"), self.messages()), (1, [1, 2]))
        self.assertEqual((self.journal.status.durable, self.journal.status.error), (True, ""))
        self.now.keep()
        self.now.deliver(b"1")
        self.assertEqual(self.now.given, [])
        self.now.turn()
        self.assertEqual(self.now.given, [b"1"])

    def test_what_was_given_out_in_trouble_stays_given_out(self) -> None:
        self.meet_faults(1000)
        self.now.keep()
        self.now.turn()
        self.wait(5)
        self.now.keep(4)
        self.writer.held_back = True
        self.writer.faults.clear()
        self.wait(6)
        batch = self.writer.waiting.pop()
        self.writer.store.write(batch)
        self.writer.held_back = True
        self.writer._written(batch, None)  # the first batch; the four are in the next
        self.now.keep()
        self.assertEqual(self.room.given_out(), 5)

    def test_slow_without_an_error(self) -> None:
        self.writer.held_back = True
        self.now.keep()
        self.now.deliver(b"1")
        self.now.turn()
        self.wait(5)
        self.assertEqual((self.now.given, self.logged("writing takes too long")), ([b"1"], 1))
        self.writer.work()
        self.assertEqual(self.logged("durable again"), 1)

    def test_bound(self) -> None:
        """Too much waits: messages are let go, rooms are not; then all that there are get written."""
        kept: list[KeptMessage] = []
        private = KeptPrivate(100, b"<message id='private'/>")

        def in_memory() -> list[KeptAccount]:
            rooms = [KeptRoom(ROOM, MEMBERSHIP, kept, {}, [private]), KeptRoom("other@muc.example.org", MEMBERSHIP)]
            return [KeptAccount(BARE, None, False, 0.0, rooms)]

        self.begin_with(in_memory)
        self.journal.gathering.limit = 3000
        kept += self.now.keep(2)
        self.now.turn()
        self.meet_faults(1000)
        kept += self.now.keep(2)
        self.now.turn()
        kept += self.now.keep(20)
        other = self.journal.room(BARE, "other@muc.example.org")
        other.membership(MEMBERSHIP)
        kept = kept[10:]
        self.room.trimmed(kept[0].sequence)
        self.assertEqual(self.logged("messages are not kept on disk for now"), 1)
        self.assertLess(self.journal.status.waiting, 10_000)
        self.writer.faults.clear()
        self.wait(6)
        self.assertEqual(self.logged("has all messages again"), 1)
        after = self.now.keep(1)
        self.room.trimmed(kept[1].sequence)
        self.now.turn()
        self.now = self.again(self.now)
        (account,) = self.now.kept
        self.assertEqual([room.room for room in account.rooms], [ROOM, "other@muc.example.org"])
        self.assertEqual(account.rooms[0].messages, kept[1:] + after)
        self.assertEqual(account.rooms[0].privates, [private])

    def test_what_waits_is_weighed(self) -> None:
        """Messages, changes of them and private ones alike; what was let go, or is written, weighs nothing."""
        self.begin_with(list)
        raw = b"<message>%b</message>" % (b"x" * 1000)
        (kept,) = self.now.keep()
        self.now.turn()
        kinds = {
            "kept": lambda: self.keep_another(len(raw)),
            "changed": lambda: self.room.message_changed(replace(kept, raw=raw)),
            "private": lambda: self.room.private_kept(KeptPrivate(self.room.next_sequence(), raw)),
        }
        for name, journals in kinds.items():
            self.assertEqual(self.journal.status.waiting, 0, name)
            journals()
            self.assertEqual(self.journal.status.waiting, len(raw) + ROW_SIZE, name)
            journals()
            self.assertEqual(self.journal.status.waiting, 2 * (len(raw) + ROW_SIZE), name)
            self.now.turn()
        for name, journals in kinds.items():
            (kept,) = self.now.keep()  # what was let go has no row any more that could be changed
            self.now.turn()
            self.journal.gathering.limit = 2 * (len(raw) + ROW_SIZE)
            self.said.clear()
            journals(), journals()
            self.assertEqual(self.logged("messages are not kept on disk for now"), 0, name)
            journals()
            self.assertEqual(
                (self.logged("messages are not kept on disk for now"), self.journal.status.waiting), (1, 0), name
            )
            self.now.turn()

    def keep_another(self, size: int) -> None:
        sequence = self.room.next_sequence()
        self.room.message_kept(message(sequence, raw=b"%0*d" % (size, sequence)))

    def test_bound_without_a_snapshot(self) -> None:
        self.journal.gathering.limit = 3000
        self.meet_faults(1000)
        self.now.keep(1)
        self.now.turn()
        self.now.keep(20)
        self.writer.faults.clear()
        self.wait(6)
        self.assertEqual(self.logged("state on disk lacks messages"), 1)
        self.assertIn(1, self.messages())

    def test_end_in_trouble(self) -> None:
        self.meet_faults(1000)
        self.now.keep()
        stopped = self.journal.stop()
        self.wait(durability.STOP_PATIENCE - 1)
        self.assertNoResult(stopped)
        self.wait(2)
        self.successResultOf(stopped)
        self.assertEqual(self.logged("could not be written at the end: OSError: no space"), 1)
        attempts = self.writer.attempts
        self.wait(20)
        self.assertEqual((self.writer.attempts, self.now.clock.getDelayedCalls()), (attempts, []))

    def test_healed_at_the_end(self) -> None:
        self.meet_faults(2)
        self.now.keep()
        stopped = self.journal.stop()
        self.wait(1)
        self.successResultOf(stopped)
        self.assertEqual(self.messages(), [1])

    def test_a_row_that_is_refused(self) -> None:
        """It costs itself."""
        first, second = (message(self.room.next_sequence()) for _ in range(2))
        self.room.message_kept(message(self.room.next_sequence(), stanza_id="\ud800"))
        self.room.message_kept(first)
        self.room.message_kept(second)
        self.now.deliver(b"1")
        self.now.turn()
        self.assertEqual((self.messages(), self.now.given), ([1, 2], [b"1"]))
        self.assertEqual(self.logged("refused, and left out"), 1)
        self.assertEqual(self.journal.status.left_out, 1)

    def test_a_number_that_is_taken(self) -> None:
        """What is not stored is not called stored: it is logged and counted."""
        number = self.now.keep(1)[0].sequence
        self.now.turn()
        self.room.message_kept(message(number, raw=b"<message>another</message>"))
        self.room.private_kept(KeptPrivate(number, b"<message/>"))
        self.now.keep(2)
        self.now.turn()
        self.assertEqual(self.messages(), [1, 2, 3])
        self.assertEqual(self.execute("SELECT raw FROM messages WHERE sequence = 1"), [(message(number).raw,)])
        self.assertEqual((self.logged("number 1 is another row's"), self.journal.status.left_out), (1, 1))
        self.room.private_kept(KeptPrivate(number, b"<message id='other'/>"))
        self.now.turn()
        self.assertEqual(self.journal.status.left_out, 2)

    def test_of_the_same_number_in_no_room(self) -> None:
        """As a message that several accounts share: it says the same, and the room has none all the same."""
        number = self.now.keep(1)[0].sequence
        self.now.turn()
        self.execute(f"UPDATE messages SET room_id = 0 WHERE sequence = {number}")
        self.room.message_kept(message(number))
        self.now.turn()
        self.assertEqual((self.logged(f"number {number} is another row's"), self.journal.status.left_out), (1, 1))

    def test_of_the_same_number_in_another_room(self) -> None:
        number = self.now.keep(1)[0].sequence
        self.now.turn()
        self.journal.room(BARE, "other@muc.example.org").message_kept(message(number))
        self.now.turn()
        self.assertEqual(self.journal.status.left_out, 1)

    def test_many_of_which_one_is_taken(self) -> None:
        """Among rows that are written by one statement."""
        self.now.keep(1)
        self.now.turn()
        self.room.message_kept(message(1, raw=b"<message>another</message>"))
        self.now.keep(70)
        self.now.turn()
        self.assertEqual((len(self.messages()), self.journal.status.left_out), (71, 1))

    def test_written_in_spite_of_an_error(self) -> None:
        """The connection broke during the commit: the same rows come again."""
        batch = None
        self.now.keep(3)
        self.room.private_kept(KeptPrivate(self.room.next_sequence(), b"<message/>"))
        self.room.attached("phone")
        self.room.message_changed(message(2, raw=b"<message>corrected</message>"))
        self.room.trimmed(2)
        self.writer.held_back = True
        self.now.turn()
        (batch,) = self.writer.waiting
        self.writer.store.write(batch)
        self.writer.work()
        self.assertEqual((self.messages(), self.logged("refused")), ([2, 3], 0))
        self.assertEqual((self.logged("are there already"), self.journal.status.left_out), (1, 0))


class LockedTests(TroubleTestCase):
    def test_locked_by_another_process(self) -> None:
        other = sqlite3.connect(self.state, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        self.now.keep()
        self.now.deliver(b"1")
        self.now.turn()
        self.assertEqual((self.now.given, self.logged("database is locked")), ([], 1))
        other.execute("ROLLBACK")
        self.now.clock.advance(0.1)
        self.assertEqual((self.now.given, self.messages()), ([b"1"], [1]))


class FullDiskTests(TroubleTestCase):
    def test_sqlite_says_full(self) -> None:
        cursor = self.writer.cursor()
        pages = cursor.execute("PRAGMA page_count").fetchone()[0]
        cursor.execute(f"PRAGMA max_page_count = {pages}")
        self.now.keep(100)
        self.now.deliver(b"1")
        self.now.turn()
        self.assertEqual((self.now.given, self.logged("full")), ([], 1))
        cursor.execute("PRAGMA max_page_count = 1000000")
        self.now.clock.advance(0.1)
        self.assertEqual((self.now.given, len(self.messages())), ([b"1"], 100))

    def test_the_system_says_full(self) -> None:
        """By a limit on the size of files, which a process can have for itself."""
        self.now.crash()
        program = """
            import resource, signal, sys
            from pathlib import Path
            from tests.storage.cases import *
            directory = Path(sys.argv[1])
            lab = Lab(directory / "state.sqlite", directory)
            lab.journal.room(BARE, ROOM).membership(MEMBERSHIP)
            lab.turn()
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
            lab.keep(1000)
            lab.deliver(b"1")
            lab.turn()
            print(lab.given, lab.journal.status.error)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            lab.clock.advance(0.1)
            print(lab.given)
        """
        done = other_process.run("-c", textwrap.dedent(program), str(self.directory))
        self.assertRegex(done.stdout, r"^\[\] OperationalError: (disk I/O error|database or disk is full)\n\[b'1'\]\n$")
        self.assertEqual(len(self.messages()), 1000)

    def mounted(self, size: str) -> Path:
        """Have the state on a file system of that size; return where it is."""
        if os.geteuid() != 0:
            raise self.skipTest("only root can mount")
        mount = self.directory / "mount"
        mount.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(mount)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            self.skipTest("nothing can be mounted here")
        self.addCleanup(subprocess.run, ["umount", "--lazy", str(mount)], check=True)
        self.state = mount / "state.sqlite"
        return mount

    def test_too_full_to_overwrite_what_goes(self) -> None:
        """That takes as much as it is; without it, nothing more would be written."""
        mount = self.mounted("12m")
        lab = self.lab()
        room = lab.journal.room(OTHER, ROOM)
        room.membership(MEMBERSHIP)
        for number in range(200):
            room.message_kept(message(room.next_sequence(), raw=b"<message>%d %b</message>" % (number, b"x" * 20_000)))
        lab.turn()
        lab.writer.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        ballast, free = mount / "ballast", os.statvfs(mount)
        ballast.write_bytes(b"x" * (free.f_bavail * free.f_frsize - 300_000))
        lab.journal.account_forgotten(OTHER)
        lab.keep(10)
        lab.deliver(b"1")
        lab.turn()
        self.assertEqual((lab.given, self.execute("SELECT count(*) FROM messages")), ([b"1"], [(10,)]))
        self.assertEqual((self.logged("no room to overwrite"), lab.journal.status.error), (1, ""))
        ballast.unlink()
        lab.clock.advance(wal.GATHERED)
        lab.writer.rest()
        for file in mount.glob("state.sqlite*"):
            self.assertNotIn(b"x" * 1000, file.read_bytes(), file.name)

    def test_a_full_file_system(self) -> None:
        mount = self.mounted("600k")
        lab = self.lab()
        lab.journal.room(BARE, ROOM).membership(MEMBERSHIP)
        lab.turn()
        ballast = mount / "ballast"
        with ballast.open("wb", buffering=0) as file, self.assertRaises(OSError):
            while file.write(b"\0" * 4096):
                pass
        lab.keep(500)
        lab.deliver(b"1")
        lab.turn()
        self.assertEqual(lab.given, [])
        self.assertRegex(lab.journal.status.error, "full|I/O")
        ballast.unlink()
        lab.clock.advance(0.1)
        self.assertEqual((lab.given, self.execute("SELECT count(*) FROM messages")), ([b"1"], [(500,)]))


class PostgreSQLRestartTests(TroubleTestCase):
    postgresql = True

    def test_a_server_that_only_reads(self) -> None:
        """As after a failover: who connects anew may reach the one that writes."""
        connection = self.writer.store._connection
        assert connection is not None
        self.writer.cursor().execute("SET default_transaction_read_only = on")
        connection.commit()
        self.now.keep()
        self.now.deliver(b"1")
        self.now.turn()
        self.assertEqual((self.now.given, self.logged("read-only transaction")), ([], 1))
        self.now.clock.advance(durability.FIRST_RETRY)
        self.assertEqual((self.now.given, self.messages()), ([b"1"], [1]))

    def test_restart(self) -> None:
        cluster = postgresql.cluster()
        self.now.keep()
        self.now.turn()
        cluster.stop()
        self.addCleanup(cluster.start)  # if it does not come to the end
        self.now.keep()
        self.now.deliver(b"1")
        self.now.turn()
        self.assertEqual((self.now.given, self.journal.status.durable), ([], True))
        self.now.clock.pump([1.0] * 4)
        self.assertEqual((self.now.given, self.journal.status.durable), ([b"1"], False))
        cluster.start()
        self.now.clock.advance(6)
        self.assertEqual((self.messages(), self.journal.status.durable), ([1, 2], True))
