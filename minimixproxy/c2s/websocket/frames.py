"""Frames of a WebSocket (RFC 6455 §5): bytes of a client against its messages, within limits. Pure.

There are no extensions, so nothing is compressed, and a frame is as large as what it brings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from wsproto.connection import Connection, ConnectionState, ConnectionType
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


_TEXT_FRAME = 0x81  # a whole message
_MASKED, _LENGTH, _TWO_BYTES = 0x80, 0x7F, 126  # of the second byte of a frame


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
    """One connection's frames, from behind the handshake on.

    wsproto reads them, but for a text frame that is a whole message and came in one piece, as nearly all do: for that
    it takes five times as long. So it gets each frame by itself, and it is known when it is between two of them.
    Between two messages there is none of it, for it takes 3 KiB.
    """

    __slots__ = ("_clock", "_counted", "_head", "_left", "_limit", "_message", "_proto", "_tokens")

    def __init__(self, limit: int, clock: Clock) -> None:
        """`limit`: bytes of a message."""
        self._proto: Connection | None = None  # while there is something for it
        self._limit = limit
        self._clock = clock
        self._message: bytearray | None = None  # what has come of one, if something has
        self._head = b""  # what has come of a frame's header
        self._left = 0  # bytes of a frame that wsproto has yet to get
        self._tokens = float(MAX_IDLE)
        self._counted = clock.seconds()

    @property
    def waiting(self) -> int:
        """Bytes that have come of a message that has not ended."""
        return len(self._message) if self._message is not None else 0

    def feed(self, data: bytes) -> Iterator[bytes | Pinged | Ponged | Ended]:
        """Take what came, however cut; yield messages, and what else is to be known. Raises `FrameFault`."""
        if self._head:
            data = self._head + data
            self._head = b""
        start, size = 0, len(data)
        while start < size and not self._is_over:
            if not self._left:
                end = self._whole_text(data, start) if self._message is None else 0
                if end:
                    yield _unmasked(data, start, end)
                    start = end
                    continue
                length = frame_size(data, start)
                if length is None:
                    self._head = data[start:]
                    return
                self._left = length
            end = min(size, start + self._left)
            self._left -= end - start
            yield from self._read(data[start:end])
            start = end
            if not self._left and self._message is None and not self._is_over:
                self._proto = None

    @property
    def _is_over(self) -> bool:
        """Whether the client has said goodbye, or what counts as one."""
        return self._proto is not None and self._proto.state is not ConnectionState.OPEN

    def _whole_text(self, data: bytes, start: int) -> int:
        """Return where a frame ends that is a text message and is there as a whole, 0 if it is none."""
        if data[start] != _TEXT_FRAME:
            return 0
        length = frame_size(data, start)
        if length is None or len(data) - start < length or not data[start + 1] & _MASKED:
            return 0
        end = start + length
        return end if length <= self._limit and _is_shortest(data[start + 1] & _LENGTH, length) else 0

    def _read(self, piece: bytes) -> Iterator[bytes | Pinged | Ponged | Ended]:
        if self._proto is None:
            self._proto = Connection(ConnectionType.SERVER)
        self._proto.receive_data(piece)
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
        message = bytearray() if self._message is None else self._message
        message += event.data.encode()
        if len(message) > self._limit:
            raise FrameFault(TOO_BIG, "message too large")
        if not event.message_finished:
            if event.frame_finished:
                self._idle("fragments")
            self._message = message
            return None
        self._message = None
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
        if not self._is_over:
            raise FrameFault(int(event.code), event.reason or "not a WebSocket")
        return Ended(None if event.code == CloseReason.NO_STATUS_RCVD else int(event.code))


def frame_size(data: bytes, start: int) -> int | None:
    """Return how long the frame is, with its header, that begins at `start`; None: its header is not there yet."""
    if len(data) < start + 2:
        return None
    length = data[start + 1] & _LENGTH
    header = 6 if data[start + 1] & _MASKED else 2
    if length < _TWO_BYTES:
        return header + length
    more = 2 if length == _TWO_BYTES else 8
    if len(data) < start + 2 + more:
        return None
    return header + more + int.from_bytes(data[start + 2 : start + 2 + more], "big")


def _is_shortest(short: int, size: int) -> bool:
    """Tell whether a masked frame of this size has its length in as few bytes as it can be (RFC 6455 §5.2)."""
    return short < _TWO_BYTES or (size >= 8 + _TWO_BYTES if short == _TWO_BYTES else size >= 14 + 2**16)


def _unmasked(data: bytes, start: int, end: int) -> bytes:
    """Return the text of a masked frame that stands there. Raises `FrameFault` if it is none."""
    short = data[start + 1] & _LENGTH
    key_at = start + (2 if short < _TWO_BYTES else 4 if short == _TWO_BYTES else 10)
    masked = data[key_at + 4 : end]
    size = len(masked)
    key = data[key_at : key_at + 4] * (size // 4 + 1)
    text = (int.from_bytes(masked, "big") ^ int.from_bytes(key[:size], "big")).to_bytes(size, "big")
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise FrameFault(NOT_UTF8, "a message is not UTF-8") from error
    return text


def text_frames(messages: list[bytes]) -> bytes:
    """Return messages, which are UTF-8, each in a frame; a ping for an empty one.

    wsproto takes text only, and ten times as long.
    """
    parts: list[bytes] = []
    for message in messages:
        parts += _header(len(message)) if message else PING_FRAME, message
    return b"".join(parts)


def _header(size: int) -> bytes:
    """Return what stands before a message in its frame."""
    if size < _TWO_BYTES:
        return b"\x81%c" % size
    if size < 2**16:
        return b"\x81\x7e" + size.to_bytes(2, "big")
    return b"\x81\x7f" + size.to_bytes(8, "big")


def pong_frame(payload: bytes) -> bytes:
    """Return the answer to a ping; its payload is 125 bytes at most."""
    return b"\x8a%c%b" % (len(payload), payload)


PING_FRAME = b"\x89\x00"


def close_frame(code: int | None, reason: str = "") -> bytes:
    """Return a goodbye; `reason`: ASCII, at most 123 bytes."""
    payload = b"" if code is None else code.to_bytes(2, "big") + reason.encode("ascii", "replace")[:123]
    return b"\x88%c%b" % (len(payload), payload)
