"""What opens one account's stream: the login of the client that logged in last, or one kept from before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from minimixproxy.accountstream.attempt import Opened, Resumable
from minimixproxy.accountstream.errors import CredentialRefused
from minimixproxy.accountstream.password_check import PasswordCheck
from minimixproxy.config.settings import Settings
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.journal import Journal, KeptAccount, KeptLogin
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

    def revive(self, kept: KeptLogin, bare: str) -> Login | None:
        """Return the login of the account `bare`.

        None if nothing usable was kept, if its domain is not served any more, or if it is another account's.
        """


@dataclass(frozen=True, slots=True)
class LoginContext:
    """What the logins of all accounts share. `resource` returns the one that an account's stream binds."""

    settings: Settings
    clock: Clock
    journal: Journal
    logins: Logins
    resource: Callable[[str], str]

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
        self._login: Login | None = None
        self._used: Login | None = None  # the login of the last opening, until it succeeds
        self._kept_seen = 0.0
        self._check = PasswordCheck(bare, context.clock, context.logins.prove)

    @property
    def usable(self) -> bool:
        """Whether there is one that the server has not refused."""
        return self._login is not None and not self.refused

    # Clients

    def client_came(self, login: Login) -> None:
        """A client has logged in."""
        self._login, self.last_seen, self.forgotten = login, wall_time(self._context.clock), False
        self._keep()
        self._set_refused(False)

    def client_left(self) -> None:
        """The last client has gone."""
        self.last_seen = wall_time(self._context.clock)
        if not self.forgotten:
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
        if former is None:
            return False
        login = self._login = self._logins.renew(former, password)
        self.log.info("a client of {account} has changed its password", account=self.bare)
        self._set_refused(False)
        self._check.start(login, lambda: self._proved(login), lambda: self._disproved(login, former))
        return True

    def _proved(self, login: Login) -> None:
        if self._login is login:
            self._keep()
            self.log.info("the new password of {account} is learned", account=self.bare)

    def _disproved(self, login: Login, former: Login) -> None:
        self.log.warn("the server says that the password of {account} was changed, and refuses it", account=self.bare)
        if self._login is login:
            self._login = former

    # The stream (`StreamLogin`)

    async def open(self, resumable: Resumable | None = None) -> Opened:
        """Open the stream, or resume what is given. Raises `CannotOpen`, or `CredentialRefused`."""
        login = self._used = self._login
        if login is None:
            raise CredentialRefused("no usable login was kept")
        return await self._logins.open(login, self._context.resource(self.bare), resumable)

    def opened(self) -> None:
        """The stream is open. The server may have shown that its salt lasts, or does not."""
        self._used, self.forgotten = None, False
        self._keep()

    def is_refused(self) -> bool:
        """Note that the server has refused the login; False: a client has logged in meanwhile, with another."""
        if self._login is not self._used:
            return False
        self._set_refused(True)
        return True

    # The disk

    def restore(self, kept: KeptAccount) -> None:
        """Take what was kept."""
        # The clock may have been set back meanwhile: nobody was here later than now.
        self.last_seen = self._kept_seen = min(kept.last_seen, wall_time(self._context.clock))
        self.kept, self.refused = kept.login, kept.refused
        self._login = self._logins.revive(kept.login, kept.bare) if kept.login is not None else None
        self._used = self._login if kept.refused else None
        self._discard_password()

    def _set_refused(self, refused: bool) -> None:
        if self.refused is not refused:
            self.refused = refused
            self._journal.account_refused(self.bare, refused)

    def _keep(self) -> None:
        """Journal what has changed of the login, and when there was a client last if that is long ago on disk."""
        kept = self._logins.keep(self._login, self.kept) if self._login is not None else self.kept
        if kept != self.kept:
            self._journal.account_kept(self.bare, kept, self.last_seen)
            self.kept, self._kept_seen = kept, self.last_seen
        elif self.last_seen - self._kept_seen >= self._context.seen_interval:
            self._keep_seen()

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
