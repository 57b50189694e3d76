"""What there is in a proxy to be looked at now, as far as metrics tell of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from minimixproxy.minimix.commands.report import Occupied
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.safety_net import NET, SafetyNet


class WatchedAccount(Protocol):
    """An account; an `Account` is one."""

    @property
    def is_enrolled(self) -> bool:
        """Whether there is a login that opens its stream."""

    @property
    def sessions(self) -> Mapping[SessionPort, object]:
        """Those of its clients."""

    @property
    def rooms(self) -> Mapping[str, Occupied]:
        """The rooms that it is in."""


class WatchedStream(Protocol):
    """An account stream; an `AccountStream` is one."""

    @property
    def state(self) -> Enum:
        """Where it is in its life."""

    @property
    def backlog(self) -> int:
        """Bytes that wait for the server, or for it to acknowledge them."""


class WatchedJournal(Protocol):
    """How writing to disk goes: see `storage.durability.JournalStatus`."""

    @property
    def durable(self) -> bool: ...

    @property
    def waiting(self) -> int: ...

    @property
    def left_out(self) -> int: ...

    @property
    def lag(self) -> float: ...


class WatchedDomain(Protocol):
    """A client_proxy domain; a `ClientProxyService` is one."""

    @property
    def connected(self) -> bool:
        """Whether the server has accepted the component."""

    @property
    def standing_by(self) -> bool:
        """Whether another process of a cluster is to connect it, not this one."""

    @property
    def dropped(self) -> int:
        """How many stanzas went nowhere."""

    def status(self) -> Mapping[str, object]:
        """Return what there is to tell of it."""


@dataclass(frozen=True, slots=True)
class Watched:
    """Each is asked anew. `journal` returns None if nothing is written; `connections`: of clients that are open.

    `cluster` returns what a status report has of it, None if there is none.
    """

    accounts: Callable[[], Iterable[tuple[WatchedAccount, WatchedStream]]] = tuple
    journal: Callable[[], WatchedJournal | None] = lambda: None
    domains: Collection[WatchedDomain] = ()
    connections: Callable[[], int] = lambda: 0
    net: SafetyNet = NET
    cluster: Callable[[], Mapping[str, Any] | None] = lambda: None
