"""One attempt to open an account stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from minimixproxy.accountstream.errors import CannotOpen, CredentialRefused
from minimixproxy.accountstream.phases import Input
from minimixproxy.logs.logger import Logger
from minimixproxy.wire.xmlstream import FramedXmlStream
from minimixproxy.xep.stream_management import Enabled, Resume


class Opened(NamedTuple):
    """A stream with a bound resource, and the full JID. What has come already is held (see `FramedXmlStream.keep`).

    `enabled`: the server's word on stream management, None without. `resumed`: it is the stream that was to be resumed.
    `limit`: bytes of the largest stanza that the server takes (XEP-0478), None if it does not say so.
    """

    xmlstream: FramedXmlStream
    jid: str
    enabled: Enabled | None = None
    resumed: bool = False
    limit: int | None = None


class Resumable(Protocol):
    """A stream whose connection is gone and that can be resumed."""

    jid: str

    @property
    def is_wanted(self) -> bool:
        """Whether another stream is to be bound if this one is not resumed."""

    def resuming(self) -> Resume:
        """Return what is asked for, now: what is handled later counts when the server has sent it again."""

    def resumed(self, h: int) -> None:
        """The server goes on with it, and has handled so many of our stanzas. Raises `NotSent`: that cannot be."""

    def not_resumed(self, h: int | None) -> None:
        """The server knows it no more. `h`: as for `resumed`, None if it does not say."""


#: Opens an upstream stream for the account, and resumes what is given on it, or binds a resource.
#: Raises `CannotOpen`, or `CredentialRefused`.
Connect = Callable[[Resumable | None], Awaitable[Opened]]


class Attempt:
    """Connects, and gives the life of the stream what comes of it.

    That is RESUMED, CONNECTED, CANNOT_OPEN or CREDENTIAL_REFUSED; with the last two, why.

    Once it is stopped it gives nothing, and a stream that it brings all the same is dropped.
    """

    log = Logger()

    def __init__(
        self, account: str, connect: Connect, happens: Callable[..., Any], resumable: Resumable | None = None
    ) -> None:
        """`happens` takes an `Input`, with RESUMED and CONNECTED what was opened, else why that is not so."""
        self._account = account
        self._connect = connect
        self._resumable = resumable
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
        return await self._connect(self._resumable)

    def _connected(self, opened: Opened) -> None:
        happens, self._happens = self._happens, None
        if happens is not None:
            happens(Input.RESUMED if opened.resumed else Input.CONNECTED, opened)
        else:  # it could not be stopped any more
            opened.xmlstream.transport.abortConnection()

    def _failed(self, failure: Failure) -> None:
        """The reason is the connection's, and logged; whoever waits is told only that it failed, or was refused."""
        happens, self._happens = self._happens, None
        if happens is None:
            return
        known = failure.check(CannotOpen) is not None
        if known:
            self.log.warn("account stream of {account}: {error}", account=self._account, error=str(failure.value))
        else:
            self.log.failure("while opening the account stream of {account}", failure, account=self._account)
        why = str(failure.value) if known else "a fault of the proxy: see the log"
        happens(Input.CREDENTIAL_REFUSED if failure.check(CredentialRefused) else Input.CANNOT_OPEN, why)
