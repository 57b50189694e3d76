"""Clients that say more to rooms than the server takes are let wait: the account stream is everybody's. No I/O."""

from __future__ import annotations

from functools import partial

from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.streams import SessionPort, StreamPort
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.wire.stanza import Stanza, rewrite
from minimixproxy.xep.stanza_errors import error_reply

ALLOWANCE = 64 * 1024  # bytes that a client may have said, and the server not taken: the others wait behind them
LONGEST = 30.0  # seconds
_FULL = "the server takes too slowly what the account says to rooms"


class Pausing:
    """Which sessions of the account `bare` wait until the server has taken what they said on `stream`."""

    log = Logger()

    def __init__(self, bare: str, stream: StreamPort, clock: Clock) -> None:
        self._bare = bare
        self._stream = stream
        self._clock = clock
        self._said: dict[SessionPort, int] = {}  # bytes since it waited last
        self._waiting: dict[SessionPort, Timer] = {}

    def refuses(self, session: SessionPort, stanza: Stanza) -> bool:
        """Answer a stanza with an error if so much waits that it might cost the account its stream."""
        kind = stanza.get("type")
        if not self._stream.full or (stanza.name == "presence" and kind is not None):  # who leaves is to leave
            return False
        self.log.warn(
            "{account}: the server takes what is said to rooms too slowly: {jid} is refused",
            account=self._bare,
            jid=session.jid,
        )
        if kind not in ("error", "result"):
            session.deliver(rewrite(error_reply(stanza, "wait", "resource-constraint", _FULL), {"to": session.jid}))
        return True

    def said(self, session: SessionPort, size: int) -> None:
        """A session has said so many bytes to a room."""
        said = self._said[session] = self._said.get(session, 0) + size
        if said >= ALLOWANCE and session not in self._waiting:
            self._wait(session)

    def _wait(self, session: SessionPort) -> None:
        timer = self._waiting[session] = Timer(self._clock)
        self._said[session] = 0
        self._stream.when_taken(partial(self._taken, session, timer))
        if self._waiting.get(session) is timer:
            timer.start(LONGEST, partial(self._late, session))
            session.let_wait()

    def _taken(self, session: SessionPort, timer: Timer) -> None:
        if self._waiting.get(session) is timer:
            self._end(session)

    def _late(self, session: SessionPort) -> None:
        self.log.warn(
            "the server has not taken for {seconds:.0f} s what {jid} said to rooms", seconds=LONGEST, jid=session.jid
        )
        del self._waiting[session]
        session.go_on()

    def _end(self, session: SessionPort) -> None:
        timer = self._waiting.pop(session)
        if timer.running:  # or it was taken at once
            timer.stop()
            session.go_on()

    def remove(self, session: SessionPort) -> None:
        """A session is the account's no longer."""
        self._said.pop(session, None)
        if session in self._waiting:
            self._end(session)
