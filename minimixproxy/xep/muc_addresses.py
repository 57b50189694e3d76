"""Where a room writes real addresses (XEP-0045): items and actors of `muc#user` and `muc#admin`, and invitations. Pure.

Nothing else is an address to us, whatever it looks like: occupants write it. A proxy that rewrote that would tell them
which of its accounts are in the room.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

from twisted.words.xish import domish

from minimixproxy.namespaces import NS_CLIENT, NS_MUC_ADMIN, NS_MUC_USER
from minimixproxy.wire.stanza import Stanza, escape, parse_element, serialize

MAX_READ = 64 * 1024  # bytes of a presence or a message ...
MOST_TAGS = 400  # ... and its tags: a tree of so many takes less time than to have found them

#: Takes an address and returns what to write in its place; None leaves it.
Change = Callable[[str], str | None]

_ROOMS_OWN = {"presence": (NS_MUC_USER, "x"), "iq": (NS_MUC_ADMIN, "query"), "message": (NS_MUC_USER, "x")}


def with_addresses(stanza: Stanza, change: Change) -> Stanza:
    """Return a stanza of a room with other addresses; the same stanza if none changes.

    Parses the stanza, so look first whether it can have any. Where the element in which a room names addresses is
    there twice, an occupant wrote one of them, and neither is touched.
    """
    if not is_worth_reading(stanza):
        return stanza
    if stanza.name not in _ROOMS_OWN or _ROOMS_OWN[stanza.name] not in stanza.payloads:
        return stanza
    element = parse_element(stanza.self_contained(), {"": NS_CLIENT})
    containers = list(element.elements(*_ROOMS_OWN[stanza.name]))
    if len(containers) != 1:
        return stanza
    changed = False
    for place, attribute in _places(stanza.name, containers[0]):
        new = change(place[attribute]) if place.hasAttribute(attribute) else None
        if new is not None:
            place[attribute], changed = new, True
    return stanza.with_bytes(serialize(element)) if changed else stanza


def is_worth_reading(stanza: Stanza) -> bool:
    """Tell whether a stanza is small enough to look for addresses in it.

    Where an occupant made a presence or message large, no address is worth the time that each reading takes: it is read
    for each account that is in the room, and whoever writes into it what looks like an address has it read.
    """
    return stanza.name == "iq" or (len(stanza.raw) <= MAX_READ and stanza.raw.count(b"<") <= MOST_TAGS)


class AddressTemplate:
    """A stanza of a room cut open where it names one `address`, for copies that each name another one there."""

    __slots__ = ("_pieces",)

    def __init__(self, stanza: Stanza, address: str) -> None:
        token = secrets.token_hex(16)
        raw = with_addresses(stanza, lambda found: token if found == address else None).self_contained()
        self._pieces = raw.split(token.encode())

    @property
    def names_it(self) -> bool:
        """Whether the address is there at all."""
        return len(self._pieces) > 1

    def copy(self, address: str) -> bytes:
        """Return the stanza with `address` in these places."""
        return escape(address).join(self._pieces)


def may_name(stanza: Stanza, address: str) -> bool:
    """Tell, at little cost, whether an address may be named in a stanza beside being its `to`."""
    return bool(address) and stanza.raw.count(escape(address)) > (stanza.get("to") == address)


def _places(kind: str, container: domish.Element) -> Iterator[tuple[domish.Element, str]]:
    """Yield elements of a presence, an IQ or a message, and the attribute that is an address in them, if there."""
    uri = container.uri
    if kind == "message":
        yield from ((invitation, "from") for invitation in container.elements(uri, "invite"))
        return
    for item in container.elements(uri, "item"):
        yield item, "jid"
        yield from ((actor, "jid") for actor in item.elements(uri, "actor"))
