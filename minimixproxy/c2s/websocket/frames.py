"""Frames of a WebSocket (RFC 6455 §5): bytes of a client against its messages, within limits. Pure.

There are no extensions, so nothing is compressed, and a frame is as large as what it brings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason

from minimixproxy.timing.clock import Clock

#: Frames that bring no message: pings, pongs and fragments. So many at once, and so many a second.
MAX_IDLE, IDLE_RATE = 200, 20.0

NORMAL, GOING_AWAY, PROTOCOL_ERROR, UNSUPPORTED, NOT_UTF8, POLICY, TOO_BIG, INTERNAL = (
    1000,
    1001,
    1002,
    1003,
    1007,
    1008,
    1009,
    1011,
)  # codes for the end of a connection (RFC 6455 §7.4.1)


class FrameFault(Exception):
    """A client does what it may not. `code`: why the connection is closed (RFC 6455 §7.4.1)."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Pinged(NamedTuple):
    """A ping has to be answered with its payload."""

    payload: bytes


class Ponged(NamedTuple):
    """The client is there."""


class Ended(NamedTuple):
    """The client closes the connection; nothing follows. `code`: why, None if it does not say so."""

    code: int | None


class Frames:
    """One connection's frames, from behind the handshake on."""

    __slots__ = ("_clock", "_counted", "_limit", "_message", "_proto", "_tokens")

    def __init__(self, limit: int, clock: Clock) -> None:
        """`limit`: bytes of a message."""
        self._proto = Connection(ConnectionType.SERVER)
        self._limit = limit
        self._clock = clock
        self._message = bytearray()  # what has come of one
        self._tokens = float(MAX_IDLE)
        self._counted = clock.seconds()

    def feed(self, data: bytes) -> Iterator[bytes | Pinged | Ponged | Ended]:
        """Take what came, however cut; yield messages, and what else is to be known. Raises `FrameFault`."""
        self._proto.receive_data(data)
        for event in self._proto.events():
            if isinstance(event, TextMessage):
                message = self._text(event)
                if message is not None:
                    yield message
            elif isinstance(event, CloseConnection):
                yield self._ended(event)
                return
            else:
                yield self._other(event)

    def _text(self, event: TextMessage) -> bytes | None:
        """Return a message that is complete."""
        data = event.data.encode()
        message = self._message
        if len(message) + len(data) > self._limit:
            raise FrameFault(TOO_BIG, "message too large")
        if not event.message_finished:
            if event.frame_finished:
                self._idle("fragments")
            message += data
            return None
        if not message:
            return data
        message += data
        self._message = bytearray()
        return bytes(message)

    def _other(self, event: object) -> Pinged | Ponged:
        if isinstance(event, Ping):
            self._idle("pings")
            return Pinged(bytes(event.payload))
        if isinstance(event, Pong):
            self._idle("pongs")
            return Ponged()
        assert isinstance(event, BytesMessage)
        raise FrameFault(UNSUPPORTED, "binary messages are not XMPP")

    def _idle(self, what: str) -> None:
        """Count a frame that brings no message."""
        now = self._clock.seconds()
        self._tokens = min(float(MAX_IDLE), self._tokens + (now - self._counted) * IDLE_RATE)
        self._counted = now
        if self._tokens < 1:
            raise FrameFault(POLICY, f"too many {what}")
        self._tokens -= 1

    def _ended(self, event: CloseConnection) -> Ended:
        """What wsproto makes of a fault looks like the client's own goodbye, but for its state."""
        if self._proto.state.name == "OPEN":
            raise FrameFault(int(event.code), event.reason or "not a WebSocket")
        return Ended(None if event.code == CloseReason.NO_STATUS_RCVD else int(event.code))


def text_frame(message: bytes) -> bytes:
    """Return a message, which is UTF-8, in a frame. wsproto takes text only, and ten times as long."""
    size = len(message)
    if size < 126:
        return b"\x81%c%b" % (size, message)
    if size < 2**16:
        return b"".join((b"\x81\x7e", size.to_bytes(2, "big"), message))
    return b"".join((b"\x81\x7f", size.to_bytes(8, "big"), message))


def pong_frame(payload: bytes) -> bytes:
    """Return the answer to a ping; its payload is 125 bytes at most."""
    return b"\x8a%c%b" % (len(payload), payload)


PING_FRAME = b"\x89\x00"


def close_frame(code: int | None, reason: str = "") -> bytes:
    """Return a goodbye; `reason`: ASCII, at most 123 bytes."""
    payload = b"" if code is None else code.to_bytes(2, "big") + reason.encode("ascii", "replace")[:123]
    return b"\x88%c%b" % (len(payload), payload)
