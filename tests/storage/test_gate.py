"""What a client is told waits for the disk: in order, and no longer than it must."""

from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial import unittest

from minimixproxy.storage.durability import LOOKS, PATIENCE
from minimixproxy.storage.gate import Gate, Waiting
from minimixproxy.timing.turn_end import TurnEnd
from tests.examples import examples
from tests.storage.cases import BARE, MEMBERSHIP, ROOM, StorageTestCase, message


class GateTests(StorageTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.now = self.lab()
        self.given = self.now.given
        self.room = self.now.journal.room(BARE, ROOM)
        self.room.membership(MEMBERSHIP)
        self.now.turn()

    def test_nothing_waits_where_nothing_is_journalled(self) -> None:
        self.now.deliver(b"1")
        self.assertEqual(self.given, [b"1"])

    def test_waits_for_the_end_of_the_turn(self) -> None:
        self.now.keep()
        self.now.deliver(b"1")
        self.assertEqual(self.given, [])
        self.now.turn()
        self.assertEqual(self.given, [b"1"])

    def test_a_turn_is_one_batch(self) -> None:
        before = self.now.writer.attempts
        self.now.keep(100)
        self.now.turn()
        self.assertEqual(self.now.writer.attempts, before + 1)

    def test_what_comes_while_writing_is_the_next_batch(self) -> None:
        writer = self.now.writer
        before = writer.attempts
        writer.held_back = True
        self.now.keep()
        self.now.deliver(b"1")
        self.now.turn()
        self.now.deliver(b"2")  # nothing new was journalled: waits for the batch that is being written
        self.now.keep()
        self.now.deliver(b"3")
        self.now.keep()
        self.now.deliver(b"4")
        self.now.turn()
        self.assertEqual((writer.attempts, self.given), (before, []))
        batch = writer.waiting.pop()
        writer.store.write(batch)
        writer._written(batch, None)
        self.assertEqual(self.given, [b"1", b"2"])
        writer.work()
        self.assertEqual((writer.attempts, self.given), (before + 1, [b"1", b"2", b"3", b"4"]))
        self.now.deliver(b"5")
        self.assertEqual(self.given[-1], b"5")

    def test_is_on_disk_when_it_is_given(self) -> None:
        counts = []
        deliver = self.now.journal.gated(
            lambda _data: counts.append(self.execute("SELECT count(*) FROM messages")[0][0])
        )
        self.now.keep(3)
        deliver(b"")
        self.now.turn()
        self.assertEqual(counts, [3])

    def test_one_write_to_a_client_for_a_batch(self) -> None:
        """Output that is released is joined as if it came in one turn."""
        turns: list[str] = []
        self.patch(self.now.turn_end, "begin", lambda: turns.append("begin"))
        self.patch(self.now.turn_end, "end", lambda: turns.append("end"))
        deliver = self.now.journal.gated(lambda _data: turns.append("data"))
        self.now.keep()
        deliver(b"1")
        deliver(b"2")
        self.now.turn()
        self.assertEqual(turns, ["begin", "data", "data", "end"])

    def test_one_write_to_a_client_when_it_waits_no_longer(self) -> None:
        turns = []
        self.patch(self.now.turn_end, "begin", lambda: turns.append("begin"))
        self.patch(self.now.turn_end, "end", lambda: turns.append("end"))
        self.now.writer.held_back = True
        self.now.keep()
        self.now.journal.gated(lambda _data: turns.append("data"))(b"1")
        self.now.turn()
        self.now.clock.pump([PATIENCE / LOOKS] * LOOKS)
        self.assertEqual(turns, ["begin", "data", "end"])

    def test_given_out(self) -> None:
        self.assertEqual(self.room.given_out(), 0)
        self.now.keep(2)
        self.assertEqual(self.room.given_out(), 0)
        self.now.turn()
        self.assertEqual(self.room.given_out(), 2)
        self.room.next_sequence()
        self.assertEqual(self.room.given_out(), 3)  # it passes the gate at once: nothing was journalled

    def test_a_receiver_that_fails(self) -> None:
        def fail(_data: bytes) -> None:
            raise RuntimeError("broken")

        self.now.keep()
        self.now.journal.gated(fail)(b"")
        self.now.deliver(b"1")
        self.now.turn()
        self.assertEqual(self.given, [b"1"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_what_is_said_during_a_release_goes_behind_it(self) -> None:
        for journals in (False, True):
            self.assertEqual(self.answers(journals), [b"1", b"2", b"3"])

    def answers(self, journals: bool) -> list[bytes]:
        given: list[bytes] = []

        def answer(data: bytes) -> None:
            given.append(data)
            if data == b"1":
                if journals:
                    self.room.message_kept(message(self.room.next_sequence()))
                deliver(b"3")

        deliver = self.now.journal.gated(answer)
        self.now.keep()
        deliver(b"1")
        deliver(b"2")
        self.now.turn()
        self.now.turn()
        return given

    @settings(max_examples=examples(50))
    @given(st.lists(st.sampled_from(["keep", "deliver", "turn", "work", "hold"]), max_size=30))
    def test_always_in_order(self, steps: list[str]) -> None:
        """Whatever happens, what is given is what was delivered, in order, none left in the end."""
        self.given.clear()
        writer, numbers, sent = self.now.writer, count(), []
        for step in steps:
            if step == "keep":
                self.now.keep()
            elif step == "deliver":
                sent.append(b"%d" % next(numbers))
                self.now.deliver(sent[-1])
            elif step == "turn":
                self.now.turn()
            elif step == "hold":
                writer.held_back = True
            else:
                writer.work()
            self.assertEqual(self.given, sent[: len(self.given)])
        writer.held_back = False
        self.now.turn()
        writer.work()
        self.assertEqual(self.given, sent)


class HeldCopyTests(unittest.TestCase):
    def test_is_a_reference(self) -> None:
        """A forked stanza is held for many: as many references, not copies."""
        gate, data = Gate(TurnEnd(Clock())), b"<message/>"
        waiting: Waiting = []
        gate.close(waiting)
        gate.gated(print)(data)
        self.assertIs(waiting[0][1], data)
