"""The load of client_proxy, a process of its own: askers, and workers that answer at once. No XML parser.

`python -m bench.client_proxy_load PLAN`, a plan in JSON; results in JSON on stdout. Every measurement takes the CPU
time of the processes under test right at its own begin and end.
"""

import json
import re
import selectors
import socket
import sys
import time
from functools import partial
from typing import Any

from bench.sending import Meter
from bench.wire import Stream, Target

Result = dict[str, Any]

_IQ = re.compile(rb"<iq ([^>]*?)(/?)>")
_ID = re.compile(rb"(?:^| )id=['\"]([^'\"]*)['\"]")
_FROM = re.compile(rb"(?:^| )from=['\"]([^'\"]*)['\"]")
_PAYLOAD = (
    b"<query xmlns='jabber:iq:private'><storage xmlns='urn:bench'>" + b"some words, " * 15 + b"</storage></query>"
)
_REQUEST = b"<iq type='get' id='%b' to='%b'>" + _PAYLOAD + b"</iq>"
_ANSWER = b"<iq type='result' id='%b' to='%b'>" + _PAYLOAD + b"</iq>"
QUIET = 12.0  # seconds without any answer after which what is open counts as lost
GIVEN_UP = 6.0  # seconds after which one request counts as lost while others are answered


class Client:
    """One logged-in stream that is read without waiting. Whole stanzas are handed to `take`."""

    def __init__(self, bench: "Bench", account: str, resource: str) -> None:
        self.bench = bench
        self.stream = Stream(bench.target)
        self.stream.login(account, bench.password, resource)
        self.stream.ready()
        self._data = b""
        self.out: list[bytes] = []
        bench.poll.register(self.stream.socket, selectors.EVENT_READ, self)

    def send(self, data: bytes) -> None:
        self.out.append(data)

    def flush(self) -> None:
        if self.out:
            self.stream.send(b"".join(self.out))
            self.out.clear()

    def read(self) -> None:
        try:
            data = self.stream.socket.recv(262144)
        except BlockingIOError:
            return
        if not data:
            raise RuntimeError(f"{self.stream.jid}: connection closed")
        self._data += data
        end = max(self._data.rfind(b"</iq>") + 5, self._data.rfind(b"/>") + 2)
        if end > 4:
            whole, self._data = self._data[:end], self._data[end:]
            self.take(whole)
        self.flush()

    def take(self, data: bytes) -> None:
        raise NotImplementedError

    def cut(self) -> None:
        """End without a word, as a killed process does."""
        self.bench.poll.unregister(self.stream.socket)
        self.stream.socket.close()


class Worker(Client):
    """Answers every request, and accepts the domain's subscription."""

    def __init__(self, bench: "Bench", account: str, resource: str) -> None:
        super().__init__(bench, account, resource)
        self.send(b"<presence/>")
        self.flush()

    def take(self, data: bytes) -> None:
        if b"'subscribe'" in data:
            self.send(b"<presence type='subscribed' to='%b'/>" % self.bench.domain)
        for attributes, _empty in _IQ.findall(data):
            if b"type='get'" in attributes:
                self.send(_ANSWER % (_ID.findall(attributes)[0], _FROM.findall(attributes)[0]))


class Asker(Client):
    """Asks, and notes when each answer came."""

    def take(self, data: bytes) -> None:
        now = time.perf_counter()
        for attributes, _empty in _IQ.findall(data):
            self.bench.answered(_ID.findall(attributes)[0], b"type='error'" in attributes, now)


class Bench:
    """Askers and workers in one loop."""

    def __init__(self, plan: Result) -> None:
        self.target = Target(**plan["target"])
        self.password = plan["password"]
        self.domain = plan["domain"].encode()
        self.poll = selectors.EpollSelector()
        self.worker_account = plan["worker"]
        self._open: dict[bytes, float] = {}
        self._serial = 0
        self.done = 0
        self.errors = 0
        self.twice = 0
        self.times: list[float] = []
        self.workers = [Worker(self, self.worker_account, f"w{number}") for number in range(plan["workers"])]
        self.askers = [Asker(self, account, "asker") for account in plan["askers"]]

    def ask(self) -> None:
        self._serial += 1
        id = b"%x" % self._serial
        self._open[id] = time.perf_counter()
        self.askers[self._serial % len(self.askers)].send(_REQUEST % (id, self.domain))

    def answered(self, id: bytes, error: bool, now: float) -> None:
        asked = self._open.pop(id, None)
        if asked is None:
            self.twice += 1
            return
        self.done += 1
        self.errors += error
        self.times.append(now - asked)

    def step(self, timeout: float) -> None:
        for asker in self.askers:
            asker.flush()
        for key, _ in self.poll.select(max(timeout, 0)):
            key.data.read()

    def keep_open(self, window: int, until: float) -> int:
        """As fast as it goes, `window` requests open."""
        before = self.done
        while time.monotonic() < until:
            for _ in range(window - len(self._open)):
                self.ask()
            self.step(0.2)
        return self.done - before

    def paced(self, rate: float, until: float) -> int:
        """`rate` requests per second."""
        before, due = self.done, time.monotonic()
        while (now := time.monotonic()) < until:
            while due <= now:
                self.ask()
                due += 1 / rate
            self.step(due - now)
        return self.done - before

    def finish(self, quiet: float = QUIET) -> int:
        """Wait for what is open; return how many answers never came."""
        end = time.monotonic() + quiet
        while self._open and time.monotonic() < end:
            before = self.done
            self.step(0.1)
            if self.done != before:
                end = time.monotonic() + quiet
        lost = len(self._open)
        self._open.clear()
        return lost

    def give_up(self) -> int:
        """Forget requests that have waited too long; return how many."""
        before, lost = time.perf_counter() - GIVEN_UP, 0
        while self._open and next(iter(self._open.values())) < before:
            del self._open[next(iter(self._open))]
            lost += 1
        return lost

    def begin(self) -> None:
        """Wait until requests are answered."""
        end = time.monotonic() + 20
        while self.done - self.errors < 20:
            if time.monotonic() > end:
                raise RuntimeError("no request is answered")
            self.keep_open(1, time.monotonic() + 0.1)
        self.finish()


def percentile(times: list[float], part: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * part))]


def speed(plan: Result) -> Result:
    """Phases: with a window, or paced."""
    bench, phases = Bench(plan), {}
    bench.begin()
    meter = Meter(plan["pids"])
    for name, phase in plan["phases"].items():
        step = partial(bench.paced, phase["rate"]) if "rate" in phase else partial(bench.keep_open, phase["window"])
        step(time.monotonic() + 1.0)
        bench.times.clear()
        slices = meter.measure(phase["seconds"], step)
        phases[name] = {
            "slices": slices,
            "p50": percentile(bench.times, 0.5),
            "p99": percentile(bench.times, 0.99),
            "lost": bench.finish(),
        }
    return {"phases": phases, "errors": bench.errors, "twice": bench.twice}


def loss(plan: Result) -> Result:
    """So many requests, while every second one worker is cut off and comes back."""
    bench = Bench(plan)
    bench.begin()
    start, begin, errors, restarts = bench.done, time.monotonic(), bench.errors, 0
    due = begin + 1.0
    asked = lost = 0
    while asked < plan["requests"] and time.monotonic() < begin + plan["limit"]:
        for _ in range(min(plan["window"] - len(bench._open), plan["requests"] - asked)):
            bench.ask()
            asked += 1
        bench.step(0.05)
        lost += bench.give_up()
        if time.monotonic() >= due:
            victim = bench.workers.pop(0)
            victim.cut()
            bench.workers.append(Worker(bench, bench.worker_account, f"r{restarts}"))
            restarts, due = restarts + 1, time.monotonic() + 1.0
    lost += bench.finish()
    return {
        "asked": asked,
        "answered": bench.done - start,
        "errors": bench.errors - errors,
        "lost": lost,
        "twice": bench.twice,
        "restarts": restarts,
        "seconds": time.monotonic() - begin,
    }


if __name__ == "__main__":
    socket.setdefaulttimeout(30)
    described = json.loads(sys.argv[1])
    json.dump({"speed": speed, "loss": loss}[described["kind"]](described), sys.stdout)
