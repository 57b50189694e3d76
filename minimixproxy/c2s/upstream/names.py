"""Asking for the addresses of names as programs on this machine do (`getaddrinfo`): that may take half a minute.

Twisted asks in the ten threads that it has for everything, keys of passwords included. Some logins at a domain whose
DNS is silent had them all, and nobody logged in at any other domain. So each name is asked for in a thread of its own,
and by one at a time, whoever else wants it; and for a domain, which says by SRV which names they are, a few at a time.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IReactorPluggableNameResolver
from zope.interface import implementer

AT_ONCE: Final = 4  # names of one domain

#: The addresses of a name, as `getaddrinfo` returns them.
Found = list[tuple[Any, ...]]


@implementer(IHostResolution)
class _Resolution:
    """One answer. Nobody can cancel it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        raise NotImplementedError


class _Telling:
    """Tells as Twisted wants it told (`IHostnameResolver`); subclasses know where addresses come from."""

    def addresses(self, host: str) -> Deferred[Found]:
        """Return the addresses of a name, none if there are none."""
        raise NotImplementedError

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[Any] | None = None,
        transportSemantics: str = "TCP",
    ) -> _Resolution:
        semantics: Any = transportSemantics

        def tell(found: Found) -> None:
            for *_, where in found:
                kind = IPv4Address if len(where) == 2 else IPv6Address
                if addressTypes is None or kind in addressTypes:
                    host, _port, *more = where
                    resolutionReceiver.addressResolved(kind(semantics, host, portNumber, *more))
            resolutionReceiver.resolutionComplete()

        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        self.addresses(hostName).addCallback(tell)
        return resolution


@implementer(IHostnameResolver)
class Names(_Telling):
    """What a reactor asks. It answers in the reactor's thread."""

    def __init__(
        self,
        reactor: Any,
        ask: Callable[..., Found] = socket.getaddrinfo,
        begin: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """`ask` and `begin`, which has something done in another thread, are for tests."""
        self._reactor = reactor
        self._ask = ask
        self._begin = begin or _in_a_thread
        self._waiting: dict[str, list[Deferred[Found]]] = {}  # by name
        self._places: dict[str, DeferredSemaphore] = {}  # by domain

    def addresses(self, host: str) -> Deferred[Found]:
        """Return the addresses of a name, none if there are none; at once if it is an address."""
        answer: Deferred[Found] = Deferred()
        try:
            answer.callback(socket.getaddrinfo(host, None, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST))
        except (OSError, ValueError):  # it is a name, or cannot be one
            self._ask_for(host, answer)
        return answer

    def _ask_for(self, host: str, answer: Deferred[Found]) -> None:
        waiting = self._waiting.get(host)
        if waiting is not None:
            waiting.append(answer)
            return
        self._waiting[host] = [answer]
        try:
            self._begin(lambda: self._find(host))
        except RuntimeError:  # there are too many threads
            self._told(host, [])

    def _find(self, host: str) -> None:
        """In a thread. Whatever becomes of it, nobody waits for ever, nor keeps a place."""
        found: Found = []
        try:
            with suppress(OSError, ValueError):
                found = self._ask(host, None, 0, socket.SOCK_STREAM)
        finally:
            self._reactor.callFromThread(self._told, host, found)

    def _told(self, host: str, found: Found) -> None:
        for answer in self._waiting.pop(host):
            if not answer.called:
                answer.callback(found)

    async def of_domain(self, domain: str, host: str) -> Found:
        """Return the addresses of a name that a domain has named. It has its place until they are known.

        Whoever wants it meanwhile needs no place: one that is silent does not hold up the others of its domain. A name
        whose turn has not come is not asked for once nobody waits for it.
        """
        if host in self._waiting:
            return await self.addresses(host)
        place = self._places.setdefault(domain, DeferredSemaphore(AT_ONCE))
        await place.acquire()
        found: Deferred[Found] = Deferred()

        def known(addresses: Found) -> None:
            place.release()
            if not found.called:
                found.callback(addresses)

        self.addresses(host).addCallback(known)
        return await found


def _in_a_thread(work: Callable[[], None]) -> None:
    """One that hangs keeps no process from ending."""
    threading.Thread(target=work, name="names", daemon=True).start()


@implementer(IHostnameResolver)
class _Known(_Telling):
    """What is known already."""

    def __init__(self, found: Found) -> None:
        self._found = found

    def addresses(self, host: str) -> Deferred[Found]:
        answer: Deferred[Found] = Deferred()
        answer.callback(self._found)
        return answer


@implementer(IReactorPluggableNameResolver)
class _Knowing:
    """A reactor that knows the addresses of the one name that it is asked for."""

    def __init__(self, reactor: Any, found: Found) -> None:
        self.nameResolver = _Known(found)
        self._reactor = reactor

    def installNameResolver(self, resolver: Any) -> Any:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


class DomainsEndpoint:
    """A host and a port where a domain says that its server is (as Twisted's `HostnameEndpoint`)."""

    def __init__(self, reactor: Any, domain: str, host: str, port: int, timeout: float) -> None:
        self._reactor = reactor
        self._domain = domain
        self._where = host, port, timeout

    def connect(self, factory: Any) -> Deferred[Any]:
        """Connect to whichever of its addresses answers first."""
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: Any) -> Any:
        host, port, timeout = self._where
        reactor, names = self._reactor, getattr(self._reactor, "nameResolver", None)
        if isinstance(names, Names):
            reactor = _Knowing(reactor, await names.of_domain(self._domain, host))
        return await HostnameEndpoint(reactor, host, port, timeout=timeout).connect(factory)


def ask_apart(reactor: Any) -> None:
    """Have a reactor ask for names in threads of their own. Once done, it stays."""
    if IReactorPluggableNameResolver.providedBy(reactor) and not isinstance(reactor.nameResolver, Names):
        reactor.installNameResolver(Names(reactor))
