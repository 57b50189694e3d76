"""What ends twistd with one line instead of a traceback, when the proxy cannot start."""

from __future__ import annotations


class CannotStart(Exception, SystemExit):
    """Ends twistd with status 1.

    As a SystemExit the interpreter shows its text only; as an Exception twistd removes its PID file and tells the
    process that waits for the daemon.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = f"minimixproxy: {text}"
