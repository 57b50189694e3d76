"""What is kept on disk of a login, and the login that comes of it after a restart.

Where the server speaks SCRAM these are the keys, good for this server only; the password is kept only if the
configuration says so and the server leaves nothing else: it knows PLAIN only, or makes a salt for every login.
"""

from __future__ import annotations

from collections.abc import Mapping

from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.c2s.upstream.credentials import Credential, KeyCache
from minimixproxy.config.settings import Domain
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.journal import KeptLogin
from minimixproxy.sasl.scram import MECHANISMS, Challenge, ScramKeys
from minimixproxy.xep.sasl import account_key


class KeptLogins:
    """Converts both ways for the domains of the configuration (`account_login.Logins`)."""

    log = Logger()

    def __init__(self, domains: Mapping[str, Domain]) -> None:
        self._domains = domains
        self._keys = KeyCache()  # for passwords that were kept

    def keep(self, login: Login, before: KeptLogin | None) -> KeptLogin:
        """Return what to keep; lets the password go if an earlier login met the same salt. See `Logins`."""
        credential = login.credential
        if before is not None:
            credential.met_before(before.hash_name, Challenge(before.salt, before.iterations))
        password = credential.password if self._keeps_password(login, before) else None
        if password is not None or credential.learned is None:
            return KeptLogin(login.domain.name, login.username, password=password)
        hash_name, challenge, keys = credential.learned
        return KeptLogin(login.domain.name, login.username, hash_name, *challenge, *keys)

    def _keeps_password(self, login: Login, before: KeptLogin | None) -> bool:
        credential = login.credential
        if not login.domain.keep_passwords:
            return False
        # One login by SCRAM does not show that its keys last: who had a password on disk keeps one until a second does.
        unknown = before is not None and before.password is not None
        return credential.learned is None or credential.salt_changes or unknown

    def renew(self, login: Login, password: str) -> Login:
        """Return the login with another password. See `Logins`."""
        return login.with_password(password)

    def serves(self, domain: str) -> bool:
        """Tell whether accounts of a domain can log in. See `Logins`."""
        return domain in self._domains

    def new(self, bare: str, password: str) -> Login | None:
        """Return a login, or None. See `Logins`."""
        local, _, domain = bare.rpartition("@")
        if not self.serves(domain):
            return None
        return Login(self._domains[domain], local, Credential.from_password(password), self._keys)

    def revive(self, kept: KeptLogin, bare: str) -> Login | None:
        """Return the login, or None. See `Logins`."""
        domain = self._domains.get(kept.domain)
        if domain is None:
            return None
        if account_key(kept.username, domain.name) != bare:
            self.log.error("{account} has the login of another account on disk, which is ignored", account=bare)
            return None
        if kept.client_key and kept.hash_name in MECHANISMS.values():
            challenge = Challenge(kept.salt, kept.iterations)
            keys = ScramKeys(kept.client_key, kept.server_key)
            credential = Credential.from_keys(kept.hash_name, challenge, keys)
        elif kept.password is not None and domain.keep_passwords:
            credential = Credential.from_password(kept.password)
        else:
            return None
        return Login(domain, kept.username, credential, self._keys)
