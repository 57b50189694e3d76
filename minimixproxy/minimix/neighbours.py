"""Other accounts of this proxy that are in the same room, as their clients see each other. Pure.

A room shows an account by its account stream's address. Where it shows that to another account of this proxy, the
address of the client that is in the room reads better: it can be asked for its features, called, or sent a file.
"""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.minimix import muc
from minimixproxy.minimix.addresses import with_addresses
from minimixproxy.stanza import Stanza

#: Returns the full JID of the client by which an account (a bare JID) is in a room; None if it has none there.
ClientOf = Callable[[str, str], str | None]


def with_clients(stanza: Stanza, own: str, room: str, client_of: ClientOf) -> Stanza:
    """Return a room's stanza in which neighbours' account streams read as their clients, where a room names addresses.

    `own`: the full JID of the account stream, that got it or would have. Its own address stays: that reads differently
    to each of the account's clients.
    """
    own_bare, _, resource = own.partition("/")
    if not _names_neighbour(stanza.raw, own):
        return stanza

    def client(address: str) -> str | None:
        bare, _, found = address.partition("/")
        return client_of(bare, room) if found == resource and bare != own_bare else None

    return with_addresses(stanza, client)


def as_before(gone: Stanza, before: Stanza | None, own: str) -> Stanza:
    """Return a neighbour's last presence with the address by which it was shown until now: its client is gone."""
    if before is None or not _names_neighbour(gone.raw, own):
        return gone
    shown, leaving = muc.address_of(before), muc.address_of(gone)
    if shown is None or leaving is None or leaving.partition("/")[2] != own.partition("/")[2]:
        return gone
    return with_addresses(gone, lambda address: shown if address == leaving else None)


def _names_neighbour(raw: bytes, own: str) -> bool:
    """Tell whether an account stream of this proxy may be named beside our `own`: all have the same resource."""
    resource = own.partition("/")[2]
    return bool(resource) and raw.count(b"/" + resource.encode()) != raw.count(own.encode())
