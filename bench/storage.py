"""State: time and size of a stored message, through the journal and end to end.

`python -m bench.storage STATE DIRECTORY` is the process that journals; results in JSON on stdout.
"""

import itertools
import json
import os
import sys
import time
from pathlib import Path
from subprocess import PIPE, run
from typing import Any, NamedTuple

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from bench.database import used_bytes
from bench.generator import generate, message
from bench.proc import cpu_seconds
from bench.scale import scaled
from bench.servers import HERE, PASSWORD, BenchProsody, BenchProxy, stopping
from minimixproxy.minimix.interfaces.journal import KeptMembership, KeptMessage
from minimixproxy.storage.database import Database
from minimixproxy.storage.journal import SQLJournal
from minimixproxy.storage.service import SWITCH_INTERVAL, Place, open_state
from minimixproxy.timing.turn_end import TurnEnd
from tests.integration.processes import temporary_directory
from tests.storage import postgresql

ROOMS = 100
COUNT = scaled(20_000, 5_000)
LOADS = {"one at a time": 1, "100 in a turn": 100}
END_TO_END = {"rate": 100, "seconds": scaled(6.0, 2.0)}

RAW = message("room@conference.bench.test", "groupchat").replace("@serial@", "00000001").encode()


class Journalled(NamedTuple):
    """One load on one database. Times in microseconds per message."""

    database: str
    load: str
    elapsed: float
    cpu: float
    bytes: float | None  # of the database file, per message; None where it is not one file


class EndToEnd(NamedTuple):
    """A room in which many messages were said to an account with two sessions."""

    messages: int
    raw: float  # bytes of a message as it is delivered
    stored: float  # bytes that the database grew by per message
    cpu: float  # microseconds of the proxy per message


def measure() -> tuple[list[Journalled], EndToEnd]:
    """Measure the journal on both databases, and the whole way with SQLite."""
    cases = []
    sqlite = str(temporary_directory("bench-storage") / "state.sqlite")
    for name, state in (("SQLite", sqlite), ("PostgreSQL", "")):
        if name == "PostgreSQL":
            if postgresql.missing():
                continue
            state = postgresql.cluster().database()
        cases += _journal(name, state)
    return cases, _end_to_end()


def _journal(name: str, state: str) -> list[Journalled]:
    """In a process of its own, whose CPU time is read."""
    directory = temporary_directory("bench-storage-beside")
    directory.chmod(0o700)
    command = [sys.executable, "-m", "bench.storage", state, str(directory)]
    output = json.loads(run(command, cwd=HERE.parent, stdout=PIPE, check=True).stdout)
    return [Journalled(name, *row) for row in output]


def _end_to_end() -> EndToEnd:
    prosody = BenchProsody(tls=True)
    proxy = BenchProxy(prosody, tls=True, rooms={"history": 100_000})
    database = proxy.directory / "state" / "state.sqlite"
    room = f"room@{prosody.muc}"
    target = {"port": proxy.port, "domain": prosody.domain, "tls": prosody.tls}
    with stopping([prosody.process, proxy.process]):
        proxy.process.wait_for("state loaded")
        empty = used_bytes(database)
        result = generate(
            "fork",
            target=target,
            sender={**target, "port": prosody.port, "domain": prosody.sender_domain},
            sender_account=prosody.sender,
            accounts=prosody.accounts[:1],
            password=PASSWORD,
            sessions=2,
            room=room,
            message=message(room, "groupchat"),
            pids={"proxy": proxy.process.pid},
            phases={"paced": END_TO_END},
        )
    slices = result["phases"]["paced"]
    kept = _count(database)
    cpu = sum(part["cpu"]["proxy"] for part in slices) / (sum(part["count"] for part in slices) / 2)
    return EndToEnd(kept, result["bytes"], (used_bytes(database) - empty) / kept, cpu * 1e6)


def _count(database: Path) -> int:
    with Database(database).engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM messages").scalar() or 0)


# The process that journals --------------------------------------------------------------------------------------------


async def _written(journal: SQLJournal) -> None:
    """Wait until all that was said so far is on disk, for the next turn: who hears of it says nothing in the same."""
    written: Deferred[None] = Deferred()

    def heard(_data: object) -> None:
        reactor.callLater(0, written.callback, None)

    journal.gated(heard)(b"")
    await written


async def _loads(state: str, directory: Path) -> list[tuple[str, float, float, float | None]]:
    journal = SQLJournal(reactor, TurnEnd(reactor))
    database = Database(state if "://" in state else Path(state))
    journal.start(open_state(Place(database, directory), reactor), print)
    sys.setswitchinterval(SWITCH_INTERVAL)
    rooms = [journal.room("alice@bench.test", f"room{number}@conference.bench.test") for number in range(ROOMS)]
    for room in rooms:
        room.membership(KeptMembership("alice", "alice"))
    results = []
    for name, together in LOADS.items():
        count, size = COUNT if together > 1 else COUNT // 10, _size(state)
        begin, cpu = time.monotonic(), cpu_seconds(os.getpid())
        turn = itertools.cycle(rooms)
        for _ in range(count // together):
            for room in itertools.islice(turn, together):
                sequence = room.next_sequence()
                raw = RAW.replace(b"00000001", b"%08d" % sequence)  # none like another: equal ones are stored once
                room.message_kept(KeptMessage(sequence, time.time(), raw, False, f"stanza-id-{sequence:020}"))
            await _written(journal)
        elapsed, cpu = (time.monotonic() - begin) / count, (cpu_seconds(os.getpid()) - cpu) / count
        grown = _size(state)
        # what there is once weighs on few messages: only the many are weighed
        each = (grown - size) / count if grown is not None and size is not None and together > 1 else None
        results.append((name, elapsed * 1e6, cpu * 1e6, each))
    await journal.stop()
    return results


def _size(state: str) -> int | None:
    return used_bytes(Path(state)) if "://" not in state else None


def main() -> None:
    state, directory = sys.argv[1], Path(sys.argv[2])

    async def work(_reactor: Any) -> None:
        print(json.dumps(await _loads(state, directory)))

    react(lambda reactor: Deferred.fromCoroutine(work(reactor)))


if __name__ == "__main__":
    main()
