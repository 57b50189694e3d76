"""The personal archive: a client's queries (XEP-0313) to a room that keeps no archive, answered from the history. Pure.

What is kept of a room is what the account has seen of it, bounded as its history is.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from minimixproxy.minimix.history.archive_query import ArchiveQuery, UnusableQuery, read_query
from minimixproxy.minimix.history.room_history import RoomHistory
from minimixproxy.minimix.interfaces.journal import KeptMessage
from minimixproxy.namespaces import (
    NS_CLIENT,
    NS_DATA,
    NS_DATA_VALIDATE,
    NS_DELAY,
    NS_DISCO_INFO,
    NS_FORWARD,
    NS_MAM,
    NS_RSM,
)
from minimixproxy.wire.stanza import (
    MalformedStanza,
    Stanza,
    escape,
    optional_attribute,
    parse_element,
    rewrite,
    serialize,
)
from minimixproxy.wire.trees import child
from minimixproxy.xep.delays import format_time
from minimixproxy.xep.iq import iq
from minimixproxy.xep.stanza_errors import error_payload

FEATURES = (NS_MAM, NS_MAM + "#extended")
MAX_PAGE = 100  # messages
MAX_PAGE_BYTES = 1024 * 1024
LONGEST_QUERY_ID = 1024  # characters: each result bears it
_OWN_ID = "minimix-"  # archive ids of messages that have none from the room
_FORM = (
    b"<query xmlns='%b'><x xmlns='%b' type='form'>"
    b"<field type='hidden' var='FORM_TYPE'><value>%b</value></field>"
    b"<field type='jid-single' var='with'/><field type='text-single' var='start'/><field type='text-single' var='end'/>"
    b"<field type='text-single' var='before-id'/><field type='text-single' var='after-id'/>"
    b"<field type='list-multi' var='ids'><validate xmlns='%b' "
    b"datatype='xs:string'><open/></validate></field></x></query>"
) % tuple(namespace.encode() for namespace in (NS_MAM, NS_DATA, NS_MAM, NS_DATA_VALIDATE))


def concerns_archive(stanza: Stanza) -> bool:
    """Tell whether an IQ is a question to an archive."""
    if stanza.get("type") == "set":
        return stanza.has_payload(NS_MAM, "query")
    return stanza.get("type") == "get" and (
        stanza.has_payload(NS_MAM, "query") or stanza.has_payload(NS_MAM, "metadata")
    )


def disco_with_archive(result: Stanza) -> bytes:
    """Return a room's disco#info result with the archive's features added."""
    element = parse_element(result.self_contained(), {"": NS_CLIENT})
    query = child(element, NS_DISCO_INFO, "query")
    if query is not None:
        there = {feature.getAttribute("var") for feature in query.elements(NS_DISCO_INFO, "feature")}
        for feature in FEATURES:
            if feature not in there:
                query.addElement("feature")["var"] = feature
    return serialize(element)


def answer(room: str, history: RoomHistory, session_jid: str, stanza: Stanza, now: float) -> list[bytes]:
    """Return the whole answer to a question that `concerns_archive`: result messages, if any, and the IQ."""
    history.expire(now)
    archive = _Archive(room, history)
    try:
        if stanza.get("type") == "set":
            element = stanza.payload(NS_MAM, "query")
            assert element is not None
            query_id = element.getAttribute("queryid")
            if query_id is not None and len(query_id) > LONGEST_QUERY_ID:
                raise UnusableQuery("bad-request", "the queryid is too long")
            messages, payload = archive.query(read_query(element, room), query_id, session_jid)
        else:
            messages, payload = [], archive.metadata() if stanza.has_payload(NS_MAM, "metadata") else _FORM
    except UnusableQuery as error:
        payload = error_payload(error.kind, error.condition, str(error))
        return [iq("error", payload, id=stanza.get("id"), sender=room, to=session_jid)]
    return [*messages, iq("result", payload, id=stanza.get("id"), sender=room, to=session_jid)]


@dataclass(frozen=True, slots=True)
class _Page:
    """Places in a list of messages, whether nothing is beyond them, and in all how many there are to choose from."""

    places: range
    complete: bool


class _Archive:
    """What is kept of a room, in the order of its time."""

    def __init__(self, room: str, history: RoomHistory) -> None:
        self._room = room
        self._faulty = history.leave_out
        self._entries = sorted(history.entries, key=lambda message: message.time)
        self._ids = [archive_id(message) for message in self._entries]
        self._places = {one: place for place, one in enumerate(self._ids)}

    def metadata(self) -> bytes:
        """Return where the archive begins and ends (XEP-0313 §5)."""
        ends = [("start", 0), ("end", -1)] if self._entries else []
        return b"<metadata xmlns='%b'>%b</metadata>" % (
            NS_MAM.encode(),
            b"".join(
                b"<%b id='%b' timestamp='%b'/>"
                % (name.encode(), escape(self._ids[place]), format_time(self._entries[place].time).encode())
                for name, place in ends
            ),
        )

    def query(self, query: ArchiveQuery, query_id: str | None, to: str) -> tuple[list[bytes], bytes]:
        """Return the result messages, and the `<fin/>` that tells of them."""
        chosen = self._filtered(query)
        page = self._page(query, chosen)
        places = [chosen[place] for place in page.places]
        shown = reversed(places) if query.flipped else places
        messages = [raw for place in shown if (raw := self._result(place, query_id, to))]
        ends = b""
        if places:
            # No index, as servers give none: slixmpp takes it for the sign of the last page, backwards too.
            ends = b"<first>%b</first><last>%b</last>" % (escape(self._ids[places[0]]), escape(self._ids[places[-1]]))
        complete = b" complete='true'" if page.complete else b""
        summary = b"<set xmlns='%b'>%b<count>%d</count></set>" % (NS_RSM.encode(), ends, len(chosen))
        return messages, b"<fin xmlns='%b'%b>%b</fin>" % (NS_MAM.encode(), complete, summary)

    def _place(self, one: str) -> int:
        place = self._places.get(one)
        if place is None:
            raise UnusableQuery("item-not-found", "no message has this id", kind="cancel")
        return place

    def _filtered(self, query: ArchiveQuery) -> list[int]:
        """Return the places of the messages that are asked for, before paging."""
        begin = self._place(query.after_id) + 1 if query.after_id is not None else 0
        end = self._place(query.before_id) if query.before_id is not None else len(self._entries)
        wanted = {self._place(one) for one in query.ids} if query.ids is not None else None
        return [
            place
            for place in range(begin, end)
            if (wanted is None or place in wanted) and query.takes(self._entries[place])
        ]

    def _page(self, query: ArchiveQuery, chosen: list[int]) -> _Page:
        """Return which of the chosen make the page that is asked for (XEP-0059)."""
        first, last = 0, len(chosen)
        if query.after is not None:
            first = bisect_left(chosen, self._place(query.after) + 1)
        if query.before:
            last = bisect_left(chosen, self._place(query.before))
        size = min(MAX_PAGE, query.maximum if query.maximum is not None else MAX_PAGE)
        whole = range(first, max(first, last))
        backwards = query.before is not None
        places = self._fitting(whole[-size:] if backwards and size else whole[:size], chosen, backwards)
        return _Page(places, len(places) == len(whole))

    def _fitting(self, places: range, chosen: list[int], backwards: bool) -> range:
        """Return as much of a page as may be sent at once: one message at least."""
        total = 0
        for count, place in enumerate(reversed(places) if backwards else places):
            total += len(self._entries[chosen[place]].raw)
            if count and total > MAX_PAGE_BYTES:
                return places[-count:] if backwards else places[:count]
        return places

    def _result(self, place: int, query_id: str | None, to: str) -> bytes:
        """Return one message as a result; b"" for one that cannot be shown."""
        message = self._entries[place]
        try:
            raw = rewrite(message.raw, {"xmlns": NS_CLIENT, "to": None})
        except MalformedStanza as error:
            self._faulty(message, error)
            return b""
        return (
            b"<message from='%b' to='%b'><result xmlns='%b'%b id='%b'><forwarded xmlns='%b'>"
            b"<delay xmlns='%b' stamp='%b'/>%b</forwarded></result></message>"
        ) % (
            escape(self._room),
            escape(to),
            NS_MAM.encode(),
            optional_attribute("queryid", query_id),
            escape(self._ids[place]),
            NS_FORWARD.encode(),
            NS_DELAY.encode(),
            format_time(message.time).encode(),
            raw,
        )


def archive_id(message: KeptMessage) -> str:
    """Return the id of a message in the archive: the room's own, or one that nobody takes for the room's.

    A room that has no archive lets its occupants write ids in its name. One that looks like an id of ours does not
    count: whoever reads on behind that message would be led past others, or back to where it was.
    """
    given = message.stanza_id
    return given if given is not None and not given.startswith(_OWN_ID) else f"{_OWN_ID}{message.sequence}"
