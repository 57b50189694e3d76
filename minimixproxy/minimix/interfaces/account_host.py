"""What an account says of itself to whoever holds it."""

from __future__ import annotations

from typing import Protocol


class AccountHost(Protocol):
    """Who holds an account."""

    def unattended(self) -> None:
        """The last session is gone."""

    def idle(self) -> None:
        """Neither sessions nor rooms are left."""

    def forgotten(self) -> None:
        """The user wants nothing to be kept of the account."""
