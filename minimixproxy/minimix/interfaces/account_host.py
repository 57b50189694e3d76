"""What an account says of itself to whoever holds it."""

from __future__ import annotations

from typing import Protocol


class AccountHost(Protocol):
    """Who holds an account."""

    @property
    def is_enrolled(self) -> bool:
        """Whether there is a login that opens the account stream: else the account can be in no room."""

    def unattended(self) -> None:
        """The last session is gone."""

    def idle(self) -> None:
        """Neither sessions nor rooms are left."""

    def forgotten(self) -> None:
        """The user wants nothing to be kept of the account."""
