"""An account that this process holds: with its stream, the login that opens it, and how long it is held."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from minimixproxy.accountstream.account_login import AccountLogin, LoginContext
from minimixproxy.accountstream.stream import AccountStream, StreamOptions
from minimixproxy.jids import parse_jid
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.account import Account
from minimixproxy.minimix.interfaces.enrolling import Enrolled
from minimixproxy.minimix.interfaces.handed import HandedAccount
from minimixproxy.minimix.interfaces.journal import KeptAccount, when_on_disk
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.minimix.room.context import AccountContext
from minimixproxy.timing.clock import Timer, wall_time
from minimixproxy.timing.lines import Line
from minimixproxy.xep.oversized import Sendable

if TYPE_CHECKING:
    from minimixproxy.c2s.upstream.connecting import Login


BLOCKED_HERE = "the operator has blocked the account"
#: What clients of a blocked account are told.
BLOCKED = "the account is blocked on this proxy"


class Registry(Protocol):
    """All accounts that are held; `Accounts` is it."""

    @property
    def logins(self) -> LoginContext:
        """What their logins share."""

    @property
    def shared(self) -> AccountContext:
        """What they share."""

    def enroll(self, bare: str, password: str) -> Awaitable[Enrolled]:
        """Ask the server about an account's password, as often as a login may. Raises `NotEnrolled`."""

    def line_of(self, bare: str) -> Line:
        """Return what an account's stream opens through."""

    def holds(self, held: HeldAccount) -> bool:
        """Tell whether it is one of these still."""

    def not_needed(self, held: HeldAccount) -> None:
        """An account is not to be held any more, nor anything of it on disk."""


class HeldAccount:
    """The account `bare`, one of those in `registry` (`interfaces.account_host.AccountHost`)."""

    log = Logger()

    def __init__(self, bare: str, registry: Registry) -> None:
        context = registry.logins
        self.bare = bare
        self.login = AccountLogin(bare, context)
        line = registry.line_of(bare)
        self.stream = AccountStream(bare, self.login, context.clock, line, _options(context))
        self.account = Account(bare, self.stream, self, registry.shared, f"{bare}/{context.resource(bare)}")
        self._registry = registry
        self._rooms = context.settings.rooms
        self._clock = context.clock
        self._idle = Timer(context.clock)  # for an account without sessions and rooms

    def session_bound(self, session: SessionPort, login: Login) -> Account:
        """A client has bound a resource; return its account."""
        return self._session_came(session, login, self.login.client_came)

    def session_restored(self, session: SessionPort, login: Login) -> Account:
        """Another process of the cluster had a session; return its account."""
        return self._session_came(session, login, self.login.client_restored)

    def _session_came(self, session: SessionPort, login: Login, came: Callable[[Login], None]) -> Account:
        self._idle.stop()
        with self._perhaps_enrolling():
            came(login)
        if not self.is_enrolled:
            self.log.info("{jid} joins rooms by itself: the account is not enrolled", jid=session.jid)
            self.stream.refuse("the account is not enrolled")
        self.account.session_bound(session)
        if self.is_enrolled:
            self._login_mended()
        return self.account

    def let_wait(self) -> None:
        """The account is about to go to another process of the cluster: hear nothing more, of rooms and of clients."""
        self.stream.let_wait()
        for session in self.account.sessions:
            session.let_wait()

    def hand_on(self) -> HandedAccount | None:
        """Hand on what another process of the cluster is to go on with (see `Account.hand_on`).

        Nothing of an account that is forgotten but for its sessions: it would be kept again.
        """
        if self.login.forgotten:
            return None
        logins = self._registry.logins.logins
        return self.account.hand_on(lambda login: logins.keep(login, None), wall_time(self._clock))

    def logged_in(self, login: Login) -> None:
        """A client has logged in anew, and goes on with a session that there is."""
        with self._perhaps_enrolling():
            self.login.client_resumed(login)
        if self.is_enrolled:
            self._login_mended()

    @property
    def is_enrolled(self) -> bool:
        """Whether there is a login that opens the stream."""
        return self.login.usable

    @property
    def login_refused(self) -> bool:
        """Whether there is a login, and the server has refused it."""
        return self.login.refused

    @property
    def waits(self) -> bool:
        """Whether only a client can bring it back into its rooms."""
        return not self.login.usable and not self.login.blocked

    @contextmanager
    def _perhaps_enrolling(self) -> Iterator[None]:
        """There is perhaps a login afterwards that opens the stream, and was none before."""
        before = self.is_enrolled
        yield
        if self.is_enrolled and not before:
            self.stream.mended()
            self.account.enrolled()

    def blocked(self) -> None:
        """The operator has blocked the account: its sessions end, and its stream. What is kept of it stays."""
        for session in list(self.account.sessions):
            session.close("not-authorized", BLOCKED)
        self.stream.cut_off(BLOCKED_HERE)

    def unblocked(self) -> None:
        """The account may come back into its rooms, by the login that is kept."""
        if self.is_enrolled:
            self._login_mended()

    def password_changed(self, password: str) -> None:
        """The server has taken another password for the account."""
        with self._perhaps_enrolling():
            changed = self.login.change_password(password)
        if changed:
            self._login_mended()

    def enrolled(self, login: Login) -> None:
        """The server has just taken this login, which no client has made."""
        with self._perhaps_enrolling():
            self.login.enrolled(login)
        self._login_mended()
        if not self.account.sessions and not self.account.rooms:
            self.idle()

    def _login_mended(self) -> None:
        self.stream.mended()
        if self.account.rooms:
            self.stream.reopen()

    def restore(self, kept: KeptAccount) -> None:
        """Take what was kept: if it is in rooms, it comes back into them."""
        self.login.restore(kept)
        self.account.restore(kept)
        if self.login.blocked:
            self.stream.refuse(BLOCKED_HERE)
            self.log.info("{account} is blocked: it is not in its rooms", account=self.bare)
        elif not self.login.usable:
            refused = self.login.refused
            self.stream.refuse(*("the server has refused the login that was kept",) if refused else ())
            self.log.info("{account} waits for a client to log in: no usable login was kept", account=self.bare)
        elif self.account.rooms:
            self.stream.reopen()
        if not self.account.rooms:
            self.idle()

    def settings_changed(self, *, served: bool) -> bool:
        """There is another configuration, in which the account's domain is `served`.

        Return whether its stream ends for that, or may begin again.
        """
        self.stream.options = _options(self._registry.logins)
        if not served:
            self.login.not_served()
            self.stream.withdraw("its domain is not served")
            return True
        if not self.login.served_again():
            return False
        self._login_mended()
        return True

    def kept(self) -> KeptAccount:
        """Return what is to be on disk, with the messages that are in memory."""
        login, account = self.login, self.account
        return KeptAccount(
            self.bare,
            login.kept,
            login.refused,
            login.last_seen,
            account.kept_rooms(),
            account.unfollowed(),
            account.push.kept(),
        )

    # What the account says

    def unattended(self) -> None:
        """The last session is gone."""
        self.login.client_left()

    def idle(self) -> None:
        """The account has neither sessions nor rooms; bookmarks may still bring it into some."""
        if not self._registry.holds(self):
            return
        is_wanted = is_needed(self.bare, self.login.last_seen, False, self._registry.logins)
        if self.login.forgotten:
            self._registry.shared.endings.forgotten(self.bare)
        if self.login.forgotten or self.login.is_empty or not is_wanted:
            self._registry.not_needed(self)
        else:
            stay = self._rooms.stay
            remaining = min(max(0.0, self.login.last_seen + stay - wall_time(self._clock)), stay)
            self._idle.start(remaining, self._idle_for_long)

    def _idle_for_long(self) -> None:
        if self.account.rooms:  # by bookmarks: it leaves them first
            self.account.forget()
        else:
            self._registry.not_needed(self)

    def enroll(self, password: str) -> Awaitable[Enrolled]:
        """Ask the server about the account's password, as often as a login may. Raises `NotEnrolled`."""
        return self._registry.enroll(self.bare, password)

    def forgotten(self) -> None:
        """The user wants nothing to be kept."""
        self.login.forget()

    def stop(self) -> None:
        """The account is held no more, or the proxy ends."""
        self._idle.stop()
        self.login.stop()
        self.account.stop()


def is_needed(bare: str, last_seen: float, has_rooms: bool, context: LoginContext) -> bool:
    """Tell whether an account without sessions is to be kept: for rooms, or for clients to log in by its keys."""
    rooms, domain = context.settings.rooms, context.settings.domain.get(parse_jid(bare).domain)
    of_use = has_rooms or rooms.bookmarks != "off" or (domain is not None and "SCRAM" in domain.logins)
    return of_use and last_seen + rooms.stay > wall_time(context.clock)


def _options(context: LoginContext) -> StreamOptions:
    rooms, limits = context.settings.rooms, context.settings.limits
    sendable = Sendable(limits.stanza_size, limits.stanza_depth)
    return StreamOptions(rooms.ping_interval, rooms.iq_timeout, sendable, when_on_disk(context.journal))
