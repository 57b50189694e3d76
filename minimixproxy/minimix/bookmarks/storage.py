"""Where an account's bookmarks are on its server, reading and writing them there. No I/O but by the account's IQs.

What real servers do is told in docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.defer import Deferred

from minimixproxy.minimix.interfaces.streams import Answered
from minimixproxy.namespaces import NS_CLIENT
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep import muc
from minimixproxy.xep.bookmarks import (
    ITEMS,
    STORAGE,
    Bookmark,
    Bookmarks,
    configuration,
    creation,
    publication,
    read_items,
    read_storage,
    storage_request,
    storage_with,
)

LARGEST = 1024 * 1024  # bytes of an answer that is read: a thousand bookmarks are a third of that


class Requests(Protocol):
    """What is needed of `interfaces.streams.OwnRequests`."""

    def ask(self, to: str, kind: str, payload: bytes, answered: Answered) -> None:
        """Send an IQ of the account's own."""


class NotAnswered(Exception):
    """The stream ended, or the server took too long."""


class Refused(Exception):
    """The server cannot do it, or does not want to. `str()` names the condition."""


class BookmarkStorage:
    """The bookmarks of one account, as PEP items or else in private XML. `size`: bytes that the last reading took."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self.size = 0

    async def read(self) -> Bookmarks:
        """Return what there is. PEP counts if the node is there, be it empty; private XML is asked only without it.

        Raises `NotAnswered`, or `Refused` by a server that has neither, or if there is too much.
        """
        self.size = 0
        items = await self._ask("get", ITEMS)
        if items.get("type") == "result":
            return read_items(items)
        if _is_temporary(items):
            raise Refused(muc.error_condition(items))
        storage = await self._ask("get", STORAGE)
        no_node = muc.error_condition(items) == "item-not-found"
        if storage.get("type") == "result":
            found = read_storage(storage)
            # A server that has PEP gets the first bookmark there.
            return found if found.rooms or found.unreadable or not no_node else Bookmarks({})
        if no_node:
            return Bookmarks({})
        raise Refused(muc.error_condition(storage))

    async def write(self, bookmarks: Sequence[Bookmark], found: Bookmarks) -> None:
        """Write bookmarks to where `found` was read just now. Raises `NotAnswered`, `Refused`."""
        if found.storage is None:
            for bookmark in bookmarks:
                await self._publish(bookmark)
            return
        storage = found.storage
        for bookmark in bookmarks:
            storage = storage_with(storage, bookmark)
        await self._set(storage_request(storage))

    async def _publish(self, bookmark: Bookmark) -> None:
        """Write an item, never to a node that others can see.

        A server that knows not all the options, or has the node otherwise, gets them as the node's configuration.
        """
        try:
            await self._set(publication(bookmark, options=True))
        except Refused:
            await self._configure()
            await self._set(publication(bookmark, options=False))

    async def _configure(self) -> None:
        try:
            await self._set(configuration())
        except Refused:
            await self._set(creation())

    async def _set(self, payload: bytes) -> None:
        answer = await self._ask("set", payload)
        if answer.get("type") != "result":
            raise Refused(muc.error_condition(answer))

    async def _ask(self, kind: str, payload: bytes) -> Stanza:
        waiting: Deferred[Stanza | None] = Deferred()
        self._requests.ask("", kind, payload, waiting.callback)
        answer = await waiting
        if answer is None:
            raise NotAnswered
        self.size += len(answer.raw)
        if len(answer.raw) > LARGEST:  # servers keep hundreds of items for each node, of any size
            raise Refused(f"there are more than {LARGEST} bytes of them")
        return answer


def _is_temporary(error: Stanza) -> bool:
    """Tell whether to ask again later, rather than elsewhere (RFC 6120 §8.3.2)."""
    element = error.payload(NS_CLIENT, "error")
    return element is not None and element.getAttribute("type") == "wait"
