"""The operator's site: who may ask, what, and how much. Nothing here changes anything."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.resource import IResource, Resource

from minimixproxy.logs.logger import Logger
from minimixproxy.operator.web.channel import BoundedChannel
from minimixproxy.operator.web.hosts import Hosts

log = Logger()

MAX_CONNECTIONS = 64

#: What each answer says, unless its resource says otherwise: nothing is kept, run, framed, or taken for something else.
HEADERS = {
    b"Cache-Control": b"no-store",
    b"Content-Security-Policy": b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    b"Content-Type": b"text/plain; charset=utf-8",
    b"Cross-Origin-Resource-Policy": b"same-origin",
    b"Referrer-Policy": b"no-referrer",
    b"Server": b"minimixproxy",
    b"X-Content-Type-Options": b"nosniff",
}


class Text(Resource):
    """An answer of one line."""

    isLeaf = True

    def __init__(self, code: int, text: str) -> None:
        super().__init__()
        self._code = code
        self._text = text.encode()

    def render(self, request: Any) -> bytes:
        request.setResponseCode(self._code)
        return self._text + b"\n"


NOT_FOUND = Text(404, "not found")
NOT_ALLOWED = Text(405, "only GET and HEAD: this site is read-only")
NOT_THIS_HOST = Text(421, "this name is not one of the site's: see hosts of [web] in the configuration")
NO_HOST = Text(400, "one Host header is needed")
OUR_FAULT = Text(500, "internal error: see the log")


class Directory(Resource):
    """What has children only."""

    def getChild(self, path: bytes, request: Any) -> Resource:
        """Return what stands for a child that is not there. Nothing of what was asked for is repeated."""
        return NOT_FOUND

    def render(self, request: Any) -> bytes:
        return NOT_FOUND.render(request)


class WebRequest(server.Request):
    """A request, answered without anything of its own text in the answer or the log."""

    log = Logger()
    transport: Any

    def render(self, resrc: IResource) -> None:
        """Answer. A resource returns all bytes, or `NOT_DONE_YET` and finishes the request within `ANSWER_WITHIN`."""
        body = resrc.render(self)
        if body is server.NOT_DONE_YET:
            return
        assert isinstance(body, bytes)
        self.send(body)

    def send(self, body: bytes) -> None:
        """Answer with all bytes."""
        self.setHeader(b"Content-Length", b"%d" % len(body))
        self.write(body)  # not for HEAD
        self.finish()

    def send_when_made(self, making: Deferred[bytes]) -> int:
        """Answer with all bytes when they are made; who asks and goes away has them made no further."""
        self.notifyFinish().addErrback(lambda _gone: making.cancel())
        making.addCallbacks(self.send, self._not_made)
        return server.NOT_DONE_YET

    def _not_made(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:  # who asked is there
            self.processingFailed(failure)

    def processingFailed(self, reason: Failure) -> None:
        self.log.failure("while answering on the web site", reason)
        if self.startedWriting or self.finished:
            self.transport.abortConnection()
        else:
            self.responseHeaders.removeHeader(b"Content-Length")
            self.render(OUR_FAULT)


class NoPlace(Protocol):
    """A connection that is ended at once. Wrappers around the site (`haproxy:`, `ssl:`) raise if none is made."""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()


class WebSite(server.Site):
    """Makes connections, a bounded number; of more, the one that has been idle longest ends.

    So who opens many and says nothing keeps nobody out. While all are being answered, the one that has come ends.
    """

    noisy = False
    displayTracebacks = False
    requestFactory = WebRequest

    def __init__(self, root: Resource, hosts: Hosts, reactor: Any) -> None:
        super().__init__(root, WebRequest, reactor=reactor, parsePOSTFormSubmission=False)
        self._hosts = hosts
        self.channels: dict[BoundedChannel, None] = {}  # the one that was answered last is at the end
        self._told = False  # that there is no place for more

    # What is asked for ---------------------------------------------------------------------------------------

    def getResourceFor(self, request: Any) -> IResource:
        for name, value in HEADERS.items():
            request.setHeader(name, value)
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        found: IResource = super().getResourceFor(request)
        return found

    def _refusal(self, request: Any) -> Resource | None:
        hosts = request.requestHeaders.getRawHeaders(b"Host", [])
        if len(hosts) > 1 or (not hosts and request.clientproto != b"HTTP/1.0"):  # HTTP/1.0 knows none, nor browsers it
            return NO_HOST
        if hosts and not self._hosts.admits(hosts[0]):
            return NOT_THIS_HOST
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"GET, HEAD")
            return NOT_ALLOWED
        return None

    # Connections -----------------------------------------------------------------------------------------------

    def acceptableProtocols(self) -> list[bytes]:
        """Return what an `ssl:` endpoint may negotiate: not HTTP/2, whose bounds are others."""
        return [b"http/1.1"]

    def buildProtocol(self, addr: Any) -> BoundedChannel | NoPlace:  # type: ignore[override]
        if len(self.channels) >= MAX_CONNECTIONS and not self._make_room():
            self._tell()
            return NoPlace()
        channel = BoundedChannel()
        channel.factory = channel.site = self
        channel.requestFactory = self.requestFactory
        channel.callLater = self.reactor.callLater
        return channel

    def _make_room(self) -> bool:
        for channel in self.channels:
            if not channel.answering:
                channel.transport.abortConnection()
                self.channels.pop(channel, None)
                return True
        return False

    def _tell(self) -> None:
        if not self._told:
            log.warn(
                "the web site: all {number} connections are waiting for answers, more are cut", number=MAX_CONNECTIONS
            )
        self._told = True

    def connected(self, channel: BoundedChannel) -> None:
        self.channels[channel] = None

    def answered(self, channel: BoundedChannel) -> None:
        """A request was answered: its connection is the last to be ended."""
        if self.channels.pop(channel, channel) is None:
            self.channels[channel] = None

    def disconnected(self, channel: BoundedChannel) -> None:
        self.channels.pop(channel, None)
        self._told = False

    # No log of each request: who asks, asks every few seconds ----------------------------------------------------

    def startFactory(self) -> None:
        """Open no log."""

    def stopFactory(self) -> None:
        """Close none."""

    def log(self, request: Any) -> None:
        """Write nothing."""
