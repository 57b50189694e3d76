"""State in the service tree, with the real reactor and the thread that writes."""

from pathlib import Path

from twisted.application.service import Service
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from minimixproxy.minimix.interfaces.journal import KeptAccount
from minimixproxy.storage.database import Database
from minimixproxy.storage.errors import CannotStart, StateError
from minimixproxy.storage.journal import SQLJournal
from minimixproxy.storage.service import Place, StateService, check
from minimixproxy.timing.turn_end import TurnEnd
from tests.storage.cases import BARE, MEMBERSHIP, ROOM, StorageTestCase, message, on_both_databases


class Accounts(Service):
    """A child of the service, which says something while it stops."""

    def __init__(self, journal: SQLJournal) -> None:
        self.journal = journal
        self.restored: list[KeptAccount] | None = None
        self.restored_first = False

    def kept(self) -> list[KeptAccount]:
        return []

    def restore(self, kept: list[KeptAccount]) -> None:
        self.restored = kept

    def startService(self) -> None:
        self.restored_first = self.restored is not None
        super().startService()

    async def _stop(self) -> None:
        await deferLater(reactor, 0.01)
        self.journal.room(BARE, ROOM).message_kept(message(3))

    def stopService(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())


@on_both_databases
class StateServiceTests(StorageTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.place = Place(Database(self.state), self.directory)

    def make(self) -> tuple[StateService, Accounts]:
        journal = SQLJournal(reactor, TurnEnd(reactor))
        accounts = Accounts(journal)
        service = StateService(journal, self.place, accounts, reactor)
        service.addService(accounts)
        return service, accounts

    async def test_from_start_to_end(self) -> None:
        service, accounts = self.make()
        service.startService()
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
        await service.stopService()

        service, accounts = self.make()
        service.startService()
        (account,) = accounts.restored or []
        self.assertEqual([one.sequence for one in account.rooms[0].messages], [1, 2, 3])
        self.assertEqual(accounts.journal.room(BARE, ROOM).next_sequence(), 4)
        await service.stopService()

    def test_cannot_start(self) -> None:
        if isinstance(self.state, Path):
            self.state.mkdir()
        else:
            self.place = Place(Database(f"{self.state}0"), self.directory)
        service, accounts = self.make()
        error = self.assertRaises(CannotStart, service.startService)
        self.assertIn(self.place.database.name, str(error))
        self.assertIsNone(accounts.restored)

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
