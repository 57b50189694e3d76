"""What tests of a cluster's storage begin with: processes that have one database together, all in this one."""

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

from twisted.internet.task import Clock

from minimixproxy.minimix.interfaces.journal import KeptAccount, KeptMessage
from minimixproxy.storage.bodies import UnsharedBodies
from minimixproxy.storage.cluster_lease import ClusterLease, Node
from minimixproxy.storage.database import Database
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.journal import Adopted, OpenState, SQLJournal
from minimixproxy.storage.leases import HeldBy, Leases
from minimixproxy.storage.noted_given_out import NotedGivenOut
from minimixproxy.storage.numbering import Numbering
from minimixproxy.storage.sealing import Sealer
from minimixproxy.storage.store import Store
from minimixproxy.timing.turn_end import TurnEnd
from tests.storage.cases import BARE, ROOM, StorageTestCase, Writer, compiled_once, message

SEALER = Sealer(b"k" * 32)
CLUSTER = "minimix.cluster"


class Process:
    """One process of a cluster: a journal with a clock in the test's hand."""

    def __init__(
        self,
        state: Path | str,
        name: str,
        in_memory: Callable[[], Iterable[KeptAccount]] | None = None,
        directory: str = "",
    ) -> None:
        self.clock = Clock()
        self.journal = SQLJournal(self.clock, TurnEnd(self.clock))
        self.database = compiled_once(Database(state))
        node = Node(name, f"{name}:5270", directory or name)
        self.lease = ClusterLease(self.database, CLUSTER, node, self.clock.advance, self.clock.seconds)
        self.lease.take()
        self.writer = Writer(Store(self.database, self.lease, self.clock.seconds), self.clock)
        self.leases = Leases(self.database, self.lease, SEALER)
        self.lost: list[StateError] = []
        mark = NotedGivenOut(self.lease, self.clock, self.writer.tend)
        bodies, numbering = UnsharedBodies(), Numbering(self.lease.slot)
        highest = self.lease.last_id, self.lease.last_sequence
        opened = OpenState([], {}, {}, {}, bodies, *highest, self.writer, SEALER, mark, numbering)
        self.journal.start(opened, self.lost.append, in_memory)
        self.given: list[bytes] = []
        self.deliver = self.journal.gated(self.given.append)

    def claim(self, bare: str = BARE) -> Adopted | HeldBy:
        found = self.leases.claim(bare)
        if isinstance(found, Adopted):
            self.journal.adopt(found)
        return found

    def adopted(self, bare: str = BARE) -> KeptAccount | None:
        """Take an account that is to be free; return what there is of it."""
        found = self.claim(bare)
        assert isinstance(found, Adopted), found
        return found.accounts[0].kept if found.accounts else None

    def turn(self) -> None:
        self.clock.advance(0)

    def keep(self, number: int = 1, bare: str = BARE, room: str = ROOM) -> list[KeptMessage]:
        """Journal messages; return them."""
        journal = self.journal.room(bare, room)
        kept = [message(journal.next_sequence()) for _ in range(number)]
        for one in kept:
            journal.message_kept(one)
        return kept

    def end(self) -> None:
        """End in order."""
        self.journal.stop()
        self.leases.close()

    def crash(self) -> None:
        """End without a word."""
        self.writer.store.close()
        self.leases.close()


class ClusterTestCase(StorageTestCase):
    """Processes of a cluster on one database of PostgreSQL."""

    postgresql = True

    def setUp(self) -> None:
        super().setUp()
        self.processes: list[Process] = []
        self.addCleanup(self._crash_all)
        self._names = (f"node-{number}" for number in itertools.count(1))

    def _crash_all(self) -> None:
        for process in self.processes:
            process.crash()

    def process(self, in_memory: Callable[[], Iterable[KeptAccount]] | None = None, directory: str = "") -> Process:
        process = Process(self.state, next(self._names), in_memory, directory)
        self.processes.append(process)
        return process

    def time_out(self, process: Process) -> None:
        """Have a process's row have run out, by the database's clock."""
        self.execute("UPDATE holders SET expires = 0 WHERE number = %s", process.lease.number)
