"""What tells this installation from others: a random part in the resource of its account streams."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from minimixproxy.log import Logger

log = Logger()

RESOURCE_PREFIX = "minimix."


class Installation:
    """The resource that account streams bind, kept in a file beside state.

    Two proxies of one account must not take each other's resource; one that restarts takes its own again, by which the
    server ends a session left over.
    """

    def __init__(self, directory: Path) -> None:
        """Nothing is read or written yet: privileges are dropped between making the services and using them."""
        self._file = directory / "installation"
        self._resource: str | None = None

    @property
    def resource(self) -> str:
        """Return "minimix." and 16 random hexadecimal digits; others after each start if no file can be written."""
        if self._resource is None:
            self._resource = RESOURCE_PREFIX + (self._read() or self._make())
        return self._resource

    def _read(self) -> str | None:
        try:
            text = self._file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return text if re.fullmatch("[0-9a-f]{16}", text) else None

    def _make(self) -> str:
        made = secrets.token_hex(8)
        temporary = self._file.with_name(self._file.name + ".new")
        try:
            temporary.touch(mode=0o600)
            temporary.write_text(made + "\n", "utf-8")
            os.replace(temporary, self._file)
        except OSError as error:
            log.warn("{file} cannot be written: {error}", file=str(self._file), error=error.strerror)
        return made
