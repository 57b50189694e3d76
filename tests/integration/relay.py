"""A TCP relay between the proxy and a server, which fails when it is told to. Runs in the test's own reactor."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, TimeoutError, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IAddress, ITCPTransport
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure

from tests.integration.network import LOCAL
from tests.integration.ports import free_port
from tests.patience import patiently

TIMEOUT = 20.0


class Relay:
    """Listens on `port` and passes what comes to `target`, a port on this machine, or on that with another `address`.

    `links` are the connections open now, the oldest first. start() and stop() belong around all else.

    `socks`: who connects takes it for a SOCKS proxy (RFC 1928), and whatever name is asked for is the target.
    """

    def __init__(self, target: int, *, socks: bool = False, address: str = LOCAL.address) -> None:
        self.target = target
        self.address = address
        self.port = free_port()
        self.links: list[Link] = []
        self.opened = 0  # connections so far
        self.delay = 0.0  # seconds, for every piece of data either way
        self._silent = False
        self._listener: Any = None
        self._factory = _Links(self, SocksLink if socks else Link)
        self._news: list[Deferred[None]] = []

    def start(self) -> None:
        """Take connections (again)."""
        if self._listener is None:
            # the type variable of factories is invariant
            self._listener = reactor.listenTCP(self.port, self._factory, interface="127.0.0.1")  # type: ignore[arg-type]

    async def refuse(self) -> None:
        """New connections are refused; those that are open stay."""
        listener, self._listener = self._listener, None
        if listener is not None:
            await maybeDeferred(listener.stopListening)

    def cut(self, *links: Link, reset: bool = True) -> None:
        """End these connections, or all: with RST on both sides, or with FIN."""
        for link in links or tuple(self.links):
            link.end(reset)

    def silence(self, *links: Link) -> None:
        """Swallow what comes on these connections, or on all and on new ones: what a firewall rule does."""
        if not links:
            self._silent = True
        for link in links or self.links:
            link.silent = True

    def lose(self, *links: Link) -> None:
        """As silence, and the other side is not told either when whoever opened them ends them."""
        for link in links:
            link.silent = link.stranded = True

    def strand(self, *links: Link) -> None:
        """End these connections, or all, towards whom opened them; the other side is not told even that."""
        for link in links or tuple(self.links):
            link.strand()

    def hear(self) -> None:
        """New connections are passed on again. Those that were silent stay so: bytes are missing in them."""
        self._silent = False

    async def stop(self) -> None:
        """Stop listening, and cut what is open."""
        await self.refuse()
        self.cut()
        while self.links:
            await self._something("the end of all connections")

    async def until_opened(self, count: int, timeout: float = TIMEOUT) -> None:
        """Wait until there have been so many connections."""
        while self.opened < count:
            await self._something(f"connection number {count}", timeout)

    async def _something(self, what: str, timeout: float = TIMEOUT) -> None:
        deferred: Deferred[None] = Deferred()
        self._news.append(deferred)
        try:
            await deferred.addTimeout(patiently(timeout), reactor)
        except TimeoutError:
            raise AssertionError(f"the relay waited in vain for {what}; there were {self.opened}") from None

    def _changed(self) -> None:
        news, self._news = self._news, []
        for deferred in news:
            if not deferred.called:
                deferred.callback(None)

    # Links call these

    def link_opened(self, link: Link) -> None:
        link.silent = self._silent
        self.links.append(link)
        self.opened += 1
        self._changed()

    def link_closed(self, link: Link) -> None:
        if link in self.links:
            self.links.remove(link)
        self._changed()


class _Links(ServerFactory["Link"]):
    noisy = False

    def __init__(self, relay: Relay, kind: type[Link]) -> None:
        self._relay = relay
        self._kind = kind

    def buildProtocol(self, addr: IAddress | None) -> Link:
        return self._kind(self._relay)


class Link(Protocol):
    """One connection to the relay, with its other half."""

    transport: ITCPTransport

    def __init__(self, relay: Relay) -> None:
        self.silent = False
        self.deaf = False  # what the server says is swallowed
        self._relay = relay
        self._far: _Far | None = None
        self._early: list[bytes] = []
        self._ended = False
        self.stranded = False

    def connectionMade(self) -> None:
        self._relay.link_opened(self)
        endpoint = TCP4ClientEndpoint(reactor, self._relay.address, self._relay.target, timeout=patiently(5.0))
        connectProtocol(endpoint, _Far(self)).addCallbacks(self._reached, lambda failure: self.end())

    def _reached(self, far: _Far) -> None:
        if self._ended:
            far.transport.abortConnection()
            return
        self._far = far
        early, self._early = self._early, []
        for data in early:
            self.pass_on(data, far)

    def dataReceived(self, data: bytes) -> None:
        if self._far is None:
            self._early.append(data)
        else:
            self.pass_on(data, self._far)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.stranded:
            self.end(reset=False)
            self._relay.link_closed(self)

    def strand(self) -> None:
        """As a device that has left its network."""
        self.silent = self.stranded = True
        self.transport.abortConnection()

    def pass_on(self, data: bytes, to: Link | _Far) -> None:
        if self.silent or (self.deaf and to is self):
            return
        if self._relay.delay:
            # equal delays keep their order
            reactor.callLater(self._relay.delay, self._write, data, to)
        else:
            self._write(data, to)

    def _write(self, data: bytes, to: Link | _Far) -> None:
        if not self._ended and not self.silent:
            to.transport.write(data)

    def end(self, reset: bool = True) -> None:
        """End both halves."""
        if self._ended:
            return
        if self.stranded:
            self._relay.link_closed(self)
        if self.silent and not reset:
            reset = True  # else a FIN of one side would be passed on
        self._ended = True
        for half in (self, self._far):
            if half is not None and half.transport is not None:
                half.transport.abortConnection() if reset else half.transport.loseConnection()


class SocksLink(Link):
    """One whose opener has to be answered as a SOCKS proxy does (RFC 1928): no login, and a name to connect to."""

    _asked = b""
    _answers = [b"\5\0", b"\5\0\0\1" + bytes(6)]  # "no authentication", then "succeeded", from no address

    def __init__(self, relay: Relay) -> None:
        super().__init__(relay)
        self._answers = [*self._answers]

    def dataReceived(self, data: bytes) -> None:
        self._asked += data
        while self._answers and self._length() <= len(self._asked):
            self._asked = self._asked[self._length() :]
            self.transport.write(self._answers.pop(0))
        if not self._answers and self._asked:
            data, self._asked = self._asked, b""
            super().dataReceived(data)

    def _length(self) -> int:
        """Of the greeting, or of the request for a name: more than there is, as long as that cannot be told."""
        at = 1 if len(self._answers) == 2 else 4
        if len(self._asked) <= at:
            return at + 1
        return 2 + self._asked[1] if at == 1 else 7 + self._asked[4]


class _Far(Protocol):
    """The relay's connection to the server."""

    transport: ITCPTransport

    def __init__(self, link: Link) -> None:
        self._link = link

    def dataReceived(self, data: bytes) -> None:
        self._link.pass_on(data, self._link)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._link.stranded or not self._link.silent:  # a silent link does not let a FIN through either
            self._link.end(reset=False)
