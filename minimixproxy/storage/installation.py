"""The part of the account streams' resource that is this installation's own."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

_RESOURCE = re.compile(r"minimix\.[0-9a-f]{16}")


def account_resource(state: Path, owner: tuple[int, int] = (-1, -1)) -> str:
    """Return the resource that account streams bind here, kept in a file beside `state`; made at the first call.

    `owner`: user and group that the file is given to when it is made, -1 for those of the process.
    It is random, so that nobody can guess the full JID at which an account takes part in its rooms.
    Raises `OSError` when the file can neither be read nor made.
    """
    path = state.with_name("resource")
    try:
        kept = path.read_text("ascii").strip()
    except FileNotFoundError:
        kept = ""
    if _RESOURCE.fullmatch(kept):
        return kept
    resource = f"minimix.{secrets.token_hex(8)}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.chown(descriptor, *owner)
        file.write(resource + "\n")
    return resource
