"""The operator's site of a proxy, asked as a browser or Prometheus does; and by who means no good."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from tests.integration.proxy import Proxy

Numbers = dict[tuple[str, ...], float]  # by name, and the values of labels in the order of the labels' names


class Asking(Protocol):
    """One connection. `lost` fires with all that was said, when the site hangs up."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.said = b""
        self.lost: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        self.said += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(self.said)


async def ask(proxy: Proxy, request: bytes) -> Asking:
    """Connect, and say this."""
    endpoint = UNIXClientEndpoint(reactor, str(proxy.web))
    asking: Asking = await connectProtocol(endpoint, Asking(request))
    return asking


async def page(proxy: Proxy, path: str) -> tuple[int, str]:
    """Return the status and the body."""
    asking = await ask(proxy, f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
    head, _, body = (await asking.lost).partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


async def numbers(proxy: Proxy) -> Numbers:
    """Return what the metrics are now."""
    code, text = await page(proxy, "/metrics")
    assert code == 200, text
    return {
        (
            sample.name.removeprefix("minimixproxy_"),
            *(sample.labels[label] for label in sorted(sample.labels)),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
