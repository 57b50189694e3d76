"""Questions for accounts: one at a time for each, and none while it is being let go. Who asks meanwhile waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container
from typing import Final, NamedTuple, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from minimixproxy.c2s.server.elsewhere import Elsewhere, HolderUnknown
from minimixproxy.logs.logger import Logger

MOST_WAITING: Final = 1000  # questions to the database at a time

_Result = TypeVar("_Result")


class Heard(NamedTuple):
    """An answer. `elsewhere`: None if the account is here, or nobody knows it."""

    elsewhere: Elsewhere | None


class Questions:
    """What is under way for which account, and who waits until it is over. Accounts are named by bare JIDs."""

    log = Logger()

    def __init__(self, held: Container[str]) -> None:
        """`held`: the accounts that are here."""
        self._held = held
        self._waiting: dict[str, list[Deferred[Heard | None]]] = {}  # by what is under way
        self._open = 0

    def __contains__(self, bare: str) -> bool:
        """Tell whether an account is asked for, or is being let go."""
        return bare in self._waiting

    async def turn(self, bare: str, *, shares: bool) -> Heard | None:
        """Wait until nothing is under way for an account; return what was heard of it, if that will do.

        `shares`: the answer to another's question does: strangers may ask for the same account by the thousand.
        Raises `HolderUnknown`.
        """
        while bare in self._waiting:
            over = Deferred[Heard | None]()
            self._waiting[bare].append(over)
            heard = await over
            if shares and heard is not None and bare not in self._held:
                return heard
        return None

    def ask(self, bare: str, question: Callable[[], Awaitable[Elsewhere | None]]) -> Deferred[Elsewhere | None]:
        """Ask for an account whose turn it is. Raises `HolderUnknown`, as the answer may."""
        if self._open >= MOST_WAITING:
            raise HolderUnknown("too many accounts are asked for at once")
        self.begin(bare)
        self._open += 1
        return self._for_who_waits(Deferred.fromCoroutine(self._asked(bare, question)))

    async def _asked(self, bare: str, question: Callable[[], Awaitable[Elsewhere | None]]) -> Elsewhere | None:
        heard: Heard | Failure | None = None
        try:
            heard = Heard(await question())
        except HolderUnknown as unknown:
            heard = Failure(unknown)
            raise
        finally:
            self._open -= 1
            self.end(bare, heard)
        return heard.elsewhere

    def begin(self, bare: str) -> None:
        """Something is under way for an account."""
        self._waiting[bare] = []

    def end(self, bare: str, heard: Heard | Failure | None = None) -> None:
        """It is over: have those go on who wait. `heard`: what was asked, if that is it."""
        for over in self._waiting.pop(bare):
            over.callback(heard)

    def _for_who_waits(self, answered: Deferred[_Result]) -> Deferred[_Result]:
        """Return what ends with `answered`, and does not end it if it is cancelled.

        A client may go away when the database has given us its account already, which is to come into its rooms then.
        """
        waiting = Deferred[_Result]()

        def failed(failure: Failure) -> None:
            if waiting.called and not failure.check(HolderUnknown):
                self.log.failure("while an account was asked for, whose client is gone", failure)
            waiting.errback(failure)

        answered.addCallbacks(waiting.callback, failed)
        return waiting
