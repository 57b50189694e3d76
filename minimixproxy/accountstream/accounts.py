"""Which accounts there are: made with the first session or after a restart, forgotten when nothing needs them.

Each has its stream, and the login that opens it: that of the client that logged in last, or one kept from before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList

from minimixproxy.accountstream.errors import CredentialRefused
from minimixproxy.accountstream.handlers import account_handlers
from minimixproxy.accountstream.password_check import PasswordCheck, Prove
from minimixproxy.accountstream.stream import AccountStream
from minimixproxy.config.settings import Settings
from minimixproxy.jids import parse_jid
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.account import Account
from minimixproxy.minimix.interfaces.journal import Journal, KeptAccount, KeptLogin
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.timing.clock import Clock, Timer, wall_time
from minimixproxy.timing.pacing import Pacer, Slots
from minimixproxy.wire.lazy_stanzas import Output
from minimixproxy.wire.xmlstream import FramedXmlStream
from minimixproxy.xep.oversized import Sendable

if TYPE_CHECKING:
    from minimixproxy.c2s.upstream.connecting import Login

REJOINS_PER_SECOND = 50
# What the account streams of one domain may demand of its server when all of them come back.
OPENINGS_PER_SECOND = 20
OPENINGS_AT_ONCE = 50
SEEN_INTERVAL = 3600.0  # seconds that `last_seen` may be late on disk, if accounts stay for much longer

#: Opens an upstream stream by a login and binds a resource.
ConnectAccount = Callable[["Login", str], Awaitable[tuple[FramedXmlStream, str]]]


class LoginKeeper(Protocol):
    """Makes of a login what may be kept on disk, and the other way round."""

    def keep(self, login: Login, before: KeptLogin | None) -> KeptLogin:
        """Return what to keep of a login that succeeded; `before` is what was kept of the account until now."""

    def renew(self, login: Login, password: str) -> Login:
        """Return the login with the password that the server has taken instead of the former one."""

    def revive(self, kept: KeptLogin, bare: str) -> Login | None:
        """Return the login of the account `bare`.

        None if nothing usable was kept, if its domain is not served any more, or if it is another account's.
        """


@dataclass(slots=True, eq=False)
class _Held:
    """An account and what it needs around it. Times are in seconds since the epoch."""

    account: Account
    stream: AccountStream
    idle: Timer  # for an account without sessions and rooms
    proving: PasswordCheck  # of a password that a client has changed
    login: Login | None
    last_seen: float  # when there was a session last; not kept up to date while there is one
    used: Login | None = None  # the login of the last opening, until it succeeds
    refused: bool = False  # as kept
    forgotten: bool = False  # at its owner's wish, and not used since
    kept: KeptLogin | None = None
    kept_seen: float = 0.0

    @property
    def bare(self) -> str:
        return self.account.bare


class Accounts(Service):
    """All accounts by bare JID. One account, one owner: everything about it happens in its `Account`."""

    log = Logger()

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        connect: ConnectAccount,
        journal: Journal,
        logins: LoginKeeper,
        prove: Prove,
        resource: Callable[[str], str] = lambda _account: "",
    ) -> None:
        """`resource` returns the one that the stream of an account (a bare JID) binds."""
        self._resource = resource
        self._settings = settings
        self._clock = clock
        self._connect = connect
        self._journal = journal
        self.given_out = journal.given_out  # asked with every write
        self._logins = logins
        self._prove = prove
        self._held: dict[str, _Held] = {}
        self._rejoins = Pacer(clock, REJOINS_PER_SECOND, REJOINS_PER_SECOND)
        self._turns: dict[str, Slots] = {}  # by domain
        stay = settings.rooms.stay
        self._seen_interval = max(1.0, min(SEEN_INTERVAL, stay / 4))
        self._seen = Timer(clock)

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[tuple[Account, AccountStream]]:
        """Every account with its stream."""
        return ((held.account, held.stream) for held in self._held.values())

    def gated(self, deliver: Callable[[Output], None]) -> Callable[[Output], None]:
        """Return a function like `deliver` that waits for the journal (see there)."""
        return self._journal.gated(deliver)

    # Accounts come ---------------------------------------------------------------------------------------------

    def session_bound(self, session: SessionPort, login: Login) -> Account:
        """A client has bound a resource; return its account. The latest login is the one that opens streams."""
        bare = parse_jid(session.jid).bare
        held = self._held.get(bare) or self._make(bare)
        held.idle.stop()
        held.login, held.last_seen, held.forgotten = login, wall_time(self._clock), False
        self._keep(held)
        self._set_refused(held, False)
        held.account.session_bound(session)
        held.stream.mended()
        if held.account.rooms:
            held.stream.reopen()
        return held.account

    def password_changed(self, bare: str, password: str) -> None:
        """The server has taken another password for the account: what opens streams from now on, and is kept.

        What is kept of a password where the server speaks SCRAM is only to be learned by a login, so there is one.
        """
        held = self._held.get(bare)
        if held is None or held.login is None:
            return
        former, login = held.login, self._logins.renew(held.login, password)
        held.login = login
        self.log.info("a client of {account} has changed its password", account=bare)
        self._set_refused(held, False)
        held.stream.mended()
        if held.account.rooms:
            held.stream.reopen()
        held.proving.start(login, lambda: self._proved(held, login), lambda: self._disproved(held, login, former))

    def _proved(self, held: _Held, login: Login) -> None:
        if held.login is login:
            self._keep(held)
            self.log.info("the new password of {account} is learned", account=held.bare)

    def _disproved(self, held: _Held, login: Login, former: Login) -> None:
        self.log.warn("the server says that the password of {account} was changed, and refuses it", account=held.bare)
        if held.login is login:
            held.login = former

    def restore(self, kept: list[KeptAccount]) -> None:
        """Take the accounts that were kept: those that are in rooms come back into them, a few at a time."""
        for account in kept:
            try:
                self._restore(account)
            except Exception:  # noqa: BLE001 (one damaged account must not cost the others)
                self.log.failure("while restoring {account}", account=account.bare)

    def kept(self) -> Iterator[KeptAccount]:
        """Yield all accounts with the messages that they have in memory."""
        for held in self._held.values():
            yield KeptAccount(held.bare, held.kept, held.refused, held.last_seen, held.account.kept_rooms())

    def _restore(self, kept: KeptAccount) -> None:
        if not self._is_needed(kept.last_seen, bool(kept.rooms)):
            self.log.info("{account} had no client for long enough: forgotten", account=kept.bare)
            self._journal.account_forgotten(kept.bare)
            return
        held = self._make(kept.bare)
        # The clock may have been set back meanwhile: nobody was here later than now.
        held.last_seen = held.kept_seen = min(kept.last_seen, wall_time(self._clock))
        held.kept, held.refused = kept.login, kept.refused
        held.login = self._logins.revive(kept.login, kept.bare) if kept.login is not None else None
        self._discard_password(held)
        held.account.restore(kept)
        if held.login is None or held.refused:
            held.stream.refuse()
            self.log.warn("{account} waits for a client to log in: no usable login was kept", account=held.bare)
        elif held.account.rooms:
            held.stream.reopen()
        else:
            self._idle(held.account)

    def _make(self, bare: str) -> _Held:
        limits = self._settings.limits
        stream = AccountStream(
            bare,
            lambda: self._open(held),
            self._clock,
            self._turns_of(parse_jid(bare).domain),
            ping_interval=self._settings.rooms.ping_interval,
            sendable=Sendable(limits.stanza_size, limits.stanza_depth),
        )
        account = Account(
            bare,
            stream,
            self._settings.rooms,
            self._clock,
            self._idle,
            self._client_of,
            self._rejoins,
            self._journal,
        )
        held = self._held[bare] = _Held(
            account,
            stream,
            Timer(self._clock),
            PasswordCheck(bare, self._clock, self._prove),
            None,
            wall_time(self._clock),
        )
        stream.handlers = account_handlers(account)
        stream.opened = lambda: self._opened(held)
        stream.lost = account.stream_lost
        stream.refused = lambda: self._refused(held)
        stream.ping = account.keep_alive
        stream.not_sent = account.not_sent
        stream.left_out = lambda skipped: account.left_out(skipped.name, skipped.attributes, skipped.reason)
        account.planned_jid = lambda: f"{bare}/{self._resource(bare)}"
        account.unattended = lambda: self._unattended(held)
        account.forgotten = lambda: self._forgotten(held)
        return held

    def _turns_of(self, domain: str) -> Slots:
        turns = self._turns.get(domain)
        if turns is None:
            turns = Slots(self._clock, OPENINGS_PER_SECOND, OPENINGS_PER_SECOND, OPENINGS_AT_ONCE)
            self._turns[domain] = turns
        return turns

    def _client_of(self, address: str, room: str) -> str | None:
        """Return the client by which the account with that account stream is in a room (see `neighbours`)."""
        held = self._held.get(address.partition("/")[0])
        known = held is not None and held.account.stream_jid_or_planned == address
        return held.account.client_in(room) if held is not None and known else None

    # Their streams ---------------------------------------------------------------------------------------------

    async def _open(self, held: _Held) -> tuple[FramedXmlStream, str]:
        login = held.used = held.login
        if login is None:
            raise CredentialRefused("no usable login was kept")
        return await self._connect(login, self._resource(held.bare))

    def _opened(self, held: _Held) -> None:
        held.used, held.forgotten = None, False
        self._keep(held)  # the server may have shown that its salt lasts, or does not
        held.account.stream_opened()

    def _refused(self, held: _Held) -> None:
        if held.login is not held.used:  # a client has logged in while the old login was being refused
            held.stream.mended()
            held.account.stream_lost()
            return
        self._set_refused(held, True)
        held.account.stream_refused()

    def _set_refused(self, held: _Held, refused: bool) -> None:
        if held.refused is not refused:
            held.refused = refused
            self._journal.account_refused(held.bare, refused)

    # What is kept of them --------------------------------------------------------------------------------------

    def _keep(self, held: _Held) -> None:
        """Journal what has changed of the login, and when there was a client last if that is long ago on disk."""
        kept = self._logins.keep(held.login, held.kept) if held.login is not None else held.kept
        if kept != held.kept:
            self._journal.account_kept(held.bare, kept, held.last_seen)
            held.kept, held.kept_seen = kept, held.last_seen
        elif held.last_seen - held.kept_seen >= self._seen_interval:
            self._keep_seen(held)

    def _keep_seen(self, held: _Held) -> None:
        self._journal.account_kept(held.bare, None, held.last_seen)
        held.kept_seen = held.last_seen

    def _keep_seen_of_all(self) -> None:
        """A client may stay connected for longer than accounts without one are kept."""
        self._seen.start(self._seen_interval, self._keep_seen_of_all)
        for held in self._held.values():
            if held.account.sessions and not held.forgotten:
                held.last_seen = wall_time(self._clock)
                self._keep_seen(held)

    def _discard_password(self, held: _Held) -> None:
        """A password that was kept goes from the disk when the configuration allows it no more."""
        kept = held.kept
        domain = self._settings.domain.get(kept.domain) if kept is not None else None
        if kept is not None and kept.password is not None and domain is not None and not domain.keep_passwords:
            held.kept = KeptLogin(kept.domain, kept.username)
            self._journal.account_kept(held.bare, held.kept, held.last_seen)

    # Accounts go -----------------------------------------------------------------------------------------------

    def _unattended(self, held: _Held) -> None:
        """The last client has gone."""
        held.last_seen = wall_time(self._clock)
        if not held.forgotten:
            self._keep_seen(held)

    def _idle(self, account: Account) -> None:
        """An account has neither sessions nor rooms; bookmarks may still bring it into some."""
        held = self._held.get(account.bare)
        if held is None or held.account is not account:
            return
        if held.forgotten or not self._is_needed(held.last_seen, False):
            self._forget(held)
        else:
            stay = self._settings.rooms.stay
            remaining = min(max(0.0, held.last_seen + stay - wall_time(self._clock)), stay)
            held.idle.start(remaining, lambda: self._idle_for_long(held))

    def _idle_for_long(self, held: _Held) -> None:
        if held.account.rooms:  # by bookmarks: it leaves them first
            held.account.forget()
        else:
            self._forget(held)

    def _is_needed(self, last_seen: float, has_rooms: bool) -> bool:
        """Tell whether an account without sessions is to be kept."""
        rooms = self._settings.rooms
        return last_seen + rooms.stay > wall_time(self._clock) and (has_rooms or rooms.bookmarks != "off")

    def forget(self, bare: str) -> Deferred[bool]:
        """Have an account be as if it had never been here: for one that was deleted at the server.

        It leaves its rooms, its stream is closed, and nothing of it is kept. Its sessions end with the stream error
        `reset` (RFC 6120 §4.9.3.16), which has clients log in anew, if the server still knows the account.
        Whoever owns the address then begins with nothing. The result fires, with whether the account was known, when
        nothing of it is left on disk; that waits for as long as state cannot be written.
        """
        return self._end(bare, "reset", "the account was forgotten", copies=True)

    def removed(self, bare: str) -> None:
        """A client has removed the account, and the server agrees: whoever makes it anew gets nothing of this one.

        Clients may do so again and again, if the server lets them register: what costs others time comes later, and
        for many at once.
        """
        ending = self._end(bare, "not-authorized", "the account was removed", copies=False)
        ending.addCallback(lambda _known: self.log.info("nothing of {account} is kept any more", account=bare))
        ending.addErrback(lambda failure: self.log.failure("while forgetting {account}", failure, account=bare))

    def _end(self, bare: str, condition: str, text: str, *, copies: bool) -> Deferred[bool]:
        held = self._held.pop(bare, None)
        if held is not None:
            sessions = held.account.end()
            self._discard(held)
            for session in sessions:
                session.close(condition, text)
        known = self._journal.account_forgotten(bare) or held is not None
        if known:
            self.log.info("{account} is forgotten", account=bare)
        return self._journal.erased(copies=copies).addCallback(lambda _: known)

    def _forget(self, held: _Held) -> None:
        del self._held[held.bare]
        self._discard(held)
        self._journal.account_forgotten(held.bare)

    def _discard(self, held: _Held) -> None:
        held.idle.stop()
        held.proving.stop()
        held.account.stop()
        held.stream.close()

    def _forgotten(self, held: _Held) -> None:
        """Its owner wants nothing to be kept; it is in memory for as long as it has sessions."""
        held.kept, held.kept_seen, held.refused, held.forgotten = None, 0.0, False, True
        self._journal.account_forgotten(held.bare)

    # The service -----------------------------------------------------------------------------------------------

    def startService(self) -> None:
        """From now on, note now and then which accounts have clients."""
        super().startService()
        self._seen.start(self._seen_interval, self._keep_seen_of_all)

    def stopService(self) -> Deferred[Any]:
        """Close every account stream. What is kept of accounts and rooms stays: they come back after the start."""
        super().stopService()
        self._seen.stop()
        for turns in self._turns.values():
            turns.stop()
        self._rejoins.stop()
        for held in self._held.values():
            held.idle.stop()
            held.proving.stop()
            held.account.stop()
        return DeferredList([held.stream.shut_down() for held in self._held.values()], consumeErrors=True)
