"""`make chaos SEED=… MINUTES=… SERVER=prosody|ejabberd`: exit status 0 if the proof holds, 1 if not."""

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from chaos.faults import WEIGHTS
from chaos.proof import prove, summary
from chaos.world import SERVERS, Size, World
from tests.integration.faults import pause

PROVED = (
    "every account is in exactly the rooms it should be in, and every message was delivered exactly once to every"
    " device that should have it; of the letters that phones and their friends wrote to each other none was lost, none"
    " came twice, and they came in order"
)


def _say(began: float, text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {time.monotonic() - began:6.1f} s  {text}", flush=True)


async def _faults(world: World, options: argparse.Namespace) -> None:
    """One after the other, with a moment between them."""
    began, dice = time.monotonic(), Random(options.seed)
    faults = [fault for fault in WEIGHTS if not options.only or fault.__name__ in options.only]
    while time.monotonic() < began + options.minutes * 60:
        await pause(dice.uniform(0.5, 4))
        fault = dice.choices(faults, [WEIGHTS[fault] for fault in faults])[0]
        try:
            _say(began, await fault(world))
        except AssertionError as error:  # an observer's connection is gone: nothing that has to work now
            _say(began, f"{fault.__name__}: {str(error).splitlines()[0]}")


async def _run(options: argparse.Namespace) -> int:
    world = World(options.server, Size(options.accounts, options.rooms, options.rate), Random(options.seed))
    try:
        await world.begin()
        talk = Deferred.fromCoroutine(world.talk())
        await _faults(world, options)
        world.talking = False
        await talk
        wrong = await prove(world) + world.proxy.faults()
        print(summary(world))
        for fault in wrong:
            print(f"WRONG: {fault}")
        if wrong and options.logs:
            options.logs.write_text("\n".join(_transcripts(world)))
            print(f"logs: {options.logs}")
    finally:
        await world.end()
    print(f"seed {options.seed}: {'FAILED' if wrong else PROVED}")
    return 1 if wrong else 0


def _transcripts(world: World) -> list[str]:
    people = [f"--- {person.name}\n{person.client.transcript()}" for person in world.everybody]
    return ["--- the proxy", *world.proxy.log, *people]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="of the faults; a random one otherwise")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--server", choices=sorted(SERVERS), default="prosody")
    parser.add_argument("--accounts", type=int, default=Size().accounts)
    parser.add_argument("--rooms", type=int, default=Size().rooms)
    parser.add_argument("--rate", type=float, default=Size().rate, help="messages a second")
    parser.add_argument("--logs", type=Path, help="a file for logs and transcripts of a run that fails")
    names = [fault.__name__ for fault in WEIGHTS]
    parser.add_argument("--only", nargs="+", choices=names, help="these faults; all otherwise", metavar="FAULT")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = Random().randrange(1_000_000)
    print(f"seed {options.seed}, {options.minutes:g} minutes, {options.server}", flush=True)

    async def run(_reactor: Any) -> None:
        sys.exit(await _run(options))

    react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


if __name__ == "__main__":
    main()
