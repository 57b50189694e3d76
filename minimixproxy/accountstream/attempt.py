"""One attempt to open an account stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from minimixproxy.accountstream.errors import CannotOpen, CredentialRefused
from minimixproxy.accountstream.phases import Input
from minimixproxy.logs.logger import Logger
from minimixproxy.wire.xmlstream import FramedXmlStream

#: A stream with a bound resource, and the full JID.
Opened = tuple[FramedXmlStream, str]
#: Opens an upstream stream for the account and binds a resource; returns the stream and the full JID. What has come
#: already is held (see `FramedXmlStream.keep`).
#: Raises `CannotOpen`, or `CredentialRefused`.
Connect = Callable[[], Awaitable[Opened]]


class Attempt:
    """Connects, and gives the life of the stream what comes of it: CONNECTED, CANNOT_OPEN or CREDENTIAL_REFUSED.

    Once it is stopped it gives nothing, and a stream that it brings all the same is dropped.
    """

    log = Logger()

    def __init__(self, account: str, connect: Connect, happens: Callable[..., Any]) -> None:
        """`happens` takes an `Input`, and with CONNECTED what was opened."""
        self._account = account
        self._connect = connect
        self._happens: Callable[..., Any] | None = happens
        self._working: Deferred[Any]

    def start(self) -> None:
        """Begin. The end may come at once."""
        self._working = Deferred.fromCoroutine(self._work())
        self._working.addCallbacks(self._connected, self._failed)
        self._working.addErrback(
            lambda failure: self.log.failure(
                "a fault when the account stream of {account} had opened, or failed to", failure, account=self._account
            )
        )

    def stop(self) -> None:
        """Nobody wants it any more. Harmless when it has come to its end."""
        if self._happens is not None:
            self._happens = None
            self._working.cancel()

    async def _work(self) -> Opened:
        return await self._connect()

    def _connected(self, opened: Opened) -> None:
        happens, self._happens = self._happens, None
        if happens is not None:
            happens(Input.CONNECTED, opened)
        else:  # it could not be stopped any more
            opened[0].transport.abortConnection()

    def _failed(self, failure: Failure) -> None:
        """The reason is the connection's, and logged; whoever waits is told only that it failed, or was refused."""
        happens, self._happens = self._happens, None
        if happens is None:
            return
        if failure.check(CannotOpen):
            self.log.warn("account stream of {account}: {error}", account=self._account, error=str(failure.value))
        else:
            self.log.failure("while opening the account stream of {account}", failure, account=self._account)
        happens(Input.CREDENTIAL_REFUSED if failure.check(CredentialRefused) else Input.CANNOT_OPEN)
