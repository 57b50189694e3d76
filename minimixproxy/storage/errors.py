"""What can be wrong with state, for whoever runs the proxy."""

from __future__ import annotations


class StateError(Exception):
    """State cannot be used. The text names it and says what to do; it never holds a password."""


class SealKeyError(StateError):
    """The key that seals credentials cannot be used."""


class CannotStart(StateError, SystemExit):
    """Ends twistd with status 1 and one line instead of a traceback.

    As a SystemExit the interpreter shows its text only; as an Exception twistd removes its PID file and tells the
    process that waits for the daemon.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = f"minimixproxy: {text}"


class BadRow(Exception):
    """The row does not hold what it should."""
