"""Presences that several account streams get, read once: a room shows each account the same, but for `to`. Pure.

Of such a stanza nobody need find out again that it is well-formed, and what is in it. It is known by its bytes, all of
them: so none is taken for another, whoever sends what.
"""

from __future__ import annotations

from typing import NamedTuple

from minimixproxy.namespaces import NS_CLIENT, NS_STREAM
from minimixproxy.wire.events import Event
from minimixproxy.wire.framing import Framer, FramingLimits
from minimixproxy.wire.stanza import Stanza, place_of_to

MOST = 8192  # presences that are known; up to twice as many, until those that came longest ago are forgotten
LARGEST = 1024  # bytes of one of them
MOST_ATTRIBUTES = 16  # of one of them: each takes ten times its bytes
_END = b"</presence>"
_USUAL = {"": NS_CLIENT, "stream": NS_STREAM}


class Known(NamedTuple):
    """A presence without its `to`, which stood at the offset `at`, with the space before it."""

    raw: bytes
    at: int
    uri: str
    attributes: dict[str, str]
    payloads: tuple[tuple[str, str], ...]


class KnownPresences:
    """Those that came lately, by their bytes without `to`; while fewer than two streams use them, none."""

    __slots__ = ("_former", "_latest", "_streams")

    def __init__(self) -> None:
        self._latest: dict[bytes, Known] = {}
        self._former: dict[bytes, Known] = {}
        self._streams = 0

    def __len__(self) -> int:
        return len(self._latest) + len(self._former)

    def begin_use(self) -> None:
        """One more stream recognizes presences."""
        self._streams += 1

    def end_use(self) -> None:
        """One less does."""
        self._streams -= 1
        if self._streams < 2:
            self._latest, self._former = {}, {}

    def find(self, raw: bytes) -> Known | None:
        """Return what is known of a presence."""
        known = self._latest.get(raw)
        if known is None:
            known = self._former.pop(raw, None)
            if known is not None:
                self.keep(known)
        return known

    def keep(self, known: Known) -> None:
        """Keep what has been found out; after a while what nobody has asked for is forgotten."""
        if self._streams < 2:
            return
        self._latest[known.raw] = known
        if len(self._latest) >= MOST:
            self._former, self._latest = self._latest, {}


KNOWN = KnownPresences()  # of this process


class RecognizingFramer(Framer):
    """A `Framer` that, once it is to `recognize` presences, gives those that are known to no parser.

    All streams that do have the same declarations in their headers. What is not known goes the way that it goes in
    `Framer`, and so do all other stanzas.
    """

    __slots__ = ("_address", "_known", "_to")

    def __init__(self, limits: FramingLimits | None = None) -> None:
        super().__init__(limits)
        self._known: KnownPresences | None = None
        self._to = b""  # as it stands in what the peer sends
        self._address = ""  # and what it says

    @property
    def is_between_stanzas(self) -> bool:
        """Whether all that came is handled, and a stanza may begin."""
        return self._depth == 1 and not (self._tail or self._finished or self._guard.unfinished)

    def recognize(self, known: KnownPresences) -> None:
        """From now on recognize presences; not on a stream whose header declares anything unusual."""
        if self._namespaces == _USUAL:
            self._known = known
            known.begin_use()

    def recognize_no_more(self) -> None:
        """The stream is over."""
        known, self._known = self._known, None
        if known is not None:
            known.end_use()

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes of the stream, however cut; return what they completed."""
        if self._known is None:
            return super().feed(data)
        events: list[Event] = []
        unread = start = 0
        while (end := data.find(_END, start)) >= 0:
            end += len(_END)
            presence = self._recognized(self._known, data[start:end]) if end - start <= LARGEST else None
            if presence is None:
                start = end
                if not self._to:  # how the peer writes it is known behind the first
                    events += self._read(self._known, data[unread:start])
                    unread = start
                continue
            if unread < start:
                events += self._read(self._known, data[unread:start])
            if not self.is_between_stanzas:  # it stands within something else
                return events + self._read(self._known, data[start:])
            events.append(presence)
            unread = start = end
        return events + self._read(self._known, data[unread:]) if unread < len(data) else events

    def _recognized(self, all_known: KnownPresences, raw: bytes) -> Stanza | None:
        to = self._to
        at = raw.find(to)
        if at <= 0 or len(raw) > self._limits.max_stanza:
            return None
        known = all_known.find(raw[:at] + raw[at + len(to) :])
        if known is None or known.at != at:
            return None
        attributes = {**known.attributes, "to": self._address}
        presence = Stanza(raw, known.uri, "presence", attributes, known.payloads, self._namespaces)
        presence.is_unaddressed(known.raw)
        return presence

    def _read(self, all_known: KnownPresences, data: bytes) -> list[Event]:
        """Do as `Framer` does, and know the presences from now on."""
        events = super().feed(data)
        for event in events:
            if isinstance(event, Stanza) and event.name == "presence" and event.met is not None:
                self._learn(all_known, event)
        return events

    def _learn(self, all_known: KnownPresences, presence: Stanza) -> None:
        found = place_of_to(presence.raw)
        if found is None or len(presence.raw) > LARGEST or len(presence.attributes) > MOST_ATTRIBUTES:
            return
        start, end = found
        raw = presence.raw[:start] + presence.raw[end:]
        self._to, self._address = presence.raw[start:end], presence["to"]
        others = {name: value for name, value in presence.attributes.items() if name != "to"}
        all_known.keep(Known(raw, start, presence.uri, others, presence.payloads))
        presence.is_unaddressed(raw)
