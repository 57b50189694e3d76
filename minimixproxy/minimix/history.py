"""What was said in one room, bounded, and which of it a joining client gets (XEP-0045 §7.2.13). Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import Enum
from itertools import islice

from minimixproxy.config import Rooms
from minimixproxy.minimix import muc
from minimixproxy.minimix.amendments import (
    Amendment,
    Kind,
    amendment_of,
    corrected,
    ids_of,
    same_sender,
    stanza_id_of,
    tombstone,
)
from minimixproxy.minimix.cursors import Cursors
from minimixproxy.minimix.delays import delay_of
from minimixproxy.minimix.journal import KeptMessage, KeptRoom, RoomJournal
from minimixproxy.minimix.keptmessages import KeptMessages
from minimixproxy.minimix.replay import Replay, shown
from minimixproxy.minimix.wishes import HistoryRequest
from minimixproxy.stanza import NS_CLIENT, Stanza, escape, parse_stanza

SHORT_REPLAY = 100  # messages that a client can be given at once
DEFAULT_REPLAY = 20  # messages, for a client never seen that states no wish
# Seconds by which the times of one message may differ here and in the room, if the room gives no ids.
TOLERANCE = 60.0
TOLERANCE_WITHOUT_ID = 5.0  # if its sender gave none either
SLACK = 0.25  # seconds from a message's coming to its being written, at most
_ARRIVALS = 1000  # messages whose time of coming is remembered: a lost connection is noticed within minutes
_PATIENCE = 1000  # older messages in a row end a search by time
_MAX_READ = 100  # messages that one search may parse


class Taken(Enum):
    """What became of a message."""

    NEW = "new"  # it is kept
    DUPLICATE = "duplicate"  # it was kept before
    PASSING = "passing"  # it is no history


class History:
    """The messages of a room, and how far each client, by resource, has seen them. `kept` is what there was before.

    A message that amends another changes it where it is kept, and is kept itself, for those that have seen the other.
    """

    def __init__(self, room: str, settings: Rooms, journal: RoomJournal, kept: KeptRoom | None = None) -> None:
        self._room = room
        self._journal = journal
        self._keeps = settings.history > 0
        self._kept = KeptMessages(settings, journal, kept.messages if kept is not None else ())
        self._cursors = Cursors(journal, kept.cursors if kept is not None else None)
        last = self._kept.last(1)
        self._newest = last[0].sequence if last else max(kept.cursors.values(), default=0) if kept is not None else 0
        self._arrivals: deque[tuple[float, int]] = deque(maxlen=_ARRIVALS)
        self._replays: dict[str, Replay] = {}
        self._attached: dict[str, float] = {}  # since when

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def keeps(self) -> bool:
        """Whether messages are kept at all."""
        return self._keeps

    @property
    def entries(self) -> Sequence[KeptMessage]:
        """All messages in the order in which they came: retracted ones and amendments too."""
        return list(self._kept)

    @property
    def newest(self) -> tuple[str | None, float | None]:
        """The room's id of the newest message, and its time; if it has no id, those of the last that has one."""
        last = self._kept.last(_PATIENCE)
        identified = next((message for message in reversed(last) if message.stanza_id is not None), None)
        if identified is not None:
            return identified.stanza_id, identified.time
        return None, last[-1].time if last else None

    def expire(self, now: float) -> None:
        """Let go what is too old."""
        self._kept.expire(now)

    # Messages come ---------------------------------------------------------------------------------------------

    def take(self, stanza: Stanza, now: float) -> Taken:
        """Keep a groupchat message if it is worth it. Its own delay stamp counts before `now`."""
        amendment = amendment_of(stanza, self._room)
        if amendment is None and not muc.is_history(stanza):
            return Taken.PASSING
        self._kept.expire(now)
        stanza_id = stanza_id_of(stanza, self._room)
        stamped = delay_of(stanza, self._room)
        if self._has(stanza, stanza_id, stamped):
            return Taken.DUPLICATE
        time = now if stamped is None else stamped
        self._newest = self._journal.next_sequence()
        self._arrivals.append((now, self._newest))
        message = KeptMessage(self._newest, time, stanza.self_contained(), stamped is not None, stanza_id)
        original = self._original(amendment, stanza) if amendment is not None else None
        if amendment is not None and original is not None:
            message = self._amend(original, amendment, stanza, message)
        self._kept.keep(message)
        return Taken.NEW

    def _has(self, stanza: Stanza, stanza_id: str | None, stamped: float | None) -> bool:
        if stanza_id is not None and self._kept.with_stanza_id(stanza_id) is not None:
            return True
        if stamped is None:
            return False
        identity = (stanza["from"], stanza.get("id"), _body(stanza))
        for message in self._around(stamped, TOLERANCE if identity[1] else TOLERANCE_WITHOUT_ID):
            if message.stanza_id is not None and stanza_id is not None:
                continue  # two ids, two messages
            if escape(identity[1] or identity[2])[:20] not in message.raw:
                continue
            other = parse_stanza(message.raw)
            if (other["from"], other.get("id"), _body(other)) == identity:
                return True
        return False

    def _around(self, time: float, tolerance: float) -> Iterator[KeptMessage]:
        """Return the messages of about that time: nearly all others stand in the order of their times."""
        older = 0
        for message in reversed(self._kept):
            if message.time < time - tolerance:
                older += 1
                if older > _PATIENCE:
                    return
            elif message.time <= time + tolerance:
                yield message

    # Messages change -------------------------------------------------------------------------------------------

    def _original(self, amendment: Amendment, stanza: Stanza) -> KeptMessage | None:
        """Return the message that an amendment is about, if it is kept and the sender may amend it."""
        found = self._kept.with_stanza_id(amendment.target) if amendment.kind is not Kind.CORRECTION else None
        if amendment.kind is not Kind.MODERATION:
            if found is not None and not same_sender(parse_stanza(found.raw), stanza):
                found = None
            found = found or self._said(amendment.target, stanza)
        if found is not None and found.amends is not None:
            return self._kept.get(found.amends)
        return found

    def _said(self, sent_id: str, stanza: Stanza) -> KeptMessage | None:
        """Return the last message with an id that its sender, the same as of `stanza`, gave it."""
        needle = escape(sent_id)
        candidates = (message for message in reversed(self._kept) if needle in message.raw)
        for message in islice(candidates, _MAX_READ):
            other = parse_stanza(message.raw)
            if sent_id in ids_of(other) and same_sender(other, stanza):
                return message
        return None

    def _amend(self, original: KeptMessage, amendment: Amendment, stanza: Stanza, message: KeptMessage) -> KeptMessage:
        """Change the original; return the amendment as it is to be kept."""
        message = replace(message, amends=original.sequence, retracted=original.retracted)
        if original.retracted:
            return message
        before = parse_stanza(original.raw)
        if amendment.kind is Kind.CORRECTION:
            self._kept.change(replace(original, raw=corrected(before, stanza)))
            return message
        grave = tombstone(before, stanza, amendment, message.time, self._room)
        self._kept.change(replace(original, raw=grave, retracted=True))
        for earlier in self._kept.after(original.sequence):
            if earlier.amends == original.sequence and not earlier.retracted:
                grave = tombstone(parse_stanza(earlier.raw), stanza, amendment, message.time, self._room)
                self._kept.change(replace(earlier, raw=grave, retracted=True))
        return message

    # Clients come and go ---------------------------------------------------------------------------------------

    def attached(self, resource: str, now: float = 0.0) -> None:
        """A client is about to be given what it selected, and sees all that comes from now on.

        A long replay takes its time, and is on disk as given when all was taken. A short one waits at the gate until it
        is on disk: were it the other way round, a crash between the two would have it given once more.
        """
        self._attached[resource] = now
        replay = self._replays.get(resource)
        if replay is None or len(replay) <= SHORT_REPLAY:
            self._cursors.attached(resource)
        else:
            replay.then = lambda: self._cursors.attached(resource)

    def detached(self, resource: str, until: float = math.inf) -> None:
        """A client has gone: it has seen everything that was given out, but for what it has not taken of its replay.

        `until`: what was given out later did not reach it, nor did its replay if it joined later.
        """
        if until < self._attached.pop(resource, 0.0):
            self._never_reached(resource)
            return
        live = min(self._newest, self._journal.given_out(), self._taken_by(until - SLACK))
        replay = self._replays.pop(resource, None)
        if replay is not None:
            replay.then = None
        if replay is None:
            seen = live
        elif replay.finished:
            seen = max(live, replay.reached)
        else:
            seen = replay.reached if until == math.inf else replay.start
        self._cursors.detached(resource, max(seen, self._cursors.get(resource) or 0))

    def _never_reached(self, resource: str) -> None:
        """A client has not even got its replay: it is where it was before, or where the replay began if it is new."""
        replay = self._replays.pop(resource, None)
        if replay is not None:
            replay.then = None
        before = self._cursors.get(resource)
        if before is None and replay is not None:
            before = replay.start
        if before is None:
            self._journal.cursor_forgotten(resource)
        else:
            self._cursors.detached(resource, before)

    def _taken_by(self, time: float) -> int:
        """Return the sequence of the last message that had come by then; if too many came since, an earlier one's."""
        last = self._newest
        for taken, sequence in reversed(self._arrivals):
            if taken <= time:
                return sequence
            last = sequence - 1
        return last

    def select(self, request: HistoryRequest | None, resource: str, now: float, *, everything: bool = False) -> Replay:
        """Return the messages for a joining client, oldest first.

        With no wish stated: what this client has not seen; a client never seen gets the last few,
        or, with `everything`, all there is. `resource` "" is of no client in particular.
        """
        self._kept.expire(now)
        seen = self._cursors.get(resource) if resource else None
        if request is not None:
            chosen = self._requested(request, seen or 0)
        elif everything:
            chosen = [message for message in self._kept if self._shows(message, 0)]
        elif seen is not None:
            chosen = [message for message in self._kept.after(seen) if self._shows(message, seen)]
        else:
            chosen = self._requested(HistoryRequest(max_stanzas=DEFAULT_REPLAY), 0)
        replay = Replay(self._room, chosen, self._newest)
        if resource:
            self._replays[resource] = replay
        return replay

    def _shows(self, message: KeptMessage, seen: int, since: float | None = None) -> bool:
        """Tell whether a message is for a client that has seen, by `seen` or by its own wish, what was before it.

        An amendment is only for those that have the original as it was; the others get that as it is now.
        """
        if message.retracted or message.amends is None:
            return not message.retracted
        original = self._kept.get(message.amends)
        return message.amends <= seen or original is None or (since is not None and original.time < since)

    def _requested(self, request: HistoryRequest, seen: int) -> list[KeptMessage]:
        chosen: list[KeptMessage] = []
        room_left = request.max_chars
        for message in reversed(self._kept):
            if request.max_stanzas is not None and len(chosen) >= request.max_stanzas:
                break
            if request.since is not None and message.time < request.since:
                continue
            if not self._shows(message, seen, request.since):
                continue
            if room_left is not None:
                room_left -= len(shown(message, self._room).decode("utf-8"))
                if room_left < 0:
                    break
            chosen.append(message)
        chosen.reverse()
        return chosen


def _body(stanza: Stanza) -> str:
    body = stanza.payload(NS_CLIENT, "body")
    return str(body) if body is not None else ""
