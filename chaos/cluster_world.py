"""A cluster in a chaos run: hosts for nodes, databases, server and HAProxy, and an audit in the database."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from chaos.audit import Audit, Twice
from chaos.people import KnowsIds, Returning
from chaos.replicated_site import ReplicatedSite
from chaos.world import RESUME, ROOMS, SERVERS, Size, Somebody, World
from chaos.writers import Place
from tests.integration.faults import pause
from tests.integration.hosts import CLIENTS, HostedNode
from tests.integration.network import join

LOOK = 0.2  # seconds between looks whether a node has ended
AGAIN = 1.0  # seconds until it is started again, as systemd does
ENDS = re.compile("this proxy ends")  # a node that finds out that it is over says so, and must not be silent
CALM = 60.0  # seconds in which nodes are to be there again


class ClusterWorld(World):
    """So many nodes. One that ends is started again, as systemd does, unless it is `down`.

    `earlier`: a checkout of the version that nodes begin with, until `upgraded`.
    """

    def __init__(self, server: str, size: Size, dice: Random, nodes: int, earlier: Path | None = None) -> None:
        super().__init__(size, dice)
        self.site = ReplicatedSite()
        self.earlier = earlier
        self.upgraded = earlier is None
        self.down: set[HostedNode] = set()
        self._keeping = True
        self._number = nodes
        self._kind = SERVERS[server]

    @property
    def nodes(self) -> list[HostedNode]:
        return self.site.nodes

    @property
    def entrance(self) -> Place:
        return Place(self.site.front.address, CLIENTS)

    async def begin(self) -> None:
        site = self.site
        await deferToThread(site.begin, self._kind)
        self.server = site.server
        self.audit = Audit(lambda: site.database.connect(site.database_name))
        for _ in range(self._number):
            node = site.node(rooms=ROOMS, sessions={"resume": RESUME})
            node.checkout = self.earlier
            node.own_clock()
            await deferToThread(node.start)
            await node.comes()
            if len(self.nodes) == 1:
                await deferToThread(self.audit.install)
        await deferToThread(site.open)
        for node in self.nodes:
            Deferred.fromCoroutine(self._keep(node)).addErrback(lambda failure: print(f"a node: {failure}"))
        await super().begin()

    async def _somebody(self, number: int) -> Somebody:
        somebody = await super()._somebody(number)
        for device in somebody.devices:
            device.relayed = True  # by HAProxy
        return somebody

    async def _keep(self, node: HostedNode) -> None:
        """Start it again whenever it has ended."""
        while self._keeping:
            await pause(LOOK)
            if node.process.process.poll() is not None and node not in self.down:
                await pause(AGAIN)
                if self._keeping and node not in self.down:
                    await deferToThread(node.start)

    async def before_proof(self) -> None:
        """Everything reaches everything, and nodes run."""
        self.down.clear()
        hosts = self.site.network.hosts
        for one in hosts:
            for other in hosts:
                join(one, other)
        healed, waited = time.time(), 0.0
        while {node.program for node in self.nodes} - await deferToThread(self.audit.lively, healed):
            if waited > CALM:
                raise AssertionError("a node does not come back: " + "\n".join(node.tail() for node in self.nodes))
            waited += LOOK
            await pause(LOOK)

    async def proof(self) -> list[str]:
        faults = [fault for node in self.nodes for fault in node.faults(but=ENDS)]
        return faults + await deferToThread(self.audit.wrong)

    async def admit(self) -> None:
        """Let devices hear twice what may come twice."""
        for somebody in self.people:
            taken_over = await deferToThread(self.audit.twice, somebody.account.jid)
            for device in somebody.devices:
                if not isinstance(device, KnowsIds):
                    device.in_between += may_come_twice(device, taken_over)

    async def summary(self) -> str:
        return f"\n{await deferToThread(self.audit.summary)}"

    def logs(self) -> list[str]:
        return [line for node in self.nodes for line in (f"--- {node.name}", *node.log)]

    async def end(self) -> None:
        self._keeping = False
        await super().end()
        await deferToThread(self.site.stop)


def may_come_twice(device: Returning, taken_over: list[Twice]) -> Counter[str]:
    """What a device had heard of a process that ended, and that this one had not marked, or not had on disk.

    While the database is out of reach, clients get what is not on disk.
    """
    return Counter(
        heard.body
        for place in device.places.values()
        for heard in place.heard
        for twice in taken_over
        if heard.time < twice.time
        and (heard.time > twice.last or heard.body in twice.unmarked or heard.body not in twice.on_disk)
    )
