"""Going on with a session's stream to its server on another connection (XEP-0198 §5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.python.failure import Failure

from minimixproxy.c2s.errors import UpstreamError, UpstreamRefused, UpstreamUnreachable
from minimixproxy.c2s.transport.peers import Peer
from minimixproxy.c2s.upstream.connecting import Login, open_stream
from minimixproxy.c2s.upstream.managing import NotResumed, resume
from minimixproxy.logs.logger import Logger
from minimixproxy.stream_management.handled import Handled
from minimixproxy.timing.clock import Clock
from minimixproxy.wire.xmlstream import FramedXmlStream

WAITS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before an attempt; the last one again and again
ANSWER_WITHIN = 15.0  # seconds from a login to the answer whether the stream is resumed
LONGEST = 300.0  # seconds for all of them, if the server does not say how long it waits
REFUSALS = 4  # attempts in a row that nobody takes: the server is down, and streams do not outlive it

#: Logs in for a client, whose address the server may be told.
Connect = Callable[[Login, Peer], Awaitable[FramedXmlStream]]


class Resumption(NamedTuple):
    """What is to be resumed: its id, for how many seconds, and what is handled of it."""

    id: str
    max: int | None
    handled: Handled


class Reconnecting:
    """Tries again and again until the stream is resumed, the server will not, or there was time enough.

    `name`: the session's. `connect` logs in. `resumed` gets the connection, with what the server sends held (see
    `FramedXmlStream.keep`), and how many stanzas it has handled; `failed` is called once if that does not come to be,
    with how many it had handled, or None if it does not say so.
    """

    log = Logger()

    __slots__ = ("_connect", "_failed", "_name", "_resumed", "_work")

    def __init__(
        self,
        name: str,
        connect: Callable[[], Awaitable[FramedXmlStream]],
        resumed: Callable[[FramedXmlStream, int], None],
        failed: Callable[[int | None], None],
    ) -> None:
        self._name = name
        self._connect = connect
        self._resumed = resumed
        self._failed = failed
        self._work: Deferred[None] | None = None

    def start(self, what: Resumption, clock: Clock, language: str) -> None:
        """Begin. `language`: of the client's stream."""
        self.log.info("{name}: the server is lost, its stream is to be resumed", name=self._name)
        self._work = Deferred.fromCoroutine(self._try(what, clock, language))
        self._work.addErrback(self._fault)

    def stop(self) -> None:
        """Give it up without a word."""
        work, self._work = self._work, None
        if work is not None:
            work.cancel()

    async def _try(self, what: Resumption, clock: Clock, language: str) -> None:
        until = clock.seconds() + (LONGEST if what.max is None else min(LONGEST, what.max))
        attempt, refusals, handled = 0, 0, None
        while clock.seconds() <= until and refusals < REFUSALS:
            await _wait(clock, WAITS[min(attempt, len(WAITS) - 1)])
            attempt += 1
            try:
                stream, h = await self._attempt(what, clock, language)
            except (NotResumed, UpstreamRefused) as error:
                self.log.info("{name}: {error}", name=self._name, error=str(error))
                handled = error.h if isinstance(error, NotResumed) else None
                break
            except UpstreamError as error:
                self.log.debug("{name}: not resumed yet: {error}", name=self._name, error=str(error))
                refusals = refusals + 1 if isinstance(error.__cause__, ConnectionRefusedError) else 0
            else:
                self._work = None
                self.log.info("{name}: the stream to the server is resumed", name=self._name)
                self._resumed(stream, h)
                return
        self._work = None
        self._failed(handled)

    async def _attempt(self, what: Resumption, clock: Any, language: str) -> tuple[FramedXmlStream, int]:
        stream = await self._connect()
        try:
            answer = Deferred.fromCoroutine(_resume(stream, what, language))
            return stream, await answer.addTimeout(ANSWER_WITHIN, clock, onTimeoutCancel=_timed_out)
        except BaseException:
            stream.transport.abortConnection()
            raise

    def _fault(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self.log.failure("while a stream to a server was resumed", failure)
            self._work = None
            self._failed(None)


async def _resume(stream: FramedXmlStream, what: Resumption, language: str) -> int:
    await open_stream(stream, language or None)
    # From here on it is `h` as it is told now that counts, whatever is handled before the answer comes.
    what.handled.resume()
    return await resume(stream, what.id, what.handled.h)


def _timed_out(_result: Any, timeout: float) -> Any:
    raise UpstreamUnreachable(f"no answer within {timeout:g} seconds")


async def _wait(clock: Clock, seconds: float) -> None:
    if seconds:
        waiting: Deferred[None] = Deferred(lambda _waiting: call.cancel())
        call = clock.callLater(seconds, waiting.callback, None)
        await waiting
