"""Model ends of a managed stream (XEP-0198), a client and a server, with all bookkeeping, behind wires that may be cut.

What is written is on its way until the other end reads it, as many bytes at a time as it likes; a cut loses the rest.
Every `h` that the proxy writes is held against the truth in that moment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tests.wires import Wire

NS = b"xmlns='urn:xmpp:sm:3'"
ASK = b"<r %b/>" % NS
END = b"</stream:stream>"
_ELEMENT = re.compile(
    rb"\s*(?:<\?xml[^>]*\?>)?"
    rb"(?P<whole><stream:features>.*?</stream:features>|<stream:error>.*?</stream:error>|<failed.*?</failed>"
    rb"|<(?P<name>[^\s/>]+)(?=[\s/>])(?:[^>]*/>|(?<=message)[^>]*></message>|(?<!message)[^>]*>)|</stream:stream>)",
    re.DOTALL,
)
_ID, _H = re.compile(rb" id='([^']*)'"), re.compile(rb" h='(\d+)'")
STANZAS = (b"message", b"presence")


def stanza(name: str) -> bytes:
    """A stanza: presences are dear to the proxy (see `PacedReading`), and those of an odd number are such.

    Of messages every other one may pass with those beside it.
    """
    number = int(name[1:])
    return b"<message id='%b'></message>" % name.encode() if not number % 4 else _empty(name, STANZAS[number % 2])


def _empty(name: str, kind: bytes) -> bytes:
    return b"<%b id='%b'/>" % (kind, name.encode())


def ack(h: int) -> bytes:
    return b"<a %b h='%d'/>" % (NS, h)


def ids_of(stanzas: bytes) -> list[str]:
    return [match[1].decode() for match in _ID.finditer(stanzas)]


class Link:
    """One connection of a model end. `heard` is called by the end with what it reads."""

    def __init__(self, wire: Wire, feed: Callable[[bytes], None], lost: Callable[[], None]) -> None:
        self.wire = wire
        self.stands = True  # as the proxy knows
        self.to_proxy = b""
        self.from_proxy = b""
        self._feed = feed
        self._lost = lost
        self._read = b""

    def flow(self, size: int) -> None:
        """Let so many bytes come to the proxy, if it reads."""
        if self.stands and self.wire.producerState == "producing" and self.to_proxy:
            data, self.to_proxy = self.to_proxy[:size], self.to_proxy[size:]
            self._feed(data)

    def cut(self) -> None:
        """The proxy notices that the connection is gone."""
        if self.stands:
            self.stands = False
            self.to_proxy = b""
            self._lost()

    def read(self, size: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield the names of the elements that so many bytes complete, and the elements."""
        self._read += self.from_proxy[:size]
        self.from_proxy = self.from_proxy[size:]
        while (match := _ELEMENT.match(self._read)) is not None:
            self._read = self._read[match.end() :]
            yield match["name"] or b"/", match["whole"]


class End:
    """What the ends have in common. The stanzas are known by their ids."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self.numbered: list[str] = []  # as this end counts what it sent
        self.acknowledged = 0
        self.heard: list[str] = []  # what it handled, each stanza once
        self.told = 0  # the last `h` that the proxy wrote
        self.questions = 0  # of the proxy, that are not answered
        self.resumes = False  # waits for the answer to the resumption
        self.over = False  # the stream has ended

    @property
    def connected(self) -> bool:
        return self.link is not None

    def send(self, data: bytes) -> None:
        """Send what is no stanza."""
        if self.link is not None:
            self.link.to_proxy += data

    def say(self, name: str) -> None:
        """Send a stanza, now or when it is there again."""
        self.numbered.append(name)
        if not self.resumes:
            self.send(stanza(name))

    def acknowledge(self) -> None:
        if not self.resumes:
            self.questions = 0
            self.send(ack(len(self.heard)))

    def ask(self) -> None:
        if not self.resumes:
            self.send(ASK)

    def acknowledged_to(self, h: int) -> None:
        """The proxy has handled so many."""
        assert self.acknowledged <= h <= len(self.numbered), (self.acknowledged, h, len(self.numbered))
        self.acknowledged = h

    def unacknowledged(self) -> list[str]:
        return self.numbered[self.acknowledged :]

    def read(self, size: int) -> None:
        """Read so many bytes."""
        if self.link is not None:
            for name, element in self.link.read(size):
                self.handle(name, element)

    def handle(self, name: bytes, element: bytes) -> None:
        if name in STANZAS:
            match = _ID.search(element)
            assert match is not None
            self.heard.append(match[1].decode())
        elif name == b"r":
            self.questions += 1
        elif name == b"a":
            self.acknowledged_to(h_of(element))
        elif name == b"/":
            self.over = True

    def written(self, handled: Callable[[str], bool]) -> None:
        """Take what the proxy has written, and see whether what it says to have handled is true."""
        assert self.link is not None
        data = self.link.wire.take()
        self.link.from_proxy += data
        for match in _H.finditer(data):
            h = int(match[1])
            assert h >= self.told, f"{h} goes back behind {self.told}"
            assert h <= len(self.numbered), f"{h} of {len(self.numbered)}"
            late = [name for name in self.numbered[self.told : h] if not handled(name)]
            assert not late, f"{late} are said to be handled"
            self.told = h


def h_of(element: bytes) -> int:
    match = _H.search(element)
    assert match is not None, element
    return int(match[1])
