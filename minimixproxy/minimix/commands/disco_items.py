"""Adds the owner's commands to what the server lists: answers to a client's own disco#items are extended. Pure.

Clients show commands of an address typed in, of their own account, or of their server. The latter two are the server's
to answer (XEP-0050 §2.2); so the request passes, is remembered by its id, and our items are put into the answer.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from minimixproxy.jids import Whose, parse_jid, whose
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.namespaces import NS_COMMANDS, NS_DISCO_ITEMS, NS_RSM
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.wire.stanza import Stanza, escape, optional_attribute, rewrite, start_tag_end
from minimixproxy.wire.trees import child
from minimixproxy.xep import muc
from minimixproxy.xep.iq import iq

TIMEOUT = 120.0  # seconds for the server to answer
MAX_OPEN = 100  # requests of one account's clients; an answer to one more comes as the server gave it
LONGEST_ID = 1024  # characters of an id that is remembered: the same

# What servers say where there is nothing to list. Any other error is passed on.
_NOTHING = frozenset(
    {"service-unavailable", "item-not-found", "feature-not-implemented", "forbidden", "not-allowed", "not-acceptable"}
)
_TAG_NAME = re.compile(rb"<([^ \t\r\n/>]+)")


@dataclass(frozen=True, slots=True)
class _Listing:
    """A request on its way: `peer` as prepared address, "" if the client named none; `node` "" if none."""

    peer: str
    node: str
    deadline: float


class DiscoItems:
    """Requests of one account's clients for the items of their account (`bare`) and of its server.

    `items(node)` are ours (see `item`). False when nothing is remembered.
    """

    log = Logger()

    def __init__(self, bare: str, items: Callable[[str], bytes], clock: Clock) -> None:
        self.addresses = (bare, parse_jid(bare).domain)
        self.seen: frozenset[str] = frozenset()  # nodes in the last list of commands that the server itself gave
        self._items = items
        self._clock = clock
        self._open: OrderedDict[tuple[SessionPort, str], _Listing] = OrderedDict()
        self._timer = Timer(clock)

    def __len__(self) -> int:
        return len(self._open)

    def asked(self, session: SessionPort, iq: Stanza, peer: str) -> None:
        """Remember a client's IQ get to `peer` ("": it names none), if it asks for items that ours belong to."""
        if peer not in ("", *self.addresses):
            return
        query = iq.payload(NS_DISCO_ITEMS, "query")
        if query is None or child(query, NS_RSM, "set") is not None:
            return  # a page of a longer list has a count of its own
        node = query.getAttribute("node", "")
        if node not in ("", NS_COMMANDS) or "id" not in iq.attributes or len(iq["id"]) > LONGEST_ID:
            return
        key = (session, iq["id"])
        if key in self._open:  # of the answers to come nobody can say which is which
            self._forget(key)
            return
        if len(self._open) >= MAX_OPEN:
            self.log.info(
                "{jid} asks for too many service lists at once: our commands are missing in one", jid=session.jid
            )
            return
        self._open[key] = _Listing(peer, node, self._clock.seconds() + TIMEOUT)
        if not self._timer.running:
            self._timer.start(TIMEOUT, self._sweep)

    def answered(self, session: SessionPort, iq: Stanza) -> bytes | None:
        """Return what the client is to get in place of an IQ of the server; None: that IQ itself."""
        kind = iq.get("type")
        key = (session, iq.get("id") or "")
        listing = self._open.get(key)
        if listing is None or kind not in ("result", "error") or not _is_from(iq, listing.peer, session):
            return None
        self._forget(key)
        ours = self._items(listing.node)
        if kind == "result":
            if listing.node == NS_COMMANDS:
                self.seen = _nodes(iq)
            changed = _with_items(iq, ours)
        else:
            changed = _in_place_of(iq, listing.node, ours) if muc.error_condition(iq) in _NOTHING else None
        if changed is not None and listing.peer and iq.get("from") is None:
            # profanity 0.13 asks its own address, and does not outlive an answer from nobody.
            changed = rewrite(changed, {"from": listing.peer})
        return changed

    def _forget(self, key: tuple[SessionPort, str]) -> None:
        del self._open[key]
        if not self._open:
            self._timer.stop()

    def session_closed(self, session: SessionPort) -> None:
        """Nobody waits for its lists."""
        for key in [key for key in self._open if key[0] is session]:
            self._forget(key)

    def _sweep(self) -> None:
        now = self._clock.seconds()
        while self._open and next(iter(self._open.values())).deadline <= now:
            self._open.popitem(last=False)
        if self._open:
            self._timer.start(next(iter(self._open.values())).deadline - now, self._sweep)


def _is_from(iq: Stanza, peer: str, session: SessionPort) -> bool:
    """Tell whether it is the peer that answers: if that is the account, perhaps in the name of who asked."""
    found = whose(iq.get("from"), session.jid)
    return found is whose(peer or None, session.jid) or (not peer and found is Whose.STREAM)


def _nodes(iq: Stanza) -> frozenset[str]:
    query = iq.payload(NS_DISCO_ITEMS, "query")
    items = query.elements(NS_DISCO_ITEMS, "item") if query is not None else ()
    return frozenset(item.getAttribute("node", "") for item in items)


def _with_items(iq: Stanza, items: bytes) -> bytes | None:
    """Return the result with more items at the end, all else as it was; None if it is no list.

    At the end, for who looks at a server's items for the first that can do something.
    """
    if iq.payloads != ((NS_DISCO_ITEMS, "query"),):
        return None
    raw = iq.raw
    start = raw.index(b"<", start_tag_end(raw))
    end = start_tag_end(raw, start)
    name = _TAG_NAME.match(raw, start)
    if name is None:
        return None
    prefix, colon, _ = name[1].rpartition(b":")
    items = items.replace(b"<item ", b"<" + prefix + colon + b"item ")  # nowhere else is a bare `<`
    if raw.endswith(b"/>", start, end):
        return raw[: end - 2] + b">" + items + b"</" + name[1] + b">" + raw[end:]
    last = raw.rfind(b"</" + name[1])
    return raw[:last] + items + raw[last:] if last >= end else None


def _in_place_of(error: Stanza, node: str, items: bytes) -> bytes:
    """Return a result with our items alone, where the server has none."""
    query = b"<query xmlns='%b'%b>%b</query>" % (
        NS_DISCO_ITEMS.encode(),
        optional_attribute("node", node or None),
        items,
    )
    return iq("result", query, id=error.get("id"), sender=error.get("from"), to=error.get("to"))


def item(jid: str, node: str, name: str) -> bytes:
    """Return an `<item/>` of a list, to stand in its `<query/>`: the namespace is not repeated."""
    return b"<item jid='%b' node='%b' name='%b'/>" % (
        escape(jid),
        escape(node),
        escape(name),
    )
