"""What holding accounts, and domains, asks of the database, of this process's row, and of what it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred

from minimixproxy.minimix.interfaces.handed import HandedAccount, Revive
from minimixproxy.minimix.interfaces.journal import KeptAccount
from minimixproxy.storage.journal import Adopted
from minimixproxy.storage.leases import HeldBy, Holder, Survey

_Result = TypeVar("_Result")
#: Has something done in a thread.
Run = Callable[[Callable[[], _Result]], "Deferred[_Result]"]


class Leases(Protocol):
    """What is asked in threads (see `storage.leases`)."""

    def find(self, bare: str) -> HeldBy | Adopted | None: ...

    def claim(self, bare: str) -> HeldBy | Adopted: ...

    def take(self, names: Sequence[str]) -> Adopted: ...

    def ours(self, names: Sequence[str]) -> list[str]: ...

    def survey(self, *, thorough: bool) -> Survey: ...

    def drain(self, draining: bool) -> None: ...

    def close(self) -> None: ...


class Life(Protocol):
    """This process's row."""

    accounts: int  # that are held, as others are to know

    @property
    def number(self) -> int:
        """Which it is."""

    @property
    def left(self) -> float:
        """For how many seconds it is good at least."""


class Journal(Protocol):
    """Where what is kept of accounts is written."""

    def adopt(self, adopted: Adopted) -> None:
        """These accounts are this process's from now on."""

    def let_go(self, bare: str, *, to_others: bool, handed: HandedAccount | None = None) -> Deferred[None]:
        """An account is this process's no more, when that fires: then it is on disk.

        `to_others`: another process is to take it; else nobody needs it. `handed`: what goes along.
        """


class Accounts(Protocol):
    """The accounts in memory."""

    def knows(self, bare: str) -> bool:
        """Tell whether an account is in memory."""

    def is_idle(self, bare: str) -> bool:
        """Tell whether another process may have an account: nobody notices but its rooms."""

    def rests(self, bare: str) -> bool:
        """Tell whether another process may have an account with its sessions: its clients would hardly notice."""

    def dismiss(self, bare: str) -> Deferred[HandedAccount | None]:
        """End an account's sessions; fires when that is journalled, within seconds. At once, if there are none.

        With what another process goes on with, None if there is nothing.
        """

    def take_over(self, kept: list[KeptAccount], handed: Mapping[str, HandedAccount], revive: Revive) -> None:
        """Take accounts as they were kept, with sessions that another process had of some, by bare JID."""

    def drop(self, bare: str) -> None:
        """An account without sessions is another process's."""


class DomainLeases(Protocol):
    """What is asked in threads (see `storage.domain_leases`)."""

    def holder(self, domain: str) -> Holder | None: ...

    def hold(self, domain: str) -> Holder: ...

    def release(self, domain: str) -> None: ...


class Among(Protocol):
    """This process among those of its cluster, for a domain that each of them may connect."""

    @property
    def number(self) -> int:
        """Which it is."""

    @property
    def draining(self) -> bool:
        """Whether this process is to have nothing."""

    @property
    def others_take(self) -> bool:
        """Whether there are others that take what this one lets go of, as was seen last."""

    def row_left(self) -> Callable[[], float]:
        """Return what tells for how many seconds this process's row is good: nobody else has what it has."""

    def ask(self, question: Callable[[DomainLeases], _Result]) -> Deferred[_Result]:
        """Have something asked in a thread, one after the other. Fails with `StateError`."""


class Component(Protocol):
    """A component, as a service."""

    @property
    def connected(self) -> bool:
        """Whether the server has accepted it."""

    @property
    def dropped(self) -> int:
        """How many stanzas went nowhere."""

    def status(self) -> Mapping[str, object]:
        """Return what the operator is told of it."""

    def startService(self) -> None:
        """Connect."""

    def stopService(self) -> Deferred[None] | None:
        """End the connection; fires when it has ended."""
