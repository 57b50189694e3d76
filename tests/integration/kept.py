"""What a program keeps in an SQLite database, while the program runs."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.patience import patiently

TIMEOUT = 30.0
LOOK_EVERY = 0.25  # seconds; files that change (inotify) do not tell when SQLite's shared memory shows what is in them
Row = tuple[Any, ...]


class Kept:
    """The rows of one query."""

    def __init__(self, database: Path, query: str) -> None:
        self._database = database
        self._query = query

    def rows(self) -> list[Row]:
        """What there is now. Raises sqlite3.OperationalError if the program has no such table yet."""
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as database:
            return database.execute(self._query).fetchall()

    async def until(self, condition: Callable[[list[Row]], bool], what: str, timeout: float = TIMEOUT) -> list[Row]:
        """Wait for rows that meet a condition; returns them."""
        end = reactor.seconds() + patiently(timeout)
        while not condition(rows := self.rows()):
            if reactor.seconds() > end:
                raise AssertionError(f"waited in vain for {what} in {self._database.name}; it has {rows}")
            await deferLater(reactor, LOOK_EVERY)
        return rows
