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
from tests.integration.managed import Device, Line
from tests.integration.xmlcut import HEADER, Cutter, Received, parse
from tests.patience import patiently

NS_FRAMING = "urn:ietf:params:xml:ns:xmpp-framing"
ORIGIN = "https://chat.example.org"
# What a message does not declare itself is in here.
_NOTHING = b"<nothing xmlns='urn:nothing'>"


class ByWebSocket(Client):
    """What makes a client come by WebSocket.

    `http_headers`: more of them for the handshake.
    """

    path = "/xmpp-websocket"
    lenient = False  # about prefixes that nobody has declared: they are what some servers pass on
    http_headers: Sequence[tuple[str, str]] = ()
    is_open = False
    rejected: int | None = None  # the status of HTTP
    closed_with: int | None = None  # the code of the peer's goodbye
    pings = 0
    _said_goodbye = False
    _part = ""  # of a message

    def connectionMade(self) -> None:
        self.pongs: list[bytes] = []
        self._ws = WSConnection(ConnectionType.CLIENT)
        headers = [(name.encode(), value.encode()) for name, value in self.http_headers]
        request = Request(self.domain, self.path, subprotocols=["xmpp"], extra_headers=headers)
        self.transport.write(self._ws.send(request))

    async def opened_by_http(self) -> None:
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
            self._part += event.data
            assert event.message_finished or not event.frame_finished, "the proxy does not fragment"
            if event.message_finished:
                message, self._part = self._part, ""
                self._message(message.encode())
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
        if not self._said_goodbye:
            self.transport.write(self._ws.send(event.response()))
            self._said_goodbye = True

    def _message(self, raw: bytes) -> None:
        """Take a message, which has to be a document of its own."""
        uri, name = root_of(raw, declared=not self.lenient)
        if uri != NS_FRAMING:
            assert uri, raw
            self._arrived(Received(raw, _NOTHING))
        elif name == "open":
            self._opened(parse(raw, _NOTHING), raw)
        else:
            self._note("< <close/>")
            self.stream_closed = True
            if not self._closing:
                self.send("</stream:stream>")

    def send(self, data: str | bytes) -> None:
        """Send a header, the end of a stream, or elements, each as a message; what is none goes as it is."""
        text = data if isinstance(data, str) else data.decode()
        if text.startswith("<?xml"):
            head, _, text = text.partition("?>")[2].partition(">")
            self.send_message(_opening(head))
        elif text == "</stream:stream>":
            self._closing = True
            text = f"<close xmlns='{NS_FRAMING}'/>"
        for message in elements_of(text):
            self.send_message(message)

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
        self._said_goodbye = True
        self.transport.write(self._ws.send(CloseConnection(CloseReason(code))))

    async def expect_goodbye(self, code: int, condition: str | None = None, timeout: float = TIMEOUT) -> None:
        """The end, with this code; behind a stream error of that condition, if given."""
        await self.expect_close(condition, timeout)
        if self.closed_with != code:
            raise AssertionError(f"{self.label} was closed with {self.closed_with}, not {code}\n{self.transcript()}")


class WebSocketClient(ByWebSocket):
    """One connection."""


_HEADED = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"


def root_of(raw: bytes, *, declared: bool) -> tuple[str, str]:
    """The namespace and local name of a document's element. `declared`: every prefix in it has to be."""
    if declared:
        expat.ParserCreate("UTF-8", "\x01").Parse(raw, True)  # no namespace has this character; one may have a space
    found: list[tuple[str, str]] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        parser.StartElementHandler = None
        prefix, _, local = name.rpartition(":")
        found.append((attributes.get(f"xmlns:{prefix}" if prefix else "xmlns", ""), local))

    parser = expat.ParserCreate("UTF-8")
    parser.StartElementHandler = start
    parser.Parse(raw, True)
    return found[0]


def elements_of(text: str) -> list[str]:
    """The elements that stand one behind the other in a text, if it is that; else the text."""
    if not text:
        return []
    found: list[Received] = []
    cutter = Cutter(lambda _root, _raw: None, found.append, lambda: None)
    cutter.feed(HEADER)
    try:
        cutter.feed(text.encode())
    except expat.ExpatError:
        return [text]
    whole = b"".join(element.raw for element in found)
    return [element.raw.decode() for element in found] if whole == text.encode() else [text]


def _opening(head: str) -> str:
    """The start tag of a stream, without its end, as `<open/>`."""
    header = parse(f"{head.replace('<stream:stream', '<open')}/>".encode(), _HEADED)
    names = [(name if isinstance(name, str) else "xml:lang", value) for name, value in header.attributes.items()]
    return f"<open xmlns='{NS_FRAMING}'" + "".join(f" {name}={quoted(value)}" for name, value in names) + "/>"


def endpoint(port: int, domain: str, *, tls: bool = True, source: str = "127.0.0.1") -> Any:
    """Where a WebSocket is on loopback, from the address `source`."""
    plain: Any = TCP4ClientEndpoint(reactor, "127.0.0.1", port, timeout=patiently(TIMEOUT), bindAddress=(source, 0))
    return wrapClientTLS(tls_options(domain), plain) if tls else plain


async def connect(
    port: int, domain: str, *, label: str = "client", headers: Sequence[tuple[str, str]] = (), **how: Any
) -> WebSocketClient:
    """A WebSocket to loopback, open. `how`: see `endpoint`."""
    client = await begin(port, domain, label=label, headers=headers, **how)
    await client.opened_by_http()
    return client


async def begin(
    port: int,
    domain: str,
    *,
    label: str = "client",
    headers: Sequence[tuple[str, str]] = (),
    lenient: bool = False,
    **how: Any,
) -> WebSocketClient:
    """The same, with the handshake only begun."""
    client = WebSocketClient(domain, label)
    client.http_headers, client.lenient = headers, lenient
    await connectProtocol(endpoint(port, domain, **how), client)
    return client


class WebSocketLine(ByWebSocket, Line):
    """One connection of a device."""


class Tab(Device):
    """A device that comes by WebSocket: a page in a browser."""

    lenient = False

    async def connect(self, *, before: str = "", authenticate: bool = True) -> Line:
        line = WebSocketLine(self, f"{self.label}, connection {len(self.lines) + 1}")
        line.lenient = self.lenient
        await connectProtocol(endpoint(self.port, self.domain), line)
        await line.opened_by_http()
        self.lines.append(line)
        if authenticate:
            await line.authenticated(self.account)
        return line

    def reload(self) -> None:
        """The page goes, and says so as browsers do: the WebSocket is closed, the stream is not."""
        assert isinstance(self.line, WebSocketLine)
        self.line.goodbye(1001)
