"""Enrolling accounts: by a password that the server is asked about, and by keys that the server's own store had."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from minimixproxy.accountstream.errors import CannotOpen, CredentialRefused
from minimixproxy.accountstream.known_keys import AccountKeys, EnrolledKeys, complete, enrolled_keys
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.enrolling import CannotKeep, Enrolled, NotEnrolled, Refused
from minimixproxy.sasl.keys import Keys

if TYPE_CHECKING:
    from minimixproxy.accountstream.account_login import Logins
    from minimixproxy.c2s.upstream.connecting import Login


FULL = "there is no place for the keys of more accounts"
NOT_SERVED = ": its domain is not served by this proxy"
IS_BLOCKED = " is blocked: unblock it first"
GONE = " has gone to another process of the cluster meanwhile: try again"


class Holding(Protocol):
    """What holds accounts; `Accounts` is it."""

    def enrolled(self, bare: str, login: Login, *, hold: bool) -> bool:
        """Have this login open the account's stream from now on, if it is held, or is to be. Return whether it is."""

    def is_blocked(self, bare: str) -> bool:
        """Tell whether the operator has blocked an account."""

    def is_elsewhere(self, bare: str) -> bool:
        """Tell whether an account is not this process's."""


class Enrolling:
    """What enrolls accounts, by bare JID, prepared."""

    log = Logger()

    def __init__(self, holding: Holding, logins: Logins, enrolled: EnrolledKeys, known: AccountKeys) -> None:
        self._holding = holding
        self._logins = logins
        self._enrolled = enrolled
        self._known = known

    def serves(self, domain: str) -> bool:
        """Tell whether a domain is one of the proxy's."""
        return self._logins.serves(domain)

    async def by_password(self, bare: str, password: str) -> Enrolled:
        """Log in with a password, and keep what it leaves. See `Enrolls`."""
        login = self._logins.new(bare, password)
        if login is None:
            raise NotEnrolled(f"{bare}{NOT_SERVED}")
        if self._holding.is_blocked(bare):
            raise NotEnrolled(f"{bare}{IS_BLOCKED}")
        try:
            await self._logins.prove(login)
            if login.credential.learned is not None:
                await self._logins.prove(login)  # which shows whether the server's salt lasts
        except CredentialRefused as error:
            raise Refused(f"the server does not take the password of {bare}: {error}") from error
        except CannotOpen as error:
            raise NotEnrolled(f"the server of {bare} could not be asked about the password: {error}") from error
        if not self.serves(login.domain.name):  # a reload may have come meanwhile
            raise NotEnrolled(f"{bare}{NOT_SERVED}")
        if self._holding.is_elsewhere(bare):  # what is not this process's it must not write
            raise NotEnrolled(f"{bare}{GONE}")
        if self._holding.is_blocked(bare):  # nor keep what the operator has shut out meanwhile
            raise NotEnrolled(f"{bare}{IS_BLOCKED}")
        return self._keep(bare, login)

    def _keep(self, bare: str, login: Login) -> Enrolled:
        learned = login.credential.learned
        if learned is None or login.credential.salt_changes:
            return self._keep_password(bare, login)
        self._put(bare, Keys.from_scram(*learned))
        self._holding.enrolled(bare, login, hold=False)
        self.log.info("{account} is enrolled by its password", account=bare)
        return Enrolled(learned.hash_name)

    def _keep_password(self, bare: str, login: Login) -> Enrolled:
        lasts = login.domain.keep_passwords
        if not self._holding.enrolled(bare, login, hold=lasts):
            raise CannotKeep(
                f"the server of {bare} leaves no keys of a password that last: it knows PLAIN only, or makes a salt "
                "for every login; passwords themselves are kept only with keep_passwords"
            )
        self.log.info("{account} is enrolled, with the password itself", account=bare)
        return Enrolled(None, lasts)

    def _put(self, bare: str, keys: Keys) -> None:
        """Keep keys that have the client's. What is known for other hashes stays if it is of the same password."""
        known = enrolled_keys(self._enrolled, bare, keys.hash_name)
        if known is not None and known.agrees(keys):
            complete(self._enrolled, bare, keys)
        elif not self._enrolled.put(bare, [keys]):
            raise NotEnrolled(FULL)

    def by_keys(self, bare: str, keys: Iterable[Keys]) -> bool:
        """These are the account's keys at its server, perhaps without the client's: not asked there, and kept.

        What is known already and agrees is kept, with the client's key. False: there is no place for more accounts.
        """
        known = [(self._known.find(bare, one.hash_name), one) for one in keys]
        return self._enrolled.put(bare, [one if old is None or not old.agrees(one) else old for old, one in known])
