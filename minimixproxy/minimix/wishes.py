"""What a joining client wishes to be told of the past (XEP-0045 §7.2.13). Pure."""

from __future__ import annotations

from dataclasses import dataclass

from minimixproxy.minimix.delays import parse_time
from minimixproxy.minimix.muc import NS_MUC, whole_number
from minimixproxy.stanza import Stanza


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """What a `<history/>` asks for; None where it says nothing. `since` in seconds since the epoch."""

    max_stanzas: int | None = None
    max_chars: int | None = None
    since: float | None = None


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
