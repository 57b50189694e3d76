"""What tells this installation from others: a secret, of which the resources of its account streams are made."""

from __future__ import annotations

import os
import re
import secrets
from hashlib import blake2b
from pathlib import Path

from minimixproxy.jids import RESOURCE_PREFIX
from minimixproxy.logs.logger import Logger

log = Logger()


class Installation:
    """The resources that account streams bind. They follow from a secret that is kept in a file beside state.

    Two proxies of one account must not take each other's resource; one that restarts takes its own again, by which the
    server ends a session left over. The processes of a cluster have the same: who holds an account next takes the
    resource of who held it before, whose stream the server ends. Each account has its own: who sees one in a room that
    shows addresses must not know the others', for whoever knows a full JID can ask whether it is there.
    """

    def __init__(self, directory: Path, secret: bytes | None = None) -> None:
        """Nothing is read or written yet: privileges are dropped between making the services and using them.

        `secret`: the cluster's, of 64 bytes at most; no file is used then.
        """
        self._file = directory / "installation"
        self._secret = secret

    @property
    def name(self) -> str:
        """Return what names this installation for good, and tells nothing of the secret."""
        return self.resource("")

    def resource(self, account: str) -> str:
        """Return "minimix." and 16 hexadecimal digits for a bare JID.

        They are others after each start if no file can be made.
        """
        if self._secret is None:
            self._secret = (self._read() or self._make()).encode()
        return RESOURCE_PREFIX + blake2b(account.encode(), key=self._secret, digest_size=8).hexdigest()

    def _read(self) -> str | None:
        try:
            text = self._file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
        # A shorter one is of a version that bound it as it is: everybody in a room with an account has seen it.
        return text if re.fullmatch("[0-9a-f]{32}", text) else None

    def _make(self) -> str:
        made = secrets.token_hex(16)
        temporary = self._file.with_name(self._file.name + ".new")
        try:
            temporary.unlink(missing_ok=True)
            temporary.touch(0o600)
            temporary.write_text(made + "\n", "utf-8")
            os.replace(temporary, self._file)
        except OSError as error:
            log.warn("{file} cannot be written: {error}", file=str(self._file), error=error.strerror)
        return made
