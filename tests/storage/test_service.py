"""State in the service tree, with the real reactor and the thread that writes."""

import atexit
from collections.abc import Callable
from pathlib import Path

from twisted.application.service import Service
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import formatEvent
from twisted.trial import unittest

from minimixproxy.cannot_start import CannotStart
from minimixproxy.minimix.interfaces.journal import KeptAccount
from minimixproxy.storage import service
from minimixproxy.storage.database import Database
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.journal import SQLJournal
from minimixproxy.storage.service import Place, StateService, check
from minimixproxy.timing.turn_end import TurnEnd
from tests import other_process
from tests.log_events import log_events
from tests.storage import postgresql
from tests.storage.cases import (
    BARE,
    MEMBERSHIP,
    ROOM,
    StorageTestCase,
    message,
    on_both_databases,
    require_postgresql,
)

ROOT = Path(__file__).resolve().parent.parent.parent


class Accounts(Service):
    """A child of the service, which says something while it stops."""

    def __init__(self, journal: SQLJournal) -> None:
        self.journal = journal
        self.restored: list[KeptAccount] | None = None
        self.restored_first = False
        self.started: Deferred[None] = Deferred()

    def kept(self) -> list[KeptAccount]:
        return []

    def restore(self, kept: list[KeptAccount]) -> None:
        self.restored = kept

    def startService(self) -> None:
        self.restored_first = self.restored is not None
        super().startService()
        if not self.started.called:
            self.started.callback(None)

    async def _stop(self) -> None:
        await deferLater(reactor, 0.01)
        self.journal.room(BARE, ROOM).message_kept(message(3))

    def stopService(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())


class Stopping:
    """A reactor that is stopped, perhaps once too often."""

    def __init__(self) -> None:
        self.stopped = 0

    def stop(self) -> None:
        self.stopped += 1
        if self.stopped > 1:
            raise ReactorNotRunning


class LostTests(unittest.SynchronousTestCase):
    """Another proxy has the database."""

    def test_the_proxy_ends(self) -> None:
        at_exit: list[Callable[[], None]] = []
        stopping, events = Stopping(), log_events(self)
        place = Place(Database(Path("state.sqlite")), Path())
        journal = SQLJournal(reactor, TurnEnd(reactor))
        state = StateService(journal, place, Accounts(journal), stopping)
        self.patch(atexit, "register", at_exit.append)
        for times in (1, 2):
            state.lost(StateError("taken"))
            self.assertEqual((stopping.stopped, at_exit), (times, [service._exit_with_failure] * times))
        self.assertEqual([formatEvent(event) for event in events], ["taken; this proxy ends"] * 2)

    def test_with_a_status_that_tells(self) -> None:
        """And with all that it had to say."""
        program = (
            "import sys; from minimixproxy.storage import service; "
            "sys.stdout, sys.stderr = (open(one, 'w', buffering=1000) for one in (1, 2)); "
            "sys.stdout.write('said'); sys.stderr.write('logged'); service._exit_with_failure()"
        )
        done = other_process.run("-c", program)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (1, "said", "logged"))


class LateTests(StorageTestCase):
    """PostgreSQL comes later than the proxy, as at the start of a machine."""

    needs_programs = True  # not for `make unit`

    def setUp(self) -> None:
        require_postgresql()
        super().setUp()
        self.cluster = postgresql.cluster()
        self.addCleanup(self.cluster.start)
        self.url = self.cluster.database()
        self.patch(service, "FIRST_WAIT", 0.01)
        self.patch(service, "LONGEST_WAIT", 0.02)
        self.given_up: Deferred[StateError] = Deferred()

        def gives_up(_state: StateService, error: StateError) -> None:
            self.given_up.callback(error)

        self.patch(StateService, "_give_up", gives_up)
        self.events = log_events(self)
        self.looked: Deferred[None] = Deferred()

    def make(self, *, child: bool = True) -> tuple[StateService, Accounts]:
        database = Database(self.url)
        reach = database.reach

        def looked() -> None:
            if not self.looked.called:
                self.looked.callback(None)

        def looks() -> None:
            reactor.callFromThread(looked)  # type: ignore[attr-defined]
            reach()

        self.patch(database, "reach", looks)
        journal = SQLJournal(reactor, TurnEnd(reactor))
        accounts = Accounts(journal)
        state = StateService(journal, Place(database, self.directory), accounts, reactor)
        if child:
            state.addService(accounts)
        return state, accounts

    def said(self, text: str) -> int:
        return sum(text in (formatEvent(event) or "") for event in self.events)

    async def test_it_comes(self) -> None:
        """It is told once, and what needs state begins then."""
        await deferToThread(self.cluster.stop)
        state, accounts = self.make()
        state.startService()
        self.assertEqual((state.is_open, bool(state.running), accounts.restored), (False, False, None))
        await self.looked
        self.assertEqual(self.said("waiting for it, and no client can log in before it is there"), 1)
        await deferToThread(self.cluster.start)
        await accounts.started
        self.assertEqual((state.is_open, bool(state.running), accounts.restored), (True, True, []))
        self.assertEqual((self.said("is there, after"), self.given_up.called), (1, False))
        await state.stopService()

    async def test_stopped_meanwhile(self) -> None:
        await deferToThread(self.cluster.stop)
        state, accounts = self.make(child=False)
        state.startService()
        await self.looked
        await state.stopService()
        await deferToThread(self.cluster.start)
        self.assertEqual((state.is_open, accounts.restored, self.given_up.called), (False, None, False))

    async def test_it_comes_and_is_none(self) -> None:
        """What time does not mend ends the proxy, at once or later."""
        self.url = self.cluster.url("none")
        state, _accounts = self.make(child=False)
        self.assertIn('database "none" does not exist', str(self.assertRaises(CannotStart, state.startService)))
        await deferToThread(self.cluster.stop)
        state.startService()
        await self.looked
        await deferToThread(self.cluster.start)
        self.assertIn('database "none" does not exist', str(await self.given_up))
        await state.stopService()


class ReachTests(unittest.SynchronousTestCase):
    def test_what_may_come(self) -> None:
        database = Database("postgresql://user@host/base")
        for fault, comes in (
            ("connection failed: connection to server at 127.0.0.1 failed: Connection refused", True),
            ("connection timeout expired", True),
            ("connection failed: FATAL:  the database system is starting up", True),
            ("connection failed: FATAL:  sorry, too many clients already", True),
            ('connection failed: FATAL:  password authentication failed for user "x"', False),
            ("connection failed: Connection refused\nconnection to the other failed: FATAL:  no such role", False),
            ("deadlock detected", False),
        ):
            self.assertEqual(database._may_come(fault), comes, fault)
        self.assertFalse(Database(Path("x.sqlite"))._may_come("connection failed"))


@on_both_databases
class StateServiceTests(StorageTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.place = Place(Database(self.state), self.directory)

    def make(self) -> tuple[StateService, Accounts]:
        journal = SQLJournal(reactor, TurnEnd(reactor))
        accounts = Accounts(journal)
        state = StateService(journal, self.place, accounts, reactor)
        state.addService(accounts)
        return state, accounts

    async def test_from_start_to_end(self) -> None:
        state, accounts = self.make()
        state.startService()
        self.assertEqual((accounts.restored, accounts.restored_first), ([], True))
        room = accounts.journal.room(BARE, ROOM)
        room.membership(MEMBERSHIP)
        given: Deferred[bytes] = Deferred()
        room.message_kept(message(room.next_sequence()))
        accounts.journal.gated(given.callback)(b"told")
        self.assertFalse(given.called)
        await given
        self.assertEqual(self.execute("SELECT sequence FROM messages"), [(1,)])
        room.message_kept(message(room.next_sequence()))
        await state.stopService()

        state, accounts = self.make()
        state.startService()
        (account,) = accounts.restored or []
        self.assertEqual([one.sequence for one in account.rooms[0].messages], [1, 2, 3])
        self.assertEqual(accounts.journal.room(BARE, ROOM).next_sequence(), 4)
        await state.stopService()

    def test_cannot_start(self) -> None:
        if isinstance(self.state, Path):
            self.state.mkdir()
        else:
            self.place = Place(Database(self.state.replace("@/", "@/no")), self.directory)
        state, accounts = self.make()
        error = self.assertRaises(CannotStart, state.startService)
        self.assertIn(self.place.database.name, str(error))
        self.assertIsNone(accounts.restored)

    async def test_stopped_before_it_is_open_and_twice(self) -> None:
        """There is nothing to be written then."""
        journal = SQLJournal(reactor, TurnEnd(reactor))
        state = StateService(journal, self.place, Accounts(journal), reactor)
        await state.stopService()
        state.startService()
        for _ in range(2):
            await state.stopService()

    async def test_cannot_be_loaded(self) -> None:
        """It lets go of the database: who mends it need not wait for anything to end."""
        key = self.directory / "seal.key"
        key.touch(mode=0o644)
        state, accounts = self.make()
        self.assertIn("chmod 600", str(self.assertRaises(CannotStart, state.startService)))
        key.unlink()
        state.startService()
        self.assertEqual(accounts.restored, [])
        await state.stopService()

    def test_check(self) -> None:
        check(self.place)
        key = self.directory / "seal.key"
        self.assertFalse(key.exists())
        key.touch(mode=0o644)
        self.assertIn("chmod 600", str(self.assertRaises(StateError, check, self.place)))

    def test_check_with_a_key_elsewhere(self) -> None:
        key = self.directory / "elsewhere"
        place = Place(self.place.database, self.directory, key)
        check(place)
        self.assertFalse(key.exists())
        key.touch(mode=0o644)
        self.assertIn(f"chmod 600 {key}", str(self.assertRaises(StateError, check, place)))
