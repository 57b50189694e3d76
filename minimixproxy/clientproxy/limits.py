"""Who may use the proxy. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from minimixproxy.jids import Address


class AccessList:
    """Lists of domains, bare JIDs and full JIDs. What is denied stays so; an empty allow list allows all."""

    def __init__(self, allow: Iterable[str] = (), deny: Iterable[str] = ()) -> None:
        self._allow = frozenset(allow)
        self._deny = frozenset(deny)
        self._open = not self._allow and not self._deny

    def permits(self, sender: Address) -> bool:
        """Tell whether the sender may use the proxy."""
        if self._open:
            return True
        names = {sender.domain, sender.bare, sender.full}
        return not names & self._deny and (not self._allow or bool(names & self._allow))
