"""Everything that can happen to a few processes that hold accounts by one protocol, explored. Pure.

A process that sends a statement either waits for the answer, and has it; or it gives up, or its connection breaks: then
the statement is in the network, and is executed at any time later, or never, and the process goes on by another
connection. That is all, for the rest comes to the same: a statement that is executed late while its process waits is
as one that was sent late by a process that was paused; so is an answer that comes late; one that is lost is as one that
nobody waited for. Renewing and burying may be done at any time, to any row, by whoever decided so long ago: they have
no place in the network. What can be cleaned is cleaned at once: a row that has ended and holds nothing is as one that
is not there. A life of which its process has not heard is as one whose process crashed as it began. Who is told that it
has ended forgets what it believes, as one that crashes: it never writes again if no buried life ever does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from tests.cluster.lease_protocol import DONE, Answer, Database, Kind, Protocol, Statement


class Violation(AssertionError):
    """Something happened that must not."""


class Bounds(NamedTuple):
    """How much of a world is looked at. `lives`: of all processes together, `lines`: of each life."""

    processes: int = 2
    accounts: int = 1
    lives: int = 3
    epochs: int = 3
    lines: int = 2
    in_flight: int = 1
    in_order: bool = True  # a life's writes are executed in the order in which they were sent, or not at all


class Process(NamedTuple):
    """What one process believes: its number and its open connection (0: none yet), and the epochs of its accounts."""

    held: tuple[int, ...]
    number: int = 0
    line: int = 0


class Message(NamedTuple):
    """A statement on its way, which nobody waits for. `overtaken`: a later one of the same life was executed."""

    statement: Statement
    overtaken: bool = False


class World(NamedTuple):
    """All there is at one moment, and what has to be remembered in order to tell whether that is right."""

    db: Database
    processes: tuple[Process, ...]
    network: frozenset[Message] = frozenset()
    given: tuple[int, ...] = ()  # the highest epoch that each account ever had
    over: frozenset[int] = frozenset()  # the numbers of lives that were buried: who has one may be told at any time

    def with_process(self, number: int, process: Process) -> World:
        """Return it with this process instead of the one at that place. Which place that is does not matter."""
        changed = [*self.processes[:number], process, *self.processes[number + 1 :]]
        changed.sort()
        return World(self.db, tuple(changed), self.network, self.given, self.over)

    def with_network(self, network: frozenset[Message]) -> World:
        """Return it with these messages on their way. `_replace` takes thrice as long as this."""
        return World(self.db, self.processes, network, self.given, self.over)


Step = tuple[str, World]


class Explorer:
    """Looks at every world that can come of the empty one.

    There are far fewer databases than worlds: what a statement does to one, and what happens to its rows, is worked out
    once.
    """

    def __init__(self, protocol: Protocol, bounds: Bounds) -> None:
        self._protocol = protocol
        self._bounds = bounds
        self._nothing = Process((0,) * bounds.accounts)
        self._execute = cache(self._execution)
        self._of_rows = cache(self._happens_to_rows)

    def explore(self) -> int:
        """Return how many worlds there are. Raises `Violation` with the shortest way to the first bad one."""
        accounts = self._bounds.accounts
        first = World(Database(leases=(None,) * accounts), (self._nothing,) * self._bounds.processes)
        first = first._replace(given=(0,) * accounts)
        came_from: dict[World, tuple[World, str] | None] = {first: None}
        waiting = deque([first])
        while waiting:
            world = waiting.popleft()
            try:
                for did, after in self._steps(world):
                    if after not in came_from:
                        came_from[after] = world, did
                        waiting.append(after)
            except Violation as violation:
                raise Violation("\n".join([*_way(came_from, world), str(violation)])) from None
        return len(came_from)

    def _steps(self, world: World) -> Iterator[Step]:
        for number, process in enumerate(world.processes):
            yield from self._of_process(world, number, process)
        for message in world.network:
            rest = world.with_network(world.network - {message})
            yield f"lost: {_told(message.statement)}", rest
            for did, after, _answer in self._executed(rest, message):
                yield f"late: {did}", after
        yield from self._of_database(world)

    # A process ---------------------------------------------------------------------------------------------------

    def _of_process(self, world: World, number: int, process: Process) -> Iterator[Step]:
        if not process.number:
            yield from self._begun(world, number)
            return
        yield f"{process.number} crashes, or is told that it has ended", world.with_process(number, self._nothing)
        for statement in _decisions(process):
            yield from self._sent(world, number, statement)

    def _begun(self, world: World, number: int) -> Iterator[Step]:
        if world.db.numbers < self._bounds.lives:
            db, life = self._protocol.begin(world.db)
            _must(life not in world.over, f"one begins as {life}, which was buried")
            process = self._nothing._replace(number=life, line=1)
            yield f"one begins as {life}", world._replace(db=db).with_process(number, process)

    def _sent(self, world: World, number: int, statement: Statement) -> Iterator[Step]:
        """It is executed while its process waits, or that gives up and believes no more what it gives away."""
        for did, after, answer in self._executed(world, Message(statement)):
            if self._bounds.in_order and statement.kind in ("write", "release") and answer == DONE:
                after = after.with_network(_overtaken(world.network, statement))
            yield did, after.with_process(number, self._knows(world.processes[number], statement, answer))
        if len(world.network) < self._bounds.in_flight:
            process = world.processes[number]
            process = Process(process.held, process.number)
            if statement.kind == "release":
                process = _holds(process, statement.account, 0)
            sent = world.with_network(world.network | {Message(statement)})
            yield f"given up: {_told(statement)}", sent.with_process(number, process)

    def _knows(self, process: Process, by: Statement, answer: Answer) -> Process:
        """Return the process when it has the answer."""
        if answer.ended:
            return self._nothing
        if by.kind == "open":
            return process._replace(line=answer.value)
        if by.kind == "take":
            return _holds(process, by.account, answer.value)
        if by.kind == "release":
            return _holds(process, by.account, 0)
        if answer == DONE:
            return process
        return _holds(process, by.account, 0)._replace(line=0)  # its connection was replaced, or its lease

    # The database ------------------------------------------------------------------------------------------------

    def _of_database(self, world: World) -> Iterator[Step]:
        for number, renewed, without in self._of_rows(world.db):
            if renewed is not world.db:
                yield f"renewed: {number}", World(renewed, *world[1:])
            yield f"buried: {number}", World(without, *world[1:4], world.over | {number})

    def _happens_to_rows(self, db: Database) -> list[tuple[int, Database, Database]]:
        """Return for each life what there is when its row was renewed, and when it was buried."""
        protocol = self._protocol
        return [(row.number, protocol.renew(db, row), protocol.clean(protocol.bury(db, row))) for row in db.holders]

    def _executed(self, world: World, message: Message) -> Iterator[tuple[str, World, Answer]]:
        by = message.statement
        done = self._execute(world.db, by)
        if done is not None:
            did, db, clean, answer = done
            given = _checked(world, message, db, answer)
            yield did, World(clean, world.processes, world.network, given, world.over), answer

    def _execution(self, before: Database, by: Statement) -> tuple[str, Database, Database, Answer] | None:
        """Return what is told of it, the database after it and cleaned, and the answer; None if that is too far."""
        row = before.holder(by.number)
        if by.kind == "take" and before.epochs >= self._bounds.epochs:
            return None
        if by.kind == "open" and row is not None and row.line >= self._bounds.lines:
            return None
        db, answer = self._protocol.execute(before, by)
        said = answer.value or ("ended" if answer.ended else "refused")
        return f"{_told(by)} answered {said}", db, self._protocol.clean(db), answer


# What must be so -------------------------------------------------------------------------------------------------


def _checked(world: World, message: Message, db: Database, answer: Answer) -> tuple[int, ...]:
    """Return the highest epochs after a statement was executed. Raises `Violation`."""
    by = message.statement
    if by.kind in ("write", "release") and answer == DONE:
        _written(world, message)
    if by.kind != "take" or db.leases == world.db.leases:
        return world.given
    old, new = world.db.leases[by.account], db.leases[by.account]
    assert new is not None
    given = world.given[by.account]
    _must(new.epoch > given, f"an epoch comes again: {new.epoch} after {given}")
    _must(old is None or world.db.living(old.holder) is None, "an account is taken from a life that has not ended")
    return (*world.given[: by.account], new.epoch, *world.given[by.account + 1 :])


def _written(world: World, message: Message) -> None:
    """As epochs grow with each change of a lease, nobody else ever writes with this one, and nobody with an old one."""
    by = message.statement
    lease = world.db.leases[by.account]
    _must(by.number not in world.over, f"{by.number} writes, and was buried")
    _must(world.db.living(by.number) is not None, f"{by.number} writes, and has ended")
    _must(lease == (by.number, by.epoch), f"{by.number} writes with epoch {by.epoch}: what there is, is {lease}")
    _must(not message.overtaken, "an older write is executed after a newer one")


def _must(good: bool, otherwise: str) -> None:
    if not good:
        raise Violation(otherwise)


# Decisions, words and messages -----------------------------------------------------------------------------------


@cache
def _decisions(process: Process) -> list[Statement]:
    """Return what a process may send by what it believes."""
    if not process.line:
        return [Statement("open", process.number)]
    decisions = []
    for account, epoch in enumerate(process.held):
        kinds: tuple[Kind, ...] = ("write", "release") if epoch else ("take",)
        decisions += [Statement(kind, process.number, process.line, account, epoch) for kind in kinds]
    return decisions


def _holds(process: Process, account: int, epoch: int) -> Process:
    return Process((*process.held[:account], epoch, *process.held[account + 1 :]), process.number, process.line)


def _overtaken(network: frozenset[Message], by: Statement) -> frozenset[Message]:
    """Return it with what the same life has sent earlier about this account, and nobody has executed yet, marked."""
    return frozenset(
        one._replace(overtaken=True)
        if (one.statement.number, one.statement.account) == (by.number, by.account)
        else one
        for one in network
    )


@cache
def _told(by: Statement) -> str:
    about = f" account {by.account} epoch {by.epoch}" if by.kind in ("take", "write", "release") else ""
    return f"{by.kind} (number {by.number} line {by.line}{about})"


def _way(came_from: dict[World, tuple[World, str] | None], world: World) -> list[str]:
    way = []
    while (step := came_from[world]) is not None:
        world, did = step
        way.append(did)
    return way[::-1]
