"""What an account says of itself to whoever holds it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from minimixproxy.minimix.interfaces.enrolling import Enrolled


class AccountHost(Protocol):
    """Who holds an account."""

    @property
    def is_enrolled(self) -> bool:
        """Whether there is a login that opens the account stream: else the account can be in no room."""

    @property
    def login_refused(self) -> bool:
        """Whether there is a login, and the server has refused it."""

    def unattended(self) -> None:
        """The last session is gone."""

    def idle(self) -> None:
        """Neither sessions nor rooms are left."""

    def enroll(self, password: str) -> Awaitable[Enrolled]:
        """Ask the server about the account's password, as often as a login may. Raises `NotEnrolled`."""

    def forgotten(self) -> None:
        """The user wants nothing to be kept of the account."""
