"""How far a device that acknowledges (XEP-0198) has seen its rooms, if the proxy ends without being able to say so."""

from tests.storage.cases import BARE, MEMBERSHIP, ROOM, StorageTestCase, on_both_databases

OTHER = "other@muc.example.org"
BOB = "bob@example.org"


@on_both_databases
class AcknowledgedAtACrashTests(StorageTestCase):
    """Messages have the numbers from 2 on: that the phone is attached takes one."""

    def setUp(self) -> None:
        super().setUp()
        self.now = self.lab()
        self.room = self.now.journal.room(BARE, ROOM)
        self.room.membership(MEMBERSHIP)
        self.acknowledges(0)
        self.room.attached("phone")
        self.now.turn()

    def acknowledges(self, sequence: int, bare: str = BARE, resource: str = "phone") -> None:
        self.now.journal.acknowledged(bare, resource, sequence)

    def said(self, number: int) -> None:
        self.now.keep(number)
        self.now.turn()

    def cursors(self, number: int = 0) -> dict[str, int]:
        self.now = self.again(self.now)
        self.room = self.now.journal.room(BARE, ROOM)
        return self.now.kept[0].rooms[number].cursors

    def test_has_seen_what_it_has_acknowledged(self) -> None:
        self.said(5)
        self.acknowledges(4)
        self.now.turn()
        self.assertEqual(self.cursors(), {"phone": 4})

    def test_no_further_than_the_room(self) -> None:
        self.said(2)
        self.now.keep(5, room=OTHER)
        self.acknowledges(8)
        self.now.turn()
        self.assertEqual(self.cursors(), {"phone": 3})

    def test_no_further_than_was_given_out(self) -> None:
        """Whatever the row says."""
        self.said(3)
        self.acknowledges(1000)
        self.now.writer.held_back = True
        self.now.keep(2)
        self.now.turn()
        self.now.writer.store.write(self.now.writer.waiting[0])  # on disk, but killed before the release
        self.assertEqual(self.cursors(), {"phone": 4})

    def test_has_not_got_the_replay(self) -> None:
        """What it had seen before counts; nothing does for one that was never here."""
        for before, expected in ((3, {"phone": 3}), (None, {})):
            self.said(4)
            self.acknowledges(2)
            if before is None:
                self.room.cursor_forgotten("phone")
            else:
                self.room.seen("phone", before)
            self.room.attached("phone")
            self.said(4)
            self.assertEqual(self.cursors(), expected)

    def test_has_got_the_replay(self) -> None:
        self.said(4)
        self.room.seen("phone", 2)
        self.room.attached("phone")  # 6
        self.said(4)
        self.acknowledges(8)
        self.now.turn()
        self.assertEqual(self.cursors(), {"phone": 8})

    def test_where_its_replay_began_and_attached_in_one_batch(self) -> None:
        self.room.seen("desk", 1)
        self.room.attached("desk")
        self.acknowledges(0, resource="desk")
        self.said(30)
        self.assertEqual(self.cursors(), {"desk": 1})

    def test_one_that_does_not_acknowledge(self) -> None:
        self.room.attached("desk")
        self.said(3)
        self.assertEqual(self.cursors(), {"desk": 5})

    def test_the_same_resource_of_another_account(self) -> None:
        room = self.now.journal.room(BOB, ROOM)
        room.membership(MEMBERSHIP)
        room.attached("phone")
        self.said(3)
        self.now.keep(3, bare=BOB)
        self.now.turn()
        self.now = self.again(self.now)
        found = {account.bare: account.rooms[0].cursors for account in self.now.kept}
        self.assertEqual(found, {BARE: {}, BOB: {"phone": 8}})

    def test_its_session_is_over(self) -> None:
        """Another one of its resource does not acknowledge."""
        self.now.journal.not_managed(BARE, "phone")
        self.now.turn()
        self.assertEqual(self.execute("SELECT * FROM acknowledged"), [])
        self.said(3)
        self.assertEqual(self.cursors(), {"phone": 4})

    def test_of_a_session_that_never_acknowledged_nothing_is_written(self) -> None:
        self.now.journal.not_managed(BARE, "desk")
        self.now.journal.not_managed(BOB, "desk")
        self.assertIsNone(self.now.journal.gathering.batch)

    def test_last_word_of_a_turn(self) -> None:
        said = {"one": lambda: self.acknowledges(1), "two": lambda: self.acknowledges(2), "over": self.over}
        for words, expected in ((("one", "two"), [2]), (("one", "over"), []), (("over", "one"), [1])):
            for word in words:
                said[word]()
            self.now.turn()
            self.assertEqual(self.execute("SELECT sequence FROM acknowledged"), [(one,) for one in expected], words)

    def over(self) -> None:
        self.now.journal.not_managed(BARE, "phone")

    def test_nobody_acknowledges_after_a_restart(self) -> None:
        self.said(3)
        self.acknowledges(2)
        self.now.turn()
        self.assertEqual(self.cursors(), {"phone": 2})
        self.assertEqual(self.execute("SELECT * FROM acknowledged"), [])
        self.room.attached("phone")
        self.said(3)
        self.assertEqual(self.cursors(), {"phone": 8})

    def test_mark_of_what_was_given_out_is_lost(self) -> None:
        """What was acknowledged is known all the same."""
        self.said(5)
        self.acknowledges(4)
        self.room.attached("desk")
        self.now.turn()
        (self.directory / "given_out").unlink()
        self.assertEqual(self.cursors(), {"phone": 4, "desk": 6})

    # With its account

    def test_the_account_is_forgotten(self) -> None:
        self.acknowledges(7, BOB)
        self.now.journal.account_kept(BOB, None, 1.0)
        self.now.turn()
        self.assertEqual(self.execute("SELECT sequence FROM acknowledged ORDER BY sequence"), [(0,), (7,)])
        self.acknowledges(1)
        self.now.journal.account_forgotten(BARE)
        self.now.turn()
        self.assertEqual(self.execute("SELECT sequence FROM acknowledged"), [(7,)])

    def test_the_account_is_forgotten_while_its_sessions_stay(self) -> None:
        """Nothing is kept of it; when it enters a room again, it is known what its devices have acknowledged."""
        self.now.journal.account_forgotten(BARE)
        self.acknowledges(1)
        self.now.turn()
        self.assertEqual((self.count("accounts"), self.count("acknowledged")), (0, 0))
        self.room = self.now.journal.room(BARE, ROOM)
        self.room.membership(MEMBERSHIP)
        self.room.attached("phone")  # 2
        self.said(2)
        self.assertEqual(self.execute("SELECT sequence FROM acknowledged"), [(1,)])
        self.acknowledges(3)
        self.said(2)
        self.assertEqual(self.cursors(), {"phone": 3})

    def count(self, table: str) -> int:
        return int(self.execute(f"SELECT count(*) FROM {table}")[0][0])

    def test_many_devices(self) -> None:
        for number in range(500):
            self.acknowledges(number, resource=f"d{number}")
        self.now.turn()
        self.assertEqual(self.count("acknowledged"), 501)


class DamagedTests(StorageTestCase):
    def test_no_number(self) -> None:
        """It has acknowledged nothing, as far as anybody knows."""
        now = self.lab()
        room = now.journal.room(BARE, ROOM)
        room.membership(MEMBERSHIP)
        now.journal.acknowledged(BARE, "phone", 0)
        room.seen("phone", 1)
        room.attached("phone")
        now.keep(3)
        now.journal.acknowledged(BARE, "phone", 4)
        now.turn()
        now.crash()
        self.execute("UPDATE acknowledged SET sequence = 'x'")
        self.assertEqual(self.lab().kept[0].rooms[0].cursors, {"phone": 1})

    def test_of_no_account(self) -> None:
        now = self.lab()
        now.turn()
        now.crash()
        self.execute("INSERT INTO acknowledged VALUES (77, 'phone', 1)")
        self.assertEqual(self.lab().kept, [])
        self.assertEqual(self.execute("SELECT * FROM acknowledged"), [])


class BatchTests(StorageTestCase):
    def test_a_row_goes_with_the_batch_that_is_written_anyway(self) -> None:
        now = self.lab()
        now.keep(1)
        now.journal.acknowledged(BARE, "phone", 0)
        now.turn()
        self.assertEqual(now.writer.attempts, 1)
