"""What logins ask of the keys that are known: whose there are, and what becomes of them."""

from __future__ import annotations

from typing import Protocol

from minimixproxy.sasl.keys import Keys


class KnownKeys(Protocol):
    """The SCRAM keys of accounts, each named by its bare JID, normalized."""

    def hashes(self, account: str) -> frozenset[str]:
        """Return the hashes (`sha256`, `sha1`) for which keys of the account are known; most often none or one."""

    def find(self, account: str, hash_name: str) -> Keys | None:
        """Return the account's keys for a hash, None if they are not known."""

    def proved(self, account: str, keys: Keys) -> None:
        """A client has shown the `client_key` of keys that are known, and the server has taken it: keep it with them.

        Nothing happens if the account's keys are others by now.
        """

    def withdraw(self, account: str) -> None:
        """The account's password is not what it was: all of its keys go, and what would log in with them."""


class NoKeys:
    """Nothing is known of any account (`KnownKeys`)."""

    def hashes(self, account: str) -> frozenset[str]:
        return frozenset()

    def find(self, account: str, hash_name: str) -> Keys | None:
        return None

    def proved(self, account: str, keys: Keys) -> None:
        """There are none."""

    def withdraw(self, account: str) -> None:
        """There are none."""
