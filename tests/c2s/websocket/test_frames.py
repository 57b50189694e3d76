"""Frames of a WebSocket: what a client may send, and the code with which it is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial import unittest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import Ping, TextMessage

from minimixproxy.c2s.websocket.frames import (
    IDLE_RATE,
    MAX_IDLE,
    Ended,
    FrameFault,
    Frames,
    Pinged,
    Ponged,
    close_frame,
    pong_frame,
    text_frames,
)

TEXT, BINARY, MORE, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
LIMIT = 70_000
SHORT = 700  # for what is refused, which is read byte by byte


def frame(payload: bytes, opcode: int = TEXT, *, final: bool = True, key: bytes = b"\x01\xf7\0\x80") -> bytes:
    """A client's frame."""
    size = len(payload)
    if size < 2**16:
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    masked = bytes(byte ^ key[place % 4] for place, byte in enumerate(payload))
    return bytes([0x80 * final | opcode]) + length + key + masked


def read(*pieces: bytes, limit: int = LIMIT) -> list[object]:
    frames = Frames(limit, Clock())
    return [found for piece in pieces for found in frames.feed(piece)]


#: What a client may not do, and why it is closed then.
REFUSED = {
    "not masked": (b"\x81\x02hi", 1002),
    "a reserved bit: compressed": (b"\xc1" + frame(b"hi")[1:], 1002),
    "an opcode that is not there": (frame(b"hi", 3), 1002),
    "binary": (frame(b"<presence/>", BINARY), 1003),
    "binary in fragments": (frame(b"<pres", BINARY, final=False), 1003),
    "not UTF-8": (frame(b"<a>\xff</a>"), 1007),
    "not UTF-8, in fragments": (frame(b"<a>\xff", final=False), 1007),
    "half a character at the end": (frame(b"<a>\xe2\x82"), 1007),
    "half a character at the end of the last fragment": (frame(b"a", final=False) + frame(b"\xe2\x82", MORE), 1007),
    "a surrogate": (frame(b"\xed\xa0\x80"), 1007),
    "too large": (frame(b"x" * (SHORT + 1)), 1009),
    "too large in sum": (frame(b"x" * SHORT, final=False) + frame(b"x", MORE, final=False), 1009),
    "said to be huge": (b"\x81\xff\x7f" + b"\xff" * 7 + b"keys" + b"x" * (SHORT + 1), 1009),
    "longer than can be": (b"\x81\xff" + b"\xff" * 8 + b"keys", 1002),
    "length in more bytes than needed": (b"\x81\xfe\x00\x02keysab", 1002),
    "length in eight bytes": (b"\x81\xff" + (300).to_bytes(8, "big") + b"keys" + b"x" * 300, 1002),
    "a fragment of nothing": (frame(b"x", MORE), 1002),
    "a message within a message": (frame(b"x", final=False) + frame(b"y"), 1002),
    "a fragmented ping": (frame(b"x", PING, final=False), 1002),
    "a large ping": (frame(b"x" * 126, PING), 1002),
    "a goodbye of one byte": (frame(b"x", CLOSE), 1002),
    "a goodbye with a code that must not be said": (frame((1006).to_bytes(2, "big"), CLOSE), 1002),
    "a goodbye that is not UTF-8": (frame((1000).to_bytes(2, "big") + b"\xff", CLOSE), 1007),
    "pings without end": (frame(b"x", PING) * (MAX_IDLE + 1), 1008),
    "pongs without end": (frame(b"", PONG) * (MAX_IDLE + 1), 1008),
    "fragments without end": (frame(b"", final=False) + frame(b"", MORE, final=False) * MAX_IDLE, 1008),
}


class RefusedTests(unittest.SynchronousTestCase):
    def test_each_with_its_code(self) -> None:
        for name, (data, code) in REFUSED.items():
            with self.assertRaises(FrameFault, msg=name) as caught:
                read(data, limit=SHORT)
            self.assertEqual(caught.exception.code, code, name)
            self.assertTrue(str(caught.exception), name)

    def test_each_however_it_is_cut(self) -> None:
        for name, (data, code) in REFUSED.items():
            for size in (1, 7, 512):
                pieces = [data[start : start + size] for start in range(0, len(data), size)]
                with self.assertRaises(FrameFault, msg=name) as caught:
                    read(*pieces, limit=SHORT)
                self.assertEqual(caught.exception.code, code, name)

    def test_too_large_is_found_as_it_comes(self) -> None:
        frames = Frames(1000, Clock())
        head = b"\x81\xff" + (2**40).to_bytes(8, "big") + b"keys"
        self.assertEqual(list(frames.feed(head)), [])
        self.assertEqual(list(frames.feed(b"k" * 1000)), [])
        with self.assertRaises(FrameFault) as caught:
            list(frames.feed(b"k"))
        self.assertEqual(caught.exception.code, 1009)

    def test_what_comes_before_is_read(self) -> None:
        frames = Frames(LIMIT, Clock())
        found = []
        with self.assertRaises(FrameFault):
            for event in frames.feed(frame(b"<a/>") + frame(b"\0", BINARY)):
                found.append(event)
        self.assertEqual(found, [b"<a/>"])


class ReadTests(unittest.SynchronousTestCase):
    def test_messages_of_all_sizes(self) -> None:
        for size in (0, 1, 125, 126, 65535, 65536, LIMIT):
            payload = b"x" * size
            self.assertEqual(read(frame(payload)), [payload])

    def test_largest_message_in_fragments(self) -> None:
        pieces = frame(b"x" * (LIMIT - 1), final=False), frame(b"", MORE, final=False), frame(b"y", MORE)
        self.assertEqual(read(*pieces), [b"x" * (LIMIT - 1) + b"y"])

    def test_a_ping_between_fragments(self) -> None:
        found = read(frame("ü".encode()[:1], final=False) + frame(b"p", PING) + frame("ü".encode()[1:], MORE))
        self.assertEqual(found, [Pinged(b"p"), "ü".encode()])

    def test_goodbyes(self) -> None:
        self.assertEqual(read(frame(b"", CLOSE)), [Ended(None)])
        self.assertEqual(read(frame((1001).to_bytes(2, "big") + b"away", CLOSE)), [Ended(1001)])
        self.assertEqual(read(frame((4000).to_bytes(2, "big"), CLOSE) + frame(b"late")), [Ended(4000)])

    def test_pings_at_their_pace_are_answered_for_ever(self) -> None:
        clock = Clock()
        frames = Frames(LIMIT, clock)
        for _ in range(3 * MAX_IDLE):
            self.assertEqual(list(frames.feed(frame(b"", PING))), [Pinged(b"")])
            clock.advance(1 / IDLE_RATE)
        self.assertEqual(list(frames.feed(frame(b"", PONG))), [Ponged()])

    @given(
        st.lists(st.text(max_size=40) | st.text(min_size=60, max_size=200), max_size=5),
        st.lists(st.integers(1, 50), max_size=8),
        st.lists(st.integers(1, 90), min_size=1, max_size=8),
    )
    def test_any_cutting_gives_the_same(self, texts: list[str], fragments: list[int], reads: list[int]) -> None:
        messages = [text.encode() for text in texts]
        whole = b"".join(part for message in messages for part in fragmented(message, fragments))
        self.assertEqual(read(*cut(whole, reads)), messages)

    @given(st.lists(st.binary(max_size=30), max_size=6))
    def test_any_bytes(self, pieces: list[bytes]) -> None:
        try:
            read(*pieces)
        except FrameFault as fault:
            self.assertIn(fault.code, (1002, 1003, 1007, 1008, 1009))


def fragmented(message: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """A message in frames of these sizes, the rest in the last."""
    start, opcode = 0, TEXT
    for size in sizes:
        yield frame(message[start : start + size], opcode, final=False)
        start, opcode = start + size, MORE
    yield frame(message[start:], opcode)


def cut(whole: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """Pieces of these sizes, again and again."""
    start = 0
    while start < len(whole):
        for size in sizes:
            yield whole[start : start + size]
            start += size


class WrittenTests(unittest.SynchronousTestCase):
    def test_a_client_reads_what_is_written(self) -> None:
        for size in (1, 125, 126, 65535, 65536):
            client = Connection(ConnectionType.CLIENT)
            client.receive_data(text_frames([b"x" * size, b"", b"y"]))
            found = [(type(event), getattr(event, "data", "")) for event in client.events()]
            self.assertEqual(found, [(TextMessage, "x" * size), (Ping, ""), (TextMessage, "y")])

    def test_control_frames(self) -> None:
        client = Connection(ConnectionType.CLIENT)
        client.receive_data(pong_frame(b"x" * 125) + close_frame(1008, "grüß" + "x" * 200))
        pong, close = client.events()
        self.assertEqual(getattr(pong, "payload", None), b"x" * 125)
        self.assertEqual(getattr(close, "code", None), 1008)
