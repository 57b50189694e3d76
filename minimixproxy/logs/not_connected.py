"""Why a connection could not be made, in words for a log. No I/O."""

from __future__ import annotations

from twisted.internet.error import ConnectError
from twisted.python.failure import Failure


def why_not_connected(error: Exception) -> str:
    """Return what an error at connecting says. Of a connection lost while it is made, Twisted's has a whole failure."""
    inner = error.args[0] if isinstance(error, ConnectError) and error.args else None
    return str(inner.getErrorMessage()) if isinstance(inner, Failure) else str(error)
