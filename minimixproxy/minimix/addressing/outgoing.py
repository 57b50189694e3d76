"""A session's stanza as the account stream sends it, and whether it may. Pure."""

from __future__ import annotations

from minimixproxy.jids import InvalidJID, parse_jid
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.wire.stanza import Stanza, rewrite

_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


def relayed(stanza: Stanza, session: SessionPort, changes: dict[str, str | None] | None = None) -> bytes:
    """Return the stanza with nothing in it that only the session's own stream says.

    No `from`, for a wrong one is a stream error that would cost every room; prefixes declared on the stanza itself;
    the language of the session's stream where the stanza names none (RFC 6120 §8.1.5). `changes` come on top.
    """
    changed: dict[str, str | None] = {"from": None, **(changes or {})}
    if session.language and _LANG not in stanza.attributes:
        changed["xml:lang"] = session.language
    return rewrite(stanza.self_contained(), changed)


def is_own(sender: str | None, session: SessionPort) -> bool:
    """Tell whether a `from` may stand on a client's stanza (RFC 6120 §8.1.2.1)."""
    if sender is None:
        return True
    try:
        address, own = parse_jid(sender), parse_jid(session.jid)
    except InvalidJID:
        return False
    return address == own or (address.resource is None and address.bare == own.bare)
