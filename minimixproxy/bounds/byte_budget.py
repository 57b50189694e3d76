"""How many bytes may be kept of something. Pure."""

from __future__ import annotations

from collections.abc import Callable

OBJECT = 256  # bytes that a kept stanza costs beside its own, about: objects, keys, a place in a table


class ByteBudget:
    """At most `limit` bytes. Of a budget with a `parent`, only what is beyond the first `own` bytes counts there too.

    So a part can use what the others leave, none can use up what is another's own, and all together stay below the
    parent's limit and the sum of what is each one's own. `full` is called when something is refused for the first
    time since the budget was empty.
    """

    __slots__ = ("_full", "_limit", "_own", "_parent", "_refused", "_reported", "used")

    def __init__(
        self,
        limit: int,
        parent: ByteBudget | None = None,
        own: int = 0,
        full: Callable[[], None] = lambda: None,
    ) -> None:
        self.used = 0
        self._full = full
        self._refused = False
        self._reported = False
        self._limit = limit
        self._parent = parent
        self._own = own

    @property
    def limit(self) -> int:
        """How many bytes it may have, if the parent has them too."""
        return self._limit

    def first_report(self) -> bool:
        """Tell whether nobody has asked this before: that it is used up is logged once."""
        first, self._reported = not self._reported, True
        return first

    def take(self, size: int) -> bool:
        """Take so many bytes; False, and none are taken, if that is too many."""
        if self.used + size > self._limit:
            if not self._refused:
                self._refused = True
                self._full()
            return False
        if self._parent is not None and not self._parent.take(self._shared(self.used + size) - self._shared(self.used)):
            return False
        self.used += size
        return True

    def give_back(self, size: int) -> None:
        """Give back what was taken."""
        if self._parent is not None:
            self._parent.give_back(self._shared(self.used) - self._shared(self.used - size))
        self.used -= size
        if not self.used:
            self._refused = False

    def close(self) -> None:
        """Give back everything: what it was for is gone."""
        self.give_back(self.used)

    def _shared(self, used: int) -> int:
        """How many of so many bytes count at the parent."""
        return max(0, used - self._own)
