"""Having an account's keys known by its password: what comes of it. No I/O."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol


class NotEnrolled(Exception):
    """Nothing is known of the account that was not before; `str()` says why, to its user and to the operator."""


class Refused(NotEnrolled):
    """The server does not take the password."""


class CannotKeep(NotEnrolled):
    """The password is right, and nothing can be kept of it, nor of another one at that server."""


class Enrolled(NamedTuple):
    """What is known of an account now."""

    hash_name: str | None  # of its keys; None: the server leaves nothing but the password
    lasts: bool = True  # whether it is known after a restart


class Enrolls(Protocol):
    """What enrolls accounts."""

    def by_password(self, bare: str, password: str) -> Awaitable[Enrolled]:
        """Log in with a password, and keep what it leaves. Raises `NotEnrolled`. `bare`: the account, prepared."""


class Guard(Protocol):
    """What delays whoever guesses passwords, by whatever way."""

    def tried(
        self, account: str, work: Callable[[], Awaitable[Enrolled]], wrong: type[Exception], too_many: Exception
    ) -> Awaitable[Enrolled]:
        """Do the work when there may be another attempt for the account; `wrong` counts as one that failed.

        Raises what the work raises, or `too_many`.
        """
