"""Logging in once with a new password, so that what is kept of it on disk logs in after a restart."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from minimixproxy.accountstream.errors import CannotOpen, CredentialRefused
from minimixproxy.logs.logger import Logger
from minimixproxy.timing.clock import Clock, Timer

if TYPE_CHECKING:
    from minimixproxy.c2s.upstream.connecting import Login

#: Logs in and out again, so that the login learns what the server keeps of its password. Raises `CannotOpen`.
Prove = Callable[["Login"], Awaitable[None]]

RETRIES = (1.0, 5.0, 30.0, 120.0, 600.0)  # seconds


class PasswordCheck:
    """One account's new password, tried until the server says yes or no, a few times."""

    log = Logger()

    __slots__ = ("_bare", "_prove", "_timer", "_work")

    def __init__(self, bare: str, clock: Clock, prove: Prove) -> None:
        self._bare = bare
        self._prove = prove
        self._timer = Timer(clock)
        self._work: Deferred[None] | None = None

    def start(self, login: Login, proved: Callable[[], None], refused: Callable[[], None]) -> None:
        """Call `proved` or `refused` when the server has decided about a login; what was begun before is dropped."""
        self.stop()
        self._attempt(login, proved, refused, list(RETRIES))

    def stop(self) -> None:
        """Call nothing any more."""
        self._timer.stop()
        work, self._work = self._work, None
        if work is not None:
            work.cancel()

    def _attempt(
        self, login: Login, proved: Callable[[], None], refused: Callable[[], None], delays: list[float]
    ) -> None:
        def decided(_result: None) -> None:
            if self._work is not work:
                return  # stopped
            self._work = None
            proved()

        def failed(failure: Failure) -> None:
            if self._work is not work:
                return  # stopped; an attempt to connect has an error of its own for that
            self._work = None
            if failure.check(CredentialRefused):
                refused()
            elif not failure.check(CannotOpen):
                self.log.failure("while trying the new password of {account}", failure, account=self._bare)
            elif delays:
                self._timer.start(delays.pop(0), lambda: self._attempt(login, proved, refused, delays))
            else:
                self.log.warn(
                    "the new password of {account} could not be tried: after a restart, a client has to log in first",
                    account=self._bare,
                )

        async def prove() -> None:
            await self._prove(login)

        self._work = work = Deferred.fromCoroutine(prove())
        work.addCallbacks(decided, failed)
        work.addErrback(
            lambda failure: self.log.failure("after trying the new password of {account}", failure, account=self._bare)
        )
