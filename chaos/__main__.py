"""`make chaos SEED=… MINUTES=… SERVER=prosody|ejabberd CLUSTER=3`: exit status 0 if the proof holds, 1 if not."""

import argparse
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from chaos import cluster_faults, faults
from chaos.cluster_world import ClusterWorld
from chaos.proof import prove, summary
from chaos.world import SERVERS, OneProxy, Size, World
from tests.checkouts import checkout
from tests.integration import network
from tests.integration.clocks import ProgramClock
from tests.integration.faults import pause
from tests.integration.processes import ProcessFailed

PROVED = (
    "every account is in exactly the rooms it should be in, and every message was delivered exactly once to every"
    " device that should have it; of the letters that phones and their friends wrote to each other none was lost, none"
    " came twice, and they came in order"
)
AND_IN_A_CLUSTER = (
    "; no two processes had an account with the same epoch, and none wrote for an account that it did not have"
)
_World = TypeVar("_World", bound=World)


def _say(began: float, text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {time.monotonic() - began:6.1f} s  {text}", flush=True)


async def _faults(
    world: _World,
    options: argparse.Namespace,
    weights: Mapping[Callable[[_World], Awaitable[str]], int],
    longest: float = 4.0,
) -> None:
    """One after the other, with a moment between them."""
    began, dice = time.monotonic(), Random(options.seed)
    chosen = [fault for fault in weights if not options.only or fault.__name__ in options.only]
    while chosen and time.monotonic() < began + options.minutes * 60:
        await pause(dice.uniform(0.5, longest))
        fault = dice.choices(chosen, [weights[fault] for fault in chosen])[0]
        try:
            _say(began, await fault(world))
        except (
            AssertionError,
            ProcessFailed,
        ) as error:  # an observer's connection is gone: nothing that has to work now
            _say(began, f"{fault.__name__}: {str(error).splitlines()[0]}")


async def _all_faults(world: World, options: argparse.Namespace) -> None:
    if isinstance(world, OneProxy):
        await _faults(world, options, faults.WEIGHTS)
    elif isinstance(world, ClusterWorld):
        people = Deferred.fromCoroutine(_faults(world, options, faults.OF_PEOPLE))
        await _faults(world, options, cluster_faults.WEIGHTS, longest=15.0)
        if not world.upgraded:
            print(await cluster_faults.nodes_upgraded(world), flush=True)
        await people


def _world(options: argparse.Namespace) -> World:
    size, dice = Size(options.accounts, options.rooms, options.rate), Random(options.seed)
    if options.cluster:
        return ClusterWorld(options.server, size, dice, options.cluster, options.earlier)
    return OneProxy(options.server, size, dice)


async def _run(options: argparse.Namespace) -> int:
    world = _world(options)
    wrong = ["it came to no end"]
    try:
        await world.begin()
        talk = Deferred.fromCoroutine(world.talk())
        await _all_faults(world, options)
        world.talking = False
        await talk
        await world.before_proof()
        wrong = await prove(world) + await world.proof()
        print(await summary(world))
        for fault in wrong:
            print(f"WRONG: {fault}")
        if wrong and options.logs:
            options.logs.write_text("\n".join(_transcripts(world)))
            print(f"logs: {options.logs}")
    finally:
        await world.end()
    proved = PROVED + (AND_IN_A_CLUSTER if options.cluster else "")
    print(f"seed {options.seed}: {'FAILED' if wrong else proved}")
    return 1 if wrong else 0


def _transcripts(world: World) -> list[str]:
    people = [
        f"--- {person.name}\n{client.transcript()}"
        for person in world.everybody
        for client in (getattr(person, "clients", ()) or [person.client])
    ]
    return [*world.logs(), *people]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="of the faults; a random one otherwise")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--server", choices=sorted(SERVERS), default="prosody")
    parser.add_argument("--accounts", type=int, default=Size().accounts)
    parser.add_argument("--rooms", type=int, default=Size().rooms)
    parser.add_argument("--rate", type=float, default=Size().rate, help="messages a second")
    parser.add_argument("--logs", type=Path, help="a file for logs and transcripts of a run that fails")
    parser.add_argument("--cluster", type=int, default=0, help="so many nodes, on hosts of their own", metavar="NODES")
    parser.add_argument(
        "--earlier", type=checkout, help="a checkout of the version that a cluster begins with, and is upgraded from"
    )
    names = [fault.__name__ for weights in (faults.WEIGHTS, cluster_faults.WEIGHTS) for fault in weights]
    parser.add_argument("--only", nargs="+", choices=names, help="these faults; all otherwise", metavar="FAULT")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = Random().randrange(1_000_000)
    return options


def main() -> None:
    options = _arguments()
    if options.cluster and (missing := network.missing() or ProgramClock.missing()):
        sys.exit(f"a cluster of hosts of their own needs {missing}")
    kind = f"{options.cluster} nodes, " if options.cluster else ""
    print(f"seed {options.seed}, {options.minutes:g} minutes, {kind}{options.server}", flush=True)

    async def run(_reactor: Any) -> None:
        sys.exit(await _run(options))

    react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


if __name__ == "__main__":
    main()
