"""What `minimixproxy drain` asks of the running proxy: to take no more clients, and to wait until there are none.

A process of a cluster also hands its accounts on to the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError

from minimixproxy.logs.logger import Logger
from minimixproxy.operator.reported import Trouble
from minimixproxy.timing.clock import Clock, Timer

LONGEST = 7 * 86400.0  # seconds that clients may be waited for
GRACE = 10.0  # seconds for those that are told to go
HANDED_ON_WITHIN = 120.0  # seconds, in a cluster, for accounts to go to other processes, from when clients are told to


_UNDONE = {"error": "the drain was undone"}


class Doors(Protocol):
    """Where clients come in; the service of all ports is it."""

    def close_ports(self) -> Deferred[None]:
        """Accept nobody from now on; fires when the ports are closed."""

    def open_ports(self) -> None:
        """Accept clients again. Raises `CannotListenError`."""

    def connected(self) -> int:
        """Return how many clients are connected."""

    def when_empty(self) -> Deferred[None]:
        """Return what fires when no client is connected, at once if there is none."""

    def dismiss(self) -> None:
        """End all clients' streams with `system-shutdown`."""


class HandsOn(Protocol):
    """Has the accounts, in a cluster."""

    @property
    def left(self) -> int:
        """How many are still to go to other processes; none if none takes any."""

    def drain(self) -> None:
        """Hand on each account once no client uses it."""

    def dismiss(self) -> None:
        """Hand on also those that clients use: these are told to go."""

    def undrain(self) -> None:
        """Hand on none any more."""

    def when_none_is_left(self) -> Deferred[None]:
        """Return what fires when none is left."""


class Alone:
    """One process, which keeps its accounts (`HandsOn`)."""

    left = 0

    def drain(self) -> None:
        """Keep them."""

    def dismiss(self) -> None:
        """Keep them."""

    def undrain(self) -> None:
        """Keep them."""

    def when_none_is_left(self) -> Deferred[None]:
        """None is."""
        return succeed(None)


class Draining:
    """Answers requests on the control socket (see `control`)."""

    log = Logger()

    def __init__(self, doors: Doors, accounts: HandsOn, clock: Clock) -> None:
        self._doors = doors
        self._accounts = accounts
        self._timer = Timer(clock)
        self._waiting: list[Deferred[dict[str, Any]]] = []
        self._dismissed = 0
        self.active = False

    def troubles(self) -> list[Trouble]:
        """Return what `status` tells of it: it is easily forgotten."""
        if not self.active:
            return []
        left = self._doors.connected()
        return [Trouble("draining", f"no clients are accepted, {left} are still here: minimixproxy drain --undo")]

    def reasons(self) -> list[str]:
        """Return why clients had better go elsewhere (`readiness.Check`)."""
        return ["it is being drained: the operator wants no more clients here"] if self.active else []

    async def drain(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Take no more clients; after `timeout` seconds the rest is told to go. With `wait`, answer when none is left.

        The answer has the number of `clients` that are left, of those that were `dismissed`, and of `accounts` that are
        still to go to other processes.
        """
        timeout = request.get("timeout")
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 <= timeout <= LONGEST:
            return {"error": f"timeout: from 0 to {LONGEST:.0f} seconds"}
        if not self.active:
            await self._begin()
        if not self.active:
            return _UNDONE
        waiting: Deferred[dict[str, Any]] = Deferred()
        if request.get("wait") is True:
            self._waiting.append(waiting)
        else:
            waiting.callback(self._answer())
        self._timer.start(timeout, self._dismiss)
        self._doors.when_empty().addCallback(lambda _: self._empty())
        self._accounts.when_none_is_left().addCallback(lambda _: self._empty())
        return await waiting

    def undo(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        """Accept clients again. The answer tells whether they were `drained`."""
        if not self.active:
            return {"drained": False}
        try:
            self._doors.open_ports()
        except CannotListenError as error:
            return {"error": f"{error}: no clients are accepted yet"}
        self.active = False
        self._timer.stop()
        self._accounts.undrain()
        self.log.info("clients are accepted again, says the operator")
        self._tell(_UNDONE)
        return {"drained": True}

    async def _begin(self) -> None:
        self.active, self._dismissed = True, 0
        self._accounts.drain()
        await self._doors.close_ports()
        self.log.info(
            "no more clients are accepted, says the operator; {number} are connected", number=self._doors.connected()
        )

    def _dismiss(self) -> None:
        """Tell all to go: in a cluster those of some accounts at a time, and at last who has not logged in."""
        self._dismissed = self._doors.connected()
        self.log.info("the time to go is over for {number} clients", number=self._dismissed)
        self._accounts.dismiss()
        self._timer.start(HANDED_ON_WITHIN, self._dismiss_the_rest)
        self._accounts.when_none_is_left().addCallback(lambda _: self._handed_on())

    def _handed_on(self) -> None:
        if self.active and self._timer.running:
            self._dismiss_the_rest()

    def _dismiss_the_rest(self) -> None:
        self._doors.dismiss()
        self._timer.start(GRACE, lambda: self._tell(self._answer()))

    def _empty(self) -> None:
        if self.active and not self._doors.connected() and not self._accounts.left:
            self._timer.stop()
            if self._waiting:
                self.log.info("no client is connected any more")
            self._tell(self._answer())

    def _answer(self) -> dict[str, Any]:
        return {"clients": self._doors.connected(), "dismissed": self._dismissed, "accounts": self._accounts.left}

    def _tell(self, answer: dict[str, Any]) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(answer)
