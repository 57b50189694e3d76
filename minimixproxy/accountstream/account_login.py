"""What opens one account's stream: the login of the client that logged in last, or one kept from before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from minimixproxy.accountstream.attempt import Opened, Resumable
from minimixproxy.accountstream.errors import CredentialRefused
from minimixproxy.accountstream.known_keys import EnrolledKeys, complete, enrolled_keys
from minimixproxy.accountstream.password_check import PasswordCheck
from minimixproxy.c2s.upstream.credentials import Credential
from minimixproxy.config.settings import Settings
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.enrolling import Guard
from minimixproxy.minimix.interfaces.journal import Journal, KeptAccount, KeptLogin
from minimixproxy.sasl.keys import Keys
from minimixproxy.sasl.scram import MECHANISMS, Challenge, ScramKeys
from minimixproxy.timing.clock import Clock, wall_time

if TYPE_CHECKING:
    from minimixproxy.c2s.upstream.connecting import Login

SEEN_INTERVAL = 3600.0  # seconds that `last_seen` may be late on disk, if accounts stay for much longer


class Logins(Protocol):
    """What can be done with logins: opening streams, and keeping them on disk."""

    def open(self, login: Login, resource: str, resumable: Resumable | None = None) -> Awaitable[Opened]:
        """Open an upstream stream, and resume what is given, or bind a resource.

        Raises `CannotOpen`, or `CredentialRefused`.
        """

    def prove(self, login: Login) -> Awaitable[None]:
        """Log in and out again, so that the login learns what the server keeps of its password. Raises as `open`."""

    def keep(self, login: Login, before: KeptLogin | None) -> KeptLogin:
        """Return what to keep of a login that succeeded; `before` is what was kept of the account until now."""

    def renew(self, login: Login, password: str) -> Login:
        """Return the login with the password that the server has taken instead of the former one."""

    def serves(self, domain: str) -> bool:
        """Tell whether accounts of a domain can log in."""

    def new(self, bare: str, password: str) -> Login | None:
        """Return the login of the account `bare` with a password; None if its domain is not served."""

    def revive(self, kept: KeptLogin, bare: str) -> Login | None:
        """Return the login of the account `bare`.

        None if nothing usable was kept, if its domain is not served any more, or if it is another account's.
        """


@dataclass(frozen=True, slots=True)
class LoginContext:
    """What the logins of all accounts share. `resource` returns the one that an account's stream binds.

    `enrolled`: keys beside those that logins leave; the server's answer to a login tells whether they are good.
    `guard`: what delays those who try passwords. `blocked`: the accounts that the operator has blocked.
    `is_held`: tells whether this process of a cluster has an account.
    """

    settings: Settings
    clock: Clock
    journal: Journal
    logins: Logins
    resource: Callable[[str], str]
    enrolled: EnrolledKeys
    guard: Guard
    blocked: Container[str] = frozenset()
    is_held: Callable[[str], bool] = lambda _bare: True

    @property
    def seen_interval(self) -> float:
        """Seconds that `last_seen` may be late on disk."""
        return max(1.0, min(SEEN_INTERVAL, self.settings.rooms.stay / 4))


class AccountLogin:
    """The login of the account `bare`, and what of it is on disk. Times are in seconds since the epoch."""

    log = Logger()

    def __init__(self, bare: str, context: LoginContext) -> None:
        self.bare = bare
        self.last_seen = wall_time(context.clock)  # when there was a session last; late while there is one
        self.kept: KeptLogin | None = None
        self.refused = False  # as kept
        self.forgotten = False  # at its user's wish, and not used since
        self._context = context
        self._journal = context.journal
        self._logins = context.logins
        self._enrolled = context.enrolled
        self._login: Login | None = None
        self._relayed: Login | None = None  # of a client that has logged in by what nobody here knows
        self._unproved = False  # whether the login has a password that was changed, and what is kept the former one
        self._used: Login | None = None  # the login of the last opening, until it succeeds
        self._kept_seen = 0.0
        self._not_served = False  # by the configuration
        self._set_aside: Login | None = None  # until the domain is served again
        self._check = PasswordCheck(bare, context.clock, context.logins.prove)

    @property
    def is_empty(self) -> bool:
        """Whether there is none, and nothing on disk: nothing is to be kept of an account that never had one."""
        return self._login is None and not self._kept_seen

    @property
    def usable(self) -> bool:
        """Whether there is one that the server has not refused, nor the operator."""
        return self._login is not None and not self.refused and not self.blocked

    @property
    def blocked(self) -> bool:
        """Whether the operator has blocked the account."""
        return self.bare in self._context.blocked

    @property
    def keys(self) -> Keys | None:
        """What is kept of the login, if that is keys, and they may be good at the server another time."""
        changing = self._login is not None and self._login.credential.salt_changes
        return None if self.refused or changing or self._unproved else _keys(self.kept)

    # Clients

    def client_came(self, login: Login) -> None:
        """A client has logged in. A login that is not known opens no stream: one from before does, if it is good."""
        self.last_seen, self.forgotten = wall_time(self._context.clock), False
        if not login.credential.known:
            self._relayed = login
            self._login = self._login or self._enrolled_login(login)
            return
        self._login = login
        self._keep()
        self._set_refused(False)

    def client_restored(self, login: Login) -> None:
        """Another process had a session, which may have begun long ago: its login counts only if there is no other."""
        if self._login is None:
            self.client_came(login)
        else:
            self.last_seen = wall_time(self._context.clock)

    def _enrolled_login(self, named: Login) -> Login | None:
        """Return a login by the keys that the account was enrolled with, None if these cannot log in."""
        keys = next((keys for keys in self._enrolled.of(self.bare) if keys.client_key), None)
        if keys is None or keys.client_key is None:
            return None
        shown = ScramKeys(keys.client_key, keys.server_key)
        return replace(named, credential=Credential.from_keys(keys.hash_name, keys.challenge, shown))

    def client_resumed(self, login: Login) -> None:
        """A client has logged in anew and goes on with a session; that is no use of an account that is forgotten."""
        if not login.credential.known:
            self._relayed = login
            return
        self._login = login
        if not self.forgotten:
            self._keep()
        self._set_refused(False)

    def enrolled(self, login: Login) -> None:
        """The server has just taken this login, which no client has made."""
        self._login, self.forgotten = login, False
        self._keep()
        self._set_refused(False)

    def client_left(self) -> None:
        """The last client has gone."""
        self.last_seen = wall_time(self._context.clock)
        if not self.forgotten and not self.is_empty:
            self._keep_seen()

    def client_stays(self) -> None:
        """A client may stay connected for longer than accounts without one are kept: note that one is there."""
        if not self.forgotten:
            self.client_left()

    def change_password(self, password: str) -> bool:
        """The server has taken another password: it opens streams from now on, and is kept. False: no login to change.

        What is kept of a password where the server speaks SCRAM is only to be learned by a login, so there is one.
        """
        former = self._login
        named = former or self._relayed
        if named is None:
            return False
        login = self._login = self._logins.renew(named, password)
        self._unproved = True
        self.log.info("a client of {account} has changed its password", account=self.bare)
        self._set_refused(False)
        self._check.start(login, lambda: self._proved(login), lambda: self._disproved(login, former))
        return True

    def _proved(self, login: Login) -> None:
        if self._login is login:
            self._keep()
            self.log.info("the new password of {account} is learned", account=self.bare)

    def _disproved(self, login: Login, former: Login | None) -> None:
        self.log.warn("the server says that the password of {account} was changed, and refuses it", account=self.bare)
        if self._login is login:
            self._login, self._unproved = former, False

    # The stream (`StreamLogin`)

    async def open(self, resumable: Resumable | None = None) -> Opened:
        """Open the stream, or resume what is given. Raises `CannotOpen`, or `CredentialRefused`."""
        login = self._used = self._login
        if self.blocked:
            raise CredentialRefused("the operator has blocked the account")
        if login is None:
            raise CredentialRefused("no usable login was kept")
        return await self._logins.open(login, self._context.resource(self.bare), resumable)

    def opened(self) -> None:
        """The stream is open. The server may have shown that its salt lasts, or does not."""
        self._used, self.forgotten = None, False
        self._keep()

    def is_refused(self) -> bool:
        """Note that the server has refused the login; False: a client has logged in meanwhile, with another.

        What a blocked account has is no worse for that, nor what one has whose domain is not served.
        """
        if self.blocked or self._not_served:
            return True
        if self._login is not self._used:
            return False
        self._set_refused(True)
        self._withdraw_enrolled()
        return True

    def _withdraw_enrolled(self) -> None:
        """The login is refused, and so are the keys that the account was enrolled with, unless those are newer."""
        refused = _keys(self.kept)
        known = enrolled_keys(self._enrolled, self.bare, refused.hash_name) if refused is not None else None
        if refused is not None and known is not None and not known.agrees(refused):
            return
        if self._enrolled.withdraw(self.bare):
            self.log.warn(
                "the server refuses {account}: the keys it was enrolled with are withdrawn", account=self.bare
            )

    # The configuration

    def not_served(self) -> None:
        """The account's domain is not served any more: no login is good until it is. What is kept stays so."""
        if not self._not_served:
            self._not_served, self._set_aside = True, self._login
            self._login = self._relayed = self._used = None

    def served_again(self) -> bool:
        """The account's domain is served. Return whether it was not until now, and the account can log in again."""
        if not self._not_served:
            return False
        last = self._login or self._set_aside  # a client may have logged in before the account was told
        self._not_served, self._set_aside = False, None
        domain = self._context.settings.domain.get(last.domain.name) if last is not None else None
        if last is not None and domain is not None:
            self._login = replace(last, domain=domain)
        elif self.kept is not None:
            self._login = self._logins.revive(self.kept, self.bare)
        return self.usable

    # The disk

    def restore(self, kept: KeptAccount) -> None:
        """Take what was kept."""
        # The clock may have been set back meanwhile: nobody was here later than now.
        self.last_seen = self._kept_seen = min(kept.last_seen, wall_time(self._context.clock))
        self.kept, self.refused = kept.login, kept.refused
        self._login = self._logins.revive(kept.login, kept.bare) if kept.login is not None else None
        self._used = self._login if kept.refused else None
        if self._login is None and not self._logins.serves(self.bare.rpartition("@")[2]):
            self.not_served()
        self._discard_password()

    def withdraw_keys(self) -> bool:
        """The server has others than these by now: they are not kept. Return whether there were any.

        A stream that is open stays, and so does a password: the server's next answer to it tells.
        """
        kept = self.kept
        if kept is None or not kept.client_key:
            return False
        self.kept = KeptLogin(kept.domain, kept.username, password=kept.password)
        self._journal.account_kept(self.bare, self.kept, self.last_seen)
        return True

    def _set_refused(self, refused: bool) -> None:
        if self.refused is not refused:
            self.refused = refused
            self._journal.account_refused(self.bare, refused)

    def _keep(self) -> None:
        """Journal what has changed of the login, and when there was a client last if that is long ago on disk."""
        self._unproved = False  # the server has just taken it
        kept = self._logins.keep(self._login, self.kept) if self._login is not None else self.kept
        if kept != self.kept:
            self._journal.account_kept(self.bare, kept, self.last_seen)
            self.kept, self._kept_seen = kept, self.last_seen
        elif self.last_seen - self._kept_seen >= self._context.seen_interval:
            self._keep_seen()
        self._compare_enrolled()

    def _compare_enrolled(self) -> None:
        """The server has just taken what is kept: other keys that the account was enrolled with are old."""
        keys = _keys(self.kept)
        if keys is not None and not complete(self._enrolled, self.bare, keys):
            self._enrolled.withdraw(self.bare)
            self.log.info("{account} was enrolled with another password, which is not kept any more", account=self.bare)

    def _keep_seen(self) -> None:
        self._journal.account_kept(self.bare, None, self.last_seen)
        self._kept_seen = self.last_seen

    def _discard_password(self) -> None:
        """A password that was kept goes from the disk when the configuration allows it no more."""
        kept = self.kept
        domain = self._context.settings.domain.get(kept.domain) if kept is not None else None
        if kept is not None and kept.password is not None and domain is not None and not domain.keep_passwords:
            self.kept = KeptLogin(kept.domain, kept.username)
            self._journal.account_kept(self.bare, self.kept, self.last_seen)

    def forget(self) -> None:
        """Nothing is to be kept of the account. It is in memory for as long as it has sessions."""
        self.kept, self._kept_seen, self.refused, self.forgotten = None, 0.0, False, True
        self._journal.account_forgotten(self.bare)

    def stop(self) -> None:
        """Try no new password any more."""
        self._check.stop()


def _keys(kept: KeptLogin | None) -> Keys | None:
    if kept is None or not kept.client_key or kept.hash_name not in MECHANISMS.values():
        return None
    keys = ScramKeys(kept.client_key, kept.server_key)
    return Keys.from_scram(kept.hash_name, Challenge(kept.salt, kept.iterations), keys)
