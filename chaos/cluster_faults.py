"""What goes wrong with a cluster. Each fault ends with everything there again; nodes come back by themselves."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

from twisted.internet.threads import deferToThread

from chaos.cluster_world import ClusterWorld
from minimixproxy.storage.lease import LEASE
from tests.integration.commands import run
from tests.integration.faults import pause
from tests.integration.hosts import HostedNode
from tests.integration.network import Host, cut, join

LONG, SHORT = 1.5 * LEASE, 0.5 * LEASE
HOUR = 3600

Fault = Callable[[ClusterWorld], Awaitable[str]]


def _some_node(world: ClusterWorld) -> HostedNode:
    return world.dice.choice(world.nodes)


def _some_time(world: ClusterWorld) -> float:
    """Seconds: well below a lease, about one, or well above."""
    return world.dice.choice((world.dice.uniform(0.5, SHORT), world.dice.uniform(SHORT, LONG), 2 * LEASE))


async def node_killed(world: ClusterWorld) -> str:
    """It is started at once, or its machine is away for a while."""
    node, seconds = _some_node(world), world.dice.choice((0.0, _some_time(world)))
    world.down.add(node)
    await world.kill(node)
    await pause(seconds)
    world.down.discard(node)
    return f"{node.name} was killed, and away for {seconds:.1f} s"


async def node_restarted(world: ClusterWorld) -> str:
    node = _some_node(world)
    await deferToThread(node.process.stop)
    return f"{node.name} was stopped in order"


async def node_drained(world: ClusterWorld) -> str:
    node = _some_node(world)
    done = await run(node, "drain", "--timeout", "10")
    await deferToThread(node.process.stop)
    return f"{node.name} was drained (status {done.returncode}) and stopped"


async def node_stands_still(world: ClusterWorld) -> str:
    node, seconds = _some_node(world), _some_time(world)
    process = node.process
    process.signal(signal.SIGSTOP)
    await pause(seconds)
    process.signal(signal.SIGCONT)
    return f"{node.name} stood still for {seconds:.1f} s"


async def machine_dies(world: ClusterWorld) -> str:
    """Nobody is told."""
    node, seconds = _some_node(world), _some_time(world)
    others = [host for host in world.site.network.hosts if host is not node.host]
    world.down.add(node)
    for other in others:
        cut(node.host, other)
    await world.kill(node)
    await pause(seconds)
    for other in others:
        join(node.host, other)
    world.down.discard(node)
    return f"the machine of {node.name} was dead for {seconds:.1f} s"


async def _parted(world: ClusterWorld, node: HostedNode, others: list[Host], what: str) -> str:
    """Nothing comes through to others, or from them, or both, for a while."""
    way, seconds = world.dice.choice(("out", "in", "either way")), _some_time(world)
    for other in others:
        if way != "in":
            node.host.lose(other)
        if way != "out":
            other.lose(node.host)
    await pause(seconds)
    for other in others:
        join(node.host, other)
    return f"between {node.name} and {what} nothing came through for {seconds:.1f} s ({way}, seen from the node)"


async def parted_from_database(world: ClusterWorld) -> str:
    return await _parted(world, _some_node(world), world.site.database_hosts, "the database")


async def parted_from_server(world: ClusterWorld) -> str:
    return await _parted(world, _some_node(world), [world.site.server_host], "the server")


async def parted_from_peers(world: ClusterWorld) -> str:
    node = _some_node(world)
    peers = [other.host for other in world.nodes if other is not node]
    return await _parted(world, node, peers, "the other nodes")


async def parted_from_clients(world: ClusterWorld) -> str:
    return await _parted(world, _some_node(world), [world.site.front], "HAProxy")


async def database_restarted(world: ClusterWorld) -> str:
    """As if its power were cut."""
    seconds = world.dice.choice((0.0, world.dice.uniform(1, SHORT), LONG))
    database = world.site.database
    await deferToThread(database.stop)
    await pause(seconds)
    await deferToThread(database.start)
    return f"the database was down for {seconds:.1f} s"


async def database_failed_over(world: ClusterWorld) -> str:
    """The power of the primary is cut, and its replica takes its place. Later they are two again."""
    seconds, later = world.dice.choice((0.0, world.dice.uniform(1, SHORT), LONG)), world.dice.uniform(0, SHORT)
    site = world.site
    await deferToThread(site.database.stop)
    await pause(seconds)
    await deferToThread(site.promote)
    await pause(later)
    await deferToThread(site.pair.repair)
    return f"the primary was lost, for {seconds:.1f} s there was none, then the replica was; {later:.1f} s without one"


async def clock_set(world: ClusterWorld) -> str:
    """It stays so while other things go wrong."""
    node = _some_node(world)
    assert node.clock is not None
    seconds = world.dice.choice([off for off in (-HOUR, 0, HOUR) if off != node.clock.ahead])
    node.clock.set(seconds)
    return f"the clock of {node.name} was set to {seconds:+d} s"


async def nodes_upgraded(world: ClusterWorld) -> str:
    """One after the other, as docs/cluster.md says; to the same version, if there was no earlier one."""
    for node in world.nodes:
        node.checkout = None
        world.down.add(node)
        await run(node, "drain", "--timeout", "10")
        await deferToThread(node.process.stop)
        await deferToThread(node.start)
        await node.comes()
        world.down.discard(node)
    before, world.upgraded = world.upgraded, True
    return "all nodes were drained and restarted one after the other" + ("" if before else ", with the new version")


async def server_restarted(world: ClusterWorld) -> str:
    await world.server.restart()
    return "the server was stopped and started"


WEIGHTS: dict[Fault, int] = {
    node_killed: 5,
    node_restarted: 3,
    node_drained: 2,
    node_stands_still: 3,
    machine_dies: 2,
    parted_from_database: 3,
    parted_from_server: 2,
    parted_from_peers: 2,
    parted_from_clients: 1,
    database_restarted: 2,
    database_failed_over: 2,
    clock_set: 2,
    nodes_upgraded: 1,
    server_restarted: 1,
}
