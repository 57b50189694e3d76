"""Exchanges of several steps, which must stay with one resource whatever the policy. Pure.

Ad-hoc commands (XEP-0050), in-band bytestreams (XEP-0047), Jingle (XEP-0166), stream initiation (XEP-0095),
SOCKS5 bytestreams (XEP-0065); and conversations by message and presence, whose key is the asker alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256

from minimixproxy.jids import owned_part
from minimixproxy.namespaces import NS_BYTESTREAMS, NS_COMMANDS, NS_IBB, NS_JINGLE, NS_SI
from minimixproxy.wire.children import payload_attributes
from minimixproxy.wire.stanza import Stanza

# Payload -> the attribute that names the exchange. A bytestream has the sid of the stream initiation that led to it.
_EXCHANGES = {
    (NS_COMMANDS, "command"): "sessionid",
    (NS_IBB, "open"): "sid",
    (NS_IBB, "data"): "sid",
    (NS_IBB, "close"): "sid",
    (NS_JINGLE, "jingle"): "sid",
    (NS_BYTESTREAMS, "query"): "sid",
    (NS_SI, "si"): "id",
}
_COMMANDS_DONE = frozenset({"completed", "canceled"})
CONVERSATION = "\0conversation"  # no exchange can have this name
LONGEST_NAME = 256  # characters of an exchange's name that are kept as they are
MOST_OF_ONE = 100  # exchanges of one bare JID: who begins more of them forgets their own, and nobody else's


def exchange_of(stanza: Stanza) -> str:
    """Return the name of the exchange that a stanza belongs to, or ""."""
    for payload in stanza.payloads:
        attribute = _EXCHANGES.get(payload)
        if attribute is not None:
            return _kept_name(payload_attributes(stanza, *payload)[0].get(attribute))
    return ""


def _kept_name(name: str | None) -> str:
    """Return an exchange's name, or what stands for one that is long: no name has a NUL in it."""
    if not name or len(name) <= LONGEST_NAME:
        return str(name or "")
    return "\0" + sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def begins_or_ends(reply: Stanza) -> tuple[str, bool]:
    """Return the name of the ad-hoc session that a reply belongs to ("" for none), and whether it goes on."""
    commands = payload_attributes(reply, NS_COMMANDS, "command")
    if not commands:
        return "", False
    return _kept_name(commands[0].get("sessionid")), commands[0].get("status") not in _COMMANDS_DONE


class Exchanges:
    """Which resource holds which exchange of which asker. `lifetime`: seconds that an idle one is remembered.

    `full` is told when the table is full, so that the one idle longest is forgotten: of the asker's domain if that has
    more than half of all. Accounts cost a domain nothing, and so do subdomains: they count as one domain.
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
        self._held: dict[str, dict[tuple[str, str], None]] = {}  # the same keys, by the resource that holds them
        # The same keys, least recently used first, by the asker's bare JID and by what its domain is part of.
        self._of: dict[str, OrderedDict[tuple[str, str], None]] = {}

    def bind(self, asker: str, exchange: str, resource: str | None) -> None:
        """Remember that `resource` (or nobody any more) holds this exchange."""
        now = self._clock()
        key = asker, exchange
        self._let_go(key)
        self._holders[key] = resource, now + self._lifetime
        self._holders.move_to_end(key)
        if resource is not None:
            self._held.setdefault(resource, {})[key] = None
        theirs, of_domain = (self._of.setdefault(owner, OrderedDict()) for owner in _owners(asker))
        for keys in (theirs, of_domain):
            keys[key] = None
            keys.move_to_end(key)
        if len(theirs) > MOST_OF_ONE:
            self._forget(next(iter(theirs)))
        while next(iter(self._holders.values()))[1] <= now:
            self._forget(next(iter(self._holders)))
        if len(self._holders) > self._max_sessions:
            self._forget(next(iter(of_domain if len(of_domain) > self._max_sessions // 2 else self._holders)))
            self._full("max_sessions")

    def _let_go(self, key: tuple[str, str]) -> None:
        """Whoever holds an exchange, if anybody, does so no more."""
        resource, _expiry = self._holders.get(key, (None, 0.0))
        if resource is not None:
            held = self._held[resource]
            del held[key]
            if not held:
                del self._held[resource]

    def _forget(self, key: tuple[str, str]) -> None:
        self._let_go(key)
        del self._holders[key]
        for owner in _owners(key[0]):
            del self._of[owner][key]
            if not self._of[owner]:
                del self._of[owner]

    def holder(self, asker: str, exchange: str) -> tuple[bool, str | None]:
        """Return whether the exchange is known, and the resource that holds it (None if that one is gone)."""
        found = self._holders.get((asker, exchange))
        if found is None or found[1] <= self._clock():
            return False, None
        self.bind(asker, exchange, found[0])
        return True, found[0]

    def end(self, asker: str, exchange: str) -> None:
        """Forget an exchange."""
        if (asker, exchange) in self._holders:
            self._forget((asker, exchange))

    def resource_gone(self, resource: str) -> None:
        """Mark its exchanges as lost, and forget its conversations: those may go on with another."""
        for key in list(self._held.get(resource, ())):
            if key[1] == CONVERSATION:
                self._forget(key)
            else:
                self._let_go(key)
                self._holders[key] = None, self._holders[key][1]

    def __len__(self) -> int:
        return len(self._holders)


def _owners(asker: str) -> tuple[str, str]:
    """Return who has an exchange: the bare JID, and behind an @ the last two labels of its domain."""
    bare = asker.partition("/")[0]
    return bare, f"@{owned_part(bare.rpartition('@')[2])}"
