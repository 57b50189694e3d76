"""The operator's site in memory: what is asked and answered, without sockets."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from minimixproxy.config.settings import Web
from minimixproxy.operator.readiness import Readiness
from minimixproxy.operator.web.channel import BoundedChannel
from minimixproxy.operator.web.service import WebService
from minimixproxy.operator.web.watched import Watched


class Transport(StringTransport):
    """Remembers that it was aborted."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


@dataclass(frozen=True)
class Answer:
    code: int
    headers: dict[str, str]
    body: bytes
    behind: bytes = b""  # what came after it


def answer_in(data: bytes, *, head: bool = False) -> Answer:
    """Take the first answer apart."""
    start, _, rest = data.partition(b"\r\n\r\n")
    status, *lines = start.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    length = 0 if head else int(headers["content-length"])
    return Answer(int(status.split()[1]), headers, rest[:length], rest[length:])


class SiteCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.reasons: list[str] = []
        settings = Web(hosts=("proxy.example.org",))
        self.service = WebService(settings, self.watched(), Readiness(lambda: self.reasons), self.clock)
        self.site = self.service._site

    def watched(self) -> Watched:
        """Return what the metrics tell of."""
        return Watched()

    def put(self, name: bytes, resource: Resource) -> None:
        self.service.put(name, resource)

    def connect(self) -> tuple[BoundedChannel, Transport]:
        channel = self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        assert isinstance(channel, BoundedChannel)
        transport = Transport(peerAddress=IPv4Address("TCP", "127.0.0.1", 1))
        channel.makeConnection(transport)
        self.addCleanup(self._end, channel)
        return channel, transport

    def _end(self, channel: BoundedChannel) -> None:
        if channel in self.site.channels:
            channel.connectionLost()

    def said(self, *data: bytes) -> tuple[bytes, Transport]:
        """Return all that is answered on a connection of its own."""
        channel, transport = self.connect()
        for part in data:
            channel.dataReceived(part)
        return transport.value(), transport

    def get(self, path: str, *, method: str = "GET", host: str = "localhost") -> Answer:
        request = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"
        data, _transport = self.said(request.encode("latin-1"))
        return answer_in(data, head=method == "HEAD")
