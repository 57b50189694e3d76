"""When the bookmarks of an account are read. Pure but for the clock handed in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.bookmarks.storage import NotAnswered
from minimixproxy.timing.backoff import Backoff
from minimixproxy.timing.clock import Clock, Timer

DEBOUNCE = 0.5  # seconds from the first sign of a change to the reading
FIRST_RETRY = 30.0  # seconds, about, to another reading after one without an answer
MAX_BROKEN = 3  # readings in a row that a stream did not survive
LONGEST_IDLE = 86400.0  # seconds, about, between readings that open a stream for nothing
#: Bytes of a reading for which the next one does not wait; of those beyond, how many make a second of it; and the
#: longest such wait. Each write of a client calls for a reading, and large ones take a tenth of a second.
FREE, BYTES_PER_SECOND, LONGEST_PAUSE = 8 * 1024, 16 * 1024, 600.0


class ReadAccount(Protocol):
    """The account, as far as it matters for when to read."""

    @property
    def bare(self) -> str:
        """Its bare JID."""

    @property
    def stream_jid(self) -> str:
        """The full JID of the account stream; "" while it is not open."""

    @property
    def rooms(self) -> Collection[str]:
        """The rooms that it is in, or about to be."""

    @property
    def sessions(self) -> Collection[object]:
        """The clients that are connected."""

    def requests_done(self) -> None:
        """The account stream is not needed for bookmarks any more."""


class BookmarkPoller:
    """Never two readings at once; what changes during one calls for another.

    `read` returns how many bytes that took: the more, the later is the next. It raises `NotAnswered` if the stream
    ended first. One that ends each time is not tried for ever: it holds the account's rooms. While the account is in a
    room its bookmarks are read every `interval()` seconds; while it has no client either, at longer and longer
    intervals, for that opens a stream.
    """

    log = Logger()

    def __init__(
        self, account: ReadAccount, interval: Callable[[], float], clock: Clock, read: Callable[[], Awaitable[int]]
    ) -> None:
        self._account = account
        self._interval = interval
        self._read = read
        self._clock = clock
        self._not_before = 0.0  # the next one
        self._soon = Timer(clock)
        self._later = Timer(clock)
        self._working: Deferred[None] | None = None
        self._again = False
        self._stopped = False
        self._was_open = False  # the stream, when the reading began
        self._broken = 0
        self._unread = False  # the last reading failed
        self._retries = Backoff(FIRST_RETRY, lambda: max(FIRST_RETRY, interval()))
        self._idle = Backoff(interval, LONGEST_IDLE)

    @property
    def busy(self) -> bool:
        """Whether something is being read, or about to be."""
        return self._working is not None or self._soon.running

    def news(self, delay: float = DEBOUNCE) -> None:
        """Something may have changed: read in a moment, however often one tried in vain."""
        self._broken = 0
        if not self._stopped and not self._soon.running:
            self._soon.start(max(delay, self._pause), self.now)

    def opened(self) -> None:
        """The stream is open: read, if that is not what it was opened for."""
        if self._working is None and self._broken < MAX_BROKEN:
            self.now()

    def idle(self) -> None:
        """Nothing happens for now: read some time later."""
        if not self._stopped:
            self._later.start(self._idle.next(), self._due)

    def now(self) -> None:
        """Read, or read again when the reading under way is done."""
        if self._stopped:
            return
        self._soon.stop()
        if self._working is not None:
            self._again = True
            return
        if self._pause > 0:
            self._soon.start(self._pause, self.now)
            return
        self._was_open = bool(self._account.stream_jid)
        self._working = Deferred()  # for a reading that ends at once
        self._working = Deferred.fromCoroutine(self._reading())
        self._working.addCallbacks(self._succeeded, self._failed)
        self._working.addBoth(self._ended)

    async def _reading(self) -> None:
        size = await self._read()
        pause = min(LONGEST_PAUSE, max(0, size - FREE) / BYTES_PER_SECOND)
        self._not_before = self._clock.seconds() + pause

    @property
    def _pause(self) -> float:
        """Seconds to the next reading, at least."""
        return max(0.0, self._not_before - self._clock.seconds())

    def stop(self) -> None:
        """Read no more."""
        self._stopped = True
        self._soon.stop()
        self._later.stop()

    def _succeeded(self, _result: None) -> None:
        self._broken, self._unread = 0, False
        self._retries.reset()
        self._wait(self._interval())

    def _failed(self, failure: Failure) -> None:
        self._unread = True
        if failure.check(NotAnswered):
            self._broken += self._was_open
            self.log.info(
                "{account}: the server does not answer about bookmarks, asked again later", account=self._account.bare
            )
            if self._broken == MAX_BROKEN:
                self.log.error("{account}: its stream ends whenever bookmarks are read", account=self._account.bare)
        else:
            self.log.failure("in the bookmarks of {account}", failure, account=self._account.bare)
        self._wait(self._retries.next())

    def _wait(self, delay: float) -> None:
        if self._stopped:
            return
        if self._account.rooms or self._account.sessions:
            self._idle.reset()
            self._later.start(delay, self._due)
        else:
            self.idle()

    def _ended(self, _result: None) -> None:
        self._working = None
        if self._stopped:
            return
        if self._again:
            self._again = False
            self.news()
        else:
            self._account.requests_done()

    def _due(self) -> None:
        if self._broken < MAX_BROKEN and (self._account.stream_jid or self._opens_stream):
            self.now()
        else:
            self._wait(self._interval())

    @property
    def _opens_stream(self) -> bool:
        """Whether a stream is to be opened for a reading: not if rooms have it opened anyway, or clients tell news."""
        return not self._account.rooms and (self._unread or not self._account.sessions)
