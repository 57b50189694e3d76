"""What a running proxy has to tell of: its accounts, streams, rooms and domains, as far as they are told. Pure."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Protocol

from minimixproxy.minimix.commands.report import Occupied
from minimixproxy.minimix.interfaces.endings import Ended
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.safety_net import NET, SafetyNet


class ReportedRoom(Occupied, Protocol):
    """One room of an account; an `Occupancy` is one."""

    @property
    def attempts(self) -> int:
        """How often the account has tried to come back since it is out."""

    @property
    def next_attempt_in(self) -> float:
        """Seconds until it lines up for the next try to come back; 0 if it does not wait for time to pass."""


class ReportedAccount(Protocol):
    """An account; an `Account` is one."""

    @property
    def bare(self) -> str:
        """Its bare JID."""

    @property
    def is_enrolled(self) -> bool:
        """Whether there is a login that opens its stream."""

    @property
    def login_refused(self) -> bool:
        """Whether there is one, and the server has refused it."""

    @property
    def sessions(self) -> Mapping[SessionPort, object]:
        """The clients that are connected."""

    @property
    def rooms(self) -> Mapping[str, ReportedRoom]:
        """The rooms that it is in."""

    def bookmark_of(self, room: str) -> Enum:
        """Return what is known of the bookmark of a room."""


class StreamFault(Protocol):
    """What has gone wrong last with a stream."""

    @property
    def what(self) -> str:
        """In words; "" for nothing."""

    @property
    def when(self) -> float:
        """In seconds of the clock."""


class ReportedStream(Protocol):
    """An account stream; an `AccountStream` is one."""

    @property
    def state(self) -> Enum:
        """Where it is in its life."""

    @property
    def opens_in(self) -> float:
        """Seconds, at most, until it is tried again."""

    @property
    def fault(self) -> StreamFault:
        """What has gone wrong last; it may be open again since."""


class ReportedDomain(Protocol):
    """A client_proxy domain; a `ClientProxyService` is one."""

    def status(self) -> Mapping[str, object]:
        """Return what there is to tell of it."""


class Pair(NamedTuple):
    """An account and its stream."""

    account: ReportedAccount
    stream: ReportedStream


class Trouble(NamedTuple):
    """Something that is wrong with the proxy itself, in words; `code` is for programs."""

    code: str
    text: str


#: Returns what is wrong, as something else than accounts knows it.
Troubles = Callable[[], Iterable[Trouble]]


@dataclass(frozen=True, slots=True)
class Reported:
    """What there is to tell of. `journal` returns how writing to disk goes, a `JournalStatus`; None if nothing is.

    `account` finds one by its bare JID; `endings` tells why an account is not in rooms, though it is not held any more.
    `blocked`: those that the operator has blocked. `served` tells whether accounts of a domain may be here.
    `troubles` are asked for what else is wrong. `cluster`: what there is to tell of other processes, if there are any.
    """

    accounts: Callable[[], Iterable[tuple[ReportedAccount, ReportedStream]]] = tuple
    account: Callable[[str], tuple[ReportedAccount, ReportedStream] | None] = lambda _bare: None
    endings: Callable[[str], Mapping[str, Ended]] = lambda _bare: {}
    blocked: Container[str] = frozenset()
    journal: Callable[[], Any] = lambda: None
    domains: Iterable[ReportedDomain] = ()
    served: Callable[[str], bool] = lambda _domain: True
    troubles: Sequence[Troubles] = ()
    net: SafetyNet = NET
    configuration: str = ""
    cluster: Callable[[], Mapping[str, object] | None] = lambda: None


def in_trouble(account: ReportedAccount, stream: ReportedStream) -> bool:
    """Tell whether an account, as its stream shows, is not where it means to be."""
    return account.login_refused or stream.state.value == "waiting"


#: States of rooms that the account is out of.
OUT = frozenset({"interrupted", "rejoining"})
