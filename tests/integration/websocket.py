"""A scripted client that comes by WebSocket (RFC 7395), on wsproto; else it is like the others."""

from collections.abc import Sequence
from typing import Any
from xml.parsers import expat

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Ping, Pong, RejectConnection, Request, TextMessage
from wsproto.frame_protocol import CloseReason

from tests.integration.client import Client, tls_options
from tests.integration.inbox import TIMEOUT, quoted
from tests.integration.xmlcut import Received, parse
from tests.patience import patiently

NS_FRAMING = "urn:ietf:params:xml:ns:xmpp-framing"
ORIGIN = "https://chat.example.org"
# What a message does not declare itself is in here.
_NOTHING = b"<nothing xmlns='urn:nothing'>"


class WebSocketClient(Client):
    """One connection. `send` takes single elements, or a header or the end of a stream, as of TCP."""

    def __init__(self, domain: str, label: str = "client", headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(domain, label)
        self._headers = [(name.encode(), value.encode()) for name, value in headers]
        self._ws = WSConnection(ConnectionType.CLIENT)
        self.path = "/xmpp-websocket"
        self.is_open = False
        self.rejected: int | None = None  # the status of HTTP
        self.closed_with: int | None = None  # the code of the peer's goodbye
        self.pongs: list[bytes] = []
        self.pings = 0

    def connectionMade(self) -> None:
        request = Request(self.domain, self.path, subprotocols=["xmpp"], extra_headers=self._headers)
        self.transport.write(self._ws.send(request))

    async def opened(self) -> None:
        """Wait for the handshake."""
        await self.until(lambda: self.is_open, "a WebSocket")

    def dataReceived(self, data: bytes) -> None:
        self.reads += 1
        self._ws.receive_data(data)
        for event in self._ws.events():
            self._event(event)
        self._wake()

    def _event(self, event: Event) -> None:
        if isinstance(event, AcceptConnection):
            assert event.subprotocol == "xmpp" and not event.extensions, event
            self.is_open = True
        elif isinstance(event, RejectConnection):
            self.rejected = event.status_code
        elif isinstance(event, TextMessage):
            assert event.message_finished, "the proxy does not fragment"
            self._message(event.data.encode())
        elif isinstance(event, Ping):
            self.pings += 1
            self.transport.write(self._ws.send(event.response()))
        elif isinstance(event, Pong):
            self.pongs.append(bytes(event.payload))
        elif isinstance(event, CloseConnection):
            self._goodbye(event)

    def _goodbye(self, event: CloseConnection) -> None:
        self.closed_with = int(event.code)
        self._note(f"< closed with {event.code} {event.reason or ''}")
        if not self._ws_closing:
            self.transport.write(self._ws.send(event.response()))
            self._ws_closing = True

    _ws_closing = False

    def _message(self, raw: bytes) -> None:
        """Take a message, which has to be a document of its own."""
        expat.ParserCreate("UTF-8", " ").Parse(raw, True)
        element = parse(raw, _NOTHING)
        if element.uri != NS_FRAMING:
            assert element.uri != "urn:nothing", raw
            self._arrived(Received(raw, _NOTHING))
        elif element.name == "open":
            self._opened(element, raw)
        else:
            self._note("< <close/>")
            self.stream_closed = True
            if not self._closing:
                self.send("</stream:stream>")

    def send(self, data: str | bytes) -> None:
        text = data if isinstance(data, str) else data.decode()
        if "<stream:stream" in text:
            header = parse(text.partition("?>")[2].replace("<stream:stream", "<open").encode() + b"</open>", _HEADED)
            named = "".join(f" {name}={quoted(value)}" for name, value in _named(header))
            text = f"<open xmlns='{NS_FRAMING}'{named}/>"
        elif text == "</stream:stream>":
            self._closing = True
            text = f"<close xmlns='{NS_FRAMING}'/>"
        self.send_message(text)

    def send_message(self, text: str) -> None:
        """Send this as one message, whatever it is."""
        self._note(f"> {text}")
        self.transport.write(self._ws.send(TextMessage(text)))

    def send_raw(self, data: bytes) -> None:
        """Send these bytes, whatever they are."""
        self.transport.write(data)

    def ping(self, payload: bytes = b"") -> None:
        self.transport.write(self._ws.send(Ping(payload)))

    def goodbye(self, code: int = 1001) -> None:
        """Close the WebSocket, not the stream: as a page does that is reloaded."""
        self._ws_closing = True
        self.transport.write(self._ws.send(CloseConnection(CloseReason(code))))

    async def expect_goodbye(self, code: int, condition: str | None = None, timeout: float = TIMEOUT) -> None:
        """The end, with this code; behind a stream error of that condition, if given."""
        await self.expect_close(condition, timeout)
        if self.closed_with != code:
            raise AssertionError(f"{self.label} was closed with {self.closed_with}, not {code}\n{self.transcript()}")


_HEADED = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"


def _named(header: Any) -> list[tuple[str, str]]:
    return [(name if isinstance(name, str) else "xml:lang", value) for name, value in header.attributes.items()]


async def connect(
    port: int, domain: str, *, tls: bool = True, label: str = "client", headers: Sequence[tuple[str, str]] = ()
) -> WebSocketClient:
    """A WebSocket to loopback, open."""
    client = await begin(port, domain, tls=tls, label=label, headers=headers)
    await client.opened()
    return client


async def begin(
    port: int, domain: str, *, tls: bool = True, label: str = "client", headers: Sequence[tuple[str, str]] = ()
) -> WebSocketClient:
    """The same, with the handshake only begun."""
    endpoint: Any = TCP4ClientEndpoint(reactor, "127.0.0.1", port, timeout=patiently(TIMEOUT))
    if tls:
        endpoint = wrapClientTLS(tls_options(domain), endpoint)
    client: WebSocketClient = await connectProtocol(endpoint, WebSocketClient(domain, label, headers))
    return client
