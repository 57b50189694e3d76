"""Targets: what strangers and clients send to a port for WebSockets, from the request on."""

from __future__ import annotations

from functools import cache

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage

from fuzz.logged import no_faults_logged
from fuzz.logins import _directory
from fuzz.material import Material
from fuzz.target import Target, same
from fuzz.wire import HEADER, second_opinion
from minimixproxy.c2s.websocket.frames import FrameFault, Frames
from minimixproxy.c2s.websocket.xmpp_framing import BrokenMessage, Incoming, Outgoing
from minimixproxy.wire.events import Fault, StreamClosed, StreamOpened
from minimixproxy.wire.framing import Framer
from minimixproxy.wire.stanza import Stanza
from tests.c2s.helpers import PLAIN_FEATURES
from tests.c2s.websocket.lab import PROXY, FramedWire, WebSocketLab, WebSocketLabClient, fragments, framed, handshake

_LIMIT = 300
_OPEN = b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.org' version='1.0'/>"
_STANZA = b"<message xmlns='jabber:client' to='b@c'><body>x &amp; \xe2\x82\xac</body></message>"


@cache
def _lab() -> WebSocketLab:
    return WebSocketLab(_directory(), connections_per_address=1_000_000)


def request(data: bytes) -> None:
    """Whatever a stranger sends, in any pieces: it is answered once, and closed; or it is a WebSocket."""
    lab = _lab()
    connection, wire = lab.connection(), FramedWire(peerAddress=IPv4Address("TCP", PROXY, 40000))
    answer = b""
    with no_faults_logged():
        connection.makeConnection(wire)
        for piece in Material(data).pieces():
            connection.dataReceived(piece)
            answer += wire.take()
        lab.clock.advance(3600)
        connection.connectionLost()
    if answer.count(b"HTTP/1.1 ") > 1 or (answer and not answer.startswith(b"HTTP/1.1 ")):
        raise AssertionError(f"not one answer: {answer!r}")
    same(len(lab.clients), 0, "clients that are left")


def frames(data: bytes) -> None:
    """Messages are those that wsproto finds by itself, whatever the pieces; and none is larger than it may be."""
    pieces = Material(data).pieces()
    theirs = Connection(ConnectionType.SERVER)
    theirs.receive_data(b"".join(pieces))
    expected: list[bytes] = []
    message = ""
    for event in theirs.events():
        if isinstance(event, CloseConnection | BytesMessage):
            break
        if isinstance(event, TextMessage):
            message += event.data
            if len(message.encode()) > _LIMIT:
                break
            if event.message_finished:
                expected.append(message.encode())
                message = ""
    ours, found = Frames(_LIMIT, Clock()), []
    try:
        for piece in pieces:
            found += [event for event in ours.feed(piece) if isinstance(event, bytes)]
    except FrameFault as fault:
        if fault.code == 1008:  # wsproto lets them go on for ever
            expected = expected[: len(found)]
    same(found[: len(expected)], expected[: len(found)], "messages")
    same(len(found) <= len(expected), True, "no more messages than there are")


def messages(data: bytes) -> None:
    """A client's message is one element on the stream, or refused, or found to be none by the stream's framer."""
    incoming, framer = Incoming(), Framer()
    framer.feed(incoming.stream_bytes(_OPEN))
    try:
        written = incoming.stream_bytes(data)
    except BrokenMessage:
        return
    events = framer.feed(written)
    elements = [event for event in events if isinstance(event, Stanza)]
    if len(elements) > 1 and not any(isinstance(event, Fault) for event in events):
        raise AssertionError(f"several elements: {elements!r}")
    if any(isinstance(event, StreamOpened) for event in events):
        raise AssertionError("a header within a stream")


def outgoing(data: bytes) -> None:
    """What a server's stream has becomes messages of which each is a document of its own, whatever the pieces."""
    pieces = Material(data).pieces()
    whole = HEADER + b"".join(pieces)
    events = Framer().feed(whole)
    if any(isinstance(event, Fault) for event in events):
        return  # what a server says is passed as it is, and its client finds that
    out = Outgoing()
    made: list[bytes] = []
    for piece in (HEADER, *pieces):
        made += [message for message in out.messages(piece) if message]
    same(len(made) - 1, sum(isinstance(event, Stanza | StreamClosed) for event in events), "messages")
    for message in made[1:]:
        second_opinion(message)


def session(data: bytes) -> None:
    """Whatever a client sends in its session, in any pieces: no fault of ours, and its end is the end."""
    lab = _lab()
    client = lab.client()
    assert isinstance(client, WebSocketLabClient)
    material = Material(data)
    with no_faults_logged():
        client.bind("a", PLAIN_FEATURES)
        for piece in material.pieces():
            client.connection.dataReceived(piece)
            client.serve(b"<presence/> ")
            client.wire.take()
            lab.clock.advance(1)
        client.vanish()
        lab.clock.advance(3600)
    lab.logins.clear()
    lab.accounts.bound.clear()
    same(len(lab.clients), 0, "clients that are left")


TARGETS = {
    "websocket-request": Target(
        request, (b"\0" + handshake("192.0.2.1"), b"\2\x40\x80" + handshake("", Forwarded="for=a"))
    ),
    "websocket-frames": Target(
        frames,
        (
            b"\0" + framed(_STANZA) + fragments(_STANZA, (3, 4)),
            b"\1\x80" + framed(b"x", opcode=9) + b"\x88\x80keys",
        ),
    ),
    "websocket-messages": Target(
        messages, (_STANZA, _OPEN, b"<r xmlns='urn:xmpp:sm:3'/>", b"<iq><x/></iq> ", b"<a/><b/>")
    ),
    "websocket-outgoing": Target(outgoing, (b"\0" + _STANZA, b"\1\x50<presence p:a='1'/><stream:features/> <iq/>")),
    "websocket-session": Target(
        session, (b"\0" + framed(_STANZA) + framed(b"p", opcode=9), b"\1\x90" + fragments(_STANZA, (9,)))
    ),
}
