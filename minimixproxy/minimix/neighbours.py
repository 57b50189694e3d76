"""Other accounts of this proxy that are in the same room, as their clients see each other. Pure.

A room shows an account by its account stream's address. Where it shows that to another account of this proxy, the
address of the client that is in the room reads better: it can be asked for its features, called, or sent a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from minimixproxy.minimix import muc
from minimixproxy.stanza import Stanza, escape

#: Returns the full JID of the client by which an account (a bare JID) is in a room; None if it has none there.
ClientOf = Callable[[str, str], str | None]


def with_clients(stanza: Stanza, own: str, room: str, client_of: ClientOf) -> Stanza:
    """Return a room's stanza in which neighbours' account streams read as their clients.

    `own`: the full JID of the account stream that got it. Its own address stays: that reads differently to each of
    the account's clients.
    """
    bare, _, resource = own.partition("/")
    if not _names_neighbour(stanza.raw, own):
        return stanza

    def client(match: re.Match[bytes]) -> bytes:
        account = match.group(1).decode("utf-8")
        found = client_of(account, room) if account != bare else None
        return b"jid=" + match.group(0)[4:5] + escape(found) if found is not None else match.group(0)

    return stanza.with_bytes(
        re.sub(rb"jid=['\"]([^'\"<>/&]+)" + b"/" + re.escape(resource.encode()), client, stanza.raw)
    )


def as_before(gone: Stanza, before: Stanza | None, own: str) -> Stanza:
    """Return a neighbour's last presence with the address by which it was shown until now: its client is gone."""
    if before is None or not _names_neighbour(gone.raw, own):
        return gone
    shown, leaving = muc.address_of(before), muc.address_of(gone)
    if shown is None or leaving is None or leaving.partition("/")[2] != own.partition("/")[2]:
        return gone
    return gone.with_bytes(gone.raw.replace(escape(leaving), escape(shown)))


def _names_neighbour(raw: bytes, own: str) -> bool:
    """Tell whether an account stream of this proxy is named beside our `own`: all have the same resource."""
    resource = own.partition("/")[2]
    return bool(resource) and raw.count(b"/" + resource.encode()) != raw.count(own.encode())
