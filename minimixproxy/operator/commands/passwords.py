"""Passwords come from the terminal or from standard input: arguments can be seen by others on the machine."""

from __future__ import annotations

import getpass
import sys

from minimixproxy.server_stores.records import BadRecord


def ask_password(bare: str) -> str:
    """Return the password of an account. Raises `BadRecord`."""
    if sys.stdin.isatty():
        return getpass.getpass(f"Password of {bare}: ")
    try:
        line = sys.stdin.buffer.readline(8192).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRecord("the password is not UTF-8") from error
    return line.removesuffix("\n").removesuffix("\r")
