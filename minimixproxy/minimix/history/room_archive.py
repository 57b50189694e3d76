"""What was said in a room while the account was not there, from the room's archive (XEP-0313, XEP-0059). No I/O."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import NamedTuple

from minimixproxy.bounds.byte_budget import OBJECT
from minimixproxy.jids import InvalidJID, parse_jid
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.history.amendments import MAX_ID, amendment_of, slim
from minimixproxy.minimix.history.displayed_markers import MAX_MARKERS
from minimixproxy.minimix.interfaces.streams import RoomOutlet
from minimixproxy.namespaces import NS_CLIENT, NS_DELAY, NS_FORWARD, NS_MAM, NS_RSM, NS_SID
from minimixproxy.wire.children import Parts, children_of, first_of, stanza_of_bytes
from minimixproxy.wire.stanza import Stanza, UnusableStanza, escape, rewrite, start_tag_attributes
from minimixproxy.xep import muc
from minimixproxy.xep.data_forms import submission
from minimixproxy.xep.delays import delay, format_time, parse_time, without_delays
from minimixproxy.xep.displayed import is_marker

PAGE = 100
MAX_PAGES = 1000  # of one reading: an archive may go on for ever with what is not worth telling
MAX_BYTES = 8 * 1024 * 1024  # of messages that are read at once
# Seconds by which the clocks here and there may differ: little when times alone say where the gap begins ...
SLACK = 120.0
# ... and more when that is where a known message is.
SLACK_WITH_ID = 86400.0

# Errors that waiting does not change. Others come from a server whose room service is just being restarted.
_FINAL = frozenset({"forbidden", "feature-not-implemented", "service-unavailable"})


class _Entry(NamedTuple):
    """One result. `message` is None if there is none that is worth telling."""

    id: str
    time: float
    message: Stanza | None

    @property
    def size(self) -> int:
        return OBJECT + (len(self.message.raw) if self.message is not None else 0)


class RoomArchive:
    """One reading of a room's archive, backwards from its end to the last known message, or to `limit()` messages.

    So a gap that is too large, in bytes too, costs its oldest part, and an archive that has forgotten the last known
    message is no special case. `done` is called once, unless `stop` comes first, with what was found, oldest first:
    groupchat messages with the room's delay stamp and stanza-id, ready to be forked.
    """

    log = Logger()

    __slots__ = (
        "_after_id",
        "_budget",
        "_done",
        "_found",
        "_full",
        "_limit",
        "_marked",
        "_messages",
        "_most",
        "_outlet",
        "_page",
        "_pages",
        "_room",
        "_running",
        "_since",
        "_start",
        "failed",
        "told_all",
    )

    def __init__(
        self, room: str, outlet: RoomOutlet, limit: Callable[[], int], done: Callable[[list[Stanza]], None]
    ) -> None:
        self._room = room
        self._outlet = outlet
        self._most = limit
        self._limit = 0
        self._done = done
        self.failed = False  # what `done` got is not all, and asking again may help
        self.told_all = False  # that was said since, as far as the room archives what is said
        self._running = False
        self._after_id: str | None = None
        self._since = 0.0  # what was said before is not wanted
        self._start = 0.0  # of what is asked for
        self._pages = 0
        self._found: list[_Entry] = []  # worth telling, the newest first
        self._messages = 0  # of these; the others are markers
        self._marked: set[str] = set()  # occupants whose last marker is among them
        self._page: list[_Entry] = []
        self._budget = outlet.waiting_budget(MAX_BYTES)  # of what was found
        self._full = False

    def start(self, after_id: str | None, after_time: float | None, now: float) -> None:
        """Read what came after the last known message, by the room's id for it, or else by its time."""
        known = now if after_time is None else after_time
        self._after_id = after_id
        self._since = known - SLACK
        self._start = known - (SLACK if after_id is None else SLACK_WITH_ID)
        self._running = True
        self._limit = self._most()
        self._pages = 0
        self.failed = self.told_all = self._full = False
        self._found = []
        self._messages = 0
        self._marked = set()
        self._budget.close()
        if self._limit:
            self._ask("")
        else:
            self._finish()

    def stop(self) -> None:
        """Nobody waits for it any more: `done` is not called."""
        self._running = False
        self._found, self._page = [], []
        self._budget.close()

    def _ask(self, before: str) -> None:
        query_id = f"catchup-{secrets.token_hex(6)}"
        size = min(PAGE, self._limit - self._messages)
        query = (b"<query xmlns='%b' queryid='%b'>%b<set xmlns='%b'><max>%d</max><before>%b</before></set></query>") % (
            NS_MAM.encode(),
            query_id.encode(),
            submission(NS_MAM, {"start": format_time(max(0.0, self._start))}),
            NS_RSM.encode(),
            size,
            escape(before),
        )
        self._page = []
        self._outlet.ask_archive(self._room, query_id, query, self._result, self._answered)

    def _result(self, message: Stanza) -> None:
        """One message of the archive, as it was forwarded. Of too much, the oldest goes."""
        result = first_of(children_of(message), NS_MAM, "result")
        if not self._running or result is None or len(self._page) >= PAGE:
            return
        entry = _read(result, self._room)
        while not self._budget.take(entry.size):
            self._full = True
            if self._budget.used + entry.size <= self._budget.limit:
                self.failed = True  # the account's other rooms have the bytes now, and not for ever
            if not self._page:
                return
            self._budget.give_back(self._page.pop(0).size)
        self._page.append(entry)

    def _answered(self, answer: Stanza | None) -> None:
        if not self._running:
            return
        if answer is None or answer.get("type") != "result":
            condition = muc.error_condition(answer) if answer is not None else "no answer"
            self.log.warn(
                "{account} cannot read what it missed from the archive of {room}: {error}",
                account=self._outlet.account,
                room=self._room,
                error=condition,
            )
            self.failed = condition not in _FINAL
            self._finish()
            return
        page, self._page = self._page, []
        self._pages += 1
        fin = answer.payload(NS_MAM, "fin")
        complete = fin is None or fin.getAttribute("complete") == "true"
        if self._full:
            self.log.warn(
                "{account} missed more than {bytes} bytes in {room}, or too much in all rooms: the oldest are lost",
                account=self._outlet.account,
                room=self._room,
                bytes=MAX_BYTES,
            )
        known = self._take(page)
        enough = self._messages >= self._limit or self._pages >= MAX_PAGES
        self.told_all = (known or complete or not page) and not self._full
        if self.told_all or self._full or not page[0].id or enough:
            self._finish()
        else:
            self._ask(page[0].id)

    def _take(self, page: list[_Entry]) -> bool:
        """Take a page from its end; True when it holds the last known message."""
        for entry in reversed(page):
            if entry.id == self._after_id:
                self._since = 0.0  # what came behind it is new whatever the clocks say
                return True
            if entry.message is not None and self._is_wanted(entry.message):
                self._found.append(entry)
            else:
                self._budget.give_back(entry.size)
        return False

    def _is_wanted(self, message: Stanza) -> bool:
        """Count a message that is worth telling; of each occupant's markers only the last one is."""
        if muc.is_history(message) or not is_marker(message):
            self._messages += 1
            return self._messages <= self._limit
        sender = message["from"]
        if sender in self._marked or len(self._marked) >= MAX_MARKERS:
            return False
        self._marked.add(sender)
        return True

    def _finish(self) -> None:
        self._running = False
        found = [entry.message for entry in self._found if entry.time >= self._since]
        self._found = []
        self._budget.close()
        if found:
            self.log.info(
                "{account} gets {number} missed messages from the archive of {room}",
                account=self._outlet.account,
                number=len(found),
                room=self._room,
            )
        self._done([message for message in reversed(found) if message is not None])


def _read(result: Stanza, room: str) -> _Entry:
    """Return one result."""
    archive_id = (result.get("id") or "")[:MAX_ID]
    forwarded = first_of(children_of(result), NS_FORWARD, "forwarded")
    inside = children_of(forwarded) if forwarded is not None else []
    message, stamp = first_of(inside, NS_CLIENT, "message"), first_of(inside, NS_DELAY, "delay")
    time = parse_time(stamp.get("stamp") or "") if stamp is not None else None
    if message is None or time is None or not _is_of(message, room):
        return _Entry(archive_id, time or 0.0, None)
    try:
        told = _as_told(_alone(message), room, archive_id, time)
    except UnusableStanza:
        return _Entry(archive_id, time, None)
    worth = muc.is_history(told) or is_marker(told) or amendment_of(told, room) is not None
    return _Entry(archive_id, time, told if worth else None)


def _is_of(message: Stanza, room: str) -> bool:
    """Tell whether an archived message was said in the room. Presences and others' words have no place there."""
    try:
        sender = parse_jid(message.get("from") or "").bare
    except InvalidJID:
        return False
    return sender == room and message.get("type") == "groupchat"


def _alone(message: Stanza) -> Stanza:
    """Return a forwarded message as it stands on a stream."""
    raw = message.self_contained()
    declared = start_tag_attributes(raw, 0).get(b"xmlns")
    if declared is None:
        return stanza_of_bytes(rewrite(raw, {"xmlns": message.default_namespace}))
    return stanza_of_bytes(rewrite(raw, {"xmlns": None}) if declared == NS_CLIENT.encode() else raw)


def _as_told(message: Stanza, room: str, archive_id: str, time: float) -> Stanza:
    """Return an archived message as the room tells it to who comes later: with its id and time, and no forged ones."""
    parts = Parts(without_delays(message, room))
    kept = [
        child for child in parts.children if (child.uri, child.name) != (NS_SID, "stanza-id") or child.get("by") != room
    ]
    raw = b"<stanza-id xmlns='%b' by='%b' id='%b'/>" % (NS_SID.encode(), escape(room), escape(archive_id))
    own = [_child(raw)] if archive_id else []
    told = parts.with_children((*kept, *own, _child(delay(room, time))))
    return stanza_of_bytes(slim(told, len(message.attributes)))


def _child(raw: bytes) -> Stanza:
    return Stanza(raw, "", "", {}, (), {"": NS_CLIENT})
