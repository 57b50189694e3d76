"""Times on the wire (XEP-0082), and the stamp of a message that comes late (XEP-0203). Pure.

What peers write as a time is anybody's word: reading never raises, and what is written is a time of these millennia.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

from minimixproxy.jids import InvalidJID, parse_jid
from minimixproxy.namespaces import NS_DELAY
from minimixproxy.wire.children import parts_of, payload_attributes
from minimixproxy.wire.stanza import MalformedStanza, Stanza, escape

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST = 253402300799.0  # seconds since the epoch: the last second of the year 9999
MOST_STAMPS = 20  # in one message of which it is looked at who says it; servers on the way write one each
SKEW = 86400.0  # seconds by which the clock of a room may be ahead of ours
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ]?(\d\d:\d\d):(\d\d)(\.\d{1,9})?\d*[ ]?(Z|[+-]\d\d:\d\d)?", re.ASCII | re.IGNORECASE
)


def parse_time(text: str) -> float | None:
    """Return a XEP-0082 timestamp as seconds since the epoch, or None when it is none. A leap second is the next one's.

    What is before the epoch is negative.
    """
    found = _TIME.fullmatch(text.strip()) if len(text) < 100 else None
    if found is None:
        return None
    day, minute, second, fraction, zone = found.groups()
    if int(second) > 60:
        return None
    try:
        moment = datetime.fromisoformat(f"{day}T{minute}:00{(zone or 'Z').upper()}")
    except ValueError:
        return None
    return (moment - _EPOCH).total_seconds() + int(second) + float(fraction or 0)


def possible_time(seconds: float, now: float) -> float:
    """Return a time that was kept, or `now` in place of one that cannot be: no number, before the epoch, to come."""
    return seconds if 0.0 <= seconds <= now else now


def format_time(seconds: float) -> str:
    """Return seconds since the epoch as a XEP-0082 timestamp with milliseconds: one from 1970 to 9999."""
    moment = _EPOCH + timedelta(seconds=min(max(0.0, seconds), LAST) if not math.isnan(seconds) else 0.0)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def delay_of(stanza: Stanza, room: str, now: float) -> float | None:
    """Return the time that the room stamped on a message of the past, or None: never one to come.

    Whoever said the message may have stamped it too, without a name or in the room's: the room's own comes last.
    """
    stamps = payload_attributes(stanza, NS_DELAY, "delay")[-MOST_STAMPS:]
    if not stamps:
        return None
    by_room = [stamp for stamp in stamps if _is_by(stamp.get("from"), room)]
    unnamed = [stamp for stamp in stamps if "from" not in stamp]
    time = parse_time((by_room or unnamed or [{}])[-1].get("stamp", ""))
    if time is None or not 0.0 <= time <= now + SKEW:
        return None
    return min(time, now)


def _is_by(sender: str | None, room: str) -> bool:
    try:
        return sender is not None and parse_jid(sender).bare == room
    except InvalidJID:
        return False


def without_delays(stanza: Stanza, room: str) -> bytes:
    """Return the message without the stamps that say, or leave it open, that they are the room's.

    Where there are very many, whoever wrote them cannot mean anything by them: all go.
    """
    if not stanza.has_payload(NS_DELAY, "delay"):
        return stanza.self_contained()
    parts = parts_of(stanza)
    many = stanza.payloads.count((NS_DELAY, "delay")) > MOST_STAMPS

    def is_claimed(child: Stanza) -> bool:
        if (child.uri, child.name) != (NS_DELAY, "delay"):
            return False
        return many or child.get("from") is None or _is_by(child.get("from"), room)

    return parts.with_children(child for child in parts.children if not is_claimed(child))


def stamp(raw: bytes, room: str, time: float) -> bytes:
    """Return a message with the room's delay stamp behind its content. Raises `MalformedStanza` if it has none."""
    end = raw.rfind(b"</")
    if end < 0:
        raise MalformedStanza("a message without content")
    return raw[:end] + delay(room, time) + raw[end:]


def delay(sender: str, time: float) -> bytes:
    """Return a delay stamp by `sender`."""
    return b"<delay xmlns='%b' from='%b' stamp='%b'/>" % (
        NS_DELAY.encode(),
        escape(sender),
        format_time(time).encode(),
    )
