"""The service that has state: opened when twistd has dropped privileges, before anything that needs it starts."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any, Protocol

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from minimixproxy.cannot_start import CannotStart
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.journal import KeptAccount
from minimixproxy.resource_id import Installation
from minimixproxy.storage.bodies import UnsharedBodies
from minimixproxy.storage.cluster_lease import ClusterLease, Node, given_out_in_cluster
from minimixproxy.storage.database import Database
from minimixproxy.storage.domain_leases import DomainLeases
from minimixproxy.storage.errors import StateError, Unreachable
from minimixproxy.storage.given_out import GivenOut
from minimixproxy.storage.journal import OpenState, SQLJournal
from minimixproxy.storage.lease import Lease
from minimixproxy.storage.leases import Leases
from minimixproxy.storage.loading import GivenOutUpTo, LoadedAccount, Loader
from minimixproxy.storage.near_writer import NearWriter
from minimixproxy.storage.noted_given_out import NotedGivenOut
from minimixproxy.storage.numbering import Numbering
from minimixproxy.storage.sealing import SEAL_KEY, Sealer, load_sealer
from minimixproxy.storage.store import Store
from minimixproxy.storage.writer import WriterThread
from minimixproxy.timing.backoff import Backoff
from minimixproxy.timing.clock import Timer

FIRST_WAIT, LONGEST_WAIT = 1.0, 10.0  # seconds between looks for a database that is not there at the start

#: Seconds that a busy reactor may keep the interpreter's lock from the writer, which needs it several times for a
#: batch. With Python's 5 ms, clients of a busy proxy would wait for tens of milliseconds.
SWITCH_INTERVAL = 0.0005


#: Opens state, at a `Place`, for a reactor. Blocks. Raises `StateError`.
Opener = Callable[[Any, Any], OpenState]


@dataclass(frozen=True, slots=True)
class Place:
    """Where state is: the database, the directory of what is beside it, the file of the seal key.

    `opener` opens it, if not `open_state`.
    """

    database: Database
    directory: Path
    seal_key: Path | None = None
    opener: Opener | None = None


def check(place: Place) -> None:
    """Raise `StateError` if there is state that cannot be used. Changes nothing. Blocks."""
    place.database.check()
    if (place.seal_key or place.directory / SEAL_KEY).exists():
        load_sealer(place.seal_key, place.directory)


def open_state(place: Place, reactor: Any) -> OpenState:
    """Open the database, read what was kept there, and make its writer. Blocks. Raises `StateError`."""
    database = place.database
    lease = Lease(database, Installation(place.directory).name)
    identity = lease.take()
    try:
        sealer = load_sealer(place.seal_key, place.directory)
        given_out = GivenOut(place.directory / "given_out")
        known = given_out.open(identity)
        loader, loaded = load(database, lease, sealer, known, given_out.unused_for(time()))
    except BaseException:
        lease.abandon()
        raise
    store = Store(database, lease)
    thread = WriterThread(store, reactor)
    writer = NearWriter(store, thread) if database.sqlite else thread
    logins = loader.login_keys, loader.login_tokens, loader.blocked
    rows = loader.bodies, loader.last_id, loader.last_sequence
    return OpenState(loaded, *logins, *rows, writer, sealer, given_out)


def load(
    database: Database, lease: Lease, sealer: Sealer, given_out: int | None, down: float = 0.0
) -> tuple[Loader, list[LoadedAccount]]:
    """Read everything that was kept. `down`: see `Loader`. Blocks. Raises `StateError`."""
    with database.explained(), database.engine.begin() as connection:
        lease.check_loading(connection)
        loader = Loader(connection, database.name, sealer, down=down)
        return loader, loader.load(GivenOutUpTo(given_out, given_out_in_cluster(connection)))


@dataclass(frozen=True, slots=True)
class Member:
    """A process of a cluster. `cluster` names that for good; all of it seal with the same key."""

    node: Node
    cluster: str
    sealer: Sealer


@dataclass(frozen=True, slots=True)
class Shared:
    """What a process of a cluster has beside its own state: the means to find accounts, and to take them."""

    lease: ClusterLease
    leases: Leases
    domains: DomainLeases


def open_shared(place: Place, member: Member, reactor: Any) -> tuple[OpenState, Shared]:
    """Enter among the processes of a cluster that have a database together.

    No account is there yet. Blocks. Raises `StateError`.
    """
    sealer = member.sealer
    database = place.database
    lease = ClusterLease(database, member.cluster, member.node)
    identity = lease.take()
    file = GivenOut(place.directory / "given_out")  # of a proxy that had the database to itself
    leases = Leases(database, lease, sealer, file.open(identity))
    file.close()
    thread = WriterThread(Store(database, lease), reactor)
    state = OpenState(
        [],
        {},
        {},
        {},
        UnsharedBodies(),
        lease.last_id,
        lease.last_sequence,
        thread,
        sealer,
        NotedGivenOut(lease, reactor, thread.tend),
        Numbering(lease.slot),
    )
    return state, Shared(lease, leases, DomainLeases(leases, lease.number))


class AccountsInMemory(Protocol):
    """Where accounts go when the state is loaded, and where what is in memory of them is asked for."""

    def restore(self, kept: list[KeptAccount]) -> None:
        """Take the accounts that were kept."""

    def kept(self) -> Iterable[KeptAccount]:
        """Return all accounts, with the messages that are in memory."""


class StateService(MultiService):
    """Children need state: they start when it is loaded, and what they say while they stop is still written."""

    log = Logger()

    def __init__(
        self,
        journal: SQLJournal,
        place: Place,
        accounts: AccountsInMemory,
        reactor: Any,
        opening: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`opening`: what is entered while state is opened, which may take long.

        If the database's server is not there yet, its coming is waited for, and the children start then.
        """
        super().__init__()
        self._journal = journal
        self._place = place
        self._accounts = accounts
        self._reactor = reactor
        self._opening = opening
        self._open = False
        self._stopped = False
        self._waits = Backoff(FIRST_WAIT, LONGEST_WAIT)
        self._timer = Timer(reactor)
        self._trouble = ""  # as it was logged
        self._started_waiting = 0.0

    @property
    def is_open(self) -> bool:
        """Whether there is state, and what needs it can be asked for."""
        return self._open

    def startService(self) -> None:
        """Open state, then start the children. The reactor does not run yet, so this may block."""
        self._stopped = False
        try:
            self._begin()
        except Unreachable as error:
            self._started_waiting = self._reactor.seconds()
            self._wait(error)
        except StateError as error:
            self.log.critical("{error}", error=error)
            raise CannotStart(str(error)) from None

    # Waiting for the database ------------------------------------------------------------------------------------

    def _wait(self, error: Unreachable) -> None:
        """Try again later. What is in the way is logged when it is another."""
        if str(error) != self._trouble:
            self._trouble = str(error)
            self.log.warn("{error}: waiting for it, and no client can log in before it is there", error=error)
        self._timer.start(self._waits.next(), self._look)

    def _look(self) -> None:
        """See whether it is there, without keeping the reactor from anything else."""
        reactor = self._reactor
        looking: Deferred[None] = deferToThreadPool(reactor, reactor.getThreadPool(), self._place.database.reach)
        looking.addCallback(lambda _: self._begin() if not self._stopped else None)
        looking.addErrback(self._not_begun)

    def _not_begun(self, failure: Failure) -> None:
        if self._stopped:
            return
        if isinstance(failure.value, Unreachable):
            self._wait(failure.value)
        elif isinstance(failure.value, StateError):
            self._give_up(failure.value)
        else:
            self.log.failure("while state was to be opened", failure)
            self._give_up(StateError("state cannot be opened"))

    def _begin(self) -> None:
        with self._opening():
            state = (self._place.opener or open_state)(self._place, self._reactor)
        if self._trouble:
            seconds = self._reactor.seconds() - self._started_waiting
            self.log.info("{name} is there, after {seconds:.0f} s", name=self._place.database.name, seconds=seconds)
        self._journal.start(state, self.lost, self._accounts.kept)
        self._open = True
        sys.setswitchinterval(SWITCH_INTERVAL)
        self.log.info("state loaded: {accounts} accounts", accounts=len(state.accounts))
        self._accounts.restore([account.kept for account in state.accounts])
        super().startService()

    def lost(self, error: StateError) -> None:
        """Others have the database now, or what was ours in it: two would take rooms from each other."""
        self._give_up(error)

    def _give_up(self, error: StateError) -> None:
        self.log.critical("{error}; this proxy ends", error=error)
        atexit.register(_exit_with_failure)
        with suppress(ReactorNotRunning):  # it ends already
            self._reactor.stop()

    def stopService(self) -> Deferred[Any]:
        self._stopped = True
        self._timer.stop()
        stopped: Deferred[Any] = super().stopService()
        if self._open:
            self._open = False
            stopped.addBoth(lambda _: self._journal.stop())
        return stopped


def _exit_with_failure() -> None:
    """End the process with status 1; twistd has no other way once the reactor ran."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
