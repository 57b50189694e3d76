"""A client's query to an archive, read (XEP-0313 §4, XEP-0059, XEP-0004). Pure."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.words.xish import domish

from minimixproxy.jids import InvalidJID, parse_jid
from minimixproxy.minimix.interfaces.journal import KeptMessage
from minimixproxy.namespaces import NS_DATA, NS_MAM, NS_RSM
from minimixproxy.wire.children import top_attribute
from minimixproxy.wire.trees import child
from minimixproxy.xep.data_forms import Values, fields_of
from minimixproxy.xep.delays import parse_time
from minimixproxy.xep.muc import whole_number

MAX_IDS = 1000
_FIELDS = frozenset({"FORM_TYPE", "with", "start", "end", "before-id", "after-id", "ids"})


class UnusableQuery(Exception):
    """A query that cannot be answered. `str()` says why; `kind` and `condition` are those of the stanza error."""

    def __init__(self, condition: str, text: str, kind: str = "modify") -> None:
        super().__init__(text)
        self.condition = condition
        self.kind = kind


@dataclass(frozen=True, slots=True)
class ArchiveQuery:
    """Which messages are wanted (None: any), and which page of them. Times in seconds since the epoch."""

    start: float | None = None
    end: float | None = None
    sender: str | None = None  # the room, for all; a full JID, for one occupant
    before_id: str | None = None
    after_id: str | None = None
    ids: frozenset[str] | None = None
    maximum: int | None = None
    before: str | None = None  # "" for the last page
    after: str | None = None
    flipped: bool = False
    room: str = ""

    def takes(self, message: KeptMessage) -> bool:
        """Tell whether a message is wanted, by its time and its sender."""
        if self.start is not None and message.time < self.start:
            return False
        if self.end is not None and message.time > self.end:
            return False
        if self.sender is None or self.sender == self.room:
            return True
        try:
            return self.sender == parse_jid(top_attribute(message.raw, "from") or "").full
        except ValueError:
            return False


def read_query(query: domish.Element, room: str) -> ArchiveQuery:
    """Read a `<query/>`. Raises UnusableQuery."""
    form = child(query, NS_DATA, "x")
    fields = _fields(form) if form is not None else {}
    page = child(query, NS_RSM, "set")
    if page is not None and _text(page, "index") is not None:
        raise UnusableQuery("feature-not-implemented", "pages by index are not", kind="cancel")
    return ArchiveQuery(
        start=_time(fields, "start"),
        end=_time(fields, "end"),
        sender=_jid(fields, "with"),
        before_id=_single(fields, "before-id"),
        after_id=_single(fields, "after-id"),
        ids=_ids(fields),
        maximum=_maximum(page),
        before=_text(page, "before"),
        after=_text(page, "after") or None,
        flipped=child(query, NS_MAM, "flip-page") is not None,
        room=room,
    )


def _fields(form: domish.Element) -> Values:
    fields = dict(fields_of(form))
    if fields.get("FORM_TYPE") != (NS_MAM,):
        raise UnusableQuery("bad-request", f"the form's FORM_TYPE must be {NS_MAM}")
    unknown = fields.keys() - _FIELDS
    if unknown:
        raise UnusableQuery("feature-not-implemented", f"no such field: {min(unknown)}", kind="cancel")
    return fields


def _single(fields: Values, name: str) -> str | None:
    values = fields.get(name, ())
    if len(values) > 1:
        raise UnusableQuery("bad-request", f"{name} has one value")
    return values[0] if values and values[0] else None


def _time(fields: Values, name: str) -> float | None:
    value = _single(fields, name)
    time = parse_time(value) if value is not None else None
    if value is not None and time is None:
        raise UnusableQuery("bad-request", f"{name} is no time")
    return time


def _jid(fields: Values, name: str) -> str | None:
    value = _single(fields, name)
    try:
        return parse_jid(value).full if value is not None else None
    except InvalidJID as error:
        raise UnusableQuery("jid-malformed", str(error)) from error


def _ids(fields: Values) -> frozenset[str] | None:
    ids = fields.get("ids")
    if ids is not None and len(ids) > MAX_IDS:
        raise UnusableQuery("policy-violation", f"no more than {MAX_IDS} ids")
    return frozenset(ids) if ids else None


def _maximum(page: domish.Element | None) -> int | None:
    text = _text(page, "max")
    number = whole_number(text)
    if text is not None and number is None:
        raise UnusableQuery("bad-request", "max is no number")
    return number


def _text(page: domish.Element | None, name: str) -> str | None:
    element = child(page, NS_RSM, name)
    return str(element) if element is not None else None
