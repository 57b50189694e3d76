"""Other accounts of this proxy that are in the same room, as their clients see each other. Pure.

A room shows an account by its account stream's address. Where it shows that to another account of this proxy, the
address of the client that is in the room reads better: it can be asked for its features, called, or sent a file.
"""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.jids import RESOURCE_PREFIX
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep import muc
from minimixproxy.xep.muc_addresses import is_worth_reading, with_addresses

#: In the address of every account stream that has the resource it asked for.
STREAM_MARK = f"/{RESOURCE_PREFIX}".encode()

#: Returns the full JID of the client by which the account with an account stream (its full JID) is in a room; None if
#: there is no such stream here, or no client in the room.
ClientOf = Callable[[str, str], str | None]


def with_clients(stanza: Stanza, own: str, room: str, client_of: ClientOf) -> Stanza:
    """Return a room's stanza in which neighbours' account streams read as their clients, where a room names addresses.

    `own`: the full JID of the account stream, that got it or would have. Its own address stays: that reads differently
    to each of the account's clients.
    """
    # A presence without its `to`, which is one's own: most name nobody else. Views keep it so, too.
    if not _may_name_another(stanza.unaddressed if stanza.name == "presence" else stanza.raw, own):
        return stanza
    return with_addresses(stanza, lambda address: client_of(address, room) if address != own else None)


def as_before(gone: Stanza, before: Stanza | None, own: str) -> Stanza:
    """Return a neighbour's last presence with the address by which it was shown until now: its client is gone."""
    if before is None or not _may_name_another(gone.unaddressed, own):
        return gone
    if not (is_worth_reading(before) and is_worth_reading(gone)):
        return gone
    shown, leaving = muc.address_of(before), muc.address_of(gone)
    if shown is None or leaving is None or not leaving.partition("/")[2].startswith(RESOURCE_PREFIX):
        return gone
    return with_addresses(gone, lambda address: shown if address == leaving else None)


def _may_name_another(raw: bytes, own: str) -> bool:
    """Tell, at little cost, whether an account stream may be named beside our `own`."""
    if STREAM_MARK not in raw:
        return False
    found = raw.count(STREAM_MARK)
    return STREAM_MARK not in own.encode() or found > raw.count(own.encode())
