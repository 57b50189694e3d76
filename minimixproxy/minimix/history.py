"""What was said in one room, bounded, and which of it a joining client gets (XEP-0045 §7.2.13). Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import NamedTuple

from minimixproxy.minimix.muc import NS_DELAY, NS_MUC, whole_number
from minimixproxy.stanza import Stanza, escape

DEFAULT_REPLAY = 20  # messages, for a client never seen that states no wish
MAX_BYTES = 8 * 1024 * 1024  # of one room's messages, however few
_MAX_CURSORS = 256


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """What a `<history/>` asks for; None where it says nothing. `since` in seconds since the epoch."""

    max_stanzas: int | None = None
    max_chars: int | None = None
    since: float | None = None


class Entry(NamedTuple):
    """A kept message: its place in the order, its time, its bytes, and whether the room's delay stamp is in them."""

    sequence: int
    time: float
    raw: bytes
    stamped: bool


def parse_time(text: str) -> float | None:
    """Return a XEP-0082 timestamp as seconds since the epoch, or None when it is none."""
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def format_time(seconds: float) -> str:
    """Return seconds since the epoch as a XEP-0082 timestamp with milliseconds."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def history_request(join: Stanza, now: float) -> HistoryRequest | None:
    """Return the wish of a join presence, or None when it states none. Unusable values count as not stated."""
    x = join.payload(NS_MUC, "x")
    history = next(x.elements(NS_MUC, "history"), None) if x is not None else None
    if history is None:
        return None
    since = parse_time(history["since"]) if history.hasAttribute("since") else None
    seconds = whole_number(history.getAttribute("seconds"))
    if seconds is not None:
        since = max(now - seconds, since or 0.0)
    request = HistoryRequest(
        whole_number(history.getAttribute("maxstanzas")), whole_number(history.getAttribute("maxchars")), since
    )
    return None if request == HistoryRequest() else request


def delay_of(stanza: Stanza, room: str) -> float | None:
    """Return the time that the room itself stamped on a message (XEP-0203), or None."""
    if not stanza.has_payload(NS_DELAY, "delay"):
        return None
    for delay in stanza.element.elements(NS_DELAY, "delay"):
        if delay.getAttribute("from") in (room, None) and delay.hasAttribute("stamp"):
            return parse_time(delay["stamp"])
    return None


def with_delay(stanza: Stanza, room: str, time: float) -> bytes:
    """Return the message with the room's delay stamp, unless it carries one."""
    raw = stanza.self_contained()
    return raw if delay_of(stanza, room) is not None else _stamp(raw, room, time)


def _stamp(raw: bytes, room: str, time: float) -> bytes:
    stamp = b"<delay xmlns='%b' from='%b' stamp='%b'/>" % (NS_DELAY.encode(), escape(room), format_time(time).encode())
    end = raw.rindex(b"</")
    return raw[:end] + stamp + raw[end:]


class History:
    """The last `limit` messages of a room, `MAX_BYTES` at most, and how far each client (by resource) has seen them."""

    def __init__(self, room: str, limit: int) -> None:
        self._room = room
        self._limit = limit
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._cursors: OrderedDict[str, int] = OrderedDict()
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, stanza: Stanza, now: float) -> None:
        """Keep a message. Its own delay stamp counts before `now`."""
        stamped = delay_of(stanza, self._room)
        time = now if stamped is None else stamped
        self._sequence += 1
        entry = Entry(self._sequence, time, stanza.self_contained(), stamped is not None)
        self._entries.append(entry)
        self._bytes += len(entry.raw)
        while len(self._entries) > self._limit or self._bytes > MAX_BYTES:
            self._bytes -= len(self._entries.popleft().raw)

    def mark_seen(self, resource: str) -> None:
        """Remember that this client has seen everything up to now; the least recent of too many is forgotten."""
        self._cursors[resource] = self._sequence
        self._cursors.move_to_end(resource)
        if len(self._cursors) > _MAX_CURSORS:
            self._cursors.popitem(last=False)

    def select(self, request: HistoryRequest | None, resource: str, *, everything: bool = False) -> list[bytes]:
        """Return the messages for a joining client, oldest first.

        With no wish stated: what this client has not seen; a client never seen gets the last few,
        or, with `everything`, all there is.
        """
        if request is not None:
            return self._requested(request)
        seen = self._cursors.get(resource)
        if seen is not None and not everything:
            return [self._shown(entry) for entry in self._entries if entry.sequence > seen]
        start = 0 if everything else max(0, len(self._entries) - DEFAULT_REPLAY)
        return [self._shown(entry) for entry in islice(self._entries, start, None)]

    def _shown(self, entry: Entry) -> bytes:
        """Return a message with its delay stamp, which is made now: most messages are never replayed."""
        return entry.raw if entry.stamped else _stamp(entry.raw, self._room, entry.time)

    def _requested(self, request: HistoryRequest) -> list[bytes]:
        chosen: list[bytes] = []
        room_left = request.max_chars
        for entry in reversed(self._entries):
            if request.max_stanzas is not None and len(chosen) >= request.max_stanzas:
                break
            if request.since is not None and entry.time < request.since:
                break
            raw = self._shown(entry)
            if room_left is not None:
                room_left -= len(raw.decode("utf-8"))
                if room_left < 0:
                    break
            chosen.append(raw)
        chosen.reverse()
        return chosen
