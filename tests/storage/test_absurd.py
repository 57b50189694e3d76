"""Whatever is well-formed can be stored, however long and strange; what cannot is left out and counted, alone."""

import random
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minimixproxy.jids import is_resource
from minimixproxy.minimix.interfaces.journal import KeptLogin, KeptPrivate
from minimixproxy.storage.database import Database
from minimixproxy.storage.errors import StateError
from tests.examples import examples
from tests.storage import postgresql
from tests.storage.cases import BARE, MEMBERSHIP, ROOM, StorageTestCase, message, on_both_databases

HUGE = 250_000  # characters: nearly all that a stanza may have
CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")
TEXT = st.text(CHARACTERS, min_size=1, max_size=50)
#: What a nick can be: other names cost their rows when they are loaded (see `test_damaged_rows`).
NICK = TEXT.filter(is_resource)


def noise(length: int) -> str:
    """Text that no database can make shorter."""
    return "".join(random.Random(length).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=length))


#: As long as JIDs may be: 1023 bytes for each part.
LONGEST_ADDRESS = f"{noise(1023)}@{noise(1022)}x"


@on_both_databases
class LongestTests(StorageTestCase):
    def test_everything_at_its_longest(self) -> None:
        """Indexed columns too: a row of PostgreSQL's indices may have 2,704 bytes."""
        lab = self.lab()
        room = lab.journal.room(LONGEST_ADDRESS, f"{noise(1020)}abc@{noise(1023)}")
        lab.journal.account_kept(LONGEST_ADDRESS, KeptLogin(noise(1023), noise(HUGE), salt=b"\0\xff" * HUGE), 5.0)
        membership = replace(MEMBERSHIP, nick=noise(1023), wished_nick=noise(1023), password=noise(HUGE))
        room.membership(membership)
        room.seen(noise(1023), 0)
        raw = bytes(range(256)) * 1000
        kept = message(room.next_sequence(), stanza_id=noise(HUGE), raw=raw)
        room.message_kept(kept)
        private = KeptPrivate(room.next_sequence(), raw)
        room.private_kept(private)
        lab.turn()
        self.assertEqual(lab.journal.status.left_out, 0)
        (account,) = self.again(lab).kept
        self.assertEqual(account.bare, LONGEST_ADDRESS)
        (found,) = account.rooms
        self.assertEqual((found.membership, found.messages, found.privates), (membership, [kept], [private]))
        self.assertEqual(found.cursors, {noise(1023): 0})

    def test_many_huge_messages_in_one_batch(self) -> None:
        lab = self.lab()
        room = lab.journal.room(BARE, ROOM)
        room.membership(MEMBERSHIP)
        kept = [message(room.next_sequence(), raw=b"<message/>" * 25_000) for _ in range(100)]
        for one in kept:
            room.message_kept(one)
        lab.turn()
        self.assertEqual(self.again(lab).kept[0].rooms[0].messages, kept)

    def test_what_cannot_be_stored_costs_itself(self) -> None:
        """Nothing that is well-formed is like this. The rest of the batch is stored, and it is not tried for ever."""
        for number, text in enumerate(("\ud800", "\0" if self.postgresql else "\udfff", noise(5_000))):
            self.state = self.new_state() if self.postgresql else self.directory / f"{number}.sqlite"
            lab = self.lab()
            room = lab.journal.room(BARE, ROOM)
            room.membership(MEMBERSHIP)
            kept = lab.keep(3)
            lab.journal.room(BARE, text).membership(MEMBERSHIP)  # in an index
            room.seen(text, 5)
            lab.deliver(b"told")
            lab.turn()
            self.assertEqual((lab.writer.attempts, lab.given), (1, [b"told"]))
            status = lab.journal.status
            expected = 0 if text == noise(5_000) and not self.postgresql else 2
            self.assertEqual((status.durable, status.left_out), (True, expected), text[:5])
            (account,) = self.again(lab).kept
            self.assertEqual(next(one.messages for one in account.rooms if one.room == ROOM), kept)

    @settings(max_examples=examples(60), suppress_health_check=list(HealthCheck))
    @given(NICK, NICK, TEXT, TEXT, st.binary(min_size=1, max_size=100), st.floats(0, 1e9))
    def test_any_text(self, name: str, nick: str, resource: str, stanza_id: str, raw: bytes, time: float) -> None:
        """No message is empty: a row without bytes says what another one has (see `Bodies`)."""
        if not hasattr(self, "now"):
            self.now = self.lab()
        room = f"muc.example.org/{name}"  # to the database it is a text like another
        journal = self.now.journal.room(BARE, room)
        membership = replace(MEMBERSHIP, nick=nick)
        journal.membership(membership)
        journal.seen(resource, 1)
        kept = message(journal.next_sequence(), stanza_id=stanza_id, raw=raw, time=time)
        journal.message_kept(kept)
        self.now.turn()
        self.assertEqual(self.now.journal.status.left_out, 0)
        self.now = self.again(self.now)
        (account,) = self.now.kept
        found = next(one for one in account.rooms if one.room == room)
        self.assertEqual((found.membership, found.messages[-1]), (membership, kept))
        self.assertEqual(found.cursors[resource], 1)


class EncodingTests(StorageTestCase):
    postgresql = True

    def test_a_database_that_cannot_hold_every_nick(self) -> None:
        options = "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
        self.state = postgresql.cluster().database("template0", options=options)
        for refuse in (self.lab, Database(self.state).check):
            self.assertIn("its encoding is LATIN1", str(self.assertRaises(StateError, refuse)))
