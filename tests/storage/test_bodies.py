"""What rooms tell several accounts is in the database once: who has it, what it takes, and what is left of it."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from minimixproxy.minimix.interfaces.journal import KeptMessage
from minimixproxy.storage.store import ERASED
from tests.storage.cases import MEMBERSHIP, ROOM, Lab, StorageTestCase, on_both_databases
from tests.storage.test_erasing import SECRET
from tests.storage.test_trouble import TroubleTestCase

ALICE, BOB, CAROL = (f"{name}@example.org" for name in ("alice", "bob", "carol"))
RAW = b"<message from='room@muc.example.org/dan' type='groupchat'><body>hello</body></message>"


def tell(lab: Lab, bare: str, raw: bytes = RAW, **fields: Any) -> KeptMessage:
    room = lab.journal.room(bare, ROOM)
    room.membership(MEMBERSHIP)
    message = KeptMessage(room.next_sequence(), 1000.5, raw, False, **fields)
    room.message_kept(message)
    return message


@on_both_databases
class SharedTests(TroubleTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.messages_of = [tell(self.now, bare, stanza_id="s") for bare in (ALICE, BOB, CAROL)]
        self.now.turn()

    def rows(self) -> list[tuple[int, bool, bytes, int | None]]:
        """Of each its sequence, whether it is a message, its bytes, and which row it names."""
        found = self.execute("SELECT sequence, room_id, raw, body FROM messages ORDER BY sequence")
        return [(sequence, room_id != 0, bytes(raw), body) for sequence, room_id, raw, body in found]

    def loaded(self) -> dict[str, list[bytes]]:
        """What each account has after a crash."""
        self.now.turn()
        self.begin(self.again(self.now))
        return {kept.bare: [one.raw for room in kept.rooms for one in room.messages] for kept in self.now.kept}

    def test_once(self) -> None:
        first, second, third = (message.sequence for message in self.messages_of)
        self.assertEqual(self.rows(), [(first, True, RAW, None), (second, True, b"", first), (third, True, b"", first)])
        self.assertEqual(self.loaded(), {ALICE: [RAW], BOB: [RAW], CAROL: [RAW]})

    def test_only_equal_bytes(self) -> None:
        almost = RAW.replace(b"hello", b"Hello")
        tell(self.now, BOB, almost)
        self.assertEqual(self.loaded(), {ALICE: [RAW], BOB: [RAW, almost], CAROL: [RAW]})
        self.assertEqual(sum(bool(raw) for _, _, raw, _ in self.rows()), 2)

    def test_still_shared_after_a_restart(self) -> None:
        self.loaded()
        named = self.messages_of[0].sequence
        later = tell(self.now, "dora@example.org")
        self.now.turn()
        self.assertEqual(self.rows()[-1], (later.sequence, True, b"", named))

    def test_the_first_account_is_forgotten(self) -> None:
        """What others were told stays, with nothing of the one that is forgotten; then it goes with the last one."""
        first = self.messages_of[0].sequence
        self.journal.account_forgotten(ALICE)
        self.now.turn()
        ((*left,),) = self.execute(f"SELECT * FROM messages WHERE sequence = {first}")
        self.assertEqual(
            (left[1], left[2], bytes(left[3]), *left[4:]), (0, 0.0, RAW, False, None, None, False, 0, None)
        )
        self.journal.account_forgotten(BOB)
        self.assertEqual(self.loaded(), {CAROL: [RAW]})
        self.journal.account_forgotten(CAROL)
        self.now.turn()
        self.assertEqual(self.rows(), [])

    def test_one_changes(self) -> None:
        """A retraction that one account has got, and the others have not yet, is nobody else's; in the end all have."""
        grave = b"<message>retracted</message>"
        for number, bare in enumerate((ALICE, CAROL, BOB)):
            mine = self.messages_of[(ALICE, BOB, CAROL).index(bare)]
            changed = KeptMessage(mine.sequence, mine.time, grave, False, "s", None, True)
            self.now.journal.room(bare, ROOM).message_changed(changed)
            wanted = {one: [grave if one in (ALICE, CAROL, BOB)[: number + 1] else RAW] for one in (ALICE, BOB, CAROL)}
            self.assertEqual(self.loaded(), wanted)
        self.assertEqual([raw for _, _, raw, _ in self.rows() if raw], [grave])

    def test_what_nobody_says_any_more_is_not_left_in_a_row_that_says_something_else(self) -> None:
        (first, *others), grave = self.messages_of, b"<message>retracted</message>"
        room = self.now.journal.room(ALICE, ROOM)
        room.message_changed(KeptMessage(first.sequence, first.time, grave, False, "s", None, True))
        self.now.turn()
        for bare, message in zip((BOB, CAROL), others, strict=True):
            self.now.journal.room(bare, ROOM).message_gone(message.sequence)
            self.now.turn()
        self.assertEqual([row[2] for row in self.rows() if row[0] == first.sequence], [b""])
        self.assertEqual(self.loaded(), {ALICE: [grave], BOB: [], CAROL: []})

    def test_the_row_that_others_name_is_damaged(self) -> None:
        """It costs all of them that message, and says so; what is written later does not rely on it."""
        self.now.crash()
        self.execute("UPDATE messages SET raw = '\\x00'" if self.postgresql else "UPDATE messages SET raw = x'00'")
        self.assertEqual(self.loaded(), {ALICE: [], BOB: [], CAROL: []})
        self.assertEqual(self.logged("is left out: damaged"), 3)
        tell(self.now, BOB)
        self.assertEqual(self.loaded(), {ALICE: [], BOB: [RAW], CAROL: []})

    def test_a_message_is_damaged_and_others_name_its_row(self) -> None:
        self.now.crash()
        self.execute(
            f"UPDATE messages SET stamped = {'true' if self.postgresql else 1}, checksum = 5 WHERE body IS NULL"
        )
        self.assertEqual(self.loaded(), {ALICE: [], BOB: [RAW], CAROL: [RAW]})
        self.now.journal.room(ALICE, ROOM).trimmed(100)
        self.assertEqual(self.loaded(), {ALICE: [], BOB: [RAW], CAROL: [RAW]})

    def test_names_the_wrong_row(self) -> None:
        """Nobody gets to see what was not sent to him."""
        tell(self.now, ALICE, b"<message>for alice only</message>")
        self.now.turn()
        self.now.crash()
        for wrong in (self.messages_of[-1].sequence + 1, 99_999):
            self.execute(f"UPDATE messages SET body = {wrong} WHERE sequence = {self.messages_of[1].sequence}")
            self.assertEqual(self.loaded()[BOB], [])

    def test_a_row_that_none_names_is_removed(self) -> None:
        self.now.crash()
        self.execute("UPDATE messages SET body = NULL WHERE body IS NOT NULL")  # damaged: they name none
        self.execute("UPDATE messages SET room_id = 0 WHERE body IS NULL AND sequence = 1")
        self.loaded()
        self.assertEqual([sequence for sequence, *_ in self.rows()], [2, 3])

    def test_a_room_that_cannot_be_used_has_what_others_name(self) -> None:
        self.now.crash()
        self.execute("UPDATE rooms SET nick = NULL WHERE id = (SELECT room_id FROM messages WHERE sequence = 1)")
        self.assertEqual(self.loaded(), {ALICE: [], BOB: [RAW], CAROL: [RAW]})
        self.assertEqual([row[:2] for row in self.rows()], [(1, False), (2, True), (3, True)])

    def test_messages_were_let_go(self) -> None:
        """What is lost for one account, and cannot be had from memory, is not relied on for another."""
        raw = b"<message>another</message>"
        self.journal.gathering.limit = 300
        for content in (raw, b"<message/>"):
            tell(self.now, ALICE, content)
        self.now.turn()
        self.assertEqual(self.logged("state on disk lacks messages"), 1)
        tell(self.now, BOB, raw)
        self.assertEqual(self.loaded(), {ALICE: [RAW], BOB: [RAW, raw], CAROL: [RAW]})

    def test_a_refused_row(self) -> None:
        """A message whose bytes were refused with another's row is lost to the database, too; nothing else is."""
        raw, bad = b"<message>another</message>", "\ud800"
        tell(self.now, ALICE, raw, stanza_id=bad)
        tell(self.now, BOB, raw, stanza_id="good")
        tell(self.now, BOB, b"<message/>")
        self.now.turn()
        self.assertEqual(self.journal.status.left_out, 1)
        self.assertEqual(self.loaded(), {ALICE: [RAW], BOB: [RAW, b"<message/>"], CAROL: [RAW]})


class SizeTests(StorageTestCase):
    """SQLite: by the size of the file."""

    def size(self, accounts: int) -> int:
        self.state = self.directory / f"{accounts}.sqlite"
        lab = self.lab()
        for number in range(100):
            stanza_id = f"0e9c5c2b-7a35-4f1c-9df5-3f6f7d10{number:04}"
            raw = b"<message><body>%b</body><stanza-id id='%b'/></message>" % (b"x" * 530, stanza_id.encode())
            for account in range(accounts):
                tell(lab, f"account-{account}@example.org", raw, stanza_id=stanza_id)
            lab.turn()
        lab.crash()
        self._labs.remove(lab)
        with closing(sqlite3.connect(self.state)) as connection:
            connection.execute("VACUUM")
        return Path(self.state).stat().st_size

    def test_a_further_account(self) -> None:
        """At most 150 bytes for each message, with all that goes with the account."""
        one, eleven, hundred = (self.size(accounts) for accounts in (1, 11, 101))
        self.assertLess((eleven - one) / 10 / 100, 150)
        self.assertLess((hundred - one) / 100 / 100, 150)


class ErasedTests(TroubleTestCase):
    def found(self, text: str) -> set[str]:
        return {
            path.name for path in self.directory.rglob("*") if path.is_file() and text.encode() in path.read_bytes()
        }

    def test_the_last_one_goes(self) -> None:
        """Long and short ones, which are in pages of their own or not, at whatever time each account lets them go."""
        for size in (10, 20_000):
            raw = f"<message>{SECRET}{'x' * size}</message>".encode()
            told = {bare: tell(self.now, bare, raw, stanza_id=f"{bare}-id") for bare in (ALICE, BOB)}
            self.now.turn()
            self.now.journal.room(ALICE, ROOM).message_gone(told[ALICE].sequence)
            self.now.turn()
            self.now.clock.advance(ERASED)
            self.writer.rest()
            self.assertEqual((self.found(f"{ALICE}-id"), self.found(SECRET)), (set(), {"state.sqlite"}))
            gone = KeptMessage(told[BOB].sequence, 1.0, b"<message>retracted</message>", False)
            self.now.journal.room(BOB, ROOM).message_changed(gone)
            self.now.turn()
            self.now.clock.advance(ERASED)
            self.writer.rest()
            self.assertEqual(self.found(SECRET), set())
