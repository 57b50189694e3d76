"""The product logs what peers do wrong; here that is all there is."""

from __future__ import annotations

from twisted.logger import globalLogBeginner


def quieten() -> None:
    """Let nobody read the log but `logged`."""
    globalLogBeginner.beginLoggingTo([lambda _event: None], discardBuffer=True, redirectStandardIO=False)
