"""Users who are told of a domain's presence, and what each was told last. Pure."""

from __future__ import annotations

from collections.abc import ItemsView

from minimixproxy.jids import owned_part


class Subscribers:
    """By bare JID: the show that each was told; None: away.

    Of too many the one that came first is forgotten, of the domain that has most of them. Accounts cost a domain
    nothing, and so do subdomains: they count as one domain.
    """

    def __init__(self) -> None:
        self._told: dict[str, str | None] = {}
        self._of: dict[str, dict[str, None]] = {}  # the same users, by what their domain is part of

    def __len__(self) -> int:
        return len(self._told)

    def __contains__(self, bare: str) -> bool:
        """Whether a user is one of them."""
        return bare in self._told

    def items(self) -> ItemsView[str, str | None]:
        """Return all, with what they were told."""
        return self._told.items()

    def tell(self, bare: str, show: str | None) -> None:
        """A user is told this now, and is one of them from now on."""
        self._told[bare] = show
        self._of.setdefault(_domain_of(bare), {})[bare] = None

    def remove(self, bare: str) -> None:
        """A user is not told any more, if it was."""
        if bare in self._told:
            del self._told[bare]
            domain = _domain_of(bare)
            del self._of[domain][bare]
            if not self._of[domain]:
                del self._of[domain]

    def make_way(self, bare: str) -> None:
        """Forget one of them, for a user who comes: of its own domain if that has more than half."""
        own = self._of.get(_domain_of(bare), {})
        crowded = own if 2 * len(own) > len(self) else max(self._of.values(), key=len)
        self.remove(next(iter(crowded)))


def _domain_of(bare: str) -> str:
    return owned_part(bare.rpartition("@")[2])
