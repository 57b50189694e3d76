"""The load generator, a process of its own: `python -m bench.load PLAN`, a plan in JSON; results in JSON on stdout.

Every measurement takes the CPU time of the processes under test right at its own begin and end.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.proc import cpu_seconds, resident_bytes
from bench.wire import Stream, Streams, Target, stream

SLICES = 5  # of a measurement, so that a median can be taken

Result = dict[str, Any]


class Meter:
    """CPU times by name of process, as differences between begin and end."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = pids

    def measure(self, seconds: float, step: Callable[[float], int]) -> list[Result]:
        """Call `step(end)` once per slice; it works until about `end` and returns how many messages were received."""
        results = []
        for _ in range(SLICES):
            before, begin = self._read(), time.monotonic()
            count = step(begin + seconds / SLICES)
            after, end = self._read(), time.monotonic()
            cpu = {name: after[name] - before[name] for name in after}
            results.append({"count": count, "seconds": end - begin, "cpu": cpu})
        return results

    def _read(self) -> dict[str, float]:
        return {name: cpu_seconds(pid) for name, pid in self._pids.items()}


class Load:
    """Messages from one sender, received by one or many."""

    def __init__(self, sender: Stream, message: bytes, receivers: list[Stream]) -> None:
        self.receivers = receivers
        self._sender = sender
        self._message = message
        self._copies = len(receivers)
        # In a room the sender gets its own messages back, which are none of the copies; it is read all the same.
        self._own = Streams([sender]) if sender not in receivers else None
        self._streams = Streams(receivers)
        self._serial = 0

    def _send(self, number: int = 1) -> None:
        data = []
        for _ in range(number):
            self._serial += 1
            data.append(self._message.replace(b"@serial@", b"%08d" % self._serial))
        self._sender.send(*data)

    def _read(self, timeout: float) -> int:
        if self._own is not None:
            self._own.read(0)
        return self._streams.read(timeout)

    def _rest(self, missing: int) -> int:
        """Receive what is under way."""
        received, end = 0, time.monotonic() + 20
        while received < missing:
            received += self._read(1)
            if time.monotonic() > end:
                raise RuntimeError(f"{missing - received} copies of {missing} never came")
        return received

    def settle(self) -> None:
        """Read what logging in and joining still bring."""
        self._streams.drain()

    def manage(self) -> None:
        """Have the receivers acknowledge what they get."""
        for receiver in self.receivers:
            receiver.manage()
            receiver.ready()

    def paced(self, rate: float) -> Callable[[float], int]:
        """`rate` messages per second."""

        def step(end: float) -> int:
            sent, received, due = 0, 0, time.monotonic()
            while due < end:
                wait = due - time.monotonic()
                if wait > 0:
                    received += self._read(wait)
                    continue
                self._send()
                sent, due = sent + 1, due + 1 / rate
            return received + self._rest(sent * self._copies - received)

        return step

    def window(self, size: int) -> Callable[[float], int]:
        """As fast as it goes with up to `size` messages under way; 1: the next when every copy has arrived."""

        def step(end: float) -> int:
            sent, received = 0, 0
            while time.monotonic() < end:
                free = size - (sent * self._copies - received + self._copies - 1) // self._copies
                # A window is refilled by halves, as a sender does that has much to send.
                if free >= (size + 1) // 2:
                    self._send(free)
                    sent += free
                received += self._read(1)
            return received + self._rest(sent * self._copies - received)

        return step


def log_in(plan: Result, count: int, first: int = 0) -> list[Stream]:
    """Log in `count` sessions, spread over the accounts of the plan."""
    target, accounts = Target(**plan["target"]), plan["accounts"]
    streams = []
    for number in range(first, first + count):
        client = stream(target)
        client.login(accounts[number % len(accounts)], plan["password"], f"bench{number}")
        streams.append(client)
    return streams


def fork(plan: Result) -> Result:
    """One direct sender in a room, many sessions of one account in it."""
    room = plan["room"]
    sender = stream(Target(**plan["sender"]))
    sender.login(plan["sender_account"], plan["password"], "sender")
    sender.join(room, "sender")
    receivers = log_in(plan, plan["sessions"])
    for receiver in receivers:
        receiver.online()
    for receiver in receivers:
        receiver.join(room, "receiver")
    return run(plan, Load(sender, plan["message"].encode(), receivers), [sender, *receivers])


def echo(plan: Result) -> Result:
    """One client whose messages the server sends back."""
    streams = log_in(plan, 1)
    return run(plan, Load(streams[0], plan["message"].encode(), streams), streams)


def run(plan: Result, load: Load, streams: list[Stream]) -> Result:
    """Carry out the phases of a plan."""
    load.settle()
    if plan.get("managed"):
        load.manage()
    meter, phases = Meter(plan["pids"]), {}
    for name, phase in plan["phases"].items():
        step = load.paced(phase["rate"]) if "rate" in phase else load.window(phase["window"])
        step(time.monotonic() + phase.get("warm_up", 1.0))
        phases[name] = meter.measure(phase["seconds"], step)
    size = sum(stream.bytes for stream in streams[-1:]) / max(sum(stream.messages for stream in streams[-1:]), 1)
    return {"phases": phases, "bytes": size, "tls": cipher(streams[-1])}


def memory(plan: Result) -> Result:
    """Sessions that are logged in and stay; how much the process under test grew by them."""
    pid = plan["pids"]["proxy"]
    streams = log_in(plan, plan["warm_up"])
    time.sleep(2)
    before = resident_bytes(pid)
    streams += log_in(plan, plan["sessions"], plan["warm_up"])
    time.sleep(2)
    after = resident_bytes(pid)
    return {"before": before, "after": after, "sessions": plan["sessions"], "tls": cipher(streams[-1])}


def sleeping(plan: Result) -> Result:
    """As `memory`, but each session loses its connection, and sleeps."""
    pid = plan["pids"]["proxy"]

    def sleepers(count: int, first: int) -> None:
        for number in range(first, first + count):
            (stream,) = log_in(plan, 1, number)
            stream.manage()
            stream.cut()

    sleepers(plan["warm_up"], 0)
    time.sleep(2)
    before = resident_bytes(pid)
    sleepers(plan["sessions"], plan["warm_up"])
    time.sleep(2)
    return {"before": before, "after": resident_bytes(pid), "sessions": plan["sessions"], "tls": "as above"}


def cipher(stream: Stream) -> str:
    """Return version and cipher of a stream's TLS, "none" without."""
    negotiated = getattr(stream.socket, "cipher", lambda: None)()
    return f"{negotiated[1]}, {negotiated[0]}" if negotiated else "none"


def main() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    plan = json.loads(sys.argv[1])
    print(json.dumps({"fork": fork, "echo": echo, "memory": memory, "sleeping": sleeping}[plan["kind"]](plan)))


if __name__ == "__main__":
    main()
