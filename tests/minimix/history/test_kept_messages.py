"""The messages of a room against a plain list of them, whatever comes, changes and goes."""

from __future__ import annotations

import gc
import itertools
import sys
from random import Random
from types import BuiltinFunctionType, FunctionType, ModuleType

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.bounds.byte_budget import ByteBudget
from minimixproxy.bounds.shared_bytes import SharedBytes
from minimixproxy.config.settings import Rooms
from minimixproxy.minimix.history.kept_messages import _REMEMBERED, KeptMessages
from minimixproxy.minimix.history.message_index import OCCUPANT, identity
from minimixproxy.minimix.interfaces.journal import KeptMessage
from tests.examples import examples
from tests.minimix.fakes import ROOM
from tests.minimix.history.test_room_history import Recorder

LIMIT = 40
AGE = 100.0
SENDERS = (f"{ROOM}/bob", OCCUPANT + "eve")


class Listed:
    """What `KeptMessages` is to be, written down without a thought for cost. `said`: sequences by sender and id."""

    def __init__(self, seed: int, bytes_limit: int = 10**9) -> None:
        self.dice = Random(seed)
        self.now = 1000.0
        self.messages: list[KeptMessage] = []
        self.said: dict[tuple[str, str], int] = {}
        self.gone: list[KeptMessage] = []
        self.expired = 0.0
        self.crowded = False
        self.crowded_out: list[str | None] = []
        self.bytes_limit = bytes_limit
        self.journal = Recorder()
        self.budget = ByteBudget(bytes_limit)
        self.kept = KeptMessages(Rooms(history=LIMIT, history_age=AGE), self.journal, budget=self.budget)
        self._numbers = itertools.count(1)

    def size(self) -> int:
        return sum(len(message.raw) for message in self.messages)

    def bound(self) -> None:
        while len(self.messages) > LIMIT or self.size() > self.bytes_limit:
            self.crowded = True
            self.gone.append(self.messages.pop(0))
            self.crowded_out.append(self.gone[-1].stanza_id)

    def message(self, sequence: int, time: float) -> KeptMessage:
        body = b"x" * self.dice.choice((1, 10, 200))
        ids = [None, f"s{sequence}"]
        if self.gone:  # a room may give an id again
            ids += {self.gone[-1].stanza_id} - {one.stanza_id for one in self.messages}
        raw = b"<message from='%b/bob' id='o%d'><body>%b</body></message>" % (ROOM.encode(), sequence, body)
        return KeptMessage(sequence, time, raw, stamped=False, stanza_id=self.dice.choice(ids))

    def step(self) -> None:
        self.dice.choice((self.keep, self.keep, self.keep, self.change, self.remove, self.remove_none, self.expire))()
        self.now += 30 if self.dice.random() < 0.03 else self.dice.choice((0, 1))

    def keep(self) -> None:
        message = self.message(next(self._numbers), self.now)
        sender = self.dice.choice(SENDERS)
        ids = self.dice.choice("abc"), f"o{message.sequence}", f"p{message.sequence}"
        self.kept.keep(message, sender, ids)
        self.messages.append(message)
        self.said |= {(sender, one): message.sequence for one in ids}
        self.bound()

    def change(self) -> None:
        """The history changes them one after the other, and a message comes behind each that does."""
        if self.messages:
            place = self.dice.randrange(len(self.messages))
            before = self.messages[place]
            longer = before.raw.replace(b"<body>", b"<body>and more: ")
            raw = self.dice.choice((longer, b"<message/>"))
            after = KeptMessage(before.sequence, before.time, raw, stamped=False, stanza_id=before.stanza_id)
            self.kept.change(after)
            self.messages[place] = after
            self.keep()

    def remove(self) -> None:
        if self.messages:
            message = self.messages.pop(self.dice.randrange(len(self.messages)))
            self.gone.append(message)
            self.kept.remove(message.sequence)

    def remove_none(self) -> None:
        """One that has gone already, or never was."""
        self.kept.remove(self.dice.choice(self.gone).sequence if self.gone else 10**6)

    def expire(self) -> None:
        self.kept.expire(self.now)
        while self.messages and self.messages[0].time < self.now - AGE:
            self.expired = self.messages[0].time
            self.gone.append(self.messages.pop(0))
        oldest = min((message.time for message in self.journal.messages.values()), default=self.now)
        assert oldest >= self.now - AGE * 1.1, "what is too old stays on disk"

    def restart(self) -> None:
        """What is on disk, in any order; who said what in this process is not."""
        messages = list(self.journal.messages.values())
        self.dice.shuffle(messages)
        self.budget = ByteBudget(self.bytes_limit)
        settings = Rooms(history=LIMIT, history_age=AGE)
        self.kept = KeptMessages(settings, self.journal, messages, self.budget)
        self.messages = sorted(messages, key=lambda message: message.sequence)
        self.said.clear()
        self.expired = 0.0
        self.crowded = len(messages) >= LIMIT
        self.crowded_out = []
        self.bound()

    def agrees(self, test: SynchronousTestCase) -> None:
        """All that can be asked."""
        kept, there = self.kept, {message.sequence: message for message in self.messages}
        test.assertEqual(list(kept), self.messages)
        test.assertEqual((len(kept), list(reversed(kept))), (len(self.messages), self.messages[::-1]))
        for count in (1, 3, LIMIT + 100):
            test.assertEqual(kept.last(count), self.messages[-count:])
        for one in (*self.messages, *self.gone[-20:], self.message(10**6, 0.0)):
            test.assertIs(kept.get(one.sequence), there.get(one.sequence))
            later = [message for message in self.messages if message.sequence > one.sequence]
            test.assertEqual(kept.after(one.sequence), later)
            if one.stanza_id is not None:
                expected = [message for message in self.messages if message.stanza_id == one.stanza_id]
                test.assertEqual([kept.with_stanza_id(one.stanza_id)], expected[-1:] or [None])
        for one in (*self.messages[:3], *self.messages[-3:]):
            if b"and more" not in one.raw and b"body" in one.raw:  # those that were changed are known by what they were
                key = identity(one.raw, f"{ROOM}/bob", f"o{one.sequence}")
                test.assertEqual(kept.same_again(key or 0), [one])
        for (sender, sent_id), sequence in self.said.items():
            test.assertIs(kept.said_by(sender, sent_id), there.get(sequence))
        test.assertEqual(kept.expired_until, self.expired)
        known = [one for one in dict.fromkeys(reversed(self.crowded_out)) if one is not None][:_REMEMBERED]
        for stanza_id in (*self.crowded_out[-2 * _REMEMBERED :], "another"):
            test.assertEqual(kept.had_no_place(stanza_id), stanza_id in known)
        crowded = self.crowded and self.messages and self.messages[0].time < self.messages[-1].time
        test.assertEqual(kept.crowded_until, self.messages[0].time if crowded else 0.0)
        on_disk = self.journal.messages
        test.assertLessEqual(there.keys(), on_disk.keys())
        test.assertTrue(all(on_disk[sequence] is message for sequence, message in there.items()))
        test.assertLess(len(on_disk), LIMIT + 16)


class Shared(SynchronousTestCase):
    """What was said in a room is kept once for all accounts that were told it."""

    def setUp(self) -> None:
        self.told = SharedBytes()
        self.all_kept = [KeptMessages(Rooms(history=LIMIT), Recorder(), told=self.told) for _ in range(2)]

    def keep(self, number: int) -> None:
        for kept in self.all_kept:
            kept.keep(
                KeptMessage(number, number, b"<message id='%d'/>" % number, stamped=False, stanza_id=f"s{number}")
            )

    def test_once(self) -> None:
        self.keep(1)
        one, other = (kept.last(1)[0] for kept in self.all_kept)
        self.assertIs(one.raw, other.raw)
        self.assertIs(one.stanza_id, other.stanza_id)
        self.assertEqual(len(self.told), 1)

    def test_nothing_is_left(self) -> None:
        """Of what is changed, removed, too much, and of the rest when it is over."""
        for number in range(1, 3 * LIMIT):
            self.keep(number)
        one, other = self.all_kept
        changed = KeptMessage(3 * LIMIT - 1, 0.0, b"<message id='changed'/>", stamped=False)
        one.change(changed)
        one.remove(3 * LIMIT - 2)
        self.assertLess(len(self.told), LIMIT + 20)
        other.close()
        self.assertEqual(len(self.told), len(one._messages))
        one.close()
        one.close()
        self.assertEqual((len(self.told), list(one)), (0, []))


class Closed(SynchronousTestCase):
    def test_takes_no_bytes_any_more(self) -> None:
        """Whoever looks at it later does not find messages too old that are gone, nor takes bytes for them."""
        budget = ByteBudget(10_000)
        kept = KeptMessages(Rooms(history=LIMIT), Recorder(), budget=budget)
        for number in range(1, 5):
            kept.keep(KeptMessage(number, 1000.0, b"<message/>" * 10, stamped=False))
        kept.close()
        kept.expire(10**9)
        self.assertEqual((budget.used, len(kept)), (0, 0))
        self.assertTrue(budget.take(10_000))
        kept.expire(10**9)
        self.assertIsNone(kept.said_by("bob", "a"))


class Model(SynchronousTestCase):
    def test_any_sequence(self) -> None:
        for seed in range(max(examples(8), 4)):  # of each kind one
            listed = Listed(seed, bytes_limit=4000 if seed % 2 else 10**9)
            for number in range(300):
                listed.step()
                if seed % 4 == 3 and number in (100, 200):
                    listed.restart()
                listed.agrees(self)
            listed.keep()  # what goes is given back when the next one comes
            self.assertEqual(listed.budget.used, listed.size())
            listed.kept.close()
            self.assertEqual(listed.budget.used, 0)


class Memory(SynchronousTestCase):
    """What is let go takes no place any more, neither itself nor what it is found by."""

    def test_of_what_came_and_went(self) -> None:
        after = {}
        for rounds in (1, 10):
            listed = Listed(1)
            for _ in range(300 * rounds):
                listed.keep()
                listed.kept.same_again(0)
                listed.remove_none()
                if listed.dice.random() < 0.3:
                    listed.remove()
                listed.now += 1
                listed.expire()
            listed.now += 2 * AGE
            listed.expire()
            listed.keep()
            listed.journal.messages.clear()
            after[rounds] = held(listed.kept)
        self.assertLess(after[10], 1.2 * after[1])

    def test_of_large_ones(self) -> None:
        """Though they are few: they leave the disk before they are many."""
        listed = Listed(1)
        raw = b"<message><body>%b</body></message>" % (b"x" * 300_000)
        for sequence in range(1, 10 * LIMIT):
            listed.kept.keep(KeptMessage(sequence, listed.now, raw, stamped=False))
            self.assertLess(len(listed.journal.messages), 8 * 1024 * 1024 // 300_000 + 5)


def held(root: object) -> int:
    """How many bytes an object keeps from being freed, but for what Python's modules hold anyway."""
    seen: dict[int, object] = {}
    waiting = [root]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen and not isinstance(one, type | ModuleType | FunctionType | BuiltinFunctionType):
            seen[id(one)] = one
            waiting += gc.get_referents(one)
    return sum(sys.getsizeof(one) for one in seen.values())


class BeforeTheStart(SynchronousTestCase):
    """Messages of before the start are searched for by what stands in them, when that is asked first."""

    def restored(self, *raws: bytes) -> KeptMessages:
        messages = [KeptMessage(number, 1000.0, raw, stamped=False) for number, raw in enumerate(raws, 1)]
        journal = Recorder(first=100)
        journal.messages = {message.sequence: message for message in messages}
        return KeptMessages(Rooms(history=LIMIT, history_age=AGE), journal, messages)

    def said(self, occupant: str, sent_id: str) -> bytes:
        inner = f"<occupant-id xmlns='urn:xmpp:occupant-id:0' id='{occupant}'/>"
        return f"<message from='{ROOM}/bob' id='{sent_id}'><body>x</body>{inner}</message>".encode()

    def found(self, kept: KeptMessages, occupant: str, sent_id: str) -> int | None:
        message = kept.said_by(OCCUPANT + occupant, sent_id)
        return message.sequence if message is not None else None

    def test_table(self) -> None:
        damaged = self.said("bob", "b").replace(b"id='b'", b"id='\xff'")
        kept = self.restored(self.said("bob", "a"), damaged, self.said("eve", "a"), self.said("bob", "c"))
        for occupant, sent_id, sequence in (("bob", "a", 1), ("eve", "a", 3), ("bob", "c", 4), ("eve", "b", None)):
            self.assertEqual(self.found(kept, occupant, sent_id), sequence, (occupant, sent_id))

    def test_one_that_is_removed_before_does_not_hide_another(self) -> None:
        for gone in (1, 2, 3, 100):
            kept = self.restored(self.said("bob", "a"), self.said("bob", "b"), self.said("bob", "c"))
            kept.keep(KeptMessage(100, 1000.0, self.said("bob", "a"), stamped=False))
            kept.remove(gone)
            found = [self.found(kept, "bob", one) for one in "abc"]
            expected = [one if one != gone else None for one in (1, 2, 3)]
            self.assertEqual(found, expected, "what came later was kept under no sender")

    def test_what_came_later_counts(self) -> None:
        kept = self.restored(self.said("bob", "a"))
        kept.keep(KeptMessage(100, 1000.0, self.said("bob", "a"), stamped=False), OCCUPANT + "bob", ["a"])
        self.assertEqual(self.found(kept, "bob", "a"), 100)

    def test_what_is_thrown_away_first(self) -> None:
        """Those that are left are found all the same, and those that came since are not taken for earlier ones."""
        kept = self.restored(*(self.said("bob", f"o{number}") for number in range(LIMIT)))
        for sequence in range(100, 100 + 20):
            kept.keep(KeptMessage(sequence, 1000.0, self.said("bob", f"o{sequence}"), stamped=False))
        self.assertEqual(self.found(kept, "bob", f"o{LIMIT - 1}"), LIMIT)
        self.assertIsNone(self.found(kept, "bob", "o105"))


class TheSameAgain(SynchronousTestCase):
    def test_what_was_changed_is_known_by_what_it_said(self) -> None:
        """Also if nothing was looked for between its coming and its change."""
        kept = KeptMessages(Rooms(history=LIMIT, history_age=AGE), Recorder())
        raws = [b"<message from='bob' id='m%d'><body>x</body></message>" % number for number in range(3)]
        keys = [identity(raw, "bob", f"m{number}") or 0 for number, raw in enumerate(raws)]
        kept.keep(KeptMessage(1, 1000.0, raws[0], stamped=False))
        self.assertEqual([one.sequence for one in kept.same_again(keys[0])], [1])
        kept.keep(KeptMessage(2, 1000.0, raws[1], stamped=False))
        kept.change(KeptMessage(2, 1000.0, b"<message/>", stamped=False))
        kept.keep(KeptMessage(3, 1000.0, raws[2], stamped=False))
        self.assertEqual([[one.sequence for one in kept.same_again(key)] for key in keys], [[1], [2], [3]])
