"""What can be wrong with state, for whoever runs the proxy."""

from __future__ import annotations


class StateError(Exception):
    """State cannot be used. The text names it and says what to do; it never holds a password."""


class Unreachable(StateError):
    """The database's server cannot be reached, or takes nobody yet: it may come."""


class SealKeyError(StateError):
    """The key that seals credentials cannot be used."""


class BadRow(Exception):
    """The row does not hold what it should."""


def said(error: BaseException) -> str:
    """Return what a driver's error says, in one line, for the log.

    PostgreSQL adds details, such as all values of a row that it refuses: messages and sealed keys. They are left out.
    """
    return " ".join(str(getattr(getattr(error, "diag", None), "message_primary", None) or error).split())
