"""Why an occupancy ends, or is interrupted: read from what the room or the server has said. Pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.words.xish import domish

from minimixproxy.minimix.interfaces.endings import Ending, Why
from minimixproxy.minimix.occupancy.phases import Input, Phase
from minimixproxy.namespaces import NS_CLIENT, NS_MUC_USER
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.trees import child
from minimixproxy.xep import muc

#: Status codes of a removal (XEP-0045 §15.6.2), what says more first. The last is also what a fault is told with.
_CODES = {
    "301": Why.BANNED,
    "321": Why.AFFILIATION_LOST,
    "322": Why.MEMBERS_ONLY,
    "332": Why.PUT_OUT,
    muc.TECHNICAL: Why.PUT_OUT,
    muc.KICKED: Why.KICKED,
}


def of_error(why: Why, error: Stanza) -> Ending:
    """Return what a presence error says: condition, text, and which service says it (RFC 6120 §8.3)."""
    element = error.payload(NS_CLIENT, "error")
    texts = (str(one) for one in element.elements() if one.name == "text") if element is not None else iter(())
    by = element.getAttribute("by", "") if element is not None else ""
    return Ending(why, muc.error_condition(error), next(texts, ""), by)


def of_removal(presence: Stanza) -> Ending:
    """Return why the room shows the account out: by whom, and with which reason (XEP-0045 §8.2, §9.1, §10.9)."""
    codes = muc.status_codes(presence)
    x = presence.payload(NS_MUC_USER, "x")
    item = muc.item_of(presence)
    if muc.is_destroyed(presence):
        return Ending(Why.DESTROYED, text=_text(child(x, NS_MUC_USER, "destroy"), "reason"))
    why = next((why for code, why in _CODES.items() if code in codes), Why.PUT_OUT)
    actor = child(item, NS_MUC_USER, "actor")
    by = (actor.getAttribute("nick") or actor.getAttribute("jid") or "") if actor is not None else ""
    return Ending(why, " ".join(sorted(codes & _CODES.keys())), _text(item, "reason"), by)


def _text(parent: domish.Element | None, name: str) -> str:
    found = child(parent, NS_MUC_USER, name)
    return str(found) if found is not None else ""


_Reason = Callable[..., Ending]


def _always(why: Why) -> _Reason:
    return lambda *_with: Ending(why)


#: What there is to tell of an input that leads out of the room, or away from it, by what comes with it.
REASONS: dict[Input, _Reason] = {
    Input.JOIN_DROPPED: _always(Why.TOO_MUCH_WAITS),
    Input.REMOVED: of_removal,
    Input.PUT_OUT: of_removal,
    Input.SILENTLY_OUT: _always(Why.UNKNOWN_TO_ROOM),
    Input.REFUSED: partial(of_error, Why.REFUSED),
    Input.NICK_REFUSED: partial(of_error, Why.NICK_REFUSED),
    Input.SHUT_OUT: partial(of_error, Why.SHUT_OUT),
    Input.BANNED: partial(of_error, Why.SHUT_OUT),
    Input.SERVICE_DOWN: _always(Why.SERVICE_SILENT),
    Input.TIMEOUT: _always(Why.NO_ANSWER),
    Input.STREAM_LOST: _always(Why.STREAM_LOST),
}
#: Who has the account leave says why; these say nothing new: it is being asked again, or is no more.
ELSEWHERE = frozenset({Input.LEAVE, Input.ABANDON, Input.SERVICE_UP, Input.AWAITED_OUT})
_OUT = frozenset({Phase.ENDED, Phase.INTERRUPTED})
_GOING = frozenset({Phase.LEAVING, Phase.PAUSING, Phase.ENDED})
_NEVER_IN = frozenset({Phase.NEW, Phase.JOINING, Phase.ENTERED})


def reason(before: Phase, what: Input, to: Phase | None, *with_it: object) -> Ending | None:
    """Return what there is to note of a transition; None: it does not lead out of the room, or says nothing new.

    Whoever comes back without a stream has the stream's own reason.
    """
    if to not in _OUT or before in _GOING or what in ELSEWHERE:
        return None
    if what is Input.STREAM_LOST and before not in _NEVER_IN:
        return None
    return REASONS[what](*with_it)
