"""A connection to the operator's site: what a request, an answer and the whole may take, in bytes, number and time.

Twisted's own bound on time counts from the last byte, so a byte a minute would hold a connection for ever.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import http

REQUEST_WITHIN = 30.0  # seconds from the connection, or the last answer, to the end of a request
ANSWER_WITHIN = 60.0  # seconds that an answer may take to be made
MAX_LINE = 8192  # bytes of the request line, or of one header
MAX_HEADER = 16_384  # bytes of a request: there is no body
MAX_HEADERS = 50
MAX_REQUESTS = 1000  # on one connection; Prometheus asks every 15 s or so


class BoundedChannel(http.HTTPChannel):
    """A connection of a `WebSite`.

    One request after the other: who sends the next one before the answer is answered once, and then hung up on
    (RFC 9112 §9.3.2 lets a server do so), for no turn of the reactor is to have more than one of them.
    """

    MAX_LENGTH = MAX_LINE
    maxHeaders = MAX_HEADERS
    totalHeadersSize = MAX_HEADER
    timeOut = None  # see `_deadline`

    transport: Any
    factory: Any  # WebSite
    site: Any
    callLater: Any
    answering = False
    _deadline: Any = None
    _asked = 0

    def connectionMade(self) -> None:
        self._deadline = self.callLater(REQUEST_WITHIN, self._too_late)
        self.factory.connected(self)
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._deadline.active():
            self._deadline.cancel()
        self.factory.disconnected(self)
        super().connectionLost(reason)

    def _too_late(self) -> None:
        self.transport.abortConnection()

    def lineLengthExceeded(self, line: bytes) -> None:
        self._refuse(b"431 Request Header Fields Too Large")

    def allHeadersReceived(self) -> None:
        """A request is complete, since it has no body: one that says otherwise is the last of its connection."""
        if self.length != 0:
            self._refuse(b"413 Content Too Large")
            return
        self._asked += 1
        super().allHeadersReceived()

    def checkPersistence(self, request: Any, version: bytes) -> bool:
        kept: bool = super().checkPersistence(request, version)
        if kept and (self._asked >= MAX_REQUESTS or self._buffer):
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            return False
        return kept

    def allContentReceived(self) -> None:
        self.answering = True
        self._deadline.reset(ANSWER_WITHIN)
        super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        """The answer is handed to the transport, from where its reader has as long to take it as for a request."""
        self.answering = False
        if self._deadline.active():
            self._deadline.reset(REQUEST_WITHIN)
        self.factory.answered(self)
        super().requestDone(request)

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Twisted's way out for what is no HTTP; its own would read on if more came."""
        self._refuse(b"400 Bad Request")

    def _refuse(self, status: bytes) -> None:
        """Answer what is no request, and hang up: nothing more is read."""
        self.transport.write(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self.dataReceived = self.lineReceived = self.rawDataReceived = _ignore  # type: ignore[method-assign,assignment]
        self.loseConnection()


def _ignore(_data: bytes) -> None:
    pass
