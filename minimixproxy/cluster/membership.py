"""This process's part in a cluster, as services see it: it enters with the database, and leaves with it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail

from minimixproxy.cluster.asking_thread import AskingThread
from minimixproxy.cluster.holding import Holding
from minimixproxy.cluster.secret import ClusterSecret, read_secret
from minimixproxy.config.settings import Cluster
from minimixproxy.logs.logger import Logger
from minimixproxy.resource_id import Installation
from minimixproxy.storage.cluster_lease import Node
from minimixproxy.storage.domain_leases import DomainLeases
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.journal import OpenState
from minimixproxy.storage.sealing import load_sealer
from minimixproxy.storage.service import Member, Place, Shared, open_shared

_Result = TypeVar("_Result")

STOP_PATIENCE: Final = 1.0  # seconds for the questions that are under way


class SharedSecret:
    """What the secret of a cluster gives; its file is read when it is needed, when privileges are dropped."""

    def __init__(self, file: Path, directory: Path, seal_key: Path | None = None) -> None:
        """`seal_key`: where the key is of a proxy that was alone with the same state, if not where it is by default."""
        self._file = file
        self._directory = directory
        self._seal_key = seal_key
        self._secret: ClusterSecret | None = None

    def _read(self) -> ClusterSecret:
        if self._secret is None:
            self._secret = read_secret(self._file)
        return self._secret

    def resource(self, account: str) -> str:
        """Return the resource that an account's stream binds: the same for every process of the cluster."""
        return Installation(self._directory, self._read().installation).resource(account)

    def decoys(self) -> bytes:
        """Return that by which accounts that do not exist are challenged (`c2s.server.exchanges.decoys`)."""
        return self._read().decoys

    def member(self, section: Cluster) -> Member:
        """Return what this process is in the cluster. Raises `StateError`. Blocks."""
        directory = f"{Installation(self._directory).name} on {socket.gethostname()}"
        node = Node(section.name, section.reached_at, directory)
        return Member(node, self.resource(""), load_sealer(self._seal_key, self._directory, self._read().sealing))


class Membership(Service):
    """A child of `StateService`, before all that needs accounts: `open` is what opens state."""

    log = Logger()

    def __init__(
        self, section: Cluster, secret: SharedSecret, holding: Holding, lost: Callable[[StateError], None], reactor: Any
    ) -> None:
        """`lost`: see `Holding.begin`."""
        self.holding = holding
        self.number = 0  # of this process among those of the cluster, while it is in
        self._section = section
        self._secret = secret
        self._lost = lost
        self._thread = AskingThread(reactor)
        self._shared: Shared | None = None

    def open(self, place: Place, reactor: Any) -> OpenState:
        """Enter. Blocks. Raises `StateError`."""
        state, self._shared = open_shared(place, self._secret.member(self._section), reactor)
        self.number = self._shared.lease.number
        self.log.info("{name} is in the cluster, as number {number}", name=self._section.name, number=self.number)
        return state

    @property
    def left(self) -> float:
        """For how many seconds this process's row is good at least; 0 if it is not in the cluster."""
        return max(0.0, self._shared.lease.left) if self._shared is not None else 0.0

    # For domains (`interfaces.Among`) ---------------------------------------------------------------------------

    @property
    def draining(self) -> bool:
        """Whether this process is to have nothing."""
        return self.holding.handing_on.draining

    @property
    def others_take(self) -> bool:
        """Whether there are others that take what this one lets go of."""
        return bool(self.holding.handing_on.takers())

    def row_left(self) -> Callable[[], float]:
        """Return what tells for how many seconds this process's row is good, also while services stop."""
        assert self._shared is not None, "state is open"
        lease = self._shared.lease
        return lambda: lease.left

    def ask(self, question: Callable[[DomainLeases], _Result]) -> Deferred[_Result]:
        """Ask for domains, in the thread. While services stop there is no answer any more."""
        if self._shared is None:
            return fail(StateError("this process leaves the cluster"))
        return self._thread.run(partial(question, self._shared.domains))

    # Service ----------------------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Begin to hold accounts."""
        super().startService()  # type: ignore[no-untyped-call]
        assert self._shared is not None, "state is open"
        self.holding.begin(self._shared.leases, self._shared.lease, self._thread.run, self._lost)

    def stopService(self) -> None:
        """Ask for nothing more. What is held stays so until all is written."""
        super().stopService()  # type: ignore[no-untyped-call]
        self.holding.stop()
        shared, self._shared = self._shared, None
        if shared is not None:
            self._thread.run(shared.leases.close).addErrback(lambda _failure: None)
        self._thread.stop(STOP_PATIENCE)
