"""Times on the wire (XEP-0082), and the stamp of a message that comes late (XEP-0203). Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from minimixproxy.minimix.muc import NS_DELAY
from minimixproxy.stanza import Stanza, escape


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


def delay_of(stanza: Stanza, room: str) -> float | None:
    """Return the time that the room itself stamped on a message, or None."""
    if not stanza.has_payload(NS_DELAY, "delay"):
        return None
    for delay in stanza.element.elements(NS_DELAY, "delay"):
        if delay.getAttribute("from") in (room, None) and delay.hasAttribute("stamp"):
            return parse_time(delay["stamp"])
    return None


def with_delay(stanza: Stanza, room: str, time: float) -> bytes:
    """Return the message with the room's delay stamp, unless it carries one."""
    raw = stanza.self_contained()
    return raw if delay_of(stanza, room) is not None else stamp(raw, room, time)


def stamp(raw: bytes, room: str, time: float) -> bytes:
    """Return a message, which has content, with the room's delay stamp behind that."""
    end = raw.rindex(b"</")
    return raw[:end] + delay(room, time) + raw[end:]


def delay(sender: str, time: float) -> bytes:
    """Return a delay stamp by `sender`."""
    return b"<delay xmlns='%b' from='%b' stamp='%b'/>" % (
        NS_DELAY.encode(),
        escape(sender),
        format_time(time).encode(),
    )
