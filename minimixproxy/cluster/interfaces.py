"""What holding accounts asks of the database, of this process's row, of the journal, and of the accounts in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred

from minimixproxy.minimix.interfaces.journal import KeptAccount
from minimixproxy.storage.journal import Adopted
from minimixproxy.storage.leases import HeldBy, Survey

_Result = TypeVar("_Result")
#: Has something done in a thread.
Run = Callable[[Callable[[], _Result]], "Deferred[_Result]"]


class Leases(Protocol):
    """What is asked in threads (see `storage.leases`)."""

    def find(self, bare: str) -> HeldBy | Adopted | None: ...

    def claim(self, bare: str) -> HeldBy | Adopted: ...

    def take(self, names: Sequence[str]) -> Adopted: ...

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

    def let_go(self, bare: str, *, to_others: bool) -> Deferred[None]:
        """An account is this process's no more, when that fires: then it is on disk.

        `to_others`: another process is to take it; else nobody needs it.
        """


class Accounts(Protocol):
    """The accounts in memory."""

    def restore(self, kept: list[KeptAccount]) -> None:
        """Take accounts as they were kept."""

    def knows(self, bare: str) -> bool:
        """Tell whether an account is in memory."""

    def is_idle(self, bare: str) -> bool:
        """Tell whether another process may have an account: nobody notices but its rooms."""

    def dismiss(self, bare: str) -> Deferred[None]:
        """End an account's sessions; fires when that is journalled, within seconds. At once, if there are none."""

    def drop(self, bare: str) -> None:
        """An account without sessions is another process's."""
