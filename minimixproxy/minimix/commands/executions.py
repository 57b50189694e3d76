"""Ad-hoc commands (XEP-0050): executions of one or several stages, begun and finished by one asker. Pure.

The life of an execution:

    (none) --execute--> EXECUTING, at a stage      (none) --execute--> completed at once
    EXECUTING --next--> EXECUTING, at the stage that follows from what was submitted
    EXECUTING --prev--> EXECUTING, at the stage before, with what was submitted there
    EXECUTING --complete--> completed              EXECUTING --cancel--> canceled
    EXECUTING --complete--> waiting for somebody else, with no answer yet --> completed
    EXECUTING --`TIMEOUT` of silence, the asker gone, crowded out--> expired

`execute` amid an execution is `next` where that is allowed, else `complete`. What a stage does not allow is an error,
and changes nothing. While it waits, only `cancel` is allowed; the request that it waits for is answered all the same.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.words.xish import domish

from minimixproxy.logs.logger import Logger
from minimixproxy.namespaces import NS_COMMANDS, NS_DATA, NS_STANZAS
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.wire.stanza import Stanza, escape
from minimixproxy.wire.trees import child
from minimixproxy.xep.data_forms import BadForm, Form, Values

TIMEOUT = 600.0  # seconds between two steps of an execution
MAX_OPEN = 32  # executions of one account; beyond that the one idle longest ends
MAX_BYTES = 1024 * 1024  # of the forms of these executions: the same then
MAX_ENDED = 64  # of which it is remembered that they were

_ACTIONS = frozenset({"execute", "cancel", "prev", "next", "complete"})


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a command: what to tell, and perhaps a form (as bytes) of results."""

    note: str
    form: bytes = b""
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """A form to be filled in. `then` leads on (action `next`), `finish` ends the command (`complete`): one or both."""

    form: Form
    then: Callable[[Values], Stage | Done] | None = None
    finish: Callable[[Values], Done | Deferred[Done]] | None = None


class Command(NamedTuple):
    """A command on offer; `begin` is given who asks."""

    node: str
    name: str
    begin: Callable[[object], Stage | Done]


class CommandError(Exception):
    """A request that cannot be met; becomes a stanza error with a condition of XEP-0050 §4.4."""

    def __init__(self, kind: str, condition: str, specific: str = "", text: str = "") -> None:
        super().__init__(specific or condition)
        self._parts = kind, condition, specific, text

    def to_bytes(self) -> bytes:
        """Return the `<error/>`."""
        kind, condition, specific, text = self._parts
        inner = b"<%b xmlns='%b'/>" % (condition.encode(), NS_STANZAS.encode())
        if text:
            inner += b"<text xmlns='%b' xml:lang='en'>%b</text>" % (NS_STANZAS.encode(), escape(text))
        if specific:
            inner += b"<%b xmlns='%b'/>" % (specific.encode(), NS_COMMANDS.encode())
        return b"<error type='%b'>%b</error>" % (kind.encode(), inner)


def _bad(specific: str, text: str) -> CommandError:
    return CommandError("modify", "bad-request", specific, text)


@dataclass(slots=True)
class _Execution:
    """One command under way. `stages`: those shown so far, the present one last."""

    id: str
    asker: object
    command: Command
    stages: list[Stage]
    deadline: float
    cost: int = 0  # bytes of the forms shown so far
    waits: bool = False  # for somebody else, with what was submitted at the last stage
    asker_gone: bool = False


class _Awaited(NamedTuple):
    """There is no answer yet."""

    execution: _Execution
    done: Deferred[Done]


class Commands:
    """The commands of one responder, the `account`, and their executions under way."""

    log = Logger()

    def __init__(self, account: str, commands: Sequence[Command], clock: Clock) -> None:
        self._account = account  # for the log
        self.offered = {command.node: command for command in commands}
        self._clock = clock
        self._open: OrderedDict[str, _Execution] = OrderedDict()  # the one idle longest first
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._waiting: list[_Execution] = []  # among them such as have ended for all others
        self._timer = Timer(clock)

    def __len__(self) -> int:
        """How many executions are under way."""
        return len(self._open)

    def answer(self, asker: object, iq: Stanza, reply: Callable[[bytes], None]) -> None:
        """Call `reply` with the children of the reply to an IQ with a `<command/>`: that again, or an `<error/>`.

        Most often at once; later where somebody else has to be asked; never if the asker goes meanwhile.
        """
        element = iq.payload(NS_COMMANDS, "command")
        try:
            if element is None or iq.get("type") != "set":
                raise CommandError("modify", "bad-request", text="a <command/> in an IQ of type set is expected")
            answer = self._answer(asker, element)
        except CommandError as error:
            answer = error.to_bytes()
        if isinstance(answer, bytes):
            reply(answer)
        else:
            self._wait_for(*answer, reply)

    def _answer(self, asker: object, element: domish.Element) -> bytes | _Awaited:
        command = self.offered.get(element.getAttribute("node", ""))
        if command is None:
            raise CommandError("cancel", "item-not-found", text="there is no such command")
        action = element.getAttribute("action", "execute")
        if action not in _ACTIONS:
            raise _bad("malformed-action", "there is no such action")
        execution_id = element.getAttribute("sessionid")
        if execution_id is None:
            if action != "execute":
                raise _bad("bad-action", "the command has not begun: execute it first")
            return self._begin(asker, command)
        return self._go_on(self._execution(execution_id, asker, command), action, element)

    def _begin(self, asker: object, command: Command) -> bytes:
        execution = _Execution(secrets.token_hex(8), asker, command, [], 0.0)
        return self._shown(execution, command.begin(asker))

    def _execution(self, execution_id: str, asker: object, command: Command) -> _Execution:
        """Return the execution of that id: it belongs to one asker and one command."""
        execution = self._open.get(execution_id)
        if execution is not None and execution.asker is asker and execution.command is command:
            return execution
        if execution is None and execution_id in self._ended:
            raise CommandError("cancel", "not-allowed", "session-expired", "the command has ended: begin again")
        raise _bad("bad-sessionid", "there is no such session of yours")

    # Stages ----------------------------------------------------------------------------------------------------

    def _go_on(self, execution: _Execution, action: str, element: domish.Element) -> bytes | _Awaited:
        if action == "cancel":
            self._end(execution)
            return _command(execution, b"canceled", b"")
        if execution.waits:
            raise _bad("bad-action", "the command is being done: wait for its answer")
        stage = execution.stages[-1]
        allowed = _allowed(execution.stages)
        if action == "execute":
            action = _default(stage)
        if action not in allowed:
            raise _bad("bad-action", f"here one can {' or '.join(allowed)}")
        if action == "prev":
            execution.stages.pop()
            return self._shown(execution, execution.stages.pop())
        values = _submitted(stage, element)
        execution.stages[-1] = replace(stage, form=stage.form.filled(values))
        follow = stage.then if action == "next" else stage.finish
        assert follow is not None
        step = follow(values)
        return _Awaited(execution, step) if isinstance(step, Deferred) else self._shown(execution, step)

    def _wait_for(self, execution: _Execution, done: Deferred[Done], reply: Callable[[bytes], None]) -> None:
        execution.waits = True
        self._waiting.append(execution)
        self._wait(execution)
        account, command = self._account, execution.command.name

        def failed(failure: Failure) -> Done:
            self.log.failure("{account}: in the ad-hoc command {command}", failure, account=account, command=command)
            return Done("Something went wrong; the log of the proxy has it.", failed=True)

        def show(step: Done) -> None:
            self._waiting.remove(execution)
            if not execution.asker_gone:
                reply(self._shown(execution, step))

        def late(failure: Failure) -> None:
            self.log.failure("{account}: after the ad-hoc command {command}", failure, account=account, command=command)

        done.addErrback(failed)
        done.addCallback(show)
        done.addErrback(late)

    def _shown(self, execution: _Execution, step: Stage | Done) -> bytes:
        """Show the asker where the execution has come to, and wait for what it says to that."""
        if isinstance(step, Done):
            self._end(execution)
            kind = b"error" if step.failed else b"info"
            note = b"<note type='%b'>%b</note>" % (kind, escape(step.note))
            return _command(execution, b"completed", note + step.form)
        execution.stages.append(step)
        forms = [stage.form.to_bytes() for stage in execution.stages]
        execution.cost = sum(map(len, forms))
        self._wait(execution)
        actions = b"".join(b"<%b/>" % action.encode() for action in _allowed(execution.stages))
        return _command(
            execution,
            b"executing",
            b"<actions execute='%b'>%b</actions>%b" % (_default(step).encode(), actions, forms[-1]),
        )

    # The table -------------------------------------------------------------------------------------------------

    def _wait(self, execution: _Execution) -> None:
        execution.deadline = self._clock.seconds() + TIMEOUT
        self._open[execution.id] = execution
        self._open.move_to_end(execution.id)
        while len(self._open) > MAX_OPEN or (len(self._open) > 1 and self._bytes() > MAX_BYTES):
            self.log.info("{account}: too many ad-hoc commands are under way: the oldest ends", account=self._account)
            self._end(next(iter(self._open.values())))
        if not self._timer.running:
            self._timer.start(TIMEOUT, self._sweep)

    def _bytes(self) -> int:
        return sum(execution.cost for execution in self._open.values())

    def _end(self, execution: _Execution) -> None:
        self._open.pop(execution.id, None)
        self._ended[execution.id] = None
        if len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)
        if not self._open:
            self._timer.stop()

    def _sweep(self) -> None:
        now = self._clock.seconds()
        while self._open and (oldest := next(iter(self._open.values()))).deadline <= now:
            self._end(oldest)
        if self._open:
            self._timer.start(next(iter(self._open.values())).deadline - now, self._sweep)

    def asker_gone(self, asker: object) -> None:
        """End what this asker has begun."""
        for execution in self._waiting:
            execution.asker_gone = execution.asker_gone or execution.asker is asker
        for execution in [execution for execution in self._open.values() if execution.asker is asker]:
            self._end(execution)


def _allowed(stages: Sequence[Stage]) -> list[str]:
    """Return what may be done at the last of these stages, besides `cancel` and `execute`."""
    stage = stages[-1]
    possible = (("prev", len(stages) > 1), ("next", stage.then is not None), ("complete", stage.finish is not None))
    return [action for action, allowed in possible if allowed]


def _default(stage: Stage) -> str:
    return "next" if stage.then is not None else "complete"


def _submitted(stage: Stage, element: domish.Element) -> Values:
    """Return what was submitted; a form of type `cancel` counts as one of type `submit` (XEP-0050 §3.5.1)."""
    form = child(element, NS_DATA, "x")
    if form is None:
        raise _bad("bad-payload", "the form is missing")
    try:
        return stage.form.read(form)
    except BadForm as error:
        raise _bad("bad-payload", str(error)) from error


def _command(execution: _Execution, status: bytes, inner: bytes) -> bytes:
    return b"<command xmlns='%b' node='%b' sessionid='%b' status='%b' xml:lang='en'>%b</command>" % (
        NS_COMMANDS.encode(),
        escape(execution.command.node),
        execution.id.encode(),
        status,
        inner,
    )
