"""Two processes in one: an edge that clients reach, a holder of their accounts, and what joins them in memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from minimixproxy.c2s.server.elsewhere import Cluster, Elsewhere
from minimixproxy.c2s.transport.connection import SecurableConnection
from minimixproxy.cluster.dialling import dialler
from minimixproxy.cluster.internal_port import InternalConnection, InternalPort, ThisProcess
from minimixproxy.cluster.pipes import EdgePipes
from tests.c2s.helpers import Lab
from tests.wires import Wire

NUMBER, USER = 7, 1000
THERE = Elsewhere(NUMBER, 9, "/there", "node-b")


class Joint:
    """One connection in memory; nothing goes over it by itself."""

    def __init__(self, edge: SecurableConnection, holder: InternalConnection) -> None:
        self.edge, self.holder = edge, holder
        self.edge_wire, self.holder_wire = Wire(), Wire()
        self.over = False
        holder.makeConnection(self.holder_wire)
        edge.makeConnection(self.edge_wire)

    def flush(self) -> bool:
        """Carry what was written; tell whether that was anything."""
        moved = False
        for wire, to in ((self.edge_wire, self.holder), (self.holder_wire, self.edge)):
            data = wire.take()
            if data and not self.over:
                to.dataReceived(data)
                moved = True
        if not self.over and not moved and (self.edge_wire.closing or self.holder_wire.closing):
            self.cut()
        return moved

    def cut(self) -> None:
        """The connection is gone, to both."""
        if not self.over:
            self.over = True
            for end in (self.edge, self.holder):
                end.connectionLost(Failure(ConnectionDone()))


class Pair:
    """(`elsewhere.Finder`) The edge and the holder. `there`: which accounts are held there."""

    def __init__(self, directory: Path, edge: Callable[..., Lab] = Lab, **options: Any) -> None:
        """`edge`: how clients come."""
        (directory / "edge").mkdir(parents=True)
        (directory / "holder").mkdir()
        self.edge = edge(directory / "edge", **options)
        self.holder = Lab(directory / "holder", **options)
        self.there: dict[str, Elsewhere] = {"a@example.org": THERE}
        self.held = {"a@example.org"}
        self.number = NUMBER
        self.joints: list[Joint] = []
        self.down = self.unreachable = False
        self.asked: list[str] = []
        self.holds = HoldsAll()
        own = ThisProcess(lambda: self.number, lambda bare: bare in self.held)
        self.port = InternalPort(self.holder.clients, own, None, lambda _transport: os.geteuid())
        self.pipes = EdgePipes(self._dial, self.edge.clock)
        self.edge.context.cluster = Cluster(self, self.pipes)
        self.holder.context.cluster = Cluster(self.holds, EdgePipes(self._dial, self.holder.clock))

    async def find(self, bare: str) -> Elsewhere | None:
        self.asked.append(bare)
        return self.there.get(bare)

    async def claim(self, bare: str) -> Elsewhere | None:
        return self.there.get(bare)

    def _dial(self, address: str, bottom: SecurableConnection) -> Deferred[Any]:
        if self.down:
            return fail(ConnectionRefusedError())
        if self.unreachable:
            return dialler(MemoryReactorClock(), None)(address, bottom)  # an endpoint that nobody answers
        self.joints.append(Joint(bottom, self.port.buildProtocol(None)))
        return succeed(bottom)

    def flush(self) -> None:
        """Carry everything between the two."""
        while any(joint.flush() for joint in self.joints):
            pass


class HoldsAll:
    """(`elsewhere.Finder`) `found`, `claimed`: what it was asked."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.claimed: list[str] = []

    async def find(self, bare: str) -> Elsewhere | None:
        self.found.append(bare)
        return None

    async def claim(self, bare: str) -> Elsewhere | None:
        self.claimed.append(bare)
        return None
