"""The ways of this process to others: opened for clients whose accounts these hold, and cut when a holder is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectError, DNSLookupError

from minimixproxy.c2s.server.elsewhere import Elsewhere, Introduction, NotHandedOver
from minimixproxy.c2s.transport.connection import SecurableConnection
from minimixproxy.cluster import tallies
from minimixproxy.cluster.edge_pipe import PATIENCE, HolderConnection, HolderPipe
from minimixproxy.cluster.greeting import Greeting
from minimixproxy.cluster.handover_header import Handover, HeaderTooLong, build
from minimixproxy.logs.not_connected import why_not_connected
from minimixproxy.timing.clock import Clock

#: Connects a protocol to the internal endpoint of another process, by its address.
Dial = Callable[[str, SecurableConnection], Deferred[Any]]


class EdgePipes:
    """(`elsewhere.Pipes`)"""

    def __init__(self, dial: Dial, clock: Clock) -> None:
        self._dial = dial
        self._clock = clock
        self._open: dict[int, set[HolderPipe]] = {}  # by the number of the holder, those that have been asked for

    async def pipe(self, elsewhere: Elsewhere, client: Introduction) -> HolderPipe:
        """Introduce a client to the process that holds its account. Raises `NotHandedOver`."""
        number = elsewhere.number
        greeting = Greeting(_header(elsewhere, client), client)
        pipe = HolderPipe(greeting, self._clock, elsewhere.name, lambda pipe: self._closed(number, pipe))
        self._open.setdefault(number, set()).add(pipe)
        failure = tallies.UNREACHABLE
        try:
            await self._connect(elsewhere.address, HolderConnection(pipe))
            failure = tallies.NOT_TAKEN
            await pipe.greeted()
        except BaseException as error:
            tallies.PIPES.count(failure if isinstance(error, NotHandedOver) else tallies.ABANDONED)
            pipe.abort()
            self._closed(number, pipe)
            raise
        tallies.PIPES.count(tallies.SUCCESS)
        return pipe

    def __len__(self) -> int:
        """How many there are, those included that are being opened."""
        return sum(map(len, self._open.values()))

    async def _connect(self, address: str, bottom: HolderConnection) -> None:
        dialling = self._dial(address, bottom)
        dialling.addTimeout(PATIENCE, self._clock)  # type: ignore[arg-type]
        try:
            await dialling
        except TimeoutError as error:
            raise NotHandedOver(f"{address}: it is not reached in time") from error
        except (ConnectError, DNSLookupError, OSError) as error:
            raise NotHandedOver(f"{address}: {why_not_connected(error)}") from error

    def _closed(self, number: int, pipe: HolderPipe) -> None:
        pipes = self._open.get(number, set())
        pipes.discard(pipe)
        if not pipes:
            self._open.pop(number, None)

    def cut(self, number: int) -> None:
        """A process is over: end the pipes to it.

        It may stand still, or nothing reaches it: then its clients would talk into the void, and hear of nothing.
        """
        for pipe in list(self._open.get(number, ())):
            pipe.abort()


def _header(elsewhere: Elsewhere, client: Introduction) -> bytes:
    handover = Handover(
        client.peer,
        client.account,
        elsewhere.number,
        elsewhere.epoch,
        client.websocket,
        client.bindings,
        client.offered if client.opening else None,
        client.tokens if client.opening else (),
    )
    try:
        return build(handover)
    except HeaderTooLong as error:
        raise NotHandedOver(str(error)) from error
