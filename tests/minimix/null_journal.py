"""Journals that keep nothing, for tests of the core."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred, succeed

from minimixproxy.minimix.interfaces.journal import (
    KeptLogin,
    KeptMembership,
    KeptMessage,
    KeptPrivate,
    KeptPush,
    RoomJournal,
    TokenDevice,
)
from minimixproxy.wire.lazy_stanzas import Output


class NullRoomJournal:
    """The journal of a room that keeps nothing."""

    def __init__(self, count: itertools.count[int]) -> None:
        self._count = count
        self._last = 0

    def next_sequence(self) -> int:
        self._last = next(self._count)
        return self._last

    def given_out(self) -> int:
        return self._last

    def membership(self, membership: KeptMembership) -> None:
        """Kept nowhere."""

    def forgotten(self) -> None:
        """Kept nowhere."""

    def message_kept(self, message: KeptMessage) -> None:
        """Kept nowhere."""

    def message_changed(self, message: KeptMessage) -> None:
        """Kept nowhere."""

    def message_gone(self, sequence: int) -> None:
        """Kept nowhere."""

    def trimmed(self, oldest: int) -> None:
        """Kept nowhere."""

    def attached(self, resource: str) -> None:
        """Kept nowhere."""

    def seen(self, resource: str, sequence: int) -> None:
        """Kept nowhere."""

    def cursor_forgotten(self, resource: str) -> None:
        """Kept nowhere."""

    def private_kept(self, private: KeptPrivate) -> None:
        """Kept nowhere."""

    def private_given(self, sequence: int) -> None:
        """Kept nowhere."""


class NullJournal:
    """A journal that keeps nothing."""

    def token_devices(self, bare: str) -> list[TokenDevice]:
        return []

    def tokens_withdrawn(self, bare: str, device: str) -> None: ...

    def __init__(self) -> None:
        self._count = itertools.count(1)

    def room(self, _bare: str, _room: str) -> RoomJournal:
        return NullRoomJournal(self._count)

    def account_kept(self, bare: str, login: KeptLogin | None, last_seen: float) -> None:
        """Kept nowhere."""

    def account_refused(self, bare: str, refused: bool) -> None:
        """Kept nowhere."""

    def bookmarks_unfollowed(self, bare: str, rooms: Mapping[str, str | None]) -> None:
        """Kept nowhere."""

    def push_enabled(self, bare: str, enabled: tuple[KeptPush, ...]) -> None:
        """Kept nowhere."""

    def account_expired(self, bare: str) -> None:
        """Kept nowhere."""

    def account_forgotten(self, bare: str) -> bool:
        """Kept nowhere."""
        return False

    def acknowledged(self, bare: str, resource: str, sequence: int) -> None:
        """Kept nowhere."""

    def not_managed(self, bare: str, resource: str) -> None:
        """Kept nowhere."""

    def erased(self, *, copies: bool) -> Deferred[None]:
        return succeed(None)

    def gated(self, deliver: Callable[[Output], None]) -> Callable[[Output], None]:
        return deliver

    def given_out(self) -> int:
        """All that there is: a number that nothing else gets."""
        return next(self._count)
