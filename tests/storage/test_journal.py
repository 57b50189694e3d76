"""What is journalled is there after a restart, on both databases; by cases, and by any sequence of calls."""

import os
from dataclasses import replace
from time import time
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from minimixproxy.minimix.interfaces.journal import (
    KeptAccount,
    KeptLogin,
    KeptMembership,
    KeptPrivate,
    KeptPush,
    KeptRoom,
)
from minimixproxy.storage.loading import MOST_DOWN
from tests.examples import examples
from tests.storage.cases import BARE, MEMBERSHIP, ROOM, Lab, StorageTestCase, message, on_both_databases

LOGIN = KeptLogin("example.org", "alice", "SHA-256", b"\0salt", 10_000, b"\xffclient", b"\xfeserver", "päss")


@on_both_databases
class KeptTests(StorageTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.now = self.lab()
        self.room = self.now.journal.room(BARE, ROOM)

    def then(self) -> list[KeptAccount]:
        """What is there after the turn and a crash."""
        self.now.turn()
        self.now = self.again(self.now)
        return self.now.kept

    def kept_room(self) -> KeptRoom:
        ((room,),) = (account.rooms for account in self.then())
        return room

    def test_one_message_goes(self) -> None:
        self.room.membership(MEMBERSHIP)
        kept = self.now.keep(3)
        self.then()
        self.now.journal.room(BARE, ROOM).message_gone(kept[1].sequence)
        self.now.journal.room(BARE, ROOM).message_gone(kept[1].sequence)
        self.assertEqual(self.kept_room().messages, [kept[0], kept[2]])

    def test_times_that_cannot_be(self) -> None:
        """An earlier version believed what occupants said of the time."""
        self.now.journal.account_kept(BARE, None, 1.0)
        self.room.membership(MEMBERSHIP)
        self.now.keep(4)
        self.then()
        before = time()
        for sequence, wrong in enumerate(("253402343999.0", "-1.0", "1e300", "1e18"), 1):
            self.execute(f"UPDATE messages SET time = {wrong} WHERE sequence = {sequence}")
        self.execute("UPDATE rooms SET since = 1e12")
        self.execute("UPDATE accounts SET last_seen = 1e12")
        (account,) = self.then()
        (room,) = account.rooms
        for found in (*(one.time for one in room.messages), room.membership.since, account.last_seen):
            self.assertTrue(before <= found <= time(), found)
        self.assertEqual(len(room.messages), 4)

    def test_no_account_grows_old_while_no_proxy_runs(self) -> None:
        """But for a day: where the clock is a year ahead at the start, all would be forgotten for it."""
        month, year = 30 * 86400.0, 365 * 86400.0
        for down, counted in ((3600.0, 3600.0), (year, MOST_DOWN), (-year, 0.0)):
            now = time()
            self.now.journal.account_kept(BARE, None, now - down - month)
            self.now.turn()
            self.now.crash()
            os.utime(self.directory / "given_out", (now - down, now - down))
            self.now = self.lab()
            (account,) = self.now.kept
            if down > 0:
                self.assertLess(abs(now - account.last_seen - month - counted), 1000)
            else:
                self.assertGreaterEqual(account.last_seen, now)

    def test_nothing(self) -> None:
        self.assertEqual(self.then(), [])

    def test_account(self) -> None:
        self.now.journal.account_kept(BARE, LOGIN, 1234.5)
        self.assertEqual(self.then(), [KeptAccount(BARE, LOGIN, False, 1234.5)])

    def test_account_without_a_login(self) -> None:
        self.now.journal.account_kept(BARE, None, 1234.5)
        self.assertEqual(self.then(), [KeptAccount(BARE, None, False, 1234.5)])

    def test_no_login_leaves_the_one_before(self) -> None:
        self.now.journal.account_kept(BARE, LOGIN, 1.0)
        self.then()
        self.now.journal.account_kept(BARE, None, 2.0)
        self.assertEqual(self.then(), [KeptAccount(BARE, LOGIN, False, 2.0)])

    def test_refused(self) -> None:
        self.now.journal.account_kept(BARE, LOGIN, 1.0)
        self.now.journal.account_refused(BARE, True)
        self.assertEqual([account.refused for account in self.then()], [True])
        self.now.journal.account_refused(BARE, False)
        self.assertEqual([account.refused for account in self.then()], [False])

    def test_bookmarks_that_are_not_followed(self) -> None:
        self.now.journal.account_kept(BARE, LOGIN, 1.0)
        all_rooms: tuple[dict[str, str | None], ...] = ({ROOM: "abc", "rüm@muc.test": None}, {ROOM: None}, {})
        for rooms in all_rooms:
            self.now.journal.bookmarks_unfollowed(BARE, rooms)
            self.assertEqual(self.then(), [KeptAccount(BARE, LOGIN, False, 1.0, [], rooms)])
        self.now.journal.bookmarks_unfollowed(BARE, {ROOM: "abc"})
        self.then()
        self.now.journal.account_kept(BARE, None, 2.0)
        self.assertEqual([account.unfollowed for account in self.then()], [{ROOM: "abc"}])
        self.now.journal.account_forgotten(BARE)
        self.now.journal.bookmarks_unfollowed(BARE, {ROOM: "abc"})
        self.assertEqual(self.then(), [], "of an account that was forgotten nothing is kept")

    def test_bookmarks_that_are_not_followed_and_cannot_be_read(self) -> None:
        """They cost the account nothing else."""
        self.now.journal.account_kept(BARE, LOGIN, 1.0)
        for column in ("[", "[]", "7", '{"a": 7}', "[" * 100_000, '"\\ud800"'):
            self.then()
            self.execute(f"UPDATE accounts SET unfollowed = '{column}'")
            self.assertEqual(self.then(), [KeptAccount(BARE, LOGIN, False, 1.0)], column[:20])

    def test_push(self) -> None:
        """What is enabled is sealed, and goes with the account; before there is a row, it waits for one."""
        one = KeptPush("phone", "push.test", "n", b"<x xmlns='jabber:x:data'>s3cret</x>", False)
        two = KeptPush("rüm", "push.test", "", b"", True, "0b1c")
        self.now.journal.push_enabled(BARE, (one,))
        self.now.journal.account_kept(BARE, LOGIN, 1.0)
        self.assertEqual([account.push for account in self.then()], [(one,)])
        self.now.journal.account_kept(BARE, None, 2.0)
        self.assertEqual([account.push for account in self.then()], [(one,)])
        self.now.journal.push_enabled(BARE, (one, two))
        self.assertEqual([account.push for account in self.then()], [(one, two)])
        self.now.journal.push_enabled(BARE, ())
        self.assertEqual([account.push for account in self.then()], [()])
        self.now.journal.push_enabled(BARE, (one,))
        self.now.journal.account_forgotten(BARE)
        self.now.journal.account_kept(BARE, LOGIN, 1.0)
        self.assertEqual([account.push for account in self.then()], [()])

    def test_push_that_cannot_be_read(self) -> None:
        """It costs the account nothing else."""
        self.now.journal.account_kept(BARE, LOGIN, 1.0)
        for column in ("''", "'01'", "'text'"):
            self.then()
            self.execute(f"UPDATE accounts SET push = {column}")
            self.assertEqual(self.then(), [KeptAccount(BARE, LOGIN, False, 1.0)], column)

    def test_refused_is_written_when_it_changes(self) -> None:
        self.now.journal.account_kept(BARE, LOGIN, 1.0)
        self.now.turn()
        attempts = self.now.writer.attempts
        for refused in (False, True, True):
            self.now.journal.account_refused(BARE, refused)
            self.now.turn()
        self.now.journal.account_refused("stranger@example.org", True)
        self.now.turn()
        self.assertEqual(self.now.writer.attempts, attempts + 1)

    def test_account_forgotten(self) -> None:
        self.now.journal.account_kept(BARE, LOGIN, 1.0)
        self.room.membership(MEMBERSHIP)
        self.room.attached("phone")
        self.room.private_kept(KeptPrivate(self.room.next_sequence(), b"<message/>"))
        self.now.keep(3)
        self.then()
        self.now.journal.account_forgotten(BARE)
        self.assertEqual(self.then(), [])
        for table in ("accounts", "rooms", "messages", "cursors", "privates"):
            self.assertEqual(self.execute(f"SELECT count(*) FROM {table}"), [(0,)], table)

    def test_account_forgotten_and_kept_again_at_once(self) -> None:
        self.now.journal.account_kept(BARE, LOGIN, 1.0)
        self.room.membership(MEMBERSHIP)
        self.then()
        self.now.journal.account_forgotten(BARE)
        self.now.journal.account_kept(BARE, None, 2.0)
        self.now.journal.room(BARE, ROOM).membership(MEMBERSHIP)
        self.assertEqual(self.then(), [KeptAccount(BARE, None, False, 2.0, [KeptRoom(ROOM, MEMBERSHIP)])])

    def test_membership(self) -> None:
        for missing_since in (None, (None, 98.5), ("sé", 98.5)):
            membership = KeptMembership("alice_", "alice", "sesám", True, 99.5, missing_since)
            self.room.membership(membership)
            self.assertEqual(self.kept_room(), KeptRoom(ROOM, membership))
            self.room = self.now.journal.room(BARE, ROOM)

    def test_membership_changes(self) -> None:
        self.room.membership(MEMBERSHIP)
        self.then()
        changed = replace(MEMBERSHIP, nick="other", bookmarked=True)
        self.now.journal.room(BARE, ROOM).membership(changed)
        self.assertEqual(self.kept_room().membership, changed)

    def test_the_same_membership_again_is_not_written(self) -> None:
        self.room.membership(MEMBERSHIP)
        self.then()
        self.now.journal.room(BARE, ROOM).membership(MEMBERSHIP)
        self.assertIsNone(self.now.journal.gathering.batch)

    def test_a_room_that_was_never_entered(self) -> None:
        self.now.keep(2)
        self.room.attached("phone")
        self.assertEqual([account.rooms for account in self.then()], [[]])
        self.assertEqual(self.execute("SELECT count(*) FROM messages"), [(0,)])

    def test_forgotten(self) -> None:
        self.room.membership(MEMBERSHIP)
        self.now.keep(3)
        self.room.seen("phone", 2)
        self.room.private_kept(KeptPrivate(self.room.next_sequence(), b"<message/>"))
        self.then()
        self.now.journal.room(BARE, ROOM).forgotten()
        self.assertEqual([account.rooms for account in self.then()], [[]])
        for table in ("rooms", "messages", "cursors", "privates"):
            self.assertEqual(self.execute(f"SELECT count(*) FROM {table}"), [(0,)], table)

    def test_what_is_said_after_it_was_forgotten(self) -> None:
        """Until the room has confirmed the leave, it goes on."""
        self.room.membership(MEMBERSHIP)
        self.now.keep(1)
        self.now.turn()
        self.room.forgotten()
        self.now.journal.account_forgotten(BARE)
        sequence = self.room.next_sequence()
        self.room.message_kept(message(sequence))
        self.room.message_changed(message(sequence))
        self.room.trimmed(sequence)
        self.room.attached("phone")
        self.room.seen("phone", sequence)
        self.room.cursor_forgotten("phone")
        self.room.private_kept(KeptPrivate(sequence, b"<message/>"))
        self.room.private_given(sequence)
        self.assertEqual(self.then(), [])
        for table in ("accounts", "rooms", "messages", "cursors", "privates"):
            self.assertEqual(self.execute(f"SELECT count(*) FROM {table}"), [(0,)], table)

    def test_erased(self) -> None:
        """Fires when what was journalled before is on disk, and not before."""
        self.room.membership(MEMBERSHIP)
        self.now.turn()
        self.assertTrue(self.now.journal.account_forgotten(BARE))
        self.assertFalse(self.now.journal.account_forgotten(BARE))
        self.now.writer.faults.append(OSError("no space"))
        erased = self.now.journal.erased(copies=True)
        self.now.turn()
        self.assertNoResult(erased)
        self.now.clock.advance(1)
        self.assertEqual(self.execute("SELECT count(*) FROM accounts"), [(0,)])
        self.successResultOf(erased)
        self.assertIsNone(self.successResultOf(self._erased_with_nothing_to_do()))

    def test_who_waits_for_less_changes_nothing(self) -> None:
        """The operator's wish holds, though a client's follows in the same batch; each of them is told."""
        self.room.membership(MEMBERSHIP)
        self.now.turn()
        self.now.journal.account_forgotten(BARE)
        waiting = [self.now.journal.erased(copies=copies) for copies in (True, False)]
        batch = self.now.journal.gathering.batch
        assert batch is not None
        self.assertTrue(batch.writes_anew)
        self.now.turn()
        for erased in waiting:
            self.successResultOf(erased)

    def _erased_with_nothing_to_do(self) -> Deferred[None]:
        erased = self.now.journal.erased(copies=True)
        self.now.turn()
        return erased

    def test_forgotten_and_entered_again_at_once(self) -> None:
        self.room.membership(MEMBERSHIP)
        self.room.seen("phone", 0)
        self.now.keep(3)
        self.then()
        room = self.now.journal.room(BARE, ROOM)
        room.attached("desk")
        room.forgotten()
        room.membership(MEMBERSHIP)
        kept = message(room.next_sequence())
        room.message_kept(kept)
        self.assertEqual(self.kept_room(), KeptRoom(ROOM, MEMBERSHIP, [kept]))

    def test_messages(self) -> None:
        self.room.membership(MEMBERSHIP)
        first, second = message(self.room.next_sequence()), message(self.room.next_sequence())
        second = replace(second, stamped=True, stanza_id="ïd", amends=first.sequence, retracted=True, raw=b"\xc3\xa9\0")
        self.room.message_kept(first)
        self.room.message_kept(second)
        self.assertEqual(self.kept_room().messages, [first, second])

    def test_many_messages(self) -> None:
        self.room.membership(MEMBERSHIP)
        for number in (1, 8, 64, 73, 200):
            kept = self.now.keep(number)
            self.assertEqual(self.kept_room().messages[-number:], kept)

    def test_message_changed(self) -> None:
        self.room.membership(MEMBERSHIP)
        kept, other = self.now.keep(2)
        changed = replace(kept, raw=b"<message/>", retracted=True, stanza_id="x", amends=7)
        self.room.message_changed(changed)
        self.assertEqual(self.kept_room().messages, [changed, other])
        changed = replace(changed, raw=b"<message>2</message>")
        self.now.journal.room(BARE, ROOM).message_changed(changed)
        self.assertEqual(self.kept_room().messages, [changed, other])

    def test_trimmed(self) -> None:
        self.room.membership(MEMBERSHIP)
        self.now.journal.room(BARE, "other@muc.example.org").membership(MEMBERSHIP)
        kept = self.now.keep(3)
        self.now.keep(3, room="other@muc.example.org")
        self.then()
        kept += self.now.keep(2)
        self.now.journal.room(BARE, ROOM).trimmed(kept[-2].sequence)
        (account,) = self.then()
        self.assertEqual([len(room.messages) for room in account.rooms], [2, 3])
        self.assertEqual(account.rooms[0].messages, kept[-2:])
        self.assertEqual(self.execute("SELECT count(*) FROM messages"), [(5,)])

    def test_sequences_go_on(self) -> None:
        self.room.membership(MEMBERSHIP)
        self.now.keep(3)
        self.room.trimmed(100)
        self.room.seen("phone", 3)
        self.then()
        self.assertEqual(self.now.journal.room(BARE, ROOM).next_sequence(), 4)

    def test_cursors(self) -> None:
        self.room.membership(MEMBERSHIP)
        self.room.seen("phone", 1)
        self.room.seen("phone", 2)
        self.room.seen("désk", 1)
        self.room.seen("gone", 1)
        self.room.cursor_forgotten("gone")
        self.assertEqual(self.kept_room().cursors, {"phone": 2, "désk": 1})
        self.now.journal.room(BARE, ROOM).cursor_forgotten("phone")
        self.assertEqual(self.kept_room().cursors, {"désk": 1})

    def test_privates(self) -> None:
        self.room.membership(MEMBERSHIP)
        first, second = (KeptPrivate(self.room.next_sequence(), b"<message>%d</message>" % n) for n in range(2))
        self.room.private_kept(first)
        self.room.private_kept(second)
        self.assertEqual(self.kept_room().privates, [first, second])
        self.now.journal.room(BARE, ROOM).private_given(first.sequence)
        self.assertEqual(self.kept_room().privates, [second])

    def test_two_accounts_in_a_room(self) -> None:
        for bare in (BARE, "bob@example.org"):
            self.now.journal.room(bare, ROOM).membership(MEMBERSHIP)
            self.now.keep(2, bare=bare)
        kept = {account.bare: [one.sequence for one in account.rooms[0].messages] for account in self.then()}
        self.assertEqual(kept, {BARE: [1, 2], "bob@example.org": [3, 4]})

    def test_secrets_are_sealed(self) -> None:
        self.now.journal.account_kept(BARE, LOGIN, 1.0)
        self.room.membership(replace(MEMBERSHIP, password="open sesame"))
        self.now.turn()
        ((*sealed,),) = self.execute("SELECT client_key, server_key, password FROM accounts")
        sealed += self.execute("SELECT password FROM rooms")[0]
        assert LOGIN.password is not None
        for secret in (LOGIN.client_key, LOGIN.server_key, LOGIN.password.encode(), b"open sesame"):
            self.assertNotIn(secret, b"|".join(sealed))

    def test_lost_key(self) -> None:
        """What is sealed is lost, loudly; the rest is there. With the old key it all comes back."""
        self.now.journal.account_kept(BARE, LOGIN, 1.0)
        self.room.membership(replace(MEMBERSHIP, password="open sesame"))
        self.now.turn()
        self.now.crash()
        key = self.directory / "seal.key"
        key.rename(self.directory / "old.key")
        self.now = self.lab()
        self.assertEqual(self.now.kept, [KeptAccount(BARE, None, False, 1.0, [KeptRoom(ROOM, MEMBERSHIP)])])
        self.now.journal.account_kept(BARE, None, 2.0)
        self.now.turn()
        (self.directory / "old.key").rename(key)
        self.assertEqual([account.login for account in self.then()], [LOGIN])

    def test_a_sealed_value_of_another_account(self) -> None:
        self.now.journal.account_kept(BARE, LOGIN, 1.0)
        self.now.journal.account_kept("mallory@example.org", LOGIN, 1.0)
        self.now.turn()
        self.now.crash()
        stolen = self.execute("SELECT client_key FROM accounts WHERE bare = 'alice@example.org'")[0][0]
        mark = "%s" if self.postgresql else "?"
        self.execute(f"UPDATE accounts SET client_key = {mark} WHERE bare = 'mallory@example.org'", stolen)
        self.now = self.lab()
        self.assertEqual([account.login for account in self.now.kept], [LOGIN, None])


PLACES = ((BARE, "a@muc.example.org"), (BARE, "b@muc.example.org"), ("bob@example.org", "a@muc.example.org"))
CONTENTS = st.sampled_from((b"one", b"two", b"three"))
Place = tuple[str, str]  # an account's occupancy of a room
CALLS = st.one_of(
    st.tuples(st.just("enter"), st.sampled_from("xy")),
    st.tuples(st.just("keep"), st.integers(1, 10)),
    st.tuples(st.just("say"), CONTENTS),
    st.tuples(st.just("change"), st.tuples(st.integers(0, 30), CONTENTS)),
    st.tuples(st.just("take back"), st.integers(0, 30)),
    st.tuples(st.just("trim"), st.integers(0, 30)),
    st.tuples(st.just("seen"), st.sampled_from("pq")),
    st.tuples(st.just("no cursor"), st.sampled_from("pq")),
    st.tuples(st.just("private"), st.just(0)),
    st.tuples(st.just("given"), st.integers(0, 5)),
    st.tuples(st.just("leave"), st.just(0)),
    st.tuples(st.just("forget"), st.just(0)),
    st.tuples(st.just("written in spite of an error"), st.just(0)),
    st.tuples(st.just("all anew"), st.just(0)),
    st.tuples(st.just("turn"), st.just(0)),
    st.tuples(st.just("restart"), st.just(0)),
)
STEPS = st.lists(st.tuples(st.sampled_from(PLACES), CALLS), max_size=60)


@on_both_databases
class AnySequenceTests(StorageTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.lab().crash()  # makes the tables

    @settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
    @given(STEPS)
    def test_like_dictionaries(self, steps: list[tuple[Place, tuple[str, Any]]]) -> None:
        for table in ("rooms", "messages", "cursors", "privates", "accounts"):
            self.execute(f"DELETE FROM {table}")
        self.model = dict[Place, KeptRoom]()
        lab = self.begin()
        for place, (call, argument) in steps:
            lab = self.step(lab, self.model, place, call, argument)
        for _ in range(2):
            lab.turn()
            self.check_bodies()
            lab = self.again(lab)
            found = {(account.bare, room.room): room for account in lab.kept for room in account.rooms}
            self.assertEqual(found, self.model)
        lab.crash()

    def begin(self) -> Lab:
        return self.lab(in_memory=self.in_memory)

    def in_memory(self) -> list[KeptAccount]:
        accounts = {bare: KeptAccount(bare, None, False, 0.0) for bare, _ in PLACES}
        for (bare, _), room in self.model.items():
            accounts[bare].rooms.append(room)
        return list(accounts.values())

    def check_bodies(self) -> None:
        """Of all that is said, each content is there once; and nothing else is."""
        raws = [bytes(raw) for (raw,) in self.execute("SELECT raw FROM messages")]
        said = {message.raw for room in self.model.values() for message in room.messages}
        self.assertEqual(sorted(raw for raw in raws if raw), sorted(said))
        count = sum(len(room.messages) for room in self.model.values())
        self.assertEqual(self.execute("SELECT count(*) FROM messages WHERE room_id != 0"), [(count,)])

    def step(self, lab: Lab, model: dict[Place, KeptRoom], place: Place, call: str, argument: Any) -> Lab:
        journal, known = lab.journal.room(*place), model.get(place)
        if call == "turn":
            lab.turn()
        elif call == "restart":
            lab.turn()
            lab.crash()
            return self.begin()
        elif call == "written in spite of an error":
            self.write_twice(lab)
        elif call == "all anew":
            lab.journal.gathering.incomplete = True
            (lab.journal.gathering.batch or lab.journal.gathering.begin()).drop_history()
        elif call == "forget":
            lab.journal.account_forgotten(place[0])
            for gone in [key for key in model if key[0] == place[0]]:
                del model[gone]
        elif call == "enter":
            membership = KeptMembership(argument, "wished")
            journal.membership(membership)
            if known is None:
                model[place] = KeptRoom(place[1], membership)
            else:
                known.membership = membership
        elif known is not None:
            self.in_room(lab, journal, known, call, argument, place[0])
            if call == "leave":
                del model[place]
        return lab

    def write_twice(self, lab: Lab) -> None:
        """What looked like a failure was none: the batch is written again."""
        lab.writer.held_back = True
        lab.turn()
        for batch in lab.writer.waiting:
            lab.writer.store.write(batch)
        lab.writer.work()
        lab.turn()
        self.assertEqual(lab.journal.status.left_out, 0)

    def in_room(self, lab: Lab, journal: Any, known: KeptRoom, call: str, argument: Any, bare: str) -> None:
        if call == "keep":
            known.messages += lab.keep(argument, bare, known.room)
        elif call == "say":
            known.messages.append(message(journal.next_sequence(), raw=argument))
            journal.message_kept(known.messages[-1])
        elif call == "change" and known.messages:
            index = argument[0] % len(known.messages)
            known.messages[index] = replace(known.messages[index], raw=argument[1], retracted=True)
            journal.message_changed(known.messages[index])
        elif call == "take back" and known.messages:
            journal.message_gone(known.messages.pop(argument % len(known.messages)).sequence)
        elif call == "trim" and known.messages:
            oldest = known.messages[0].sequence + argument
            known.messages[:] = [one for one in known.messages if one.sequence >= oldest]
            journal.trimmed(oldest)
        elif call == "seen":
            known.cursors[argument] = lab.journal.gathering.sequence
            journal.seen(argument, lab.journal.gathering.sequence)
        elif call == "no cursor":
            known.cursors.pop(argument, None)
            journal.cursor_forgotten(argument)
        elif call == "private":
            private = KeptPrivate(journal.next_sequence(), b"<message/>")
            known.privates.append(private)
            journal.private_kept(private)
        elif call == "given" and known.privates:
            journal.private_given(known.privates.pop(argument % len(known.privates)).sequence)
        elif call == "leave":
            journal.forgotten()
