"""What is left when the core fails all the same: a fault of ours costs the stanza it met, and nothing else."""

from __future__ import annotations

import sys
import traceback
from hashlib import sha256

from minimixproxy.logs.logger import Logger
from minimixproxy.wire.stanza import Stanza


class SafetyNet:
    """Counts and logs the stanzas that a fault of ours made us drop, and those that are too absurd to be read."""

    log = Logger()

    def __init__(self) -> None:
        self.dropped = 0
        self.skipped = 0

    def unusable(self, stanza: Stanza, where: str, reason: str) -> None:
        """Count and log a stanza that cannot be read: who needs nothing of it passes it on, who does leaves it out."""
        self.skip(stanza.name, len(stanza.raw), sha256(stanza.raw).hexdigest(), where, reason)

    def skip(self, name: str, size: int, digest: str, where: str, reason: str) -> None:
        """Do as `unusable` for a stanza that is not here any more."""
        self.skipped += 1
        self.log.warn(
            "{where}: a {name} of {size} bytes, SHA-256 {digest}, is not read: {reason} ({count} so far)",
            where=where,
            name=name,
            size=size,
            digest=digest,
            reason=reason,
            count=self.skipped,
        )

    def unshown(self, raw: bytes, what: str, room: str, error: Exception) -> None:
        """Count and log what was kept of a room and cannot be shown: the session gets the rest."""
        self.dropped += 1
        self.log.error(
            "{room}: {what} cannot be shown, and is left out: {error} ({size} bytes, SHA-256 {digest}; {count} so far)",
            room=room,
            what=what,
            error=type(error).__name__,
            size=len(raw),
            digest=sha256(raw).hexdigest(),
            count=self.dropped,
        )

    def caught(self, stanza: Stanza, where: str) -> None:
        """Log the exception being handled with where it was raised, but no text of a stanza: that may be private.

        `where`: the stream, for operators.
        """
        self.dropped += 1
        kind, _error, trace = sys.exc_info()
        self.log.critical(
            "{where}: a {name} of {size} bytes, SHA-256 {digest}, met a fault and is dropped ({count} so far). Please "
            "report this:\nTraceback (most recent call last):\n{trace}{kind}",
            where=where,
            name=stanza.name,
            size=len(stanza.raw),
            digest=sha256(stanza.raw).hexdigest(),
            count=self.dropped,
            trace="".join(traceback.format_tb(trace)),
            kind=kind.__name__ if kind is not None else "",
        )


NET = SafetyNet()  # of this process
