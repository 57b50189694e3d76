"""What can keep an account stream from opening; whoever opens streams turns its own errors into these."""

from __future__ import annotations


class CannotOpen(Exception):
    """The stream could not be opened now; `str()` says why."""


class CredentialRefused(CannotOpen):
    """The server does not accept what the account logs in with: trying again is of no use."""
