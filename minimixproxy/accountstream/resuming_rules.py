"""What is done when an account stream's connection breaks and the stream can be resumed. `lifecycle.py` says when."""

from __future__ import annotations

from math import inf

from twisted.internet.defer import Deferred, succeed

from minimixproxy.accountstream.attempt import Attempt, Opened
from minimixproxy.accountstream.lifecycle_rules import OPENING_TIMEOUT, Rules
from minimixproxy.accountstream.phases import Input
from minimixproxy.counting.resumptions import RESUMPTIONS
from minimixproxy.timing.backoff import LASTING, SOON

RESUMING_TIMEOUT = 300.0  # seconds from the end of a connection, if the server keeps the stream for so long
LEAVING_TIMEOUT = 10.0  # seconds for a stream to be resumed that nobody needs


class ResumingRules(Rules):
    """What one stream does from the end of a connection until there is another, or the stream is lost."""

    def _break(self, why: object) -> None:
        """Resume it at once, or in a while if that came to nothing, or was just now. What is sent meanwhile waits."""
        self._note(why)
        connection, self.connection, self.queued = self.connection, None, 0
        assert connection is not None and self.managed is not None
        connection.detach()
        connection.abort()
        longest = self.managed.longest_sleep
        patience = RESUMING_TIMEOUT if longest is None else min(longest, RESUMING_TIMEOUT)
        self._resume_until = self._clock.seconds() + patience
        lasted = self._clock.seconds() - self._resumed >= LASTING
        if not self.managed.progressed():
            self._rest()
        elif lasted:
            self._tries.reset()
            self.happens(Input.TIME_UP)
        else:
            self._rest(SOON)

    def _rest(self, longest: float = inf) -> None:
        now = self._clock.seconds()
        assert self.managed is not None
        wait = min(self._tries.next(), longest)
        self._due = min(now + wait, self._resume_until) if self.managed.resumable else now
        self._stay(max(0.0, self._due - now))

    def _try_again(self, why: object = None) -> None:
        """Stop the attempt. Time has to pass."""
        self._note(why)
        self._answered(trouble=True)
        self._end_opening()
        self._rest()

    def _line_up_to_resume(self, _: object) -> None:
        """Ask for a slot, unless it is too late, or the server knows it no more."""
        assert self.managed is not None
        remaining = self._resume_until - self._clock.seconds()
        if remaining <= 0 or not self.managed.resumable:
            self.happens(Input.TIME_UP)
            return
        self._stay(remaining)
        self._slot = self._line.turn(lambda: self.happens(Input.SLOT))
        self._slot.ask(urgent=True)

    def _resume(self, _: object) -> None:
        """Connect."""
        self._stay(OPENING_TIMEOUT)
        self._attempt = Attempt(self._stream.account, self._connect, self.happens, self.managed)
        self._attempt.start()

    def _keep_to_resume(self, data: bytes) -> None:
        """The stanza waits behind what is not acknowledged."""
        assert self.managed is not None
        self.managed.keep(data)
        if self.managed.full:
            self.happens(Input.TOO_MUCH)

    def _go_on(self, opened: Opened) -> None:
        """Send what is not acknowledged, and what waits. Nobody is told."""
        RESUMPTIONS.count("account", "success")
        self._changed = self._resumed = self._clock.seconds()
        self.connection = connection = self._stream.connected(opened, self.managed)
        self._answered()
        self._end_opening()
        connection.attach()
        connection.send_again()
        try:
            if self.connection is connection:
                self._stream.resumed()
        finally:
            connection.xmlstream.release()

    def _lose_and_begin(self, opened: Opened) -> None:
        """It is another stream: drop what waits; call `lost`, then go on as with any that has been opened."""
        RESUMPTIONS.count("account", "failure")
        self._stay(OPENING_TIMEOUT)
        self._bound = opened
        dropped = self._drop()
        self._stream.lost()
        dropped.over(self._stream.perhaps_lost)
        if self._bound is opened:  # nobody has closed it
            self.happens(Input.CONNECTED, opened)

    # Nothing comes of it, or nobody needs it

    def _lose_broken(self, _: object) -> None:
        """Drop what waits. The next wait is longer, or the first again if it was open for a minute. Call `lost`."""
        RESUMPTIONS.count("account", "failure")
        self.log.warn("account stream of {account} is not resumed: it is lost", account=self._stream.account)
        self._lose_open("it was not resumed")

    def _resume_to_leave(self, _: object) -> Deferred[None]:
        """Connect: rooms are to be told what waits, and the server is to keep nothing. Failures count no more."""
        self._backoff.reset()
        self._delay = 0.0
        self._stay(LEAVING_TIMEOUT)
        assert self.managed is not None
        self.managed.want_no_other()
        attempt, self._attempt = self._attempt, None  # it goes on
        self._end_opening()
        self._attempt = attempt or Attempt(self._stream.account, self._connect, self.happens, self.managed)
        if attempt is None:
            self._attempt.start()
        return succeed(None)

    def _leave(self, opened: Opened) -> None:
        """Send what waits; say goodbye."""
        managed = self.managed
        self._forget()
        connection = self._stream.connected(opened, managed)
        connection.xmlstream.silence()
        connection.xmlstream.release()
        connection.send_again()
        connection.say_goodbye()

    def _leave_new(self, opened: Opened) -> None:
        """The server keeps it no more: say goodbye to the one that it has bound."""
        self._forget().over()
        self._stream.connected(opened, None).say_goodbye()

    def _close_and_keep(self, data: bytes) -> None:
        """Stop what is under way. The stanza waits. Time has to pass since the last failure, if it has not yet."""
        self._forget().over()
        self._keep_and_wait(data)

    def _close_and_wait(self, _: object) -> None:
        """Stop what is under way. Time has to pass since the last failure, if it has not yet."""
        self._forget().over()
        self._wait()
