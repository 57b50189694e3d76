"""What devices have enabled for push, as it stands in an account's row."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.interfaces.journal import KeptPush
from minimixproxy.storage.errors import BadRow
from minimixproxy.storage.push_column import push_column, read_push
from minimixproxy.storage.sealing import Sealer

BARE = "alice@a.test"


class PushColumn(SynchronousTestCase):
    def setUp(self) -> None:
        self.sealer = Sealer(b"k" * 32)

    def read(self, rows: object) -> tuple[KeptPush, ...]:
        return read_push(BARE, self.sealer.seal(json.dumps(rows).encode(), BARE, "push"), self.sealer)

    def test_back_and_forth(self) -> None:
        enabled = (KeptPush("r", "push.test", "n", b"<x/>", False, "0b1c"), KeptPush("s", "push.test", ""))
        self.assertEqual(read_push(BARE, push_column(BARE, enabled, self.sealer), self.sealer), enabled)

    def test_rows_of_before(self) -> None:
        self.assertEqual(self.read([["r", "push.test", "n", "", True]]), (KeptPush("r", "push.test", "n"),))

    def test_others(self) -> None:
        row = ["r", "push.test", "n", "", True, ""]
        others: list[object] = [{}, [{}], [[]], [row[:4]], [[*row, ""]], [[*row[:5], 1]], [[1, *row[1:]]]]
        for rows in others:
            self.assertRaises(BadRow, self.read, rows)
