"""Reading the configuration file anew while the proxy runs, at SIGHUP or when the operator's command asks for it.

All of it, or nothing: whatever of the new file cannot be used leaves all as it was.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred

from minimixproxy.config import reloading
from minimixproxy.config.reloading import CannotReload, Part, Prepared
from minimixproxy.config.settings import ConfigError, Settings, load
from minimixproxy.logs.logger import Logger
from minimixproxy.logs.times import rfc3339
from minimixproxy.operator.reported import Trouble
from minimixproxy.timing.clock import wall_time

_DENIED = os.strerror(13)  # EACCES


class Hangups:
    """SIGHUPs of this process. From `catch` on none of them ends it; one that comes early is not forgotten."""

    def __init__(self) -> None:
        self._came = False
        self._call: Callable[[], None] | None = None

    def catch(self) -> None:
        """Catch them. Only a process of its own does that: it is for the main thread."""
        signal.signal(signal.SIGHUP, self._hangup)

    def _hangup(self, *_: object) -> None:
        self._came = True
        if self._call is not None:
            self._call()

    def listen(self, call: Callable[[], None]) -> None:
        """Call at each from now on, in the middle of anything, and now if one has come."""
        self._call = call
        if self._came:
            call()

    def ignore(self) -> None:
        """The process is about to end: they change nothing, to the last."""
        self._call = None
        if signal.getsignal(signal.SIGHUP) == self._hangup:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)


class Read(NamedTuple):
    """The configuration file, an absolute path, and what was read of it."""

    path: Path
    settings: Settings


@dataclass(frozen=True, slots=True)
class Reload:
    """What came of a reload. `changed` and `restart`: what is new, and what will be after a restart, in words.

    `error`: "" if it has succeeded, else why nothing has changed.
    """

    time: str  # RFC 3339
    changed: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    error: str = ""


class ReloadService(Service):
    """Reloads the configuration; `parts` have more to do for another one than to read it.

    `begins` is called at the beginning of each, and what it returns at its end.
    """

    log = Logger()

    def __init__(
        self,
        read: Read,
        parts: Sequence[Part],
        reactor: Any,
        hangups: Hangups,
        begins: Callable[[], Callable[[], None]],
    ) -> None:
        self.last: Reload | None = None
        self._path, self._settings = read
        self._parts = parts
        self._reactor = reactor
        self._hangups = hangups
        self._begins = begins
        self._user = os.geteuid()
        self._running = False
        self._waiting: list[Deferred[Reload]] = []  # for the next one

    # The service

    def startService(self) -> None:
        """From now on SIGHUP reloads."""
        super().startService()  # type: ignore[no-untyped-call]
        self._reactor.callWhenRunning(self._hangups.listen, self._at_hangup)

    def stopService(self) -> None:
        """From now on it does nothing."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._hangups.ignore()

    def _at_hangup(self) -> None:
        """Twisted's way out of a signal handler: the reactor's next turn."""
        self._reactor.callFromThread(self._hung_up)

    def _hung_up(self) -> None:
        if self.running:
            self.log.info("SIGHUP: the configuration is read again")
            self.reload()

    # Reloading

    def reload(self) -> Deferred[Reload]:
        """Reload, or do so once more if that is under way, for the file may have changed since. It does not fail."""
        waiting: Deferred[Reload] = Deferred()
        self._waiting.append(waiting)
        if not self._running:
            self._running = True
            running = Deferred.fromCoroutine(self._reload_until_done())
            running.addErrback(lambda failure: self.log.failure("while reloading", failure))
        return waiting

    async def _reload_until_done(self) -> None:
        try:
            while self._waiting and self.running:
                told, self._waiting = self._waiting, []
                done = self.last = await self._reload_once()
                for waiting in told:
                    waiting.callback(done)
        finally:
            self._running = False
        left, self._waiting = self._waiting, []
        for waiting in left:
            waiting.callback(Reload(self._now(), error="the proxy ends"))

    async def _reload_once(self) -> Reload:
        ends = self._begins()
        try:
            return await self._done()
        except (ConfigError, CannotReload) as error:
            return self._failed(str(error))
        except Exception:  # noqa: BLE001 (the edge: a fault of ours must not end a proxy that works)
            self.log.failure("while reloading the configuration")
            return self._failed("internal error: see the log")
        finally:
            ends()

    async def _done(self) -> Reload:
        read = load(self._path)
        found = reloading.changes(self._settings, read)
        new = reloading.keep_what_cannot_change(self._settings, read)
        prepared = await self._prepare(new)
        reloading.take_over(self._settings, new)
        for committing in [self._commit(one) for one in prepared]:
            await committing
        changed = tuple(change.text for change in found if not change.restart)
        restart = tuple(change.text for change in found if change.restart)
        self.log.info("configuration reloaded: {what}", what="; ".join(changed) or "nothing has changed in it")
        if restart:
            self.log.warn("until a restart this stays as it is: {what}", what="; ".join(restart))
        return Reload(self._now(), changed, restart)

    async def _prepare(self, new: Settings) -> list[Prepared]:
        prepared: list[Prepared] = []
        try:
            for part in self._parts:
                prepared.append(await part.prepare(new))
            if not self.running:
                raise CannotReload("the proxy ends")
        except BaseException:
            for one in reversed(prepared):
                await maybeDeferred(one.undo)
            raise
        return prepared

    def _commit(self, one: Prepared) -> Deferred[Any]:
        """Have one part do its share. The settings are new already: if it fails, the others do theirs all the same."""
        committing: Deferred[Any] = maybeDeferred(one.commit)
        return committing.addErrback(
            lambda failure: self.log.failure("while another configuration takes effect", failure)
        )

    def _failed(self, error: str) -> Reload:
        if _DENIED in error and os.geteuid() != self._user:
            error += (
                f"\n(twistd has changed its user from {self._user} to {os.geteuid()} since the start: "
                "that one must be able to read the configuration and the files that it names)"
            )
        for line in error.splitlines():
            self.log.error("configuration not reloaded, all is as before: {reason}", reason=line)
        return Reload(self._now(), error=error)

    def _now(self) -> str:
        return rfc3339(wall_time(self._reactor))

    # What others are told

    def answer(self, _request: object) -> Deferred[dict[str, Any]]:
        """Reload, for a request on the control socket."""
        return self.reload().addCallback(_told)

    def troubles(self) -> list[Trouble]:
        """Return what `status` has to say of the last reload: the file is not what the proxy runs by."""
        if self.last is None or not self.last.error:
            return []
        return [Trouble("reload-failed", f"the configuration was not reloaded at {self.last.time}: {self.last.error}")]


def _told(reload: Reload) -> dict[str, Any]:
    if reload.error:
        return {"error": reload.error}
    return {"changed": list(reload.changed), "restart": list(reload.restart)}
