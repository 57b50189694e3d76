"""A login exchange that is under way, with its client's side of the dialogue."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from minimixproxy.c2s.server.exchanges.login_exchange import Exchange, LoggedIn
from minimixproxy.c2s.server.pending_work import PendingWork
from minimixproxy.xep.sasl import SaslFailure


class RunningExchange:
    """Nothing comes of it once it is broken off, but what is asked upstream goes on to its end, and counts.

    As the `Dialogue` of an exchange, `first` is the client's initial response, None if it sent none.
    """

    def __init__(self, first: bytes | None, send_challenge: Callable[[bytes], None]) -> None:
        """`send_challenge`: the client is to respond to it."""
        self.first = first
        self._send_challenge = send_challenge
        self._work = PendingWork()
        self._response: Deferred[bytes] | None = None
        self._broken_off = False

    def start(
        self, exchange: Exchange, logged_in: Callable[[LoggedIn], None], failed: Callable[[Failure], None]
    ) -> None:
        """Begin; one of the two is called at the end, at once perhaps."""

        async def run() -> LoggedIn:
            return await exchange(self)

        self._work.run(run(), logged_in, failed)

    async def challenge(self, data: bytes) -> bytes:
        """Send a challenge; return the response. Raises `SaslFailure`."""
        if self._broken_off:
            raise SaslFailure("aborted")
        response = self._response = Deferred()
        self._send_challenge(data)
        return await response

    def responded(self, read: Callable[[], bytes]) -> None:
        """The client responds to the challenge. `read` returns with what, or raises `SaslFailure`."""
        response, self._response = self._response, None
        assert response is not None, "there was a challenge"
        try:
            data = read()
        except SaslFailure:
            response.errback(Failure())
        else:
            response.callback(data)

    def break_off(self) -> None:
        """The client aborts, is gone, or had time enough."""
        self._broken_off = True
        response, self._response = self._response, None
        self._work.cancel()
        if response is not None and not response.called:
            response.errback(SaslFailure("aborted"))
