"""Open IQs: each is closed once, by its answer, its asker's end or its time; what is closed takes no place."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.subprotocols.open_iqs import MAX_ID_BYTES, OpenIQs, PendingIQ, TableFull
from tests.minimix.fakes import ROOM

TIMEOUT = 30.0
LONG = "i" * (MAX_ID_BYTES // 4)


class IQTableTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.expired: list[str] = []
        self.table: OpenIQs[str] = OpenIQs(self.clock, TIMEOUT, 10, self.expire)

    def expire(self, pending: PendingIQ[str]) -> None:
        self.expired.append(pending.asker)

    def fits(self, stanza_id: str) -> list[str]:
        """Open as many as there can be, each of another room; return their ids on the wire."""
        opened: list[str] = []
        while True:
            try:
                room = f"room{len(opened)}@muc.test"
                opened.append(self.table.add(ROOM, f"asker {len(opened)}", stanza_id, room))
            except TableFull:
                return opened

    def test_as_many_again_when_they_are_closed(self) -> None:
        for stanza_id, many in (("i", 10), (LONG, 4)):
            self.setUp()
            for _ in range(3):
                opened = self.fits(stanza_id)
                self.assertEqual((len(opened), len(set(opened)), len(self.table)), (many, many, many))
                answered = self.table.take(ROOM, opened[0])
                assert answered is not None
                self.assertEqual((answered.asker, answered.id), ("asker 0", stanza_id))
                self.assertIsNone(self.table.take(ROOM, opened[0]), "once")
                self.assertIsNone(self.table.take("another", opened[1]), "only by who was asked")
                (dropped,) = self.table.drop(lambda pending: pending.asker == "asker 1")
                self.assertEqual(dropped.asker, "asker 1")
                self.assertEqual(len(self.fits(stanza_id)), 2)
                self.clock.advance(TIMEOUT)
                self.assertEqual((len(self.table), self.clock.getDelayedCalls()), (0, []))
                self.assertEqual(self.expired[: many - 2], [f"asker {number}" for number in range(2, many)])
                self.expired.clear()

    def test_each_has_its_time(self) -> None:
        first = self.table.add(ROOM, "first", "1", ROOM)
        self.clock.advance(TIMEOUT / 2)
        self.table.add(ROOM, "second", "2", ROOM)
        self.table.take(ROOM, first)
        self.assertEqual(self.table.add(ROOM, "first again", "1", ROOM, wire_id=first), first)
        self.clock.advance(TIMEOUT / 2)
        self.assertEqual(self.expired, [])
        self.clock.advance(TIMEOUT / 2)
        self.assertEqual(self.expired, ["second", "first again"])

    def test_nothing_is_due_when_none_is_open(self) -> None:
        self.fits("i")
        self.table.drop(lambda pending: pending.asker != "asker 3")
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.table.drop(lambda _pending: True)
        self.assertEqual(self.clock.getDelayedCalls(), [])
