"""Exchanges of several steps, which must stay with one resource whatever the policy. Pure.

Ad-hoc commands (XEP-0050), in-band bytestreams (XEP-0047), Jingle (XEP-0166), stream initiation (XEP-0095),
SOCKS5 bytestreams (XEP-0065); and conversations by message and presence, whose key is the asker alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from minimixproxy.stanza import Stanza

NS_COMMANDS = "http://jabber.org/protocol/commands"
_NS_IBB = "http://jabber.org/protocol/ibb"

# Payload -> the attribute that names the exchange. A bytestream has the sid of the stream initiation that led to it.
_EXCHANGES = {
    (NS_COMMANDS, "command"): "sessionid",
    (_NS_IBB, "open"): "sid",
    (_NS_IBB, "data"): "sid",
    (_NS_IBB, "close"): "sid",
    ("urn:xmpp:jingle:1", "jingle"): "sid",
    ("http://jabber.org/protocol/bytestreams", "query"): "sid",
    ("http://jabber.org/protocol/si", "si"): "id",
}
_COMMANDS_DONE = frozenset({"completed", "canceled"})
CONVERSATION = "\0conversation"  # no exchange can have this name


def exchange_of(stanza: Stanza) -> str:
    """Return the name of the exchange that a stanza belongs to, or ""."""
    for uri, name in stanza.payloads:
        attribute = _EXCHANGES.get((uri, name))
        if attribute is not None:
            payload = stanza.payload(uri, name)
            return str(payload.getAttribute(attribute) or "") if payload is not None else ""
    return ""


def begins_or_ends(reply: Stanza) -> tuple[str, bool]:
    """Return the name of the ad-hoc session that a reply belongs to ("" for none), and whether it goes on."""
    command = reply.payload(NS_COMMANDS, "command")
    if command is None:
        return "", False
    return str(command.getAttribute("sessionid") or ""), command.getAttribute("status") not in _COMMANDS_DONE


class Sessions:
    """Which resource holds which exchange of which asker. `lifetime`: seconds that an idle one is remembered.

    `full` is told when the table is full, so that the one idle longest is forgotten.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        lifetime: float = 600.0,
        max_sessions: int = 10_000,
        full: Callable[[str], None] = lambda table: None,
    ) -> None:
        self._clock = clock
        self._lifetime = lifetime
        self._max_sessions = max_sessions
        self._full = full
        # least recently used first; resource None: it went away, and the exchange with it
        self._holders: OrderedDict[tuple[str, str], tuple[str | None, float]] = OrderedDict()

    def bind(self, asker: str, exchange: str, resource: str | None) -> None:
        """Remember that `resource` (or nobody any more) holds this exchange."""
        now = self._clock()
        key = asker, exchange
        self._holders[key] = resource, now + self._lifetime
        self._holders.move_to_end(key)
        while next(iter(self._holders.values()))[1] <= now:
            self._holders.popitem(last=False)
        if len(self._holders) > self._max_sessions:
            self._holders.popitem(last=False)
            self._full("max_sessions")

    def holder(self, asker: str, exchange: str) -> tuple[bool, str | None]:
        """Return whether the exchange is known, and the resource that holds it (None if that one is gone)."""
        found = self._holders.get((asker, exchange))
        if found is None or found[1] <= self._clock():
            return False, None
        self.bind(asker, exchange, found[0])
        return True, found[0]

    def end(self, asker: str, exchange: str) -> None:
        """Forget an exchange."""
        self._holders.pop((asker, exchange), None)

    def resource_gone(self, resource: str) -> None:
        """Mark its exchanges as lost, and forget its conversations: those may go on with another."""
        for key, (holder, expiry) in list(self._holders.items()):
            if holder == resource:
                if key[1] == CONVERSATION:
                    del self._holders[key]
                else:
                    self._holders[key] = None, expiry

    def __len__(self) -> int:
        return len(self._holders)
