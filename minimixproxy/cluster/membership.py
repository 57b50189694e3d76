"""This process's part in a cluster, as services see it: it enters with the database, and leaves with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.application.service import Service

from minimixproxy.cluster.asking_thread import AskingThread
from minimixproxy.cluster.holding import Holding
from minimixproxy.logs.logger import Logger
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.journal import OpenState
from minimixproxy.storage.service import Member, Place, Shared, open_shared

STOP_PATIENCE: Final = 1.0  # seconds for the questions that are under way


class Membership(Service):
    """A child of `StateService`, before all that needs accounts: `open` is its opener."""

    log = Logger()

    def __init__(self, member: Member, holding: Holding, lost: Callable[[StateError], None], reactor: Any) -> None:
        """`lost`: see `Holding.begin`."""
        self.holding = holding
        self._member = member
        self._lost = lost
        self._thread = AskingThread(reactor)
        self._shared: Shared | None = None

    def open(self, place: Place, reactor: Any) -> OpenState:
        """Enter. Blocks. Raises `StateError`."""
        state, self._shared = open_shared(place, self._member, reactor)
        lease = self._shared.lease
        self.log.info("{name} is in the cluster, as number {number}", name=self._member.node.name, number=lease.number)
        return state

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
