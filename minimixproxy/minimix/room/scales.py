"""What the stanzas of one room mean to inactive devices (XEP-0352), each weighed once for all sessions. No I/O.

Weighing is done only for a stanza that goes to a session that is inactive. What it takes to tell what a client knows
already is noted from all.
"""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.jids import prepare_resource
from minimixproxy.minimix.history.message_index import OCCUPANT
from minimixproxy.minimix.history.room_info import RoomInfo
from minimixproxy.minimix.history.senders import Senders
from minimixproxy.minimix.interfaces.said import Said
from minimixproxy.minimix.interfaces.weighed import Change, Weighed, What
from minimixproxy.minimix.room import importance
from minimixproxy.minimix.room.appearance import Appearance
from minimixproxy.minimix.room.attached_sessions import Copy, Weigh
from minimixproxy.minimix.room.context import RoomContext
from minimixproxy.minimix.room.importance import Importance
from minimixproxy.minimix.room.snapshot import Snapshot
from minimixproxy.namespaces import NS_OCCUPANT_ID
from minimixproxy.wire.children import payload_attributes
from minimixproxy.wire.stanza import Stanza, start_tag_end
from minimixproxy.xep import muc
from minimixproxy.xep.mentions import Somebody

MAX_TYPING = 100  # occupants that are known to be writing

_STATES = {
    Importance.SUBJECT: What.SUBJECT,
    Importance.TYPING: What.TYPING,
    Importance.MARKER: What.MARKER,
}


class Scales:
    """Of one room. `view` returns what the room shows now, to the sessions that are attached."""

    __slots__ = (
        "_account",
        "_appearance",
        "_info",
        "_known",
        "_known_by",
        "_room",
        "_senders",
        "_settings",
        "_typing",
        "_view",
    )

    def __init__(
        self,
        context: RoomContext,
        info: RoomInfo,
        appearance: Appearance,
        senders: Senders,
        view: Callable[[], Snapshot],
    ) -> None:
        self._room = context.room
        self._account = context.outlet.account
        self._settings = context.settings
        self._info = info
        self._appearance = appearance
        self._senders = senders
        self._view = view
        self._typing: dict[str, None] = {}  # prepared nicks
        self._known: Somebody | None = None  # the account, as it was read from what is in `_known_by`
        self._known_by: tuple[bytes | None, str] = (None, "")

    # Presences -------------------------------------------------------------------------------------------------

    def of_occupant(self, nick: str, before: bytes | None, *, certain: bool) -> Weigh | None:
        """Return what weighs a presence of an occupant, who was shown by `before`.

        `certain`: one who was not shown by anything had not been shown at all.
        """
        if self._settings.inactive == "pass":
            return None

        def weigh(stanza: Stanza, copy: Copy) -> Weighed:
            ends = stanza.get("type") == "unavailable"
            change = Change(
                What.PRESENCE,
                had=before is not None or not certain,
                ends=ends,
                whose=self._whose(stanza),
                becomes=self._becomes(stanza) if ends else None,
                shows=None if ends else _shows(stanza.raw),
                shown_before=_shows(before) if before is not None else None,
            )
            return Weighed(self._room, _prepared(nick), copy, len(stanza.raw), change=change)

        return weigh

    def of_room(self) -> Weigh | None:
        """Return what weighs a presence of the room itself."""
        return self.of_occupant("", None, certain=False)

    def of_own(self, before: Stanza | None) -> Weigh | None:
        """Return what weighs the account's own presence, which was `before`.

        Another nick or standing matters, and so does what answers a device's own presence for the room.
        """
        if self._settings.inactive == "pass" or before is None:
            return None

        def weigh(stanza: Stanza, copy: Copy) -> Weighed:
            nick = _prepared(self._appearance.nick)
            is_answer = "id" in stanza.attributes or before.get("from") != stanza.get("from")
            is_news = _standing(before) != _standing(stanza) or not muc.status_codes(stanza) <= _LASTING
            size, change = len(stanza.raw), Change(What.PRESENCE)
            return Weighed(self._room, nick, copy, size, is_answer or is_news, change)

        return weigh

    def _whose(self, presence: Stanza) -> str | None:
        sender = self._senders.sender_of(presence)
        return sender if sender is not None and sender.startswith(OCCUPANT) else None

    def _becomes(self, presence: Stanza) -> str | None:
        if muc.NICK_CHANGED.encode() not in presence.raw or muc.NICK_CHANGED not in muc.status_codes(presence):
            return None
        nick = muc.new_nick(presence, self._room)
        return _prepared(nick) if nick is not None else None

    # Messages --------------------------------------------------------------------------------------------------

    def of_message(self, sequence: int | None) -> Weigh | None:
        """Return what weighs a groupchat message, whose place in the history is `sequence` if it has one."""
        if self._settings.inactive == "pass":
            return None

        def weigh(stanza: Stanza, copy: Copy) -> Weighed:
            sender = _nick(stanza)
            found = self._importance(stanza, sender)
            size = len(stanza.raw)
            if found is Importance.MATTERS or (found is Importance.ORDINARY and self._settings.inactive == "states"):
                return Weighed(self._room, sender, copy, size, matters=True)
            if found is Importance.ORDINARY or sequence is not None:
                return Weighed(self._room, sender, copy, size, sequence=sequence)
            is_typing = found is Importance.TYPING
            change = Change(
                _STATES[found],
                had=not is_typing or sender in self._typing,
                ends=is_typing and not importance.types(stanza),
            )
            return Weighed(self._room, "" if found is Importance.SUBJECT else sender, copy, size, change=change)

        return weigh

    def of_private(self) -> Weigh | None:
        """Return what weighs a private message: chat states alone can wait."""
        if self._settings.inactive == "pass":
            return None

        def weigh(stanza: Stanza, copy: Copy) -> Weighed:
            change = Change(What.PRIVATE_TYPING) if importance.is_typing(stanza) else None
            return Weighed(self._room, _nick(stanza), copy, len(stanza.raw), change is None, change)

        return weigh

    def said(
        self, message: Stanza, sequence: int | None, is_read: Callable[[], bool] | None = None, *, own: bool
    ) -> Said:
        """Return a message as push services are perhaps told of it; `sequence`: its place in the history.

        `own`: the account is known to have said it. `is_read`: see `Said`.
        """
        is_groupchat = message.get("type") == "groupchat"
        sender = _nick(message)
        own = own or (bool(sender) and sender == _prepared(self._appearance.nick))
        return Said(
            self._room,
            message,
            sequence,
            own=own,
            calling=importance.calling(message, self._somebody() if is_groupchat else None),
            in_group=is_groupchat,
            is_private_group=self._is_private_group,
            is_read=is_read,
        )

    def heard(self, message: Stanza, *, kept: bool) -> None:
        """Note whether the sender of a groupchat message is writing. `kept`: it is in the history."""
        if kept:
            if self._typing:
                self._typing.pop(_nick(message), None)
        elif message.readable and importance.types(message):
            if len(self._typing) < MAX_TYPING:
                self._typing[_nick(message)] = None
        elif self._typing:
            self._typing.pop(_nick(message), None)

    def gone(self, nick: str) -> None:
        """An occupant has left, and writes nothing."""
        if self._typing:
            self._typing.pop(_prepared(nick), None)

    def _importance(self, message: Stanza, sender: str) -> Importance:
        if sender and sender == _prepared(self._appearance.nick):
            return Importance.MATTERS
        return importance.of_message(message, self._somebody(), all_notify=self._all_notify())

    def _somebody(self) -> Somebody:
        shown, nick = self._view().self_presence, self._appearance.nick
        known_by = (shown.raw if shown is not None else None, nick)
        if self._known is None or known_by != self._known_by:  # to read a presence takes longer than all the rest
            ids = payload_attributes(shown, NS_OCCUPANT_ID, "occupant-id") if shown is not None else []
            occupant_id = ids[0].get("id") if len(ids) == 1 else None
            self._known_by = known_by
            self._known = Somebody(self._account, f"{self._room}/{nick}", occupant_id, _standing(shown))
        return self._known

    def _all_notify(self) -> bool:
        """Whether this is a room in which clients call for each message: a private group, by default."""
        if self._settings.notify != "private":
            return self._settings.notify == "all"
        return self._is_private_group()

    def _is_private_group(self) -> bool:
        """Whether it is for members only, and not anonymous. Not known yet: the room is asked, and it may be one."""
        if muc.NON_ANONYMOUS not in self._view().codes:
            return False
        if self._info.members_only is None:
            self._info.refresh_once()
        return self._info.members_only is not False


def _nick(stanza: Stanza) -> str:
    return _prepared((stanza.get("from") or "").partition("/")[2])


def _prepared(nick: str) -> str:
    """Return a nick that an address can have, prepared; "" for that of the room itself."""
    return prepare_resource(nick) if nick else ""


def _shows(presence: bytes) -> int:
    """Return the same number for presences that show the same, whoever they are addressed to."""
    return hash(presence[start_tag_end(presence) :])


_LASTING = frozenset({muc.SELF, muc.NON_ANONYMOUS, muc.LOGGED})


def _standing(presence: Stanza | None) -> frozenset[str]:
    """Return affiliation and role."""
    item = muc.item_of(presence)
    if item is None:
        return frozenset()
    return frozenset({item.getAttribute("affiliation", ""), item.getAttribute("role", "")})
