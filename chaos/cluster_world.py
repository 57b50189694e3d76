"""A cluster in a chaos run: hosts for nodes, databases, server and HAProxy, and an audit in the database."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random
from typing import NamedTuple

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
from tests.integration.processes import LoggedProcess

LOOK = 0.2  # seconds between looks whether a node has ended
AGAIN = 1.0  # seconds until it is started again, as systemd does
ENDS = re.compile("this proxy ends")  # a node that finds out that it is over says so, and must not be silent
SOON = 1.0  # seconds in which what somebody says is given out
CALM = 60.0  # seconds in which nodes are to be there again


class Kill(NamedTuple):
    """A node's process was killed."""

    process: LoggedProcess
    time: float

    def still_had(self, jid: str) -> bool:
        """Whether it had a session, by its log, whose end it had not heard of."""
        begun, over = f"session of {jid} is bound", f"session of {jid} ends"
        lines = self.process.lines
        return sum(begun in line for line in lines) > sum(over in line for line in lines)


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
        self.kills: list[Kill] = []
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

    async def kill(self, node: HostedNode) -> None:
        self.kills.append(Kill(node.process, time.time()))
        await deferToThread(node.process.kill)

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
        """Let devices hear twice what may come twice, and miss what a killed process sent to where they had been."""
        for somebody in self.people:
            taken_over = await deferToThread(self.audit.twice, somebody.account.jid)
            for device in somebody.devices:
                device.may_miss = may_miss(device, somebody.account.jid, self.kills, self.times)
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


def may_miss(device: Returning, account: str, kills: Iterable[Kill], times: Mapping[str, float]) -> set[str]:
    """What was said between the end of a connection and that of the process that served it, and had not heard of it.

    It had given that out to a device that was not there any more (docs/limits.md). `times`: when things were said.
    """
    jid = f"{account}/{device.name.rpartition('/')[2]}"
    windows = [
        (left - SOON, kill.time + SOON)
        for kill in kills
        if (left := device.gone_at(kill.time)) is not None and kill.still_had(jid)
    ]
    return {body for body, said in times.items() if any(begin <= said <= end for begin, end in windows)}


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
