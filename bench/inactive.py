"""Bytes to an inactive phone in a busy room: through the proxy, and directly, with mod_csi_simple and without.

Occupants come, go and show something, write, and say something; three times they name the phone's user.
"""

import random
import re
import select
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from bench.scale import scaled
from bench.servers import PASSWORD, BenchProsody, BenchProxy, stopping
from bench.wire import Stream, Streams, Target
from tests.integration.processes import LoggedProcess

OCCUPANTS = 50
PRESENCES, CHAT_STATES, MESSAGES, MENTIONS = scaled((500, 250, 100, 3), (200, 100, 40, 3))
AT_ONCE = 5  # events on their way
QUIET = 1.0  # seconds without a byte, after which nothing more comes
INACTIVE, ACTIVE = (f"<{state} xmlns='urn:xmpp:csi:0'/>".encode() for state in ("inactive", "active"))
# What present-day clients show: capabilities (XEP-0115) and a picture (XEP-0153).
_SHOWN = (
    "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://client.test' "
    "ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>"
    "<x xmlns='vcard-temp:x:update'><photo>b2d3c0f5a1e94d7d8f1c3a5b7e9d1f3a5c7e9b1d</photo></x>"
)
_EXTRAS = "<origin-id xmlns='urn:xmpp:sid:0' id='7b2b6e2a-5f0e-4a6e-9d2e-{0}'/>"
_MESSAGE = re.compile(b"<message .*?</message>", re.DOTALL)
_END = re.compile(b"</presence>|</message>")
_TEXT = "what people say in rooms is mostly short and of no great weight to those who are not there"
_WORDS = _TEXT.split()


class Case(NamedTuple):
    """What one phone got, in bytes: while it was `inactive`, and with what waited until it was active again, in `all`.

    `messages`: of those while it was inactive, what were messages with a body.
    """

    name: str
    inactive: int
    messages: int
    all: int


class _Observer(Stream):
    """Counts whole stanzas of the room."""

    stanzas = 0
    _rest = b""

    def look(self) -> None:
        """Read what is there."""
        try:
            data = self._rest + self.socket.recv(262_144)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        ends = [found.end() for found in _END.finditer(data)]
        self.stanzas += len(ends)
        self._rest = data[ends[-1] :] if ends else data


class _Room:
    """Occupants who do things, and an observer who sees that they have happened."""

    def __init__(self, prosody: BenchProsody, room: str) -> None:
        self._target = Target(prosody.port, prosody.sender_domain, prosody.tls)
        self._room = room
        self._random = random.Random(352)
        self._observer = _Observer(self._target)
        self._observer.login(prosody.sender, PASSWORD, "observer")
        self._observer.join(room, "observer")
        self._observer.ready()
        self._streams = [Stream(self._target) for _ in range(OCCUPANTS)]
        self._here = [False] * OCCUPANTS
        self._serial = 0
        for number, stream in enumerate(self._streams):
            stream.login(prosody.sender, PASSWORD, f"occupant{number}")
        self._own = Streams(self._streams)
        for number in range(0, OCCUPANTS, 2):
            self._shows(number)
            self._wait(1)

    def happen(self) -> None:
        """Everything, in an order that is the same each time; mentions at a quarter, at half, at three quarters."""
        events: list[Callable[[int], None]] = [self._presence] * PRESENCES
        events += [self._types] * CHAT_STATES + [self._says] * MESSAGES
        self._random.shuffle(events)
        for part in range(1, MENTIONS + 1):
            events.insert(part * len(events) // (MENTIONS + 1), self._mentions)
        for begin in range(0, len(events), AT_ONCE):
            some = events[begin : begin + AT_ONCE]
            for event in some:
                event(self._random.randrange(OCCUPANTS))
            self._wait(len(some))

    def _wait(self, count: int) -> None:
        """Wait until the observer has seen so many events more."""
        end, until = self._observer.stanzas + count, time.monotonic() + 30
        while self._observer.stanzas < end:
            self._own.read(0.001)
            self._observer.look()
            if time.monotonic() > until:
                raise RuntimeError(f"{end - self._observer.stanzas} of {count} events were not seen")

    def _presence(self, number: int) -> None:
        if self._here[number] and self._random.random() < 0.3:
            self._here[number] = False
            self._streams[number].send(f"<presence type='unavailable' to='{self._room}/occupant{number}'/>".encode())
        else:
            self._shows(number)

    def _shows(self, number: int) -> None:
        join = "" if self._here[number] else "<x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x>"
        self._here[number] = True
        show = self._random.choice(("", "<show>away</show>", "<show>xa</show>", "<show>dnd</show>"))
        presence = f"<presence to='{self._room}/occupant{number}'>{show}{_SHOWN}{join}</presence>"
        self._streams[number].send(presence.encode())

    def _one_who_is_here(self, number: int) -> int:
        while not self._here[number]:
            number = (number + 1) % OCCUPANTS
        return number

    def _message(self, number: int, inner: str) -> None:
        self._serial += 1
        message = f"<message type='groupchat' to='{self._room}' id='m{self._serial:08}'>{inner}</message>"
        self._streams[self._one_who_is_here(number)].send(message.encode())

    def _types(self, number: int) -> None:
        state = self._random.choice(("composing", "composing", "paused", "active"))
        self._message(number, f"<{state} xmlns='http://jabber.org/protocol/chatstates'/>")

    def _says(self, number: int, name: str = "") -> None:
        words = " ".join(self._random.choices(_WORDS, k=self._random.randint(3, 12)))
        self._message(number, f"<body>{name}{words}</body>{_EXTRAS.format(f'{self._serial:012}')}")

    def _mentions(self, number: int) -> None:
        self._says(number, "phone: ")


class _Phone:
    """Reads what comes, and counts."""

    def __init__(self, port: int, prosody: BenchProsody, room: str) -> None:
        self._stream = Stream(Target(port, prosody.domain, prosody.tls))
        self._stream.login(prosody.accounts[0], PASSWORD, "phone")
        self._stream.online()
        self._stream.join(room, "phone")
        self._stream.ready()
        self._read()
        self.told = b""

    def says(self, data: bytes) -> None:
        self._stream.send(data)

    def read(self) -> None:
        """Read until nothing more comes."""
        self.told += self._read()

    def _read(self) -> bytes:
        parts, until = [], time.monotonic() + QUIET
        while time.monotonic() < until:
            select.select([self._stream.socket], [], [], QUIET / 10)
            try:
                parts.append(self._stream.socket.recv(262_144))
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            until = time.monotonic() + QUIET
        return b"".join(parts)


class _Way(NamedTuple):
    """How the phone is there. `csi`: its server has mod_csi_simple; `proxied`: by the proxy."""

    name: str
    csi: bool
    proxied: bool


_WAYS = (
    _Way("directly, active", csi=False, proxied=False),
    _Way("directly, mod_csi_simple", csi=True, proxied=False),
    _Way("minimixproxy", csi=False, proxied=True),
    _Way("minimixproxy, mod_csi_simple behind it", csi=True, proxied=True),
)


def measure() -> list[Case]:
    """The same room each time, at a server of its own; all at once: bytes are counted, and no time is measured."""
    started: list[LoggedProcess] = []
    with stopping(started), ThreadPoolExecutor() as threads:
        # Whoever starts a process has to outlive it: not one of the threads.
        running = [threads.submit(_case, way, *_servers(way, started)) for way in _WAYS]
        return [case.result() for case in running]


def _servers(way: _Way, started: list[LoggedProcess]) -> tuple[BenchProsody, int]:
    """Start what the phone needs; return the server, and the port for the phone."""
    prosody = BenchProsody(tls=True, modules=["csi_simple"] if way.csi else [])
    started.append(prosody.process)
    if not way.proxied:
        return prosody, prosody.port
    proxy = BenchProxy(prosody, tls=True)
    started.append(proxy.process)
    return prosody, proxy.port


def _case(way: _Way, prosody: BenchProsody, port: int) -> Case:
    address, tells = f"busy@{prosody.muc}", way.csi or way.proxied
    room = _Room(prosody, address)
    phone = _Phone(port, prosody, address)
    if tells:
        phone.says(INACTIVE)
    room.happen()
    phone.read()
    inactive = phone.told
    if tells:
        phone.says(ACTIVE)
    phone.read()
    if phone.told.count(b"phone: ") != MENTIONS:
        raise RuntimeError(f"{phone.told.count(b'phone: ')} mentions came")
    messages = sum(len(found) for found in _MESSAGE.findall(inactive) if b"<body" in found)
    return Case(way.name, len(inactive), messages, len(phone.told))


def main() -> None:
    for case in measure():
        print(case)


if __name__ == "__main__":
    main()
