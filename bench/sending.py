"""One sender's messages, paced or as fast as it goes, their copies counted; and CPU times meanwhile."""

import re
import time
from collections.abc import Callable
from typing import Any

from bench.proc import cpu_seconds, cpu_seconds_of_all
from bench.wire import Stream, Streams

SLICES = 5  # of a measurement, so that a median can be taken

_SERIAL = re.compile(rb"<body>([0-9]{8})")

Result = dict[str, Any]
Step = Callable[[float], int]


class Meter:
    """CPU times by name of process, as differences between begin and end."""

    def __init__(self, pids: dict[str, int], with_children: dict[str, int] | None = None) -> None:
        """`with_children`: processes whose children's times are theirs, too."""
        self._pids = pids
        self._with_children = with_children or {}

    def measure(self, seconds: float, step: Step) -> list[Result]:
        """Measure all slices, one after the other."""
        return [self.slice(seconds / SLICES, step) for _ in range(SLICES)]

    def slice(self, seconds: float, step: Step) -> Result:
        """Call `step(end)`: it works until about `end` and returns how many messages were received."""
        before, begin = self._read(), time.monotonic()
        count = step(begin + seconds)
        after, end = self._read(), time.monotonic()
        cpu = {name: after[name] - before[name] for name in after}
        return {"count": count, "seconds": end - begin, "cpu": cpu}

    def _read(self) -> dict[str, float]:
        whole = {name: cpu_seconds_of_all(pid) for name, pid in self._with_children.items()}
        return {name: cpu_seconds(pid) for name, pid in self._pids.items()} | whole


class Load:
    """Messages from one sender, received by one or many."""

    def __init__(self, sender: Stream, message: bytes, receivers: list[Stream]) -> None:
        self.receivers = receivers
        self.message = message
        self._sender = sender
        self._copies = len(receivers)
        # In a room the sender gets its own messages back, which are none of the copies; it is read all the same.
        self._own = Streams([sender]) if sender not in receivers else None
        self._streams = Streams(receivers)
        self._serial = self._proven_from = 0
        self._sent: list[float] = []  # when, of each message
        self._before = {stream: stream.messages for stream in receivers}  # what came before the first of them
        self.latencies: list[float] = []  # seconds from sending to each copy, of what was paced

    @property
    def copy_size(self) -> float:
        """Bytes of a message as it is delivered."""
        last = self.receivers[-1]
        return last.bytes / max(last.messages, 1)

    def keep(self) -> None:
        """From now on keep what the receivers read, for `prove`."""
        self._proven_from = self._serial
        for receiver in self.receivers:
            receiver.kept = []

    def prove(self) -> None:
        """Raise `RuntimeError` unless each receiver got each message since `keep` once, and in order; forget them."""
        sent = [b"%08d" % serial for serial in range(self._proven_from + 1, self._serial + 1)]
        for receiver in self.receivers:
            kept, receiver.kept = receiver.kept or [], None
            got = _SERIAL.findall(b"".join(kept))
            if got != sent:
                at = next((at for at, pair in enumerate(zip(got, sent, strict=False)) if pair[0] != pair[1]), len(got))
                wrong = f"where {sent[at : at + 3]!r} were said, {got[at : at + 3]!r} came"
                raise RuntimeError(f"{receiver.jid}: {len(sent)} messages were sent, {len(got)} came; {wrong}")

    def _send(self, number: int = 1) -> None:
        data = []
        for _ in range(number):
            self._serial += 1
            data.append(self.message.replace(b"@serial@", b"%08d" % self._serial))
        self._sent += [time.monotonic()] * number
        self._sender.send(*data)

    def _read(self, timeout: float) -> int:
        if self._own is not None:
            self._own.read(0)
        return self._streams.read(timeout)

    def _read_timed(self, timeout: float) -> int:
        """As `_read`. Copies come in the order in which they were sent, each once: so their number says which it is."""
        if self._own is not None:
            self._own.read(0)
        received = 0
        for stream, number in self._streams.read_each(timeout):
            now, last = time.monotonic(), stream.messages - self._before[stream]
            self.latencies += [now - sent for sent in self._sent[last - number : last]]
            received += number
        return received

    def _rest(self, missing: int, read: Callable[[float], int]) -> int:
        """Receive what is under way."""
        received, end = 0, time.monotonic() + 20
        while received < missing:
            received += read(1)
            if time.monotonic() > end:
                raise RuntimeError(f"{missing - received} copies of {missing} never came")
        return received

    def settle(self) -> None:
        """Read what logging in and joining still bring."""
        self._streams.drain()
        self._before = {stream: stream.messages for stream in self.receivers}

    def manage(self) -> None:
        """Have the receivers acknowledge what they get."""
        for receiver in self.receivers:
            receiver.manage()
            receiver.ready()

    def step(self, phase: Result) -> Step:
        """Return what one phase of a plan does."""
        return self._paced(phase["rate"]) if "rate" in phase else self._window(phase["window"])

    def _paced(self, rate: float) -> Step:
        """`rate` messages per second."""

        def step(end: float) -> int:
            sent, received, due = 0, 0, time.monotonic()
            while due < end:
                wait = due - time.monotonic()
                if wait > 0:
                    received += self._read_timed(wait)
                    continue
                self._send()
                sent, due = sent + 1, due + 1 / rate
            return received + self._rest(sent * self._copies - received, self._read_timed)

        return step

    def _window(self, size: int) -> Step:
        """As fast as it goes with up to `size` messages under way; 1: the next when every copy has arrived."""

        def step(end: float) -> int:
            sent, received = 0, 0
            while not sent or time.monotonic() < end:
                free = size - (sent * self._copies - received + self._copies - 1) // self._copies
                # A window is refilled by halves, as a sender does that has much to send.
                if free >= (size + 1) // 2:
                    self._send(free)
                    sent += free
                received += self._read(1)
            return received + self._rest(sent * self._copies - received, self._read)

        return step
