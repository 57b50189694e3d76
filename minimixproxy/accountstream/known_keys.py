"""The keys that are known of accounts: those that they were enrolled with, and what is kept of their logins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from minimixproxy.logs.logger import Logger
from minimixproxy.sasl.keys import Keys


class EnrolledKeys(Protocol):
    """Keys that outlive the accounts' logins. An account's come together, and go together."""

    def of(self, bare: str) -> tuple[Keys, ...]:
        """Return the keys of an account, each for another hash."""

    def put(self, bare: str, keys: Iterable[Keys]) -> bool:
        """These are the account's keys, and no others. False: there are too many accounts, and nothing is kept."""

    def withdraw(self, bare: str) -> bool:
        """None are known of the account any more. Return whether there were any."""


class LoginWithKeys(Protocol):
    """The login of an account that is held, as far as it is keys."""

    @property
    def keys(self) -> Keys | None:
        """What is kept of the login, if that is keys, and they may be good at the server another time."""

    def withdraw_keys(self) -> bool:
        """The server has others than these by now: they are not kept. Return whether there were any."""


class AccountKeys:
    """All known keys (`c2s.server.exchanges.known_keys.KnownKeys`)."""

    log = Logger()

    def __init__(self, enrolled: EnrolledKeys, login_of: Callable[[str], LoginWithKeys | None]) -> None:
        """`login_of` returns the login of an account that is held."""
        self._enrolled = enrolled
        self._login_of = login_of

    def hashes(self, account: str) -> frozenset[str]:
        """Return the hashes for which keys are known. See `KnownKeys`."""
        kept = self._kept(account)
        names = frozenset(keys.hash_name for keys in self._enrolled.of(account))
        return names if kept is None else names | {kept.hash_name}

    def find(self, account: str, hash_name: str) -> Keys | None:
        """Return the keys, None if there are none. See `KnownKeys`.

        Where both are known and disagree, the account was enrolled after the login: what a login shows to be old goes.
        """
        enrolled = enrolled_keys(self._enrolled, account, hash_name)
        kept = self._kept(account)
        if kept is None or kept.hash_name != hash_name:
            return enrolled
        return kept if enrolled is None or enrolled.agrees(kept) else enrolled

    def proved(self, account: str, keys: Keys) -> None:
        """Keep the client's key of keys that were enrolled. See `KnownKeys`."""
        complete(self._enrolled, account, keys)

    def withdraw(self, account: str) -> None:
        """All keys go, and the login that is made of them. See `KnownKeys`."""
        login = self._login_of(account)
        known = self._enrolled.withdraw(account)
        if (login is not None and login.withdraw_keys()) or known:
            self.log.warn(
                "the keys that were known of {account} are withdrawn, the server has others: the password was changed, "
                "or it makes a salt for every login",
                account=account,
            )

    def _kept(self, account: str) -> Keys | None:
        login = self._login_of(account)
        return login.keys if login is not None else None


def enrolled_keys(enrolled: EnrolledKeys, bare: str, hash_name: str) -> Keys | None:
    """Return the keys that an account was enrolled with for a hash, None if there are none."""
    return next((keys for keys in enrolled.of(bare) if keys.hash_name == hash_name), None)


def complete(enrolled: EnrolledKeys, bare: str, keys: Keys) -> bool:
    """Keep the client's key of keys that an account was enrolled with; False: those are of another password."""
    known = enrolled_keys(enrolled, bare, keys.hash_name)
    if known is None:
        return True
    if not known.agrees(keys):
        return False
    if known.client_key is None and keys.client_key is not None:
        others = (one for one in enrolled.of(bare) if one is not known)
        enrolled.put(bare, (known._replace(client_key=keys.client_key), *others))
    return True
