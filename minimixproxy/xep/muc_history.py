"""What a joining client wishes to be told of the past (XEP-0045 §7.2.13). Pure."""

from __future__ import annotations

from dataclasses import dataclass

from minimixproxy.namespaces import NS_MUC
from minimixproxy.wire.children import first_of
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep.delays import parse_time
from minimixproxy.xep.muc import join_children, whole_number


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """What a `<history/>` asks for; None where it says nothing. `since` in seconds since the epoch."""

    max_stanzas: int | None = None
    max_chars: int | None = None
    since: float | None = None


def history_request(join: Stanza, now: float) -> HistoryRequest | None:
    """Return the wish of a join presence, or None when it states none. Unusable values count as not stated."""
    history = first_of(join_children(join), NS_MUC, "history")
    if history is None:
        return None
    stated = history.get("since")
    since = parse_time(stated) if stated is not None else None
    seconds = whole_number(history.get("seconds"))
    if seconds is not None:
        since = max(now - seconds, since or 0.0)
    request = HistoryRequest(whole_number(history.get("maxstanzas")), whole_number(history.get("maxchars")), since)
    return None if request == HistoryRequest() else request
