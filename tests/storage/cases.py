"""What tests of storage begin with: a journal on a database of its own, and a class that runs on both databases."""

import os
import sys
import time
import types
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar
from unittest import mock

from sqlalchemy import event
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.interfaces import DBAPICursor
from twisted.internet.task import Clock
from twisted.trial import unittest

from minimixproxy.minimix.interfaces.journal import KeptAccount, KeptMembership, KeptMessage
from minimixproxy.resource_id import Installation
from minimixproxy.storage import store as storage_store
from minimixproxy.storage.batch import Batch, Erasure
from minimixproxy.storage.database import Database
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.given_out import GivenOut
from minimixproxy.storage.journal import OpenState, SQLJournal
from minimixproxy.storage.lease import Lease
from minimixproxy.storage.sealing import load_sealer
from minimixproxy.storage.service import load
from minimixproxy.storage.statements import Statements
from minimixproxy.storage.store import Store
from minimixproxy.storage.writer import Written
from minimixproxy.timing.turn_end import TurnEnd
from tests.patience import patiently
from tests.storage import postgresql

BARE, ROOM = "alice@example.org", "room@muc.example.org"
MEMBERSHIP = KeptMembership("alice", "Alice")


class Writer:
    """Writes in the calling thread: when the turn is over, or when told to."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self._clock = clock
        self.waiting: list[Batch] = []
        self.faults: list[Exception] = []  # what the next attempts meet
        self.attempts = 0
        self.held_back = False
        self.stopped = False
        self._written: Written

    def start(self, written: Written) -> None:
        self._written = written

    def write(self, batch: Batch) -> None:
        self.waiting.append(batch)
        self._clock.callLater(0, self._work_unless_held_back)

    def cursor(self) -> DBAPICursor:
        """Of the connection that the store has open."""
        connection = self.store._connection
        assert connection is not None
        return connection.cursor()

    def _work_unless_held_back(self) -> None:
        if not self.held_back:
            self.work()

    def work(self) -> None:
        """Do what is waiting."""
        self.held_back = False
        while self.waiting:
            batch = self.waiting.pop(0)
            self.attempts += 1
            error: Exception | None = None
            try:
                if self.faults:
                    raise self.faults.pop(0)
                self.store.write(batch)
            except Exception as fault:  # noqa: BLE001 (as the writer's thread does)
                error = fault
            self._written(batch, error)

    def rest(self) -> Erasure:
        """There was nothing to write for a second."""
        erasure = self.store.rest()
        if erasure:
            self._written(None, None, erasure)
        return erasure

    def tend(self) -> None:
        """Do what is due between two batches."""
        try:
            self.store.tend()
        except Exception as fault:  # noqa: BLE001 (as the writer's thread does)
            self._written(None, fault)

    def stop(self, timeout: float) -> None:
        self.stopped = True
        self.store.end()


class Lab:
    """A journal with a clock in the test's hand. `turn` is over when the clock is advanced."""

    def __init__(
        self,
        state: Path | str,
        directory: Path,
        seal_key: Path | None = None,
        in_memory: Callable[[], Iterable[KeptAccount]] | None = None,
        *,
        synced: bool = False,
    ) -> None:
        self.clock = Clock()
        self.turn_end = TurnEnd(self.clock)
        self.journal = SQLJournal(self.clock, self.turn_end)
        self.database = compiled_once(Database(state) if synced else not_synced(Database(state)))
        self.lease = Lease(self.database, Installation(directory).name, self.clock.advance, self.clock.seconds)
        identity = self.lease.take()
        self.given_out = GivenOut(directory / "given_out")
        self.lost: list[StateError] = []
        try:
            sealer = load_sealer(seal_key, directory)
            known = self.given_out.open(identity)
            loader, loaded = load(self.database, self.lease, sealer, known, self.given_out.unused_for(time.time()))
        except BaseException:
            self.lease.abandon()
            raise
        self.kept: list[KeptAccount] = [account.kept for account in loaded]
        with mock.patch.object(storage_store, "Statements", _statements):
            self.writer = Writer(Store(self.database, self.lease, self.clock.seconds), self.clock)
        logins = (loader.login_keys, loader.login_tokens, loader.blocked)
        numbers = (loader.bodies, loader.last_id, loader.last_sequence)
        opened = OpenState(loaded, *logins, *numbers, self.writer, sealer, self.given_out)
        self.journal.start(opened, self.lost.append, in_memory)
        self.given: list[bytes] = []
        self.deliver = self.journal.gated(self.given.append)

    def turn(self) -> None:
        """Let what is to come at the end of a turn happen."""
        self.clock.advance(0)

    def keep(self, number: int = 1, bare: str = BARE, room: str = ROOM) -> list[KeptMessage]:
        """Journal messages; return them."""
        journal = self.journal.room(bare, room)
        kept = []
        for _ in range(number):
            sequence = journal.next_sequence()
            kept.append(message(sequence))
            journal.message_kept(kept[-1])
        return kept

    def crash(self) -> None:
        """End without a word."""
        self.writer.store.close()
        self.lease.abandon()
        self.given_out.close()


def message(sequence: int, **fields: Any) -> KeptMessage:
    raw = b"<message from='room@muc.example.org/bob' type='groupchat'><body>%d</body></message>" % sequence
    return KeptMessage(**{"sequence": sequence, "time": 1000.5 + sequence, "raw": raw, "stamped": False, **fields})


class StorageTestCase(unittest.TestCase):
    """A directory, and in it an SQLite database; `on_both_databases` makes another class with PostgreSQL.

    Its tables are there before the first `lab`: to make them takes longer than most tests. `from_nothing`: not so.
    """

    postgresql: ClassVar[bool] = False
    from_nothing: ClassVar[bool] = False
    needs_programs: ClassVar[bool]
    timeout = 60

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.needs_programs = cls.postgresql or vars(cls).get("needs_programs", False)  # not for `make unit`

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(mode=0o700)
        if self.postgresql:
            require_postgresql()
        self.state = self.new_state()
        self._labs: list[Lab] = []
        self.addCleanup(self._crash)

    def _crash(self) -> None:
        for lab in self._labs:
            lab.crash()

    def getTimeout(self) -> float:
        return patiently(super().getTimeout())

    def new_state(self) -> Path | str:
        if not self.postgresql:
            return self.directory / "state.sqlite"
        return postgresql.cluster().database("template1" if self.from_nothing else _tables_on_postgresql())

    def lab(self, **options: Any) -> Lab:
        if isinstance(self.state, Path) and not (self.from_nothing or self.state.exists()):
            give_tables(self.state)
        lab = Lab(self.state, self.directory, **options)
        self._labs.append(lab)
        return lab

    def again(self, lab: Lab) -> Lab:
        """What comes after a crash."""
        lab.crash()
        return self.lab()

    def execute(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Do something to the database from aside."""
        with not_synced(Database(self.state)).engine.begin() as connection:
            done = connection.exec_driver_sql(statement, parameters or None)
            return [tuple(row) for row in done] if done.returns_rows else []


def _statements(dialect: Dialect) -> Statements:
    """Compiled once for all tests: that takes as long as most of what a test does."""
    return _compiled.get(dialect.name) or _compiled.setdefault(dialect.name, Statements(dialect))


_compiled: dict[str, Statements] = {}


def not_synced(database: Database) -> Database:
    """Has SQLite not wait for the disk, 11,000 times in all tests: none of them takes the power away."""
    if database.sqlite:
        event.listen(database.engine, "connect", _no_sync)
    return database


def _no_sync(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")


def compiled_once(database: Database) -> Database:
    """What SQLAlchemy compiles for this one, it has for all databases in SQLite of all tests, and for good."""
    if database.sqlite:
        database.engine.dialect = _sqlite.setdefault("dialect", database.engine.dialect)  # it tells what fits
        database.engine = database.engine.execution_options(compiled_cache=_sqlite_statements)
    return database


_sqlite: dict[str, Dialect] = {}
_sqlite_statements: dict[Any, Any] = {}


def give_tables(state: Path) -> None:
    """Make a file as `Database.prepared` does, which takes longer."""
    state.touch(mode=0o600)
    state.write_bytes(_file_with_tables())


@cache
def _file_with_tables() -> bytes:
    """An SQLite file as a proxy has it that begins, before it takes it for its own."""
    with TemporaryDirectory() as directory:
        file = Path(directory) / "state.sqlite"
        database = Database(file)
        with database.prepared():
            pass
        database.clean_once()
        return file.read_bytes()


@cache
def _tables_on_postgresql() -> str:
    """The name of such a database."""
    cluster = postgresql.cluster()
    name = cluster.create()
    with Database(cluster.url(name)).prepared():
        return name


def require_postgresql() -> None:
    """Skip the test without PostgreSQL; under CI it fails."""
    if postgresql.missing():
        message = "postgresql is not installed: make system"
        if os.environ.get("CI"):
            raise AssertionError(message)
        raise unittest.SkipTest(message)


def on_both_databases(case: type[StorageTestCase]) -> type[StorageTestCase]:
    """Decorator: beside class JournalTests there is JournalTestsOnPostgreSQL."""
    name = f"{case.__name__}OnPostgreSQL"
    attributes = {"__module__": case.__module__, "__qualname__": name, "__doc__": case.__doc__, "postgresql": True}
    variant = types.new_class(name, (case,), {}, lambda namespace: namespace.update(attributes))
    setattr(sys.modules[case.__module__], name, variant)
    return case
