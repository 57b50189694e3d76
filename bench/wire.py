"""The load generator's side of one stream: a blocking login, then bytes counted and nothing more. No XML parser."""

import base64
import re
import selectors
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

TIMEOUT = 30.0  # seconds, for each step of a login
_STANZA_END = b"</message>"
_KEEP = len(_STANZA_END) - 1
_SM = b"xmlns='urn:xmpp:sm:3'"
_ASKED = b"<r %b/>" % _SM


@dataclass(frozen=True)
class Target:
    """Where and how to connect. `tls`: "starttls", "direct" or "none". `websocket`: in there, by WebSocket."""

    port: int
    domain: str
    tls: str = "starttls"
    websocket: bool = False


@cache
def tls_context(protocol: str = "xmpp-client") -> ssl.SSLContext:
    """TLS 1.3 with one cipher for everybody: what certificates say is not measured here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([protocol])
    return context


class Stream:
    """One client."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._context = tls_context("http/1.1" if target.websocket else "xmpp-client")
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", target.port), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.jid = ""
        self.messages = 0  # whole messages received
        self.bytes = 0
        self.kept: list[bytes] | None = None  # what was read, if that is wanted
        self._tail = b""
        self._managed_from: int | None = None  # so many messages came before stream management was enabled

    def secure(self) -> None:
        """Begin TLS and nothing more: for the yardstick."""
        self._start_tls()

    # A login, step by step -------------------------------------------------------------------------------------

    def login(self, username: str, password: str, resource: str) -> None:
        """From the first byte to a bound resource."""
        if self.target.tls == "direct":
            self._start_tls()
        self._open()
        if self.target.tls == "starttls":
            self._ask(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", rb"<proceed[^>]*>")
            self._start_tls()
            self._open()
        message = base64.b64encode(f"\0{username}\0{password}".encode())
        sasl = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%b</auth>" % message
        self._ask(sasl, rb"<success[^>]*>")
        self._open()
        bind = b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>%b</resource></bind>" % resource.encode()
        reply = self._ask(b"<iq type='set' id='bind'>%b</iq>" % bind, rb"<iq.*</iq>")
        found = re.search(rb"<jid>([^<]+)</jid>", reply)
        if found is None:
            raise RuntimeError(f"not bound: {reply!r}")
        self.jid = found.group(1).decode()

    def online(self) -> None:
        """Initial presence; waits for its echo."""
        self._ask(b"<presence/>", rb"<presence[^>]* from=.%b." % re.escape(self.jid.encode()))

    def join(self, room: str, nick: str) -> None:
        """Enter a room; waits for the subject, which comes last.

        Asks twice if need be: mod_minimix notes a join only behind the answer of a room on the same server, and so
        misses the answer to the very first.
        """
        presence = f"<presence to='{room}/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        try:
            self._ask(presence.encode(), rb"<subject", timeout=3.0)
        except TimeoutError:
            self._ask(presence.encode(), rb"<subject")

    def ping(self, address: str, identity: str) -> None:
        """Ping (XEP-0199), and wait for the answer."""
        query = f"<iq type='get' id='{identity}' to='{address}'><ping xmlns='urn:xmpp:ping'/></iq>"
        self._ask(query.encode(), rb"<iq[^>]* id=.%b.[^>]*>" % identity.encode(), timeout=300.0)

    def manage(self) -> None:
        """Enable stream management (XEP-0198). From now on nothing but messages may come."""
        self._ask(b"<enable %b resume='true'/>" % _SM, rb"<enabled[^>]*>")
        self._managed_from = self.messages

    def cut(self) -> None:
        """Be gone without a word."""
        self.socket.close()

    def _start_tls(self) -> None:
        self.socket = self._context.wrap_socket(self.socket, server_hostname=self.target.domain)

    def _open(self) -> None:
        header = (
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client'"
            f" xmlns:stream='http://etherx.jabber.org/streams' to='{self.target.domain}' version='1.0'>"
        )
        self._ask(header.encode(), rb"<stream:features.*</stream:features>|<stream:features/>")

    def _ask(self, data: bytes, answer: bytes, timeout: float = TIMEOUT) -> bytes:
        """Send, and read until a pattern is found."""
        self.socket.settimeout(timeout)
        self.socket.sendall(self._packed(data))
        pattern = re.compile(answer, re.DOTALL)
        received = b""
        while pattern.search(received) is None:
            chunk = self.socket.recv(65536)
            received += chunk
            if not chunk or b"<failure" in received or b"stream:error" in received or b"type='error'" in received:
                raise RuntimeError(f"{data!r} was answered by {received!r}")
        return received

    def _packed(self, data: bytes) -> bytes:
        """Return an element as it goes out."""
        return data

    # Load ------------------------------------------------------------------------------------------------------

    def ready(self) -> None:
        """From now on reads do not block."""
        self.socket.setblocking(False)

    def send(self, *stanzas: bytes) -> None:
        """Send all of them, waiting if need be: nothing sent here exceeds what buffers hold by much."""
        data = b"".join(map(self._packed, stanzas))
        self.socket.setblocking(True)
        self.socket.sendall(data)
        self.socket.setblocking(False)

    def receive(self) -> int:
        """Read what is there and return how many messages ended in it."""
        received = 0
        while True:
            try:
                data = self.socket.recv(262144)
            except (BlockingIOError, ssl.SSLWantReadError):
                break
            if not data:
                raise RuntimeError(f"{self.jid}: connection closed")
            self.bytes += len(data)
            if self.kept is not None:
                self.kept.append(data)
            whole = self._tail + data
            received += whole.count(_STANZA_END)
            self._tail = whole[-_KEEP:]
            if self._managed_from is not None and _ASKED in data:
                handled = self.messages + received - self._managed_from
                self.socket.send(self._packed(b"<a %b h='%d'/>" % (_SM, handled)))
            if not isinstance(self.socket, ssl.SSLSocket) or not self.socket.pending():
                break  # level-triggered: what is left is reported again
        self.messages += received
        return received


class WebSocketStream(Stream):
    """The same by WebSocket (RFC 7395). Its frames are masked with zeros: that is work for the other end only."""

    def _start_tls(self) -> None:
        super()._start_tls()
        request = (
            f"GET /xmpp-websocket HTTP/1.1\r\nHost: {self.target.domain}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            "Sec-WebSocket-Protocol: xmpp\r\n\r\n"
        )
        self.socket.sendall(request.encode())
        answer = self.socket.recv(65536)
        if b" 101 " not in answer:
            raise RuntimeError(f"no WebSocket: {answer!r}")

    def _open(self) -> None:
        opening = f"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='{self.target.domain}' version='1.0'/>"
        self._ask(opening.encode(), rb"<stream:features.*</stream:features>|<stream:features/>")

    def _packed(self, data: bytes) -> bytes:
        size = len(data)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        return b"".join((b"\x81", length, bytes(4), data))


def stream(target: Target) -> Stream:
    """Return a client that has connected."""
    return (WebSocketStream if target.websocket else Stream)(target)


class Streams:
    """Many streams, read as bytes come."""

    def __init__(self, streams: list[Stream]) -> None:
        self._poll = selectors.EpollSelector()
        for stream in streams:
            stream.ready()
            self._poll.register(stream.socket, selectors.EVENT_READ, stream)

    def read(self, timeout: float) -> int:
        """Wait for something, read it, return how many messages ended in it."""
        return sum(number for _, number in self.read_each(timeout))

    def read_each(self, timeout: float) -> Iterator[tuple[Stream, int]]:
        """As `read`, but for each stream."""
        for key, _ in self._poll.select(max(timeout, 0)):
            yield key.data, key.data.receive()

    def drain(self, quiet: float = 0.3, limit: float = 20.0) -> None:
        """Read until nothing has come for `quiet` seconds."""
        end = time.monotonic() + limit
        while self._poll.select(quiet):
            self.read(0)
            if time.monotonic() > end:
                raise RuntimeError("it does not get quiet")
