"""Replay: a client returns to a room in which 10,000 messages were kept for it. Rate, and the memory of the proxy."""

import re
import selectors
import threading
import time
from typing import NamedTuple

from bench.generator import message
from bench.proc import cpu_seconds, resident_bytes
from bench.scale import scaled
from bench.servers import PASSWORD, BenchProsody, BenchProxy, stopping
from bench.wire import Stream, Streams, Target

COUNT = scaled(10_000, 2_000)
AT_ONCE = 50  # messages of the sender, until their reflections are there
ROOMS = {"history": 2 * COUNT}
_SUBJECT = re.compile(rb"<subject")


class Case(NamedTuple):
    """One return. Memory in bytes."""

    name: str
    messages: int
    bytes: int
    seconds: float
    first: float  # seconds until the first message
    cpu: float
    before: int
    peak: int
    after: int


def measure() -> list[Case]:
    """The same messages again: to a client of the running proxy, and after a restart."""
    prosody = BenchProsody(tls=True)
    proxy = BenchProxy(prosody, tls=True, rooms=ROOMS)
    room = f"room@{prosody.muc}"
    processes = [prosody.process, proxy.process]
    with stopping(processes):
        target = Target(proxy.port, prosody.domain, prosody.tls)
        sender = Stream(Target(prosody.port, prosody.sender_domain, prosody.tls))
        sender.login(prosody.sender, PASSWORD, "sender")
        sender.join(room, "sender")
        for resource in ("phone", "laptop"):
            stream = _log_in(target, prosody, resource)
            stream.join(room, "receiver")
            stream.send(b"</stream:stream>")
        _speak(sender, room)
        cases = [_return(target, prosody, room, proxy.process.pid, "phone", "running on")]
        proxy.stop()
        proxy.start()
        processes[1] = proxy.process
        cases.append(_return(target, prosody, room, proxy.process.pid, "laptop", "after a restart"))
    return cases


def _log_in(target: Target, prosody: BenchProsody, resource: str) -> Stream:
    stream = Stream(target)
    stream.login(prosody.accounts[0], PASSWORD, resource)
    stream.online()
    return stream


def _speak(sender: Stream, room: str) -> None:
    own, text = Streams([sender]), message(room, "groupchat")
    for begin in range(0, COUNT, AT_ONCE):
        before = sender.messages
        sender.send(b"".join(text.replace("@serial@", f"{begin + number:08}").encode() for number in range(AT_ONCE)))
        while sender.messages < before + AT_ONCE:
            own.read(1.0)


def _return(target: Target, prosody: BenchProsody, room: str, pid: int, resource: str, name: str) -> Case:
    """States no wish: it is told what it has not seen."""
    stream = _log_in(target, prosody, resource)
    time.sleep(2)
    before, cpu = resident_bytes(pid), cpu_seconds(pid)
    watch = _Peak(pid)
    join = f"<presence to='{room}/receiver'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
    stream.ready()
    poll = selectors.DefaultSelector()
    poll.register(stream.socket, selectors.EVENT_READ)
    begin, first, tail = time.monotonic(), 0.0, b""
    stream.send(join.encode())
    size = 0
    while not _SUBJECT.search(tail):
        poll.select(10.0)
        try:
            data = stream.socket.recv(262_144)
        except OSError:  # TLS wants more
            continue
        if not data:
            raise RuntimeError("the proxy hung up")
        size += len(data)
        whole = tail[-32:] + data
        stream.messages += whole.count(b"</message>") - tail[-32:].count(b"</message>")
        if stream.messages and not first:
            first = time.monotonic() - begin
        tail = whole
    seconds = time.monotonic() - begin
    peak = watch.stop()
    time.sleep(1)
    count = stream.messages - 1  # the subject
    if count < COUNT:
        raise RuntimeError(f"{count} messages of {COUNT} came")
    return Case(name, count, size, seconds, first, cpu_seconds(pid) - cpu, before, peak, resident_bytes(pid))


class _Peak:
    """Looks at a process's memory every millisecond or so, in a thread."""

    def __init__(self, pid: int) -> None:
        self._pid, self._peak, self._over = pid, 0, False
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over:
            self._peak = max(self._peak, resident_bytes(self._pid))
            time.sleep(0.002)

    def stop(self) -> int:
        self._over = True
        self._thread.join()
        return self._peak


def main() -> None:
    for case in measure():
        print(case)


if __name__ == "__main__":
    main()
