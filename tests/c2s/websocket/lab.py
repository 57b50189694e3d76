"""Clients in memory that come by WebSocket, and look to tests like those of `tests.c2s.helpers`."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import CloseConnection, TextMessage

from minimixproxy.c2s.server.websocket_port import WebSocketConnection, WebSocketFactory
from minimixproxy.config.settings import WebSocket
from minimixproxy.wire.events import Fault, Keepalive, StreamClosed, StreamOpened
from minimixproxy.wire.framing import Framer, FramingLimits
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep.stream_headers import STREAM_END, header
from tests.c2s.helpers import Lab, LabClient
from tests.wires import Wire

PROXY = "10.0.0.1"
FRAMING = b"urn:ietf:params:xml:ns:xmpp-framing"
CLOSE = b"<close xmlns='%b'/>" % FRAMING


def handshake(address: str, **more: str) -> bytes:
    """The request of a client that a reverse proxy forwards."""
    headers = {
        "Host": "example.org",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "xmpp",
        "X-Forwarded-For": address,
        "X-Forwarded-Proto": "https",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    lines = ["GET /xmpp-websocket HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def on_stream(message: bytes) -> bytes:
    """A message of the proxy as a stream has it: without what it declares for itself."""
    if message.startswith(b"<open "):
        return b"<?xml version='1.0'?>" + message.replace(
            b"<open xmlns='%b'" % FRAMING,
            b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'",
        ).replace(b"/>", b">")
    if message == CLOSE:
        return STREAM_END
    start, end, rest = message.partition(b">")
    for declared in (b" xmlns='jabber:client'", b" xmlns:stream='http://etherx.jabber.org/streams'"):
        start = start.replace(declared, b"")
    return start + end + rest


class FramedWire(Wire):
    """What is taken from it is what the frames have brought. `code`: of the proxy's goodbye."""

    def __init__(self, **addresses: Any) -> None:
        super().__init__(**addresses)
        self.websocket = Connection(ConnectionType.CLIENT)
        self.code: int | None = None
        self.messages: list[bytes] = []
        self.is_open = False

    def take(self) -> bytes:
        data = super().take()
        if not self.is_open:
            return data
        found = self._read(data)
        return b"".join(map(on_stream, found))

    def _read(self, data: bytes) -> list[bytes]:
        self.websocket.receive_data(data)
        found: list[bytes] = []
        for event in self.websocket.events():
            if isinstance(event, TextMessage):
                found.append(event.data.encode())
            elif isinstance(event, CloseConnection):
                self.code = int(event.code)
        self.messages += found
        return found

    @property
    def closing(self) -> bool:
        """Whether the proxy has said goodbye, in whatever way."""
        value = self.value()
        return super().closing or self.code is not None or b"\x88\x02\x03\xe8" in value


class WebSocketLab(Lab):
    """A `Lab` whose clients come by WebSocket."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        super().__init__(directory, **settings)
        place = WebSocket(endpoint="tcp:0", tls="proxy", trusted_proxies=(ip_network(PROXY),), origins=("*",))
        self.port = WebSocketFactory(self.clients, place)

    def connection(self) -> WebSocketConnection:
        return self.port.buildProtocol(None)

    def client(self, *, secure: bool = True, address: str = "192.0.2.1") -> LabClient:
        assert secure
        return WebSocketLabClient(self, address)


class WebSocketLabClient(LabClient):
    """A client whose WebSocket is open. `send` takes bytes of a stream."""

    wire: FramedWire

    def __init__(self, lab: WebSocketLab, address: str) -> None:
        self.lab = lab
        self.wire = FramedWire(peerAddress=IPv4Address("TCP", PROXY, 40000))
        self.connection = lab.connection()
        self.connection.makeConnection(self.wire)
        self.stream = self.connection.upper.stream
        self.connection.dataReceived(handshake(address))
        answer = self.wire.take()
        assert b" 101 " in answer, answer
        self.wire.is_open = True
        self.wire.websocket = Connection(ConnectionType.CLIENT)
        self.upstream = Wire()
        self.server = None
        self._framer = Framer(FramingLimits(2**30, 100_000))
        self._rest = b""

    def send(self, data: bytes) -> bytes:
        """Send what is whole of a stream, each element as a message."""
        if b"<stream:stream" in data:
            self._framer = Framer(FramingLimits(2**30, 100_000))
        messages: list[bytes] = []
        done = 0
        for event in self._framer.feed(data):
            if isinstance(event, Fault):
                messages.append(data[done:])
            elif isinstance(event, StreamOpened):
                messages.append(_open(event))
                done = data.index(event.raw) + len(event.raw)
            elif isinstance(event, Stanza | Keepalive):
                messages.append(event.self_contained() if isinstance(event, Stanza) else event.raw)
                done += len(event.raw)
            elif isinstance(event, StreamClosed):
                messages.append(CLOSE)
        self.connection.dataReceived(b"".join(map(framed, messages)))
        return self.wire.take()


def _open(opened: StreamOpened) -> bytes:
    raw = header(opened.attributes).replace(b"<stream:stream xmlns='jabber:client'", b"<open xmlns='%b'" % FRAMING)
    return raw.replace(b" xmlns:stream='http://etherx.jabber.org/streams'", b"")[:-1] + b"/>"


def framed(message: bytes, *, opcode: int = 1, final: bool = True, key: bytes = b"\x11\x22\x33\x44") -> bytes:
    """A client's frame."""
    size = len(message)
    if size < 2**16:
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    masked = bytes(byte ^ key[place % 4] for place, byte in enumerate(message))
    return bytes([0x80 * final | opcode]) + length + key + masked


def fragments(message: bytes, sizes: Sequence[int]) -> bytes:
    """A message in frames whose payloads have these sizes, the rest in the last; a ping is between them."""
    made: list[bytes] = []
    start, opcode = 0, 1
    for size in sizes:
        made += [framed(message[start : start + size], opcode=opcode, final=False), framed(b"p", opcode=9)]
        start, opcode = start + size, 0
    return b"".join([*made, framed(message[start:], opcode=opcode)])
