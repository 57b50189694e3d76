"""Tokens by which devices log in, and what becomes of a device's tokens (XEP-0484 §3). Pure."""

from __future__ import annotations

import hashlib
import secrets
from typing import NamedTuple, Protocol

from minimixproxy.sasl.keys import Keys

MAX_TOKENS = 2  # of a device: the one that it uses, and the next one, which it may not have got


class Token(NamedTuple):
    """`keys`: with which of the account's keys it stands and falls (`mark_of`). Times in Unix seconds.

    `counted`: the highest number that its client has given to a use of it.
    """

    secret: str
    mechanism: str
    keys: bytes
    issued: float
    expires: float
    counted: int = 0

    def __repr__(self) -> str:
        return f"<Token {self.mechanism}>"


class Device(NamedTuple):
    """An installation of a client that has tokens. `software`: as it calls itself, "" if it does not say."""

    id: str
    software: str
    issued: float


NO_DEVICE = Device("", "", 0.0)


class Tokens(Protocol):
    """The tokens of all accounts, each named by its bare JID, normalized."""

    def of(self, account: str, device: str) -> tuple[Token, ...]:
        """Return the tokens of a device: the one that it has used last, or was given first, and perhaps a next one."""

    def put(self, account: str, device: Device, tokens: tuple[Token, ...]) -> None:
        """These are the device's tokens, and no others."""

    def devices(self, account: str) -> list[Device]:
        """Return the devices of an account that have tokens, the one that was given one last first."""

    def withdraw(self, account: str, device: str | None = None) -> None:
        """A device of an account has no token any more; None: none of them has."""


def mark_of(keys: Keys) -> bytes:
    """Return what names keys and tells nothing of them."""
    return hashlib.blake2b(keys.stored_key + keys.salt, digest_size=16, person=b"fast").digest()


def new_token(mechanism: str, keys: Keys, now: float, lifetime: float) -> Token:
    """Make a token that nobody can guess."""
    return Token(secrets.token_urlsafe(32), mechanism, mark_of(keys), now, now + lifetime)


def with_next(tokens: tuple[Token, ...], new: Token) -> tuple[Token, ...]:
    """Return a device's tokens with another one given to it. One that was given before and never used goes (§3.5)."""
    return (*tokens[: MAX_TOKENS - 1], new)


def after_use(tokens: tuple[Token, ...], used: Token, count: int | None) -> tuple[Token, ...]:
    """Return a device's tokens once it has used one: those from before it go (§3.5)."""
    behind = tokens[tokens.index(used) + 1 :]
    return (used if count is None else used._replace(counted=count), *behind)


def without(tokens: tuple[Token, ...], token: Token) -> tuple[Token, ...]:
    """Return a device's tokens without one that its client wants to be good no more (§3.6)."""
    return tuple(one for one in tokens if one.secret != token.secret)


class NoTokens:
    """Nobody has one, or is given one (`Tokens`)."""

    def of(self, account: str, device: str) -> tuple[Token, ...]:
        return ()

    def put(self, account: str, device: Device, tokens: tuple[Token, ...]) -> None:
        """It is not kept."""

    def devices(self, account: str) -> list[Device]:
        return []

    def withdraw(self, account: str, device: str | None = None) -> None:
        """There is none."""
