"""What a room has shown the account, and how it is shown again to a session that joins later. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from contextlib import suppress

from minimixproxy.bounds.byte_budget import OBJECT, ByteBudget
from minimixproxy.bounds.shared_bytes import SharedBytes, same_text
from minimixproxy.config.settings import Rooms
from minimixproxy.jids import prepare_resource
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.history.replay import Replay
from minimixproxy.minimix.interfaces.handed import HandedRoom
from minimixproxy.minimix.room.context import RoomContext
from minimixproxy.minimix.room.stripped_presence import stripped
from minimixproxy.namespaces import NS_CLIENT
from minimixproxy.safety_net import NET
from minimixproxy.wire.children import children_of, first_of, text_of
from minimixproxy.wire.lazy_stanzas import LazyStanzas
from minimixproxy.wire.stanza import (
    ForkTemplate,
    Stanza,
    UnusableStanza,
    escape,
    parse_stanza,
    rewrite,
    unaddressed,
)
from minimixproxy.xep import muc
from minimixproxy.xep.muc_addresses import AddressTemplate, may_name

# What a change of the room's configuration says, and which lasting status code that switches on or off.
_SWITCHES = {
    "170": (muc.LOGGED, True),
    "171": (muc.LOGGED, False),
    "172": (muc.NON_ANONYMOUS, True),
    "173": (muc.NON_ANONYMOUS, False),
}


RESERVED = 16 * 1024  # bytes, of each of the own presence and the subject
SPEAKERS = 100  # occupants who spoke last are shown in huge rooms, too
# An affiliation or role that not everybody has. Who writes it elsewhere in a presence is shown, and no harm is done.
_STANDS_OUT = re.compile(rb"affiliation\s*=\s*[\"'](?:owner|admin|member)|role\s*=\s*[\"']moderator")
MAX_SUBJECT = 1024  # characters of a subject that is too large to be kept
_PRESENCE = b"<presence "


class _Kept:
    """A stanza as it is kept: bytes, and of its attributes the addresses. No tree, which costs many times that."""

    __slots__ = ("_from", "_name", "_to", "cost", "raw")

    def __init__(self, stanza: Stanza, raw: bytes | None = None, cost: int | None = None) -> None:
        self.raw = raw if raw is not None else stanza.self_contained()
        self.cost = _cost(self.raw) if cost is None else cost  # of the budget
        self._name = stanza.name
        self._from, self._to = (same_text(stanza.get(key, "") or "") for key in ("from", "to"))

    @property
    def stanza(self) -> Stanza:
        """The stanza, made anew each time."""
        addresses = {key: address for key, address in (("from", self._from), ("to", self._to)) if address}
        return Stanza(self.raw, NS_CLIENT, self._name, addresses, None, {"": NS_CLIENT})


class Snapshot:
    """Occupants, own presence, subject and lasting status codes of one room.

    The account's own presence and the subject have `RESERVED` bytes each that no occupant can use up. All else that is
    remembered takes its bytes from `budget`. Half of it is for whole stanzas; beyond that, and where the
    account has no more for this room, presences are remembered `stripped`, so that one who joins later is shown
    everybody, and when nothing is left not at all. Attached sessions have seen them as they were.
    Others' presences are kept without `to`: so they are the same for all accounts, and `told` keeps them once.
    """

    log = Logger()

    __slots__ = (
        "_account",
        "_budget",
        "_of_room",
        "_own",
        "_settings",
        "_spoke",
        "_subject",
        "_told",
        "codes",
        "complete",
        "created",
        "occupants",
        "room",
    )

    def __init__(
        self,
        room: str,
        settings: Rooms,
        budget: ByteBudget,
        account: str = "",
        told: SharedBytes | None = None,
    ) -> None:
        self.room = room
        self._account = account
        self.complete = True  # every occupant that was shown is remembered
        self.created = False  # by our join, and not yet told to anyone
        self.codes: frozenset[str] = frozenset()
        self.occupants: dict[str, bytes] = {}  # by prepared nick, in order of arrival
        self._own: _Kept | None = None
        self._subject: _Kept | None = None
        self._of_room: _Kept | None = None
        self._settings = settings
        self._spoke: dict[str, None] = {}  # prepared nicks, the latest last; if not all are shown
        self._budget = budget
        self._told = told if told is not None else SharedBytes()
        budget.take(2 * RESERVED)

    @classmethod
    def empty(cls, context: RoomContext) -> Snapshot:
        """Return one of a room that has shown nothing yet."""
        outlet = context.outlet
        return cls(context.room, context.settings, outlet.room_budget(), outlet.account, context.told)

    @property
    def self_presence(self) -> Stanza | None:
        """The account's own presence, None before it is in."""
        return self._own.stanza if self._own is not None else None

    @property
    def subject(self) -> Stanza | None:
        """The message that set the subject."""
        return self._subject.stanza if self._subject is not None else None

    @property
    def room_presence(self) -> Stanza | None:
        """What the room shows of itself."""
        return self._of_room.stanza if self._of_room is not None else None

    def close(self) -> None:
        """Forget everything: the account is out of the room, or sees it anew."""
        self._told.give_all_back(self.occupants.values())
        self.occupants = {}  # not cleared: an empty table takes no place
        self._own = self._subject = self._of_room = None
        self._budget.close()

    def start_anew(self) -> None:
        """Forget everything: what was shown belongs to a time that is over."""
        self.close()
        self._budget.take(2 * RESERVED)

    def handed(self, attached: tuple[tuple[str, bytes | None], ...]) -> HandedRoom:
        """Return what another process is to go on with."""
        kept = self._own, self._subject, self._of_room
        own, subject, of_room = (one.raw if one is not None else None for one in kept)
        codes = tuple(sorted(self.codes))
        return HandedRoom(self.room, tuple(self.occupants.values()), own, subject, of_room, codes, attached)

    def restore(self, handed: HandedRoom) -> None:
        """Take what another process was shown. What cannot be read is left out."""
        for raw in handed.occupants:
            with suppress(UnusableStanza, ValueError):
                presence = parse_stanza(raw)
                self.occupant_shown((presence.get("from") or "").partition("/")[2], presence)
        self.codes = frozenset(handed.codes)
        shown = (handed.own, self.own_shown), (handed.subject, self.message_seen), (handed.of_room, self.room_shown)
        for kept, take in shown:
            if kept is not None:
                with suppress(UnusableStanza, ValueError):
                    take(parse_stanza(kept))

    def __contains__(self, nick: str) -> bool:
        """Tell whether an occupant of that nick has been shown."""
        return prepare_resource(nick) in self.occupants

    def entered(self, presence: Stanza) -> None:
        """Take the self-presence that answers the join."""
        codes = muc.status_codes(presence)
        self.codes = codes & {muc.NON_ANONYMOUS, muc.LOGGED}
        self.created = muc.CREATED in codes
        self.own_shown(presence)

    def own_shown(self, presence: Stanza) -> None:
        """Remember the account's own presence, stripped if need be: there is always one. Nobody else has its nick."""
        self.occupant_gone((presence.get("from") or "").partition("/")[2])
        self._own = self._in_reserve(presence, self._own) or _Kept(presence, stripped(presence), 0)

    def occupant_shown(self, nick: str, presence: Stanza) -> bytes | None:
        """Remember another occupant's presence, and return the one before.

        Beyond the bounds, it is forked but not remembered.
        """
        key = prepare_resource(nick)
        before = self.occupants.get(key)
        if before is not None:
            self._budget.give_back(_cost(before))
            self._told.give_back(before)
        elif len(self.occupants) >= self._settings.max_occupants:
            self._report("it has too many occupants", self._settings.max_occupants)
            self.complete = False
            return None
        raw = None
        try:
            raw = self._others_presence(presence)
        finally:  # the one before was given back, whatever happens
            if raw is None:
                self.occupants.pop(key, None)
                self.complete = False
            else:
                self.occupants[same_text(key)] = self._told.take(raw)
        return before

    def _others_presence(self, presence: Stanza) -> bytes | None:
        """Return another occupant's presence as it is kept; None if there is no place for it."""
        raw = presence.unaddressed
        if not self._take_whole(_cost(raw)):
            raw = unaddressed(stripped(presence))
            if not self._budget.take(_cost(raw)):
                return None
        return raw

    def occupant_gone(self, nick: str) -> Stanza | None:
        """Forget an occupant; return the presence that it was shown by."""
        raw = self.occupants.pop(prepare_resource(nick), None)
        if raw is None:
            return None
        self._budget.give_back(_cost(raw))
        self._told.give_back(raw)
        return _presence(raw)

    def room_shown(self, presence: Stanza) -> None:
        """Remember what the room's bare JID shows of itself, its avatar for one; not if it is too much."""
        self._of_room = self._whole(presence, self._of_room)

    def _in_reserve(self, stanza: Stanza, before: _Kept | None) -> _Kept | None:
        """Return the stanza as it is kept, for which there is a place of its own; None if it is too large for that."""
        if before is not None:
            self._budget.give_back(before.cost)
        kept = _Kept(stanza)
        kept.cost = max(0, kept.cost - RESERVED)
        return kept if not kept.cost or self._take_whole(kept.cost) else None

    def _whole(self, stanza: Stanza, before: _Kept | None) -> _Kept | None:
        """Return the stanza as it is kept in place of another; None if that is too much."""
        if before is not None:
            self._budget.give_back(before.cost)
        kept = _Kept(stanza)
        return kept if self._take_whole(kept.cost) else None

    def _take_whole(self, cost: int) -> bool:
        if self._budget.used + cost <= self._budget.limit // 2 and self._budget.take(cost):
            return True
        self._report("it shows too many bytes", self._budget.limit)
        return False

    def _report(self, reason: str, limit: int) -> None:
        """Log that a bound is reached, once for each time that the account is in the room."""
        if self._budget.first_report():
            self.log.warn(
                "not all that {room} shows {account} is kept: {reason} (limit {limit})",
                room=self.room,
                account=self._account,
                reason=reason,
                limit=limit,
            )

    def message_seen(self, message: Stanza) -> None:
        """Take the subject, and changes of what the lasting status codes say, from a groupchat message.

        Whoever sets the subject may be named as its sender: servers check the permission (XEP-0045 §8.1).
        """
        if self._settings.replay_occupants:
            self._note_speaker((message.get("from") or "").partition("/")[2])
        if muc.is_subject(message):
            kept = self._in_reserve(message, self._subject)
            self._subject = kept or _Kept(message, _short_subject(message), 0)
        else:
            for code in muc.configuration_codes(message):
                lasting, on = _SWITCHES.get(code, ("", False))
                self.codes = self.codes | {lasting} if on else self.codes - {lasting}

    def _note_speaker(self, nick: str) -> None:
        if nick:
            key = prepare_resource(nick)
            self._spoke.pop(key, None)
            self._spoke[key] = None
            if len(self._spoke) > SPEAKERS:
                del self._spoke[next(iter(self._spoke))]

    def _others_shown(self) -> list[bytes]:
        """Return the presences that one who joins is shown: in a huge room, of those who matter."""
        if len(self.occupants) <= (self._settings.replay_occupants or math.inf):
            return list(self.occupants.values())
        return [raw for key, raw in self.occupants.items() if key in self._spoke or _STANDS_OUT.search(raw)]

    def replay(
        self, session_jid: str, stream_jid: str, join_id: str | None, codes: Collection[str], history: Replay
    ) -> LazyStanzas:
        """Return all that a room shows now to one who joins, in its order (XEP-0045 §7.1).

        Other occupants, the self-presence with `codes` beside the lasting ones, `history`, the subject.
        """
        of_room = self.room_presence
        others = self._others_shown()
        own = self.reflection(session_jid, stream_jid, join_id, {*self.codes, *codes})
        subject = self._subject_for(session_jid)

        def stanzas() -> Iterator[bytes]:
            if of_room is not None:
                yield from self._shown(of_room, session_jid, stream_jid)
            yield from self._others(others, session_jid, stream_jid)
            yield own
            yield from history.to(session_jid)
            yield subject

        return LazyStanzas(len(others) + len(history) + (3 if of_room is not None else 2), stanzas())

    def _others(self, others: list[bytes], session_jid: str, stream_jid: str) -> Iterator[bytes]:
        """Yield the presences of other occupants, which are kept without `to`; there may be thousands."""
        addressed, named = b"<presence to='%b'" % escape(session_jid), escape(stream_jid)
        for raw in others:
            if raw.startswith(_PRESENCE) and not (named and named in raw):
                yield addressed + raw[len(_PRESENCE) - 1 :]
            else:
                yield from self._shown(_presence(raw), session_jid, stream_jid)

    def _shown(self, presence: Stanza, session_jid: str, stream_jid: str) -> Iterator[bytes]:
        """Yield the copy of a presence, or nothing: whatever is wrong with one, the session gets the others."""
        try:
            raw = presence_for(presence, session_jid, stream_jid)
        except Exception as error:  # noqa: BLE001 (a fault of ours, or bytes that were damaged)
            NET.unshown(presence.raw, "a presence", self.room, error)
        else:
            yield raw

    def reflection(self, session_jid: str, stream_jid: str, stanza_id: str | None, codes: Collection[str]) -> bytes:
        """Return the account's own presence as the answer to a session's, with 110 and `codes`."""
        stanza = self.self_presence
        assert stanza is not None
        raw = muc.with_status_codes(stanza, {muc.SELF, *codes})
        shown = Stanza(raw, stanza.uri, stanza.name, stanza.attributes, None, {"": NS_CLIENT})
        return rewrite(presence_for(shown, session_jid, stream_jid), {"id": stanza_id})

    def _subject_for(self, session_jid: str) -> bytes:
        if self._subject is not None:
            return ForkTemplate(self._subject.raw).copy(session_jid)
        return b"<message type='groupchat' from='%b' to='%b'><subject/></message>" % (
            escape(self.room),
            escape(session_jid),
        )


def presence_for(presence: Stanza, session_jid: str, stream_jid: str) -> bytes:
    """Return a copy of a presence; where the room names the account stream in it, it names the session."""
    if not may_name(presence, stream_jid):
        return ForkTemplate(presence.self_contained()).copy(session_jid)
    return rewrite(AddressTemplate(presence, stream_jid).copy(session_jid), {"to": session_jid})


def _short_subject(message: Stanza) -> bytes:
    """Return the beginning of a subject: who joins later is shown that rather than none."""
    subject = first_of(children_of(message), NS_CLIENT, "subject")
    text = (text_of(subject) if subject is not None else "")[:MAX_SUBJECT] + "\N{HORIZONTAL ELLIPSIS}"
    return b"<message type='groupchat' from='%b'><subject>%b</subject></message>" % (
        escape(message.get("from", "") or ""),
        escape(text),
    )


def _cost(raw: bytes) -> int:
    return len(raw) + OBJECT


def _presence(raw: bytes) -> Stanza:
    """Return an occupant's presence, without its attributes, which are of no interest."""
    return Stanza(raw, NS_CLIENT, "presence", {}, None, {"": NS_CLIENT})
