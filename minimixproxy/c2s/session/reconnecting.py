"""Going on with a session's stream to its server on another connection (XEP-0198 §5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.python.failure import Failure

from minimixproxy.c2s.errors import UpstreamError, UpstreamRefused, UpstreamUnfit, UpstreamUnreachable
from minimixproxy.c2s.session.login_lines import Pace
from minimixproxy.c2s.transport.peers import Peer
from minimixproxy.c2s.upstream.connecting import Login, open_stream
from minimixproxy.c2s.upstream.managing import NotResumed, resume
from minimixproxy.counting.resumptions import RESUMPTIONS
from minimixproxy.logs.logger import Logger
from minimixproxy.stream_management.handled import Handled
from minimixproxy.timing.backoff import SOON
from minimixproxy.timing.clock import pause
from minimixproxy.timing.lines import Place
from minimixproxy.wire.xmlstream import FramedXmlStream

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


class Reconnectable(Protocol):
    """The session whose server is lost."""

    @property
    def login(self) -> Login:
        """What to log in with; another one once its client has shown to know that."""

    def connect(self, login: Login) -> Awaitable[FramedXmlStream]:
        """Log in."""

    def server_back(self, stream: FramedXmlStream, h: int) -> None:
        """Here is the connection, with what the server sends held (see `FramedXmlStream.keep`).

        `h`: how many stanzas it has handled.
        """

    def server_gone(self, handled: int | None) -> None:
        """It does not come to be. `handled`: how many stanzas the server had handled, if it says so."""

    def server_refuses(self) -> None:
        """Neither does it if the server takes the login no more."""


class Reconnecting:
    """Tries again and again until the stream is resumed, the server will not, or there was time enough.

    `name`: the session's; it is told once of the end. All sessions may have lost their server: each attempt has its
    turn in the domain's line (see `LoginLines`), where sessions whose clients are there are urgent.
    """

    log = Logger()

    __slots__ = ("_name", "_session", "_slot", "_urgent", "_work")

    def __init__(self, name: str, session: Reconnectable) -> None:
        self._name = name
        self._session = session
        self._work: Deferred[None] | None = None
        self._slot: Place | None = None
        self._urgent = False

    def start(self, what: Resumption, pace: Pace, language: str, *, urgent: bool, waits: bool = False) -> None:
        """Begin. `language`: of the client's stream. `waits`: the last connection was resumed, and did not last."""
        self.log.info("{name}: the server is lost, its stream is to be resumed", name=self._name)
        self._urgent = urgent
        self._work = Deferred.fromCoroutine(self._try(what, pace, language, waits=waits))
        self._work.addErrback(self._fault)

    def hurry(self) -> None:
        """The client is there again."""
        self._urgent = True
        if self._slot is not None:
            self._slot.ask(urgent=True)

    def stop(self) -> None:
        """Give it up without a word."""
        work, self._work = self._work, None
        if work is not None:
            work.cancel()

    async def _try(self, what: Resumption, pace: Pace, language: str, *, waits: bool) -> None:
        clock = pace.clock
        longest = LONGEST if what.max is None else min(LONGEST, what.max)
        until = clock.seconds() + longest
        if waits:
            await pause(clock, min(pace.waits.next(), SOON, longest / 2))
        refusals, handled = 0, None
        while clock.seconds() < until and refusals < REFUSALS:
            login = self._session.login
            try:
                await self._turn(pace, until)
                login = self._session.login  # its client may have come back meanwhile
                stream, h = await self._attempt(login, what, clock, language)
            except NotResumed as error:
                self._answered()
                self.log.info("{name}: {error}", name=self._name, error=str(error))
                handled = error.h
                break
            except UpstreamError as error:
                if isinstance(error.__cause__, ConnectionRefusedError):
                    refusals += 1  # nobody is there who could be too slow: the line learns nothing
                else:
                    refusals = 0
                    self._answered(trouble=not _is_final(error))
                if _is_final(error) and self._session.login is login:
                    self._refused(error)
                    return
                self.log.debug("{name}: not resumed yet: {error}", name=self._name, error=str(error))
            else:
                self._answered()
                self._work = None
                RESUMPTIONS.count("session", "success")
                self.log.info("{name}: the stream to the server is resumed", name=self._name)
                self._session.server_back(stream, h)
                return
            finally:
                self._end_turn()
            if refusals < REFUSALS:
                await pause(clock, pace.waits.next())
        self._work = None
        RESUMPTIONS.count("session", "failure")
        self._session.server_gone(handled)

    def _refused(self, error: UpstreamError) -> None:
        self._work = None
        RESUMPTIONS.count("session", "failure")
        self.log.info("{name}: the server refuses the login: {error}", name=self._name, error=str(error))
        self._session.server_refuses()

    async def _turn(self, pace: Pace, until: float) -> None:
        """Stand in line, until then at most."""
        turn: Deferred[None] = Deferred()
        self._slot = pace.line.turn(lambda: turn.callback(None))
        self._slot.ask(urgent=self._urgent)
        clock: Any = pace.clock
        await turn.addTimeout(until - clock.seconds(), clock, onTimeoutCancel=_never_in_turn)

    def _answered(self, *, trouble: bool = False) -> None:
        """The attempt is over: its line learns from how long that took, or that it was too much."""
        if self._slot is not None:
            self._slot.answered(trouble=trouble)

    def _end_turn(self) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            slot.end()

    async def _attempt(self, login: Login, what: Resumption, clock: Any, language: str) -> tuple[FramedXmlStream, int]:
        stream = await self._session.connect(login)
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
            self._session.server_gone(None)


def _is_final(error: UpstreamError) -> bool:
    return isinstance(error, UpstreamUnfit) or (isinstance(error, UpstreamRefused) and error.final)


async def _resume(stream: FramedXmlStream, what: Resumption, language: str) -> int:
    await open_stream(stream, language or None)
    # From here on it is `h` as it is told now that counts, whatever is handled before the answer comes.
    what.handled.resume()
    return await resume(stream, what.id, what.handled.h)


def _timed_out(_result: Any, timeout: float) -> Any:
    raise UpstreamUnreachable(f"no answer within {timeout:g} seconds")


def _never_in_turn(_result: Any, timeout: float) -> Any:
    raise UpstreamUnreachable(f"too many sessions log in again: no turn within {timeout:.0f} seconds")
