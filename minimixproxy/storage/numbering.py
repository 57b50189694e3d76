"""Numbers of rows, given in memory: by the one process that writes, or by several that have the database together.

Each of several has a slot: it gives every `SLOTS`th number. Numbers that an account compares have to grow when another
process takes it over, so that one first goes on to above what the account has.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Column, Connection, func, select

SLOTS: Final = 1024  # processes that may have a database together


class Numbering:
    """The numbers of one process. `slot`: None if it is the only one."""

    __slots__ = ("_slot", "step")

    def __init__(self, slot: int | None = None) -> None:
        self._slot = slot
        self.step = 1 if slot is None else SLOTS

    def last_before(self, above: int) -> int:
        """Return a number after which, by `step`, comes one that is greater than `above`."""
        if self._slot is None:
            return above
        return above // SLOTS * SLOTS + self._slot


def highest(connection: Connection, *keys: Column[Any]) -> int:
    """Return the highest number that rows of a database have in one of these columns, 0 if there are none."""
    found = [connection.execute(select(func.max(key))).scalar() for key in keys]
    return max(number for number in (0, *found) if isinstance(number, int))  # SQLite may hold anything
