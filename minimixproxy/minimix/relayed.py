"""A session's stanza as the account stream sends it. Pure."""

from __future__ import annotations

from minimixproxy.minimix.ports import SessionPort
from minimixproxy.stanza import Stanza, rewrite

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
