"""The ports that the configuration names: bound at the start, or the proxy does not start, and changed by a reload."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

from minimixproxy.cannot_start import CannotStart
from minimixproxy.config.checks import ENDPOINT_FAULTS, endpoint_fault
from minimixproxy.config.reloading import CannotReload
from minimixproxy.config.settings import Settings
from minimixproxy.config.systemd_sockets import usable_endpoint
from minimixproxy.logs.logger import Logger

_NUMBER = re.compile(r"(?:haproxy:)?(?:tcp6?|ssl):(?:port=)?(\d+)")  # of an endpoint

#: The endpoints that a configuration wants, and what makes the connections of each.
Factories = Callable[[Settings], Mapping[str, Any]]


class CannotBind(Exception):
    """A port cannot be bound. The text names it, and says why."""


class Bound(NamedTuple):
    """A port that is open (IListeningPort), and what makes its connections."""

    port: Any
    factory: Any


class PortGroup(Service):
    """The ports of one kind of table. `what`: the table, for the log; `factories`: which ports there are to be."""

    log = Logger()

    def __init__(self, what: str, factories: Factories, settings: Settings, reactor: Any) -> None:
        self.what = what
        self.factories = factories
        self.ports: dict[str, Bound] = {}  # by endpoint
        self._at_start = factories(settings)
        self._reactor = reactor
        self.closed = False  # for a while, or for good

    def privilegedStartService(self) -> None:
        """Bind all while privileges are there. Raises `CannotStart`."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self.closed = False
        binding = Deferred.fromCoroutine(self._bind_all())
        failures: list[Failure] = []
        binding.addErrback(failures.append)
        for failure in failures:
            failure.trap(CannotBind)
            self.log.critical("{error}", error=failure.value)
            raise CannotStart(str(failure.value))

    def open(self, settings: Settings) -> None:
        """Bind what there is to be, after a stop. Raises `CannotBind`; what is bound by then stays so."""
        self._at_start = self.factories(settings)
        failures: list[Failure] = []
        Deferred.fromCoroutine(self._bind_all()).addErrback(failures.append)
        for failure in failures:
            failure.raiseException()
        self.closed = False
        super().startService()  # type: ignore[no-untyped-call]

    async def _bind_all(self) -> None:
        for endpoint, factory in self._at_start.items():
            self.ports[endpoint] = await self.bind(endpoint, factory)

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        if not self.ports:
            self.privilegedStartService()

    def stopService(self) -> Deferred[Any]:
        super().stopService()  # type: ignore[no-untyped-call]
        self.closed = True
        ports, self.ports = self.ports, {}
        return DeferredList([maybeDeferred(bound.port.stopListening) for bound in ports.values()])

    async def bind(self, endpoint: str, factory: Any) -> Bound:
        """Open a port. Raises `CannotBind`."""
        try:
            return Bound(await usable_endpoint(endpoint, self._reactor).listen(factory), factory)
        except (CannotListenError, OverflowError, *ENDPOINT_FAULTS) as error:
            raise CannotBind(f'{self.what} "{endpoint}" cannot be bound: {self._reason(endpoint, error)}') from error

    def _reason(self, endpoint: str, error: Exception) -> str:
        cause = error.socketError if isinstance(error, CannotListenError) else error
        number = cause.errno if isinstance(cause, OSError) else None
        if not isinstance(cause, OSError):
            text = endpoint_fault(cause) if isinstance(cause, ENDPOINT_FAULTS) else str(cause)
        else:
            text = os.strerror(number) if number is not None and number > 0 else cause.strerror or str(cause)
        if number == errno.EADDRINUSE:
            ours = next((one for one in self.ports if _number(one) == _number(endpoint) is not None), None)
            if ours is None:
                return f"{text}: another program listens there"
            return f'{text}: "{ours}" listens there; "tcp6:" takes IPv4, too, unless it has an interface'
        if number == errno.EACCES:
            return f"{text}: ports below 1024 are root's, and twistd has perhaps dropped its privileges"
        return text


def _number(endpoint: str) -> str | None:
    found = _NUMBER.match(endpoint)
    return found[1] if found is not None else None


class _Wanted(NamedTuple):
    group: PortGroup
    endpoint: str
    factory: Any


class Ports:
    """All ports, as part of a reload (`reloading.Part`)."""

    def __init__(self, groups: Sequence[PortGroup]) -> None:
        self._groups = groups

    async def prepare(self, new: Settings) -> Rebinding:
        """Bind what is new. Raises `CannotReload`."""
        rebinding = Rebinding(self._groups, new)
        try:
            await rebinding.begin()
        except CannotBind as error:
            await rebinding.restore()
            raise CannotReload(str(error)) from error
        return rebinding


class Rebinding:
    """From the ports that are bound to those that a new configuration wants; clients of those that go stay."""

    log = Logger()

    def __init__(self, groups: Sequence[PortGroup], new: Settings) -> None:
        self._added: list[_Wanted] = []
        self._removed: list[tuple[PortGroup, str]] = []
        self._bound: list[tuple[PortGroup, str, Bound]] = []
        self._closed: list[_Wanted] = []  # the removed ones, before the new ones could be bound
        for group in groups:
            if group.closed:
                continue  # nobody is let in for now; whoever opens it does so by the settings of then
            wanted = group.factories(new)
            self._added += [_Wanted(group, name, wanted[name]) for name in wanted if name not in group.ports]
            self._removed += [(group, name) for name in group.ports if name not in wanted]

    async def begin(self) -> None:
        """Bind the new ones; if one that goes is in the way, when that is closed. Raises `CannotBind`."""
        failed: list[_Wanted] = []
        for wanted in self._added:
            try:
                await self._bind(wanted)
            except CannotBind:
                if not self._removed:
                    raise
                failed.append(wanted)
        if failed:
            await self._close_removed()
            for wanted in failed:
                await self._bind(wanted)

    async def _bind(self, wanted: _Wanted) -> None:
        bound = await wanted.group.bind(wanted.endpoint, wanted.factory)
        self._bound.append((wanted.group, wanted.endpoint, bound))

    async def _close_removed(self) -> None:
        for group, endpoint in self._removed:
            bound = group.ports.pop(endpoint, None)  # whoever stops the group meanwhile is not to close it, too
            if bound is not None:
                self._closed.append(_Wanted(group, endpoint, bound.factory))
                await maybeDeferred(bound.port.stopListening)

    async def restore(self) -> None:
        """Close the new ones, and bind again what was closed for them."""
        for _group, _endpoint, bound in self._bound:
            await maybeDeferred(bound.port.stopListening)
        for group, endpoint, factory in self._closed:
            if group.closed:
                continue
            try:
                group.ports[endpoint] = await group.bind(endpoint, factory)
            except CannotBind as error:  # somebody else has it now
                self.log.critical("{error}; it was open before", error=error)

    def undo(self) -> Deferred[None]:
        """Be as before (`reloading.Prepared`)."""
        return Deferred.fromCoroutine(self.restore())

    def commit(self) -> None:
        """Close those that go (`reloading.Prepared`), and all new ones of a group that was closed meanwhile."""
        for group, endpoint in self._removed:
            bound = group.ports.pop(endpoint, None)
            if bound is not None:
                self._close(bound)
            self.log.info("{what} {endpoint} is closed; its clients stay", what=group.what, endpoint=endpoint)
        for group, endpoint, bound in self._bound:
            if group.closed:
                self._close(bound)
                continue
            group.ports[endpoint] = bound
            self.log.info("{what} {endpoint} is open", what=group.what, endpoint=endpoint)

    def _close(self, bound: Bound) -> None:
        maybeDeferred(bound.port.stopListening).addErrback(self._not_closed)

    def _not_closed(self, failure: Failure) -> None:
        self.log.failure("while closing a port", failure)
