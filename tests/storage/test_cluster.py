"""Several processes have one database together, and of the accounts each has its own: on PostgreSQL."""

from dataclasses import replace
from threading import Thread
from typing import Any

import psycopg
from twisted.internet import reactor
from twisted.logger import LogLevel, capturedLogs, formatEvent

from minimixproxy.minimix.interfaces.handed import HandedAccount, HandedRoom
from minimixproxy.minimix.interfaces.journal import KeptMembership, KeptPrivate
from minimixproxy.sasl.keys import Keys
from minimixproxy.storage import cluster_lease
from minimixproxy.storage.cluster_lease import NOTHING, ClusterLease, Node
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.journal import Adopted
from minimixproxy.storage.lease import LEASE, RENEWAL, HeldByAnother, Lease
from minimixproxy.storage.leases import HeldBy, Holder
from minimixproxy.storage.noted_given_out import NOTED_AFTER
from minimixproxy.storage.numbering import SLOTS
from minimixproxy.storage.service import Member, Place, open_shared
from tests.patience import patiently
from tests.storage.cases import BARE, MEMBERSHIP, ROOM, message
from tests.storage.clustered import CLUSTER, SEALER, ClusterTestCase

BOB = "bob@example.org"
KEYS = Keys("sha1", b"salt", 4096, b"stored", b"server", None)


class TakingTests(ClusterTestCase):
    """Who has an account, and who may take it."""

    def test_one_has_it_and_the_other_is_told(self) -> None:
        one, other = self.process(), self.process()
        self.assertIsNone(one.adopted())
        found = other.claim()
        assert isinstance(found, HeldBy)
        self.assertEqual(found, HeldBy(Holder(one.lease.number, "node-1", "node-1:5270", 0), found.epoch))
        self.assertEqual(one.leases.survey(thorough=True).orphans, [])

    def test_of_whom_nothing_is_known_nobody_is_asked_to_have(self) -> None:
        """Somebody who has not logged in may name any account."""
        one, other = self.process(), self.process()
        self.assertIsNone(one.leases.find(BARE))
        self.assertIsNone(other.adopted())

    def test_each_kind_of_what_is_known(self) -> None:
        one, other = self.process(), self.process()
        one.adopted()
        one.journal.login_keys.put(BOB, [KEYS])
        one.keep()
        one.turn()
        one.crash()
        self.time_out(one)
        other.leases.survey(thorough=False)
        for bare in (BARE, BOB):
            self.assertIsInstance(other.leases.find(bare), Adopted, bare)
        self.assertIsNone(other.leases.find("carol@example.org"))

    def test_there_are_so_many_places(self) -> None:
        """Each process gives numbers of its own: one more would give those of another."""
        self.patch(cluster_lease, "SLOTS", 2)
        one, _other = self.process(), self.process()
        self.assertIn("2 proxies have it already", str(self.assertRaises(StateError, self.process)))
        one.end()
        self.assertEqual(self.process().lease.slot, one.lease.slot)

    def test_epochs_grow(self) -> None:
        one = self.process()
        one.adopted()
        epochs = self.execute("SELECT epoch FROM leases")
        one.journal.let_go(BARE, to_others=False)
        one.turn()
        self.assertEqual(self.execute("SELECT * FROM leases"), [])
        self.process().adopted()
        self.assertGreater(self.execute("SELECT epoch FROM leases"), epochs)

    def test_only_who_is_noted_as_over_has_none(self) -> None:
        """That the time is over does not make it so: it might be renewed in the same moment."""
        one, other = self.process(), self.process()
        one.adopted()
        self.time_out(one)
        self.assertIsInstance(other.claim(), HeldBy)
        survey = other.leases.survey(thorough=False)
        self.assertEqual([holder.name for holder in survey.buried], ["node-1"])
        self.assertEqual(([holder.name for holder in survey.live], survey.orphans), (["node-2"], [BARE]))
        self.assertIsInstance(other.claim(), Adopted)

    def test_what_time_it_is_by_the_database(self) -> None:
        one = self.process()
        before, survey = self.now(), one.leases.survey(thorough=False)
        self.assertTrue(before <= survey.time <= self.now(), survey.time)

    def now(self) -> float:
        ((time,),) = self.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        return float(time)

    def test_who_has_ended_and_left_accounts(self) -> None:
        """As long as some of them are nobody's; not those that left none."""
        one, other, third = self.process(), self.process(), self.process()
        one.adopted()
        one.adopted(BOB)
        self.assertEqual(third.leases.survey(thorough=False).left_by, [])
        self.time_out(one)
        self.time_out(other)
        self.assertEqual(third.leases.survey(thorough=False).left_by, ["node-1"])
        third.adopted()
        self.assertEqual(third.leases.survey(thorough=False).left_by, ["node-1"])
        third.adopted(BOB)
        self.assertEqual(third.leases.survey(thorough=False).left_by, [])

    def test_the_others_know_who_is_drained(self) -> None:
        """Until it is undone, or it begins anew."""
        one, other = self.process(), self.process()

        def drained() -> list[str]:
            return [holder.name for holder in other.leases.survey(thorough=False).live if holder.draining]

        self.assertEqual(drained(), [])
        one.leases.drain(True)
        self.assertEqual(drained(), ["node-1"])
        one.leases.drain(False)
        self.assertEqual(drained(), [])

    def test_who_is_over_is_not_drained(self) -> None:
        one, other = self.process(), self.process()
        self.time_out(one)
        other.leases.survey(thorough=False)
        with self.assertRaises(HeldByAnother):
            one.leases.drain(True)

    def test_a_lease_of_nobody(self) -> None:
        """Its process has no row any more."""
        one = self.process()
        self.execute("INSERT INTO leases (bare, holder, epoch) VALUES (%s, 10000, 1)", BARE)
        self.assertEqual(one.leases.survey(thorough=True).orphans, [BARE])
        self.assertIsNone(one.adopted())

    def test_of_one_that_is_blocked_something_is_known(self) -> None:
        one = self.process()
        one.adopted()
        one.journal.blocked.put(BARE, 5.0, "why")
        one.turn()
        one.end()
        found = self.process().leases.find(BARE)
        assert isinstance(found, Adopted)
        self.assertIn(BARE, found.blocked)

    def test_the_connection_was_cut_meanwhile(self) -> None:
        """By the server, or a pooler: it is asked once more, on another one."""
        one = self.process()
        one.adopted(BOB)
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND datname = current_database()"
        )
        self.assertIsNone(one.adopted())

    def test_the_connection_was_lost_in_a_commit(self) -> None:
        """It is asked once more, and nothing is free then: who has asked has to see what is its own."""
        one = self.process()
        one.leases.take([BOB])
        dialect = one.database.engine.dialect
        commit = dialect.do_commit

        def committed_and_lost(connection: Any) -> None:
            dialect.do_commit = commit  # type: ignore[method-assign]
            commit(connection)
            raise psycopg.OperationalError("the connection is lost")

        dialect.do_commit = committed_and_lost  # type: ignore[method-assign, assignment]
        self.assertEqual(one.leases.take([BARE]).names, [])
        self.assertEqual(one.leases.ours([BARE]), [BARE])

    def test_many_at_once(self) -> None:
        """Those that another one has, are left."""
        one, other = self.process(), self.process()
        one.adopted(BOB)
        taken = other.leases.take([BARE, BOB, "carol@example.org"])
        self.assertEqual(sorted(taken.names), [BARE, "carol@example.org"])
        self.assertIsInstance(one.claim(), HeldBy)

    def test_two_take_what_a_third_one_has_left(self) -> None:
        """Who comes second waits for the first one, and gets nothing, though it saw the third one's end."""
        former, one, other = self.process(), self.process(), self.process()
        former.adopted()
        former.end()
        found: list[Adopted] = []
        second = Thread(target=lambda: found.append(other.leases.take([BARE])))
        with one.database.engine.connect() as connection, connection.begin():
            self.assertEqual(one.leases._take(connection, [BARE]).names, [BARE])
            second.start()
            while second.is_alive() and not self.execute("SELECT FROM pg_locks WHERE NOT granted"):
                pass
        second.join()
        self.assertEqual([list(taken.names) for taken in found], [[]])
        self.assertIsInstance(other.claim(), HeldBy)

    def test_taken_and_the_answer_was_lost(self) -> None:
        one = self.process()
        one.leases.take([BARE])
        self.assertIsInstance(one.claim(), Adopted)

    def test_accounts_of_a_proxy_that_was_alone(self) -> None:
        """They are nobody's, which only a thorough look finds. What they had in common, each has by itself."""
        lab = self.lab()
        for bare in (BARE, BOB):
            lab.journal.room(bare, ROOM).membership(MEMBERSHIP)
            room = lab.journal.room(bare, ROOM)
            room.message_kept(message(room.next_sequence(), raw=b"<message>the same</message>"))
        lab.turn()
        lab.writer.store.end()
        one = self.process()
        self.assertEqual(one.leases.survey(thorough=False).orphans, [])
        self.assertEqual(one.leases.survey(thorough=True).orphans, [BARE, BOB])
        for bare in (BARE, BOB):
            account = one.adopted(bare)
            assert account is not None
            self.assertEqual([kept.raw for kept in account.rooms[0].messages], [b"<message>the same</message>"])


class LifeTests(ClusterTestCase):
    """A process lives for as long as it gives signs of life; then it is over for good."""

    def test_renewed_in_time(self) -> None:
        one, other = self.process(), self.process()
        self.time_out(one)
        one.clock.advance(RENEWAL)
        one.writer.rest()
        self.assertEqual(other.leases.survey(thorough=False).buried, [])
        self.assertEqual(one.lease.left, LEASE)

    def test_it_begins_when_the_database_says_so(self) -> None:
        """Else a process would end at once where its clock, which says nothing of the time, is far from zero."""
        one = self.process()
        one.clock.advance(1000)
        lease = ClusterLease(
            one.database, CLUSTER, Node("late", "late:1", "late"), one.clock.advance, one.clock.seconds
        )
        lease.take()
        self.addCleanup(lease.abandon)
        self.assertEqual(lease.left, LEASE)
        one.clock.advance(1)
        self.assertEqual(lease.left, LEASE - 1)

    def test_not_before_it_is_time(self) -> None:
        one = self.process()
        before = self.execute("SELECT expires FROM holders")
        one.clock.advance(RENEWAL - 0.1)
        one.writer.rest()
        one.keep()
        one.turn()
        self.assertEqual(self.execute("SELECT expires FROM holders"), before)

    def test_over_is_over(self) -> None:
        """Nothing is written, nothing is said, nothing is taken, and no sign of life is given."""
        one, other = self.process(), self.process()
        one.adopted()
        one.keep()
        one.turn()
        self.time_out(one)
        other.leases.survey(thorough=False)
        before = self.execute("SELECT * FROM messages")
        one.keep()
        one.deliver(b"told")
        one.clock.advance(RENEWAL)
        self.assertEqual((one.given, len(one.lost)), ([], 1))
        self.assertIn("no sign of life for 15 s", str(one.lost[0]))
        self.assertEqual(self.execute("SELECT * FROM messages"), before)
        for asked in (one.writer.rest, lambda: one.leases.claim(BOB), lambda: one.leases.survey(thorough=False)):
            self.assertRaises(HeldByAnother, asked)
        self.assertEqual(self.execute("SELECT ended FROM holders WHERE number = %s", one.lease.number), [(True,)])

    def test_nobody_notes_the_end_of_one_that_is_writing(self) -> None:
        one, other = self.process(), self.process()
        self.time_out(one)
        one.writer.store._begin()
        self.assertEqual(other.leases.survey(thorough=False).buried, [])
        one.writer.store._commit()
        self.assertEqual(len(other.leases.survey(thorough=False).buried), 1)

    def test_a_failed_transaction_renews_nothing(self) -> None:
        one = self.process()
        one.clock.advance(NOTED_AFTER)  # which renews nothing
        one.clock.advance(RENEWAL)
        one.writer.store._begin()
        one.lease.rolled_back()
        self.assertTrue(one.lease.due)
        self.assertEqual(one.lease.left, LEASE - RENEWAL - NOTED_AFTER)

    def test_the_databases_clock_goes_back(self) -> None:
        """Who has died before is over in time all the same; who lives gives another sign of life."""
        one, other, third = self.process(), self.process(), self.process()
        self.execute("UPDATE holders SET expires = expires + 3600")
        other.leases.survey(thorough=False)
        left = "SELECT number FROM holders WHERE expires > extract(epoch FROM clock_timestamp()) + %s"
        self.assertEqual(self.execute(left, LEASE), [])
        self.assertEqual(len(self.execute(left, 1)), 3)
        one.crash()
        third.clock.advance(RENEWAL)
        third.writer.rest()
        self.time_out(one)
        self.assertEqual([gone.name for gone in other.leases.survey(thorough=False).buried], ["node-1"])

    def test_orderly_ends(self) -> None:
        """What it had is free at once."""
        one, other = self.process(), self.process()
        one.adopted()
        one.end()
        self.assertEqual(other.leases.survey(thorough=False).orphans, [BARE])
        other.adopted()
        other.leases.survey(thorough=False)
        self.assertEqual(self.execute("SELECT name FROM holders"), [("node-2",)], "of the other nothing was left")

    def test_the_same_directory_again(self) -> None:
        """Whoever had it is gone, be it that its row has not run out."""
        one, other = self.process(directory="d"), self.process()
        one.adopted()
        again = self.process(directory="d")
        self.assertEqual(again.leases.survey(thorough=False).orphans, [BARE])
        self.assertIsInstance(other.claim(), Adopted)
        one.clock.advance(RENEWAL)
        self.assertRaises(HeldByAnother, one.writer.rest)

    def test_slots_are_used_again(self) -> None:
        slots = [self.process().lease.slot for _ in range(3)]
        self.processes[1].end()
        self.assertEqual((slots, self.process().lease.slot), ([0, 1, 2], 1))


class AloneTests(ClusterTestCase):
    """A cluster, or one proxy that has the database to itself."""

    def test_one_alone_is_kept_out(self) -> None:
        """It waits, and sees signs of life."""
        one = self.process()
        signs = iter(range(100))

        def live(_seconds: float) -> None:
            self.execute("UPDATE holders SET expires = expires + %s", next(signs))

        error = self.assertRaises(HeldByAnother, Lease(one.database, "alone", live).take)
        self.assertIn("is in use by a cluster of minimixproxies", str(error))

    def test_a_cluster_is_kept_out(self) -> None:
        lab = self.lab()

        def live(_seconds: float) -> None:
            self.execute("UPDATE holder SET expires = expires + 1")

        waiting = ClusterLease(lab.database, CLUSTER, Node("a", "a:1", "a"), live, lab.clock.seconds)
        self.assertRaises(HeldByAnother, waiting.take)
        self.assertEqual(self.execute("SELECT * FROM holders"), [])

    def test_another_cluster_is_kept_out(self) -> None:
        one = self.process()

        def live(_seconds: float) -> None:
            self.execute("UPDATE holders SET expires = expires + 1")

        waiting = ClusterLease(one.database, "minimix.other", Node("a", "a:1", "a"), live, one.clock.seconds)
        self.assertRaises(HeldByAnother, waiting.take)
        self.assertEqual(len(self.execute("SELECT * FROM holders")), 1)

    def test_alone_again(self) -> None:
        """When all of the cluster have ended, one proxy takes all of it, and knows how far each was."""
        one, other = self.process(), self.process()
        one.adopted()
        other.adopted(BOB)
        told: dict[str, list[int]] = {}
        for process, bare in ((one, BARE), (other, BOB)):
            process.journal.room(bare, ROOM).membership(MEMBERSHIP)
            process.journal.room(bare, ROOM).attached("phone")
            told[bare] = [kept.sequence for kept in process.keep(2, bare)]
            process.turn()
            process.end()
        lab = self.lab()
        cursors = {account.bare: account.rooms[0].cursors for account in lab.kept}
        self.assertEqual(cursors, {bare: {"phone": told[bare][-1]} for bare in (BARE, BOB)})
        self.assertEqual(self.execute("SELECT * FROM leases") + self.execute("SELECT * FROM holders"), [])


class HandoverTests(ClusterTestCase):
    """What one process has kept, the next one has."""

    def test_everything(self) -> None:
        one, other = self.process(), self.process()
        one.adopted()
        room = one.journal.room(BARE, ROOM)
        membership = replace(MEMBERSHIP, password="secret", since=5.0, missing_since=("id", 7.0))
        room.membership(membership)
        kept = one.keep(3)
        private = KeptPrivate(room.next_sequence(), b"<message/>")
        room.private_kept(private)
        room.seen("phone", kept[1].sequence)
        one.journal.login_keys.put(BARE, [KEYS])
        one.journal.blocked.put(BARE, 5.0, "why")
        one.turn()
        one.end()
        account = other.adopted()
        assert account is not None
        (found,) = account.rooms
        self.assertEqual((found.membership, found.messages, found.privates), (membership, kept, [private]))
        self.assertEqual(found.cursors, {"phone": kept[1].sequence})
        self.assertEqual((other.journal.login_keys.of(BARE), BARE in other.journal.blocked), ((KEYS,), True))

    def test_what_goes_along(self) -> None:
        """Once, sealed; and only to who takes the account."""
        one, other, third = self.process(), self.process(), self.process()
        handed = HandedAccount(5.0, (), (HandedRoom(ROOM, (b"<presence/>",), None, None, None, (), ()),))
        for bare in (BARE, BOB):
            one.adopted(bare)
            one.keep(1, bare)
        one.turn()
        one.journal.let_go(BARE, to_others=True, handed=handed)
        one.journal.let_go(BOB, to_others=True)
        one.turn()
        self.assertNotIn(b"presence", self.execute("SELECT sealed FROM handed")[0][0])
        found = {bare: other.claim(bare) for bare in (BARE, BOB)}
        self.assertEqual([getattr(found[bare], "handed", None) for bare in (BARE, BOB)], [{BARE: handed}, {}])
        other.journal.let_go(BARE, to_others=True)
        other.turn()
        adopted = third.claim()
        assert isinstance(adopted, Adopted)
        self.assertEqual((adopted.names, adopted.handed), ([BARE], {}))

    def test_what_goes_along_and_is_damaged(self) -> None:
        """Clients have to log in anew; the account is there all the same."""
        one, other = self.process(), self.process()
        one.adopted()
        one.journal.let_go(BARE, to_others=True, handed=HandedAccount(5.0, (), ()))
        one.turn()
        self.execute("UPDATE handed SET sealed = 'nonsense'")
        with capturedLogs() as log:
            adopted = other.claim()
        assert isinstance(adopted, Adopted)
        self.assertEqual(adopted.handed, {})
        self.assertEqual(
            [formatEvent(event) for event in log if event["log_level"] is LogLevel.warn],
            [f"sessions of {BARE} are not gone on with: they cannot be read"],
        )

    def test_others_are_left_alone(self) -> None:
        """Reading one account, its damaged rows included, changes nothing of another's."""
        one, other = self.process(), self.process()
        for process, bare in ((one, BARE), (other, BOB)):
            process.adopted(bare)
            process.journal.room(bare, ROOM).membership(MEMBERSHIP)
            process.journal.room(bare, ROOM).attached("phone")
            process.keep(2, bare)
            process.journal.acknowledged(bare, "phone", 1)
            process.turn()
        tables = ("accounts", "rooms", "messages", "cursors", "acknowledged")
        before = {table: self.execute(f"SELECT * FROM {table}") for table in tables}
        third = self.process()
        self.execute("UPDATE rooms SET nick = '' WHERE account_id = (SELECT id FROM accounts WHERE bare = %s)", BARE)
        one.end()
        third.adopted()
        for table in tables:
            left = [row for row in before[table] if row in self.execute(f"SELECT * FROM {table}")]
            self.assertEqual(len(left), {"accounts": 2, "messages": 2}.get(table, 1), table)
        self.flushLoggedErrors()

    def test_a_room_that_was_never_entered(self) -> None:
        """Its row goes, with what belongs to it: nobody knows of it, who could have it forgotten."""
        one, other = self.process(), self.process()
        one.adopted()
        one.journal.room(BARE, ROOM).membership(MEMBERSHIP)
        one.journal.room(BARE, ROOM).attached("phone")
        one.keep(1)
        one.turn()
        one.end()
        self.execute("UPDATE rooms SET nick = NULL")
        account = other.adopted()
        assert account is not None
        left = [self.execute(f"SELECT count(*) FROM {table}") for table in ("rooms", "messages", "cursors")]
        self.assertEqual((account.rooms, left), ([], [[(0,)]] * 3))

    def test_handed_on(self) -> None:
        """Nobody has it then, but all that there is of it stays; what is said of it afterwards is not kept."""
        one, other = self.process(), self.process()
        one.adopted()
        room = one.journal.room(BARE, ROOM)
        room.membership(MEMBERSHIP)
        kept = one.keep(2)
        done: list[None] = []
        one.journal.let_go(BARE, to_others=True).addCallback(done.append)
        room.message_kept(message(room.next_sequence()))
        room.message_gone(kept[0].sequence)
        room.trimmed(kept[1].sequence)
        room.membership(replace(MEMBERSHIP, nick="another"))
        room.seen("phone", kept[1].sequence)
        room.forgotten()
        one.journal.account_refused(BARE, refused=True)
        one.turn()
        self.assertEqual(done, [None])
        self.assertEqual(other.leases.survey(thorough=False).orphans, [BARE])
        account = other.adopted()
        assert account is not None
        self.assertEqual((account.refused, account.rooms[0].membership), (False, MEMBERSHIP))
        self.assertEqual((account.rooms[0].messages, account.rooms[0].cursors), (kept, {}))

    def test_how_many_each_has(self) -> None:
        """Said with the next sign of life."""
        one, other = self.process(), self.process()
        one.lease.accounts = 5
        one.clock.advance(RENEWAL)
        one.writer.rest()
        live = other.leases.survey(thorough=False).live
        self.assertEqual([(holder.name, holder.accounts) for holder in live], [("node-1", 5), ("node-2", 0)])

    def test_numbers_grow_and_are_nobody_elses(self) -> None:
        """Those of an account grow from process to process, whoever has given how many."""
        one, other = self.process(), self.process()
        one.adopted()
        other.adopted(BOB)
        one.journal.room(BARE, ROOM).membership(MEMBERSHIP)
        numbers = [kept.sequence for kept in one.keep(500)]
        others = [kept.sequence for kept in other.keep(3, BOB)]
        one.turn()
        one.end()
        other.turn()
        other.adopted()
        more = [kept.sequence for kept in other.keep(3)]
        others += [kept.sequence for kept in other.keep(3, BOB)]
        other.turn()
        self.assertEqual(numbers + more, sorted({*numbers, *more}))
        self.assertEqual(set(numbers + more) & set(others), set())
        self.assertEqual({number % SLOTS for number in numbers}, {one.lease.slot})
        self.assertEqual({number % SLOTS for number in others + more}, {other.lease.slot})
        rows = self.execute("SELECT id FROM accounts UNION ALL SELECT id FROM rooms")
        self.assertEqual(len(rows), len(set(rows)))

    def test_a_slot_used_again_gives_no_number_twice(self) -> None:
        one = self.process()
        one.adopted()
        one.journal.room(BARE, ROOM).membership(MEMBERSHIP)
        first = one.keep(3)
        one.turn()
        one.end()
        again = self.process()
        again.adopted(BOB)
        more = again.keep(3, BOB)
        again.turn()
        self.assertEqual((again.lease.slot, len(self.execute("SELECT * FROM messages"))), (one.lease.slot, 6))
        self.assertGreater(more[0].sequence, first[-1].sequence)

    def test_a_slot_used_again_gives_no_number_of_a_private_message(self) -> None:
        """Those have rows of their own, and no message of a room may be behind them."""
        one = self.process()
        one.adopted()
        room = one.journal.room(BARE, ROOM)
        room.membership(MEMBERSHIP)
        first = KeptPrivate(room.next_sequence(), b"<message/>")
        room.private_kept(first)
        one.turn()
        one.end()
        again = self.process()
        again.adopted(BOB)
        room = again.journal.room(BOB, ROOM)
        room.membership(MEMBERSHIP)
        more = KeptPrivate(room.next_sequence(), b"<message/>")
        room.private_kept(more)
        again.turn()
        self.assertEqual((again.lease.slot, len(self.execute("SELECT * FROM privates"))), (one.lease.slot, 2))
        self.assertGreater(more.sequence, first.sequence)

    def test_how_far_output_went(self) -> None:
        """Noted with what is written next, and soon after what was written last."""
        for wait, seen in ((0.0, 1), (NOTED_AFTER, 2)):
            one, other = self.process(), self.process()
            one.adopted()
            one.journal.room(BARE, ROOM).membership(KeptMembership("alice", "alice"))
            one.journal.room(BARE, ROOM).attached("phone")
            one.turn()
            kept = []
            for _ in range(2):
                kept += one.keep()
                one.deliver(b"told")
                one.turn()
            one.clock.advance(wait)
            self.assertEqual(one.given, [b"told"] * 2)
            one.crash()
            self.time_out(one)
            other.leases.survey(thorough=False)
            account = other.adopted()
            assert account is not None
            self.assertEqual(account.rooms[0].cursors, {"phone": kept[seen - 1].sequence}, wait)
            other.journal.account_forgotten(BARE)
            other.turn()
            other.end()

    def test_nothing_is_noted_twice(self) -> None:
        one = self.process()
        one.adopted()
        one.keep()
        one.turn()
        one.clock.advance(NOTED_AFTER)
        self.assertFalse(one.lease.has_news)
        attempts = one.writer.attempts
        one.clock.advance(1)
        self.assertEqual(one.writer.attempts, attempts)
        self.assertNotEqual(self.execute("SELECT given_out FROM holders"), [(NOTHING,)])

    def test_all_messages_anew(self) -> None:
        """Messages had no place: those of this process's rooms are written anew, and of no others."""
        one = self.process()
        one.adopted(BOB)
        one.keep(2, BOB)
        one.turn()
        other = self.process(in_memory=list)
        other.adopted()
        other.keep(2)
        other.turn()
        other.journal.gathering.limit = 10
        other.keep(2)
        other.turn()
        rooms = self.execute(
            "SELECT bare, count(*) FROM messages JOIN rooms ON room_id = rooms.id JOIN accounts "
            "ON account_id = accounts.id GROUP BY bare"
        )
        self.assertEqual(rooms, [(BOB, 2)])
        self.flushLoggedErrors()

    def test_entering(self) -> None:
        """Whoever enters has a row and no account yet; what it takes is read as others have left it."""
        one = self.process()
        one.adopted()
        one.journal.room(BARE, ROOM).membership(MEMBERSHIP)
        (kept,) = one.keep()
        one.turn()
        one.end()
        place = Place(one.database, self.directory)
        opened, shared = open_shared(place, Member(Node("new", "new:1", "here"), CLUSTER, SEALER), reactor)
        self.addCleanup(shared.leases.close)
        opened.writer.start(lambda *_written: None)
        self.addCleanup(opened.writer.stop, patiently(20))
        self.assertEqual((opened.accounts, opened.sealer), ([], SEALER))
        self.assertEqual((opened.login_keys, opened.login_tokens, opened.blocked), ({}, {}, {}))
        self.assertEqual((opened.last_id, opened.last_sequence), (shared.lease.last_id, shared.lease.last_sequence))
        self.assertEqual(self.execute("SELECT name FROM holders WHERE number = %s", shared.lease.number), [("new",)])
        found = shared.leases.claim(BARE)
        assert isinstance(found, Adopted)
        (room,) = found.accounts[0].kept.rooms
        self.assertEqual([message.raw for message in room.messages], [kept.raw])
