"""What was said in one room, bounded, and which of it a joining client gets (XEP-0045 §7.2.13). Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from typing import NamedTuple

from minimixproxy.bounds.byte_budget import ByteBudget
from minimixproxy.bounds.shared_bytes import SharedBytes
from minimixproxy.config.settings import Rooms
from minimixproxy.minimix.history.amendments import (
    Amendment,
    Kind,
    amendment_of,
    corrected,
    ids_of,
    is_empty_correction,
    slight_tombstone,
    slim,
    stanza_id_of,
    tombstone,
)
from minimixproxy.minimix.history.displayed_markers import MAX_SIZE, DisplayedMarkers
from minimixproxy.minimix.history.kept_messages import KeptMessages
from minimixproxy.minimix.history.message_index import identity
from minimixproxy.minimix.history.read_mark import ACCOUNT, ReadMark
from minimixproxy.minimix.history.read_positions import ReadPositions
from minimixproxy.minimix.history.replay import Replay, shown
from minimixproxy.minimix.history.senders import Senders
from minimixproxy.minimix.interfaces.journal import KeptMessage, KeptRoom, RoomJournal
from minimixproxy.safety_net import NET
from minimixproxy.wire.children import stanza_of_bytes
from minimixproxy.wire.stanza import Stanza, UnusableStanza, unaddressed
from minimixproxy.xep import displayed, muc
from minimixproxy.xep.delays import delay_of, without_delays
from minimixproxy.xep.muc_history import HistoryRequest

SHORT_REPLAY = 100  # messages that a client can be given at once
DEFAULT_REPLAY = 20  # messages that rooms show with no wish stated, where it is not known how many this one shows
# Seconds by which the times of one message may differ here and in the room, if the room gives no ids.
TOLERANCE = 60.0
TOLERANCE_WITHOUT_ID = 5.0  # if its sender gave none either
_LATEST = 1000  # messages among which the newest is looked for


class Taken(Enum):
    """What became of a message."""

    NEW = "new"  # it is kept
    DUPLICATE = "duplicate"  # it was kept before
    PASSING = "passing"  # it is no history


class HistoryBudgets(NamedTuple):
    """How many bytes may be kept of a room's messages, and of markers beside them; None: as many as there may be.

    `told`: what rooms tell several accounts; None: nothing of this room.
    """

    messages: ByteBudget | None = None
    markers: ByteBudget | None = None
    told: SharedBytes | None = None


class RoomHistory:
    """The messages of a room, and how far each client, by resource, has seen them. `kept` is what there was before.

    A message that amends another changes it where it is kept, and is kept itself, for those that have seen the other.
    `senders` is to be told who leaves the room.
    """

    __slots__ = (
        "_attached",
        "_journal",
        "_kept",
        "_markers",
        "_newest",
        "_positions",
        "_read_mark",
        "_replays",
        "_room",
        "_settings",
        "at_least",
        "faulty",
        "known_as",
        "senders",
    )

    def __init__(
        self,
        room: str,
        settings: Rooms,
        journal: RoomJournal,
        kept: KeptRoom | None = None,
        budgets: HistoryBudgets | None = None,
    ) -> None:
        self._room = room
        self._journal = journal
        self._settings = settings
        budgets = budgets or HistoryBudgets()
        self._kept = KeptMessages(
            settings, journal, kept.messages if kept is not None else (), budgets.messages, budgets.told
        )
        cursors = dict(kept.cursors) if kept is not None else {}
        self._read_mark = ReadMark(journal, self._kept, cursors.pop(ACCOUNT, None))
        self._positions = ReadPositions(journal, cursors)
        self._markers = DisplayedMarkers(budgets.markers)
        self.senders = Senders()
        self.at_least = DEFAULT_REPLAY  # messages that a client is given with no wish, if there are so many
        self.known_as = 0  # the sequence of the last message that was told once more; 0: it has grown too old
        self.faulty = 0  # messages that could not be shown, and are not kept any more
        last = self._kept.last(1)
        self._newest = last[0].sequence if last else max(kept.cursors.values(), default=0) if kept is not None else 0
        self._replays: dict[str, Replay] = {}
        self._attached: dict[str, int] = {}  # since which number in the order of messages

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def keeps(self) -> bool:
        """Whether messages are kept at all."""
        return self._settings.history > 0

    @property
    def last_sequence(self) -> int:
        """The sequence of the newest message."""
        return self._newest

    @property
    def entries(self) -> Sequence[KeptMessage]:
        """All messages in the order in which they came: retracted ones and amendments too."""
        return list(self._kept)

    @property
    def newest(self) -> tuple[str | None, float | None]:
        """The room's id of the newest message that has one, and its time; with no ids, the time of the newest."""
        last = self._kept.last(_LATEST)
        place = next((place for place in reversed(range(len(last))) if last[place].stanza_id is not None), None)
        if place is None:
            return None, last[-1].time if last else None
        # Not its own: whoever said it may have made up a stamp of the past.
        return last[place].stanza_id, max(message.time for message in last[: place + 1])

    def close(self) -> None:
        """The occupancy is over: other rooms can have the bytes."""
        self._kept.close()
        self._markers.close()

    def expire(self, now: float) -> None:
        """Let go what is too old."""
        self._kept.expire(now)
        self._markers.expire(now - self._settings.history_age)

    # Messages come ---------------------------------------------------------------------------------------------

    def take(self, stanza: Stanza, now: float, *, past: bool = False) -> Taken:
        """Keep a groupchat message if it is worth it.

        `past`: the room, or its archive, tells it as something said before. Only then its delay stamp counts.
        """
        amendment = amendment_of(stanza, self._room)
        if amendment is None and (not muc.is_history(stanza) or is_empty_correction(stanza)):
            return self._take_marker(stanza, now, past=past) if displayed.is_marker(stanza) else Taken.PASSING
        self.expire(now)
        stanza_id = stanza_id_of(stanza, self._room)
        stamped = delay_of(stanza, self._room, now) if past else None
        known = self._known_as(stanza, stanza_id, stamped)
        if known is not None:
            self.known_as = known
            return Taken.DUPLICATE
        time = now if stamped is None else stamped
        raw = stanza.self_contained() if stamped is not None else without_delays(stanza, self._room)
        raw = unaddressed(slim(raw, len(stanza.attributes)))
        self._newest = self._journal.next_sequence()
        message = KeptMessage(self._newest, time, raw, stamped is not None, stanza_id)
        sender = self.senders.sender_of(stanza)
        if amendment is not None and (original := self._original(amendment, sender, past=past)) is not None:
            try:
                message = self._amend(original, amendment, stanza, message)
            except UnusableStanza as error:  # kept by an earlier version that took more
                self.leave_out(original, error)
        self._kept.keep(message, sender, ids_of(stanza))
        return Taken.NEW

    def _take_marker(self, stanza: Stanza, now: float, *, past: bool) -> Taken:
        """Keep a marker for devices that are away. It has a place in the order of messages, and is none of them."""
        sender, stanza_id = self.senders.sender_of(stanza), stanza_id_of(stanza, self._room)
        about = displayed.marked(stanza)
        stamped = delay_of(stanza, self._room, now) if past else None
        if sender in (None, self._room) or about is None or not self.keeps:
            return Taken.PASSING
        assert sender is not None
        known = self._markers.known_as(sender, stanza_id, stamped) if stamped is not None else None
        if known is not None:
            self.known_as = known
            return Taken.DUPLICATE
        raw = slim(displayed.marker_alone(stanza), len(stanza.attributes))
        if len(raw) > MAX_SIZE:
            return Taken.PASSING
        self._newest = self._journal.next_sequence()
        time = now if stamped is None else stamped
        if stamped is None:
            raw = without_delays(stanza_of_bytes(raw), self._room)
        found = self._kept.with_stanza_id(about)
        message = KeptMessage(self._newest, time, raw, stamped is not None, stanza_id)
        self._markers.keep(sender, message, found.sequence if found is not None else None)
        return Taken.PASSING

    def _known_as(self, stanza: Stanza, stanza_id: str | None, stamped: float | None) -> int | None:
        same = self._kept.with_stanza_id(stanza_id) if stanza_id is not None else None
        if same is not None:
            return same.sequence
        if stamped is None:
            return None
        if stamped <= self._kept.expired_until + TOLERANCE:
            return 0  # it was here, and has grown too old
        if self._kept.had_no_place(stanza_id) or stamped <= self._kept.crowded_until:
            return 0  # it was here, and had no place: taken anew, it would drive out the next one that is told again
        sent_id = stanza.get("id")
        key = identity(stanza.raw, stanza["from"], sent_id)
        if key is None:
            return None
        tolerance = TOLERANCE if sent_id else TOLERANCE_WITHOUT_ID
        for message in self._kept.same_again(key):
            # Two ids, two messages.
            if abs(message.time - stamped) <= tolerance and (message.stanza_id is None or stanza_id is None):
                return message.sequence
        return None

    # Messages change -------------------------------------------------------------------------------------------

    def _original(self, amendment: Amendment, sender: str | None, *, past: bool) -> KeptMessage | None:
        """Return the message that an amendment is about, if it is kept and the sender may amend it."""
        found = self._kept.with_stanza_id(amendment.target) if amendment.kind is not Kind.CORRECTION else None
        if amendment.kind is not Kind.MODERATION:
            if found is not None and not self._is_by(found, sender, past=past):
                found = None
            found = found or self._said(amendment.target, sender, past=past)
        if found is not None and found.amends is not None:
            return self._kept.get(found.amends)
        return found

    def _is_by(self, message: KeptMessage, sender: str | None, *, past: bool) -> bool:
        by = self.senders.sender_of_bytes(message.raw)
        return by == sender and self.senders.is_certain(sender, message.sequence, past=past)

    def _said(self, sent_id: str, sender: str | None, *, past: bool) -> KeptMessage | None:
        """Return the last message with an id that its sender gave it."""
        found = self._kept.said_by(sender, sent_id) if sender is not None else None
        if found is None or not self.senders.is_certain(sender, found.sequence, past=past):
            return None
        return found

    def _amend(self, original: KeptMessage, amendment: Amendment, stanza: Stanza, message: KeptMessage) -> KeptMessage:
        """Change the original; return the amendment as it is to be kept."""
        message = replace(message, amends=original.sequence, retracted=original.retracted)
        if original.retracted:
            return message
        if amendment.kind is Kind.CORRECTION:
            self._kept.change(replace(original, raw=corrected(original.raw, stanza, self._room)))
            return message
        grave = tombstone(original.raw, stanza, amendment, message.time, self._room)
        self._kept.change(replace(original, raw=grave, retracted=True))
        for earlier in self._kept.after(original.sequence):
            if earlier.amends == original.sequence:
                grave = slight_tombstone(earlier, stanza, amendment, message.time, self._room)
                self._kept.change(replace(earlier, raw=grave, retracted=True))
        return message

    def leave_out(self, message: KeptMessage, error: Exception) -> None:
        """A kept message cannot be shown: it costs itself, and not the client that is to be shown it."""
        self.faulty += 1
        NET.unshown(message.raw, "a kept message", self._room, error)
        self._kept.remove(message.sequence)
        self._markers.remove(message.sequence)

    # Occupants come and go --------------------------------------------------------------------------------------

    def in_step(self) -> None:
        """The account is in the room, has been told what was said before, and sees from now on who leaves."""
        self.senders.watch(self._newest)

    def room_shows(self, count: int) -> None:
        """The room has shown so many messages to a join that wished for nothing."""
        self.at_least = max(self.at_least, count)

    def out_of_step(self) -> None:
        """The account does not see who leaves."""
        self.senders.lose_sight()

    def occupant_left(self, occupant: str) -> None:
        """An occupant, by its address in the room, left or took another nick."""
        self.senders.left(occupant)

    def occupant_shown(self, occupant: str) -> None:
        """The room shows an occupant, by its address there: a new one, or one that is there already."""
        self.senders.shown(occupant, self._newest)

    # Clients come and go ---------------------------------------------------------------------------------------

    def read_up_to(self, stanza_id: str) -> None:
        """The account has read the room on one of its devices, up to the message of this id of the room's."""
        self._read_mark.told(stanza_id)

    def is_read(self, sequence: int) -> bool:
        """Tell whether the account has read so far."""
        read = self._read_mark.sequence
        return read is not None and sequence <= read

    def attached(self, resource: str, *, managed: bool = False) -> None:
        """A client is about to be given what it selected, and sees all that comes from now on.

        A long replay takes its time, and is on disk as given when all was taken. A short one waits at the gate until it
        is on disk: were it the other way round, a crash between the two would have it given once more. One that is
        `managed` says itself when it has got either: it has not, on disk, before it acknowledges what is newer than
        that it is attached.
        """
        self._attached[resource] = self._journal.next_sequence()
        replay = self._replays.get(resource)
        self._positions.joins(resource, replay.start if replay is not None else self._newest)
        if managed or replay is None or len(replay) <= SHORT_REPLAY:
            self._positions.attached(resource)
        else:
            replay.when_taken(lambda: self._positions.attached(resource))

    def detached(self, resource: str, until: float = math.inf) -> None:
        """A client has gone: it has seen everything that was given out, but for what it has not taken of its replay.

        `until`: messages behind this one, of any room, did not reach it, nor did its replay if it joined behind it.
        """
        if until < self._attached.pop(resource, 0):
            self._never_reached(resource)
            return
        live = int(min(self._newest, self._journal.given_out(), until))
        replay = self._replays.pop(resource, None)
        if replay is not None:
            replay.when_taken(None)
        if replay is None:
            seen = live
        elif replay.finished:
            seen = max(live, replay.reached)
        else:
            seen = replay.reached if until == math.inf else replay.start
        self._positions.detached(resource, max(seen, self._positions.get(resource) or 0))

    def _never_reached(self, resource: str) -> None:
        """A client has not even got its replay: it is where it was before, or where the replay began if it is new."""
        replay = self._replays.pop(resource, None)
        if replay is not None:
            replay.when_taken(None)
        self._positions.detached(resource, self._positions.get(resource) or 0)

    def select(self, request: HistoryRequest | None, resource: str, now: float, *, everything: bool = False) -> Replay:
        """Return the messages for a joining client, oldest first.

        Among them is always what came late (see `_with_late`).

        With no wish stated: what this client has not seen, and if that is little some of what it has, for it may have
        kept nothing. A client never seen has seen what the account has read; if that is not known, it gets the last
        few. With `everything` it gets all there is. `resource` "" is of no client in particular.
        """
        self.expire(now)
        seen = self._positions.get(resource) if resource else None
        if request is not None:
            chosen = self._with_late(self._requested(request, seen or 0), seen)
        elif everything:
            chosen = [message for message in self._kept if self._shows(message, 0)]
        elif (known := seen if seen is not None or not resource else self._read_mark.sequence) is not None:
            chosen = self._unseen(known)
        else:
            chosen = self._requested(HistoryRequest(max_stanzas=max(self.at_least, DEFAULT_REPLAY)), 0)
        given = self._markers.among(chosen, seen)
        replay = Replay(self._room, given, self._newest, self.leave_out, seen)
        if resource:
            self._replays[resource] = replay
        return replay

    def _with_late(self, chosen: list[KeptMessage], seen: int | None) -> list[KeptMessage]:
        """Add what a client cannot ask for: it has heard what was said later, and knows of no gap before that.

        So it is when a room's archive answered too late, after an outage.
        """
        late = [message for message in self._kept.late(seen) if self._shows(message, seen)] if seen else []
        if not late:
            return chosen
        found = {message.sequence: message for message in (*late, *chosen)}
        return [found[sequence] for sequence in sorted(found)]

    def _unseen(self, seen: int) -> list[KeptMessage]:
        """Return what a client has not seen, behind as much of the rest as makes it `at_least`, as it is now."""
        unseen = [message for message in self._kept.after(seen) if self._shows(message, seen)]
        again: list[KeptMessage] = []
        for message in reversed(self._kept):
            if len(unseen) + len(again) >= self.at_least:
                break
            if message.sequence <= seen and self._shows(message, 0):
                again.append(message)
        return again[::-1] + unseen

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
        faulty: list[tuple[KeptMessage, Exception]] = []
        room_left = request.max_chars
        for message in reversed(self._kept):
            if request.max_stanzas is not None and len(chosen) >= request.max_stanzas:
                break
            if request.since is not None and message.time < request.since:
                continue
            if not self._shows(message, seen, request.since):
                continue
            if room_left is not None:
                try:
                    room_left -= len(shown(message, self._room).decode("utf-8"))
                except ValueError as error:
                    faulty.append((message, error))
                    continue
                if room_left < 0:
                    break
            chosen.append(message)
        for message, reason in faulty:
            self.leave_out(message, reason)
        chosen.reverse()
        return chosen
