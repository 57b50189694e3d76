"""What is done on the way from one phase of an account stream's life to the next. `lifecycle.py` says when."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred, succeed

from minimixproxy.accountstream.attempt import Attempt, Connect, Opened
from minimixproxy.accountstream.connection import Connection
from minimixproxy.accountstream.managed_stream import ManagedStream
from minimixproxy.accountstream.phases import Input, Phase
from minimixproxy.logs.logger import Logger
from minimixproxy.timing.backoff import Backoff
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.timing.lines import Line, Place

LONGEST_URGENT_WAIT = 5.0  # seconds from a failure to the next attempt, if somebody waits
OPENING_TIMEOUT = 60.0  # seconds from the connection to the bound resource
STABLE = 60.0  # seconds that a stream has to stay open for earlier failures to count no more
MAX_QUEUED = 6 * 1024 * 1024  # bytes waiting for the stream to open, or for a server that does not read


class Told(Protocol):
    """Who is told how it goes; an `AccountStream` is one."""

    account: str

    def attached(self) -> None:
        """There is a connection, on which nothing was sent yet: not for one that was resumed."""

    def opened(self) -> None:
        """The stream is open, and all that waited was sent."""

    def resumed(self) -> None:
        """The stream is open as before."""

    def lost(self) -> None:
        """It ended otherwise than by `close`, or could not be opened."""

    def refused(self) -> None:
        """The credential was refused."""

    def perhaps_lost(self, stanza: bytes) -> None:
        """It was sent on the stream that was lost, and not acknowledged."""

    def send(self, data: bytes) -> None:
        """Judge a stanza that has waited once more, by what this server takes, and send it."""

    def managed(self, opened: Opened) -> ManagedStream | None:
        """Return what is kept of a stream for other connections, if there is stream management."""

    def connected(self, opened: Opened, managed: ManagedStream | None) -> Connection:
        """Return the connection, not attached yet."""


class Fault(NamedTuple):
    """What has gone wrong last, "" for nothing, and when: seconds of the clock."""

    what: str
    when: float


class Waits(NamedTuple):
    """How long to wait from failure to failure: to open the stream, and to resume it."""

    to_open: Backoff
    to_resume: Backoff


class Dropped(NamedTuple):
    """What was under way when a stream was given up. `waiting`: for what was sent to be acknowledged."""

    managed: ManagedStream | None
    waiting: list[Callable[[], None]]

    def over(self, told: Callable[[bytes], None] = lambda _stanza: None) -> None:
        """Call who waits; before that `told`, with each stanza that was sent and not acknowledged."""
        if self.managed is not None:
            for stanza in tuple(self.managed.unacknowledged):
                told(stanza)
            self.managed.unacknowledged.give_up()
        for call in self.waiting:
            call()


class Rules:
    """What one stream has, and does.

    A rule is called at the next phase. What it calls may lead on at once, so nothing of the rule comes after that. Its
    docstring is what the drawing of the table says.
    """

    log = Logger()

    def __init__(self, stream: Told, connect: Connect, clock: Clock, line: Line, waits: Waits) -> None:
        self.phase = Phase.CLOSED
        self.connection: Connection | None = None  # while OPEN or CONGESTED
        self.managed: ManagedStream | None = None  # the same, and while it is to be resumed
        self.queued = 0  # bytes that wait
        self._stream = stream
        self._connect = connect
        self._clock = clock
        self._line = line
        self._backoff, self._tries = waits
        self._delay = 0.0  # seconds from the last failure to the next attempt
        self._changed = clock.seconds()  # when the last attempt failed, or the stream opened, or ended
        self._due = 0.0  # when WAITING, HURRYING or BROKEN is over
        self._resume_until = 0.0  # from BROKEN to RESUMING
        self._resumed = -inf  # when a stream was, the last time
        self._timer = Timer(clock)  # of this phase: it gives TIME_UP, and the next phase stops it
        self._queue: list[bytes] = []  # from HURRYING to OPENING
        self._waiting: list[Callable[[], None]] = []  # the same: for what is in it to be acknowledged; CONGESTED: read
        self.fault = Fault("", 0.0)
        self._slot: Place | None = None  # from IN_LINE to OPENING, from TO_RESUME to RESUMING
        self._attempt: Attempt | None = None  # while OPENING, RESUMING or LEAVING
        self._bound: Opened | None = None  # while those are told who have lost the stream that it follows

    @property
    def account(self) -> str:
        """Whose stream it is, for the log."""
        return self._stream.account

    def happens(self, what: Input, with_it: Any = None) -> Any:
        """Go on to the phase that follows, and do what is to be done on the way; return what that returns."""
        raise NotImplementedError

    @property
    def opens_in(self) -> float:
        """Seconds until it lines up for a slot; 0 if it does not wait for time to pass."""
        waits = self.phase in (Phase.WAITING, Phase.HURRYING, Phase.BROKEN)
        return max(0.0, self._due - self._clock.seconds()) if waits else 0.0

    @property
    def backlog(self) -> int:
        """Bytes that wait for a server that does not read, or that it has not acknowledged."""
        unacknowledged = self.managed.unacknowledged.size if self.managed is not None else 0
        return max(unacknowledged, self.queued) if self.phase is Phase.CONGESTED else unacknowledged

    def when_acknowledged(self, call: Callable[[], None]) -> None:
        """Call once the server has acknowledged all that was sent so far; at once if it does not do so.

        And if the stream is lost, when those that were to be told of that were.
        """
        if self._queue:
            self._waiting.append(call)
        elif self.managed is not None:
            self.managed.unacknowledged.when_arrived(call)
        else:
            call()

    def when_taken(self, call: Callable[[], None]) -> None:
        """Do as `when_acknowledged`; if the server does not acknowledge, call once it has read all but little."""
        if self.phase is Phase.CONGESTED and self.managed is None:
            self._waiting.append(call)
        else:
            self.when_acknowledged(call)

    # The way there

    def _keep(self, data: bytes) -> bool:
        """The stanza waits."""
        self.queued += len(data)
        if self.queued > MAX_QUEUED:
            self.happens(Input.TOO_MUCH)
            return False
        self._queue.append(data)
        return True

    def _keep_and_wait(self, data: bytes) -> None:
        """The stanza waits. Time has to pass since the last failure, if it has not yet."""
        if self._keep(data):
            self._wait()

    def _keep_and_line_up(self, data: bytes) -> None:
        """The stanza waits. Overtake those that are in no hurry."""
        if self._keep(data):
            self._line_up()

    def _wait(self, _: object = None) -> None:
        """Time has to pass since the last failure, if it has not yet."""
        delay = self._delay if self.phase is Phase.WAITING else min(self._delay, LONGEST_URGENT_WAIT)
        self._due = self._changed + delay
        remaining = self._due - self._clock.seconds()
        if remaining > 0:
            self._stay(min(remaining, delay))
        else:
            self.happens(Input.TIME_UP)

    def _stay(self, seconds: float) -> None:
        self._timer.start(seconds, lambda: self.happens(Input.TIME_UP))

    def _line_up(self, _: object = None) -> None:
        """Ask for a slot."""
        if self._slot is None:
            self._slot = self._line.turn(lambda: self.happens(Input.SLOT))
        self._slot.ask(urgent=self.phase is Phase.FIRST_IN_LINE)

    def _open(self, _: object) -> None:
        """Connect."""
        self._stay(OPENING_TIMEOUT)
        self._attempt = Attempt(self._stream.account, self._connect, self.happens)
        self._attempt.start()

    def _begin(self, opened: Opened) -> None:
        """Send all that waited; call `opened`."""
        self._changed = self._clock.seconds()
        self.managed = self._stream.managed(opened)
        self.connection = connection = self._stream.connected(opened, self.managed)
        queue, self._queue, self.queued = self._queue, [], 0
        waiting, self._waiting = self._waiting, []
        self._bound = None
        self._answered()
        self._end_opening()
        connection.attach()
        self._stream.attached()
        for data in queue:
            if self.connection is connection:  # so much may have waited that it is given up again
                self._stream.send(data)
        for call in waiting:
            self.when_acknowledged(call)
        try:
            if self.connection is connection:
                self._stream.opened()
        finally:
            connection.xmlstream.release()

    def _answered(self, *, trouble: bool = False) -> None:
        """The attempt has come to its end: its line learns from how long that took, or that it was too much."""
        if self._slot is not None:
            self._slot.answered(trouble=trouble)

    # While it is open

    def _write(self, data: bytes) -> None:
        """The stanza is sent, and kept until it is acknowledged."""
        assert self.connection is not None
        self.connection.send(data)
        if self.managed is not None and self.managed.full:
            self.happens(Input.TOO_MUCH)

    def _write_counted(self, data: bytes) -> None:
        """The stanza waits in the transport."""
        self.queued += len(data)
        if self.queued > MAX_QUEUED:
            self.happens(Input.TOO_MUCH)
        else:
            self._write(data)

    def _count_anew(self, _: object) -> None:
        """Count from 0 what waits."""
        self.queued = 0

    def _all_read(self, _: object) -> None:
        """Nothing waits any more: call who waits for that."""
        self.queued = 0
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()

    # The way back

    def _lose(self, why: object = None) -> None:
        """Drop what waits. The next wait is longer. Call `lost`."""
        self._delay = self._backoff.next()
        self._changed = self._clock.seconds()
        self._note(why)
        dropped = self._forget()
        self._stream.lost()
        dropped.over(self._stream.perhaps_lost)

    def _lose_unopened(self, why: object) -> None:
        """Drop what waits. The next wait is longer. Call `lost`."""
        self._answered(trouble=True)
        self._lose(why)

    def _lose_late(self, _: object) -> None:
        """Stop the attempt, and drop what waits. The next wait is longer. Call `lost`."""
        self.log.warn("account stream of {account} did not open in time", account=self._stream.account)
        self._lose_unopened("it did not open in time")

    def _lose_overfull(self, _: object) -> None:
        """Stop, and drop what waits. The next wait is longer. Call `lost`."""
        self.log.warn(
            "too much waits for the account stream of {account} to open: all of that is dropped",
            account=self._stream.account,
        )
        self._lose("too much waited for it to open")

    def _lose_open(self, why: object = None) -> None:
        """The next wait is longer, or the first again if it was open for a minute. Call `lost`."""
        if self._clock.seconds() - self._changed >= STABLE:
            self._backoff.reset()
        self._lose(why)

    def _abort(self, _: object) -> None:
        """End the connection at once; the next wait as for one that has ended. Call `lost`."""
        self._end_at_once("does not read")

    def _abort_unacknowledged(self, _: object) -> None:
        """End the connection at once; the next wait as for one that has ended. Call `lost`."""
        self._end_at_once("does not acknowledge")

    def _end_at_once(self, fault: str) -> None:
        self.log.warn(
            "the server {fault} what {account} sends: its account stream is given up",
            account=self._stream.account,
            fault=fault,
        )
        connection = self.connection
        assert connection is not None
        self._lose_open(f"the server {fault} what is sent")
        connection.abort()

    def _refuse(self, why: object) -> None:
        """Drop what waits; call `refused`."""
        self._note(why)
        dropped = self._forget()
        self._stream.refused()
        dropped.over(self._stream.perhaps_lost)

    def _note(self, why: object) -> None:
        """Note what has gone wrong, for whoever asks."""
        if isinstance(why, str):
            self.fault = Fault(why, self._clock.seconds())

    def _is_refused(self, why: object) -> None:
        """Whoever restores the account knows it."""
        self._note(why)

    def _tell_soon(self, _: object) -> None:
        """Drop the stanza."""  # and `refused` is not called while somebody is sending
        self._stay(0)

    def _tell(self, _: object) -> None:
        """Call `refused`."""
        self._stream.refused()

    def _close(self, _: object = None) -> Deferred[None]:
        """Drop what waits, and stop what is under way. Failures count no more."""
        self._backoff.reset()
        self._delay = 0.0
        self._forget().over()
        return succeed(None)

    def _close_open(self, _: object) -> Deferred[None]:
        """Say goodbye and end the connection, in 10 s at most. Failures count no more."""
        self._backoff.reset()
        self._delay = 0.0
        connection = self.connection
        assert connection is not None
        dropped = self._forget()
        gone = connection.say_goodbye()
        for call in dropped.waiting:
            call()
        return gone

    def _forget(self) -> Dropped:
        """Have nothing go on, and nothing wait; return what did."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.detach()
        self._end_opening()
        return self._drop()

    def _drop(self) -> Dropped:
        dropped = Dropped(self.managed, self._waiting)
        self.managed, self._waiting = None, []
        self._queue, self.queued = [], 0
        return dropped

    def _end_opening(self) -> None:
        slot, self._slot = self._slot, None
        attempt, self._attempt = self._attempt, None
        bound, self._bound = self._bound, None
        if slot is not None:
            slot.end()
        if attempt is not None:
            attempt.stop()
        if bound is not None:
            bound.xmlstream.transport.abortConnection()
