"""What was sent on a stream and is not acknowledged (XEP-0198 §4). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

MODULUS = 2**32  # numbers on the wire begin anew there


class NotSent(Exception):
    """The peer acknowledges what it was never sent, or what it has acknowledged already. `sent`: modulo `MODULUS`."""

    def __init__(self, h: int, sent: int) -> None:
        super().__init__(f"{h} stanzas are acknowledged, {sent} were sent")
        self.h = h
        self.sent = sent


class Tracked(bytes):
    """A stanza whose arrival somebody waits for."""

    arrived: Callable[[], None]

    def __new__(cls, stanza: bytes, arrived: Callable[[], None]) -> Tracked:
        """`arrived` is called once the stanza is acknowledged."""
        self = super().__new__(cls, stanza)
        self.arrived = arrived
        return self


def tracked_too(stanza: bytes, arrived: Callable[[], None]) -> Tracked:
    """Return a stanza for whose arrival one more waits, who is called first."""
    before = stanza.arrived if type(stanza) is Tracked else None
    if before is None:
        return Tracked(stanza, arrived)

    def both() -> None:
        arrived()
        before()

    return Tracked(stanza, both)


class Unacknowledged:
    """Whole stanzas, the oldest first. How many there may be is for whoever sends them; `size` is in bytes."""

    __slots__ = ("_arrivals", "_forgotten", "_stanzas", "acknowledged", "size")

    def __init__(self) -> None:
        # Lists, for they are short, and each session has them; a deque takes ten times as much.
        self._stanzas: list[bytes] = []
        self._arrivals: list[tuple[int, Callable[[], None]]] = []  # behind which stanza, and who waits for it
        self._forgotten = 0  # so many of the first are empty
        self.acknowledged = 0  # how many were acknowledged, all in all
        self.size = 0

    def __len__(self) -> int:
        return len(self._stanzas)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stanzas)

    @property
    def sent(self) -> int:
        """How many were sent, all in all."""
        return self.acknowledged + len(self._stanzas)

    def add(self, stanza: bytes) -> None:
        """A stanza is sent."""
        self._stanzas.append(stanza)
        self.size += len(stanza)

    def add_all(self, stanzas: Iterable[bytes], size: int) -> None:
        """Stanzas of so many bytes together are sent."""
        self._stanzas.extend(stanzas)
        self.size += size

    def forget(self, kept: int, size: int) -> None:
        """Keep so many of the last stanzas at most, and bytes of them; those before count, and are not there."""
        stanzas = self._stanzas
        while self._forgotten < len(stanzas) and (self.size > size or len(stanzas) - self._forgotten > kept):
            stanza = stanzas[self._forgotten]
            self.size -= len(stanza)
            stanzas[self._forgotten] = Tracked(b"", stanza.arrived) if type(stanza) is Tracked else b""
            self._forgotten += 1

    @property
    def complete(self) -> bool:
        """Whether all are there."""
        return not self._forgotten

    def complete_behind(self, h: int) -> bool:
        """Whether all are there behind so many, counted modulo `MODULUS`."""
        return (h - self.acknowledged) % MODULUS >= self._forgotten

    def when_arrived(self, call: Callable[[], None]) -> None:
        """Call once all that was sent so far is acknowledged; at once if it is."""
        if self._stanzas:
            self._arrivals.append((self.sent, call))
        else:
            call()

    def arrived(self, h: int) -> int:
        """The peer has handled `h` stanzas, counted modulo `MODULUS`; return how many of them are news.

        Raises `NotSent`, and nothing has changed, if so many are not open.
        """
        news = (h - self.acknowledged) % MODULUS
        if news > len(self._stanzas):
            raise NotSent(h, self.sent % MODULUS)
        arrived = self._stanzas[:news]
        del self._stanzas[:news]
        self.size -= sum(map(len, arrived))
        self.acknowledged += news
        self._forgotten = max(0, self._forgotten - news)
        for stanza in arrived:
            if type(stanza) is Tracked:
                stanza.arrived()
        while self._arrivals and self._arrivals[0][0] <= self.acknowledged:
            self._arrivals.pop(0)[1]()
        return news

    def give_up(self) -> Sequence[bytes]:
        """Nothing more is acknowledged: return what was not. Whoever waits for it is called."""
        stanzas, self._stanzas, self.size = self._stanzas, [], 0
        self._forgotten = 0
        arrivals, self._arrivals = self._arrivals, []
        for _behind, call in arrivals:
            call()
        return stanzas
