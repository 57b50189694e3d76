"""Who had which account when, and who wrote for it: by what the database noted of each transaction (see `audit`).

Rows of a lease change one after the other, as each change locks the row. Whether a write came before such a change or
behind it is not a matter of clocks: the snapshot of a transaction says which others it sees as done.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Self

NOBODY = 0
SHOWN = 10  # faults of a kind


class Snapshot(NamedTuple):
    """What `pg_current_snapshot()` says: all before `low` is done, nothing from `high` on, nor what is `running`."""

    low: int
    high: int
    running: frozenset[int] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Self:
        low, high, running = text.split(":")
        return cls(int(low), int(high), frozenset(map(int, filter(None, running.split(",")))))

    def sees(self, transaction: int) -> bool:
        return transaction < self.high and transaction not in self.running


class Change(NamedTuple):
    """A lease has another holder. `over`: the former one had ended; `by`: the process that did it."""

    bare: str
    former: int
    holder: int
    epoch: int
    over: bool
    by: int
    transaction: int
    snapshot: Snapshot


class Write(NamedTuple):
    """A process has written something for an account."""

    bare: str
    by: int
    table: str
    transaction: int
    snapshot: Snapshot


class Tenure(NamedTuple):
    """One process has an account from one change to the next one, if there has been one."""

    begin: Change
    end: Change | None

    def covers(self, write: Write) -> bool:
        """Whether that process might write this: behind the begin, and before the end."""
        begin, end = self.begin, self.end
        began = write.transaction == begin.transaction or write.snapshot.sees(begin.transaction)
        ended = end is not None and write.transaction != end.transaction and not end.snapshot.sees(write.transaction)
        return began and not ended


def wrong(changes: Iterable[Change], writes: Iterable[Write]) -> list[str]:
    """Return what must not be. `changes` are in their order for each account."""
    by_account: dict[str, list[Change]] = defaultdict(list)
    for change in changes:
        by_account[change.bare].append(change)
    faults = [fault for one in by_account.values() for fault in _wrong_changes(one)]
    tenures = {bare: _tenures(one) for bare, one in by_account.items()}
    return faults + _shown([_described(write) for write in writes if not _covered(tenures, write)])


def _wrong_changes(changes: Sequence[Change]) -> list[str]:
    """Of one account: each epoch is greater than those before, and nothing is taken from who lives."""
    faults, former, last = [], NOBODY, 0
    for change in changes:
        if change.former != former:
            faults.append(f"{change.bare} went from {change.former} to {change.holder}, and {former} had it")
        if change.holder != NOBODY:
            if change.epoch <= last:
                faults.append(f"{change.bare}: {change.holder} has it with epoch {change.epoch}, as one before had")
            last = max(last, change.epoch)
        if change.former not in (NOBODY, change.by) and not change.over:
            faults.append(f"{change.bare} was taken from {change.former} by {change.by}, which was not over")
        former = change.holder
    return faults


def _tenures(changes: Sequence[Change]) -> Mapping[int, Sequence[Tenure]]:
    """Return them by the process."""
    found: dict[int, list[Tenure]] = defaultdict(list)
    for change, following in zip(changes, [*changes[1:], None], strict=True):
        if change.holder != NOBODY:
            found[change.holder].append(Tenure(change, following))
    return found


def _covered(tenures: Mapping[str, Mapping[int, Sequence[Tenure]]], write: Write) -> bool:
    return any(tenure.covers(write) for tenure in tenures.get(write.bare, {}).get(write.by, ()))


def _described(write: Write) -> str:
    return f"{write.by} wrote {write.table} of {write.bare} without having it (transaction {write.transaction})"


def _shown(faults: Sequence[str]) -> list[str]:
    more = len(faults) - SHOWN
    return [*faults[:SHOWN], *([f"... and {more} more"] if more > 0 else [])]
