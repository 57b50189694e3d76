"""Which row has the bytes of which message: what rooms tell several accounts is in the database once.

The first message of a content has it in its own row, so what only one account was told costs nothing more. A later one
with equal bytes names that row. The row stays for as long as a message names it, by then without anything of the
account whose message it was. Pure: what becomes of rows is put into a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol
from zlib import crc32

from minimixproxy.minimix.interfaces.journal import KeptMessage
from minimixproxy.storage.batch import Batch
from minimixproxy.storage.schema import NOBODY

#: A message: its number, what it says, and the number of the row that has that: most often its own.
Placed = tuple[int, bytes, int]


class Placing(Protocol):
    """Says which row has what a message says, and puts what becomes of rows into a batch."""

    @property
    def shared(self) -> bool:
        """Whether messages of several accounts may name one row."""

    def clear(self) -> None:
        """There are no messages any more."""

    def rely_on_none(self) -> None:
        """Some rows may not be there."""

    def kept(self, message: KeptMessage) -> int:
        """A message is new. Return the row that has what it says."""

    def gone(self, batch: Batch, sequence: int, raw: bytes, row: int) -> None:
        """A message is no more. `row` had what it said."""

    def changed(self, batch: Batch, before: bytes, row: int, message: KeptMessage, number: Callable[[], int]) -> int:
        """A message says something else: return the row that has it now. `row` had what it said before.

        `number` gives one to a row that no message has.
        """


class UnsharedBodies:
    """Each message's own row has what it says: in a cluster, where the other row may be another process's."""

    shared = False

    def clear(self) -> None:
        """There are no messages any more."""

    def rely_on_none(self) -> None:
        """Some rows may not be there."""

    def kept(self, message: KeptMessage) -> int:
        """A message is new. Return the row that has what it says."""
        return message.sequence

    def gone(self, batch: Batch, sequence: int, raw: bytes, row: int) -> None:
        """A message is no more."""
        batch.trimmed.append(sequence)

    def changed(self, batch: Batch, before: bytes, row: int, message: KeptMessage, number: Callable[[], int]) -> int:
        """A message says something else. Return the row that has it."""
        _change(batch, message, message.raw, None)
        return message.sequence


class Bodies:
    """What messages say, by content: the row that has it, and how many messages of other rows name that row."""

    __slots__ = ("_lent", "_named", "_ownerless", "_rows")

    shared = True

    def __init__(self) -> None:
        self._rows: dict[bytes, int] = {}  # by content
        self._named: dict[int, int] = {}  # by row: by how many others, if any
        self._lent: dict[int, bytes] = {}  # rows whose message says something else by now: what others say there
        self._ownerless: set[int] = set()  # rows that others name, and that are no message themselves

    def __len__(self) -> int:
        """How many different ones there are."""
        return len(self._rows)

    def clear(self) -> None:
        """There are no messages any more."""
        for known in (self._rows, self._named, self._lent, self._ownerless):
            known.clear()

    def rely_on_none(self) -> None:
        """Some rows may not be there: whoever says the same again has it in a row of his own."""
        self._rows.clear()

    def restore(self, messages: Iterable[Placed], contents: Mapping[int, bytes], ownerless: Iterable[int]) -> list[int]:
        """Take over what is in the database; return those of the ownerless rows that no message names.

        `contents`: what is in the rows that are named.
        """
        naming = []
        for sequence, raw, row in messages:
            self._rows.setdefault(raw, row)
            if row != sequence:
                self._named[row] = self._named.get(row, 0) + 1
                naming.append(sequence)
        self._lent = {row: contents[row] for row in naming if row in self._named}
        rows = set(ownerless)
        self._ownerless = rows & self._named.keys()
        return sorted(rows - self._ownerless)

    def kept(self, message: KeptMessage) -> int:
        """A message is new. Return the row that has what it says."""
        row = self._rows.setdefault(message.raw, message.sequence)
        if row != message.sequence:
            self._named[row] = self._named.get(row, 0) + 1
        return row

    def gone(self, batch: Batch, sequence: int, raw: bytes, row: int) -> None:
        """A message is no more. `row` had what it said."""
        if row != sequence:
            self._name_less(batch, raw, row)
        elif sequence not in self._named:
            self._forget(raw, sequence)
        if sequence in self._named:
            self._lent.pop(sequence, None)
            self._ownerless.add(sequence)
            batch.disowned.append(sequence)
        else:
            batch.trimmed.append(sequence)

    def changed(self, batch: Batch, before: bytes, row: int, message: KeptMessage, number: Callable[[], int]) -> int:
        """A message says something else: return the row that has it now. `row` had what it said before.

        `number` gives one to a row that no message has.
        """
        raw, sequence = message.raw, message.sequence
        if raw != before:
            self._let_go(batch, sequence, before, row)
            row = self._place(batch, sequence, raw, number)
        own, body = (raw, None) if row == sequence else (self._lent.get(sequence, b""), row)
        batch.emptied.pop(sequence, None)
        _change(batch, message, own, body)
        return row

    def _let_go(self, batch: Batch, sequence: int, raw: bytes, row: int) -> None:
        """A message does not say this any more."""
        if row != sequence:
            self._name_less(batch, raw, row)
        elif sequence in self._named:
            self._lent[sequence] = raw
        else:
            self._forget(raw, sequence)

    def _place(self, batch: Batch, sequence: int, raw: bytes, number: Callable[[], int]) -> int:
        """A message that is there says this from now on."""
        row = self._rows.get(raw)
        if row is None and sequence in self._lent:  # its own row is not free
            row = number()
            self._ownerless.add(row)
            batch.messages += (row, NOBODY, 0.0, raw, False, None, None, False, 0, None)
        elif row is None:
            row = sequence
        self._rows[raw] = row
        if row == sequence:
            self._lent.pop(sequence, None)
        else:
            self._named[row] = self._named.get(row, 0) + 1
        return row

    def _name_less(self, batch: Batch, raw: bytes, row: int) -> None:
        """One message fewer names a row. If that was the last one, what nobody else says goes."""
        left = self._named[row] - 1
        if left:
            self._named[row] = left
            return
        del self._named[row]
        if row in self._ownerless:
            self._ownerless.remove(row)
            batch.trimmed.append(row)
        elif row in self._lent:
            del self._lent[row]
            batch.empty(row)
        else:
            return  # its own message says it
        self._forget(raw, row)

    def _forget(self, raw: bytes, row: int) -> None:
        """A row does not have this any more; another one may, that was written by an earlier version."""
        if self._rows.get(raw) == row:
            del self._rows[raw]


def _change(batch: Batch, message: KeptMessage, own: bytes, body: int | None) -> None:
    """A message's row has these bytes from now on; what it says is there, or in the row `body`."""
    told = message.stanza_id, message.amends, message.retracted, crc32(message.raw)
    batch.changes[message.sequence] = (own, *told, body)
