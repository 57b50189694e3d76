"""Which accounts there are: made with the first session or after a restart, forgotten when nothing needs them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, succeed

from minimixproxy.accountstream.account_login import AccountLogin, LoginContext
from minimixproxy.accountstream.enrolling import Enrolling
from minimixproxy.accountstream.held_account import BLOCKED, HeldAccount, is_needed
from minimixproxy.accountstream.known_keys import AccountKeys
from minimixproxy.accountstream.reconfiguring import Reconfiguring
from minimixproxy.accountstream.returning import Returning
from minimixproxy.accountstream.seen_clients import SeenClients
from minimixproxy.accountstream.stream import AccountStream
from minimixproxy.jids import parse_jid
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.account import Account
from minimixproxy.minimix.interfaces.enrolling import Enrolled, NotEnrolled, Refused
from minimixproxy.minimix.interfaces.handed import HandedAccount, Revive
from minimixproxy.minimix.interfaces.journal import KeptAccount, when_on_disk
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.minimix.room.context import AccountContext
from minimixproxy.timing.answered_line import OPENINGS
from minimixproxy.timing.answered_lines import AnsweredLines
from minimixproxy.timing.clock import wall_time
from minimixproxy.timing.lines import Line
from minimixproxy.wire.lazy_stanzas import Output

if TYPE_CHECKING:
    from minimixproxy.c2s.upstream.connecting import Login

# All account streams come back at the pace at which their servers open them, each domain's in a line of its own (see
# `AnswerWindow`); but no more of all domains in a second than these: each is some milliseconds of work.
OPENINGS_PER_SECOND = 100
OPENINGS_BURST = 10


class Accounts(MultiService):
    """All accounts by bare JID; their streams are the services under this one.

    One account, one holder: everything about it happens in its `Account`.
    """

    log = Logger()

    def __init__(self, context: LoginContext) -> None:
        super().__init__()
        self._clock = context.clock
        self._journal = context.journal
        self.given_out = context.journal.given_out  # asked with every write
        self.logins = context
        self._rejoins = AnsweredLines(context.clock)
        self.shared = AccountContext(
            context.settings.rooms,
            context.clock,
            context.journal,
            self._client_of,
            self._rejoins,
            context.settings.push,
        )
        self.known_keys = AccountKeys(context.enrolled, self._login_of)
        self.enrolling = Enrolling(self, context.logins, context.enrolled, self.known_keys)
        self._held: dict[str, HeldAccount] = {}
        self._handed: dict[str, tuple[HandedAccount, Revive]] = {}  # of those that are about to be restored
        self._returning = Returning(context.clock, self._restore)
        self._openings = AnsweredLines(context.clock, OPENINGS_PER_SECOND, OPENINGS_BURST, OPENINGS)
        self._seen = SeenClients(context.clock, lambda: list(self._held.values()), self.holds)
        self.reconfiguring = Reconfiguring(
            context.clock, context.settings.domain, lambda: list(self._held.values()), self.holds
        )

    def __len__(self) -> int:
        return len(self._held)

    def with_streams(self) -> Iterable[tuple[Account, AccountStream]]:
        """Return every account with its stream."""
        return [(held.account, held.stream) for held in self._held.values()]

    def with_stream(self, bare: str) -> tuple[Account, AccountStream] | None:
        """Return the account of a bare JID, and its stream; None if it is not held."""
        held = self._find(bare)
        return (held.account, held.stream) if held is not None else None

    def gated(self, deliver: Callable[[Output], None]) -> Callable[[Output], None]:
        """Return a function like `deliver` that waits for the journal (see there)."""
        return self._journal.gated(deliver)

    # Accounts come ---------------------------------------------------------------------------------------------

    def is_elsewhere(self, bare: str) -> bool:
        """Tell whether an account is not this process's: a client may take so long to bind that it was let go."""
        return not self.logins.is_held(bare)

    def session_bound(self, session: SessionPort, login: Login) -> Account:
        """A client has bound a resource; return its account. The latest login is the one that opens streams."""
        return self._held_for(session).session_bound(session, login)

    def session_restored(self, session: SessionPort, login: Login) -> Account:
        """Another process had a session; return its account, which may know a later login than that one."""
        return self._held_for(session).session_restored(session, login)

    def _held_for(self, session: SessionPort) -> HeldAccount:
        bare = parse_jid(session.jid).bare
        held = self._find(bare) or self._hold(bare)
        if self.is_blocked(bare):  # it was blocked between its login and this
            self._clock.callLater(0, session.close, "not-authorized", BLOCKED)
        return held

    def logged_in(self, bare: str, login: Login) -> None:
        """A client has logged in anew, and goes on with a session of its account: that login opens streams from now on.

        A client that resumes need never bind again, and it may be the only one that knows a new password.
        """
        held = self._find(bare)
        if held is not None:
            held.logged_in(login)

    def enroll(self, bare: str, password: str) -> Awaitable[Enrolled]:
        """Ask the server about an account's password for one of its clients. Raises `NotEnrolled`."""
        too_many = NotEnrolled("there were too many attempts, try again later")
        return self.logins.guard.tried(bare, lambda: self.enrolling.by_password(bare, password), Refused, too_many)

    def password_changed(self, bare: str, password: str) -> None:
        """The server has taken another password for the account: what opens streams from now on, and is kept."""
        self.logins.enrolled.withdraw(bare)
        held = self._find(bare)
        if held is not None:
            held.password_changed(password)

    def enrolled(self, bare: str, login: Login, *, hold: bool) -> bool:
        """Have a login that the server has just taken open the account's stream from now on. See `Holding`."""
        held = self._find(bare) or (self._hold(bare) if hold else None)
        if held is not None:
            held.enrolled(login)
        return held is not None

    def take_over(self, kept: list[KeptAccount], handed: Mapping[str, HandedAccount], revive: Revive) -> None:
        """Take accounts as they were kept, with sessions that another process had of some, by bare JID."""
        self._handed.update((bare, (account, revive)) for bare, account in handed.items())
        self.restore(kept)
        for bare in handed.keys() - {account.bare for account in kept}:
            self._hold(bare)
            self._go_on(bare, *self._handed.pop(bare))
            held = self._held[bare]
            if not held.account.sessions:
                held.idle()

    def restore(self, kept: list[KeptAccount]) -> None:
        """Take the accounts that were kept: those that are in rooms come back into them, a few at a time.

        Clients may log in at once (see `Returning`).
        """
        names = [account.bare for account in kept]
        self._returning.begin(kept, lambda: self._restored(names))

    def _restored(self, names: list[str]) -> None:
        waiting = [bare for bare in names if (held := self._held.get(bare)) and held.waits]
        if waiting:
            self.log.warn(
                "{number} of {all} accounts wait for a client to log in, as no usable login was kept: {some}",
                number=len(waiting),
                all=len(names),
                some=", ".join(waiting[:3]) + (", and others" if len(waiting) > 3 else ""),
            )

    def _restore(self, kept: KeptAccount) -> None:
        try:
            self._take(kept)
        except Exception:  # noqa: BLE001 (one damaged account must not cost the others)
            self.log.failure("while restoring {account}", account=kept.bare)

    def _take(self, kept: KeptAccount) -> None:
        handed = self._handed.pop(kept.bare, None)
        if handed is not None or is_needed(kept.bare, kept.last_seen, bool(kept.rooms), self.logins):
            self._hold(kept.bare).restore(kept)
            if handed is not None:
                self._go_on(kept.bare, *handed)
        else:
            self.log.info("{account} had no client for long enough: forgotten", account=kept.bare)
            self._journal.account_expired(kept.bare)

    def _go_on(self, bare: str, handed: HandedAccount, revive: Revive) -> None:
        """Go on with sessions, as far as they can be and have not slept for too long, before rooms are joined again."""
        age = wall_time(self._clock) - handed.time
        for session in handed.sessions:
            try:
                login = self.logins.logins.revive(session.login, bare)
                if login is not None and age < session.client.seconds:
                    revive(session, login)
            except Exception:  # noqa: BLE001 (one damaged session must not cost the others)
                self.log.failure("while a session of {account} was gone on with", account=bare)
        held = self._held.get(bare)  # none, if none of them could be, and nothing else needs the account
        try:
            if held is not None:
                held.account.take_over(handed)
        except Exception:  # noqa: BLE001 (nor what one account's rooms have shown all others)
            self.log.failure("while {account} was gone on with", account=bare)

    def _find(self, bare: str) -> HeldAccount | None:
        self._returning.first(bare)
        return self._held.get(bare)

    def kept(self) -> Iterator[KeptAccount]:
        """Yield all accounts with the messages that they have in memory."""
        yield from self._returning.waiting
        yield from (held.kept() for held in self._held.values())

    def knows(self, bare: str) -> bool:
        """Tell whether an account is in memory, restored already or not."""
        return bare in self._held or self._returning.has(bare)

    def is_idle(self, bare: str) -> bool:
        """Tell whether an account has no clients, and nothing is under way in its rooms: then others may have it."""
        held = self._held.get(bare)
        return held is not None and held.account.is_idle

    def rests(self, bare: str) -> bool:
        """Tell whether others may have an account together with its sessions, and its clients would hardly notice."""
        held = self._held.get(bare)
        return held is not None and held.account.rests

    def dismiss(self, bare: str) -> Deferred[HandedAccount | None]:
        """Another process is to have an account: end its sessions. Fires when none is left, within seconds.

        That journals what its clients have seen. With what is handed on, None if there is nothing: of sessions that
        can be resumed, and all that rooms have said by then has come to them. The others are told to come again.
        """
        held = self._find(bare)
        sessions = list(held.account.sessions) if held is not None else []
        settled = [Deferred[None]() for _ in sessions]
        for session, done in zip(sessions, settled, strict=True):
            self._settle(session, partial(done.callback, None))
        if not sessions:
            return succeed(None)
        all_settled: Deferred[Any] = DeferredList(settled)
        all_settled.addCallback(lambda _: self._given_out(bare))
        return all_settled.addCallback(lambda _: self._part_with_sessions(bare))

    def _given_out(self, bare: str) -> Deferred[None]:
        """Fires when all that was said to sessions, by rooms or by the account itself, has come to them.

        Nothing may stand behind that at the gate: a session that is gone gets no more of it. So from now on nothing
        more is read; what was read together with what has led here is handled in this turn. What stands behind it all
        the same, and is released with it, is given out first.
        """
        held = self._held.get(bare)
        if held is not None:
            held.let_wait()
        passed = Deferred[None]()
        in_the_next_turn = partial(self._clock.callLater, 0, passed.callback, None)
        self._clock.callLater(0, when_on_disk(self._journal), in_the_next_turn)
        return passed

    def _settle(self, session: SessionPort, done: Callable[[], None]) -> None:
        try:
            session.when_settled(done)
        except Exception:  # noqa: BLE001 (a fault with one session must not keep the account here)
            self.log.failure("while {jid} was about to end", jid=session.jid)
            done()

    def _part_with_sessions(self, bare: str) -> HandedAccount | None:
        held = self._held.get(bare)
        if held is None:
            return None
        handed = None
        try:
            handed = held.hand_on()
        except Exception:  # noqa: BLE001 (nothing more is read of it here: it has to go on elsewhere)
            self.log.failure("while {account} was handed on", account=bare)
        for session in list(held.account.sessions):
            session.close("system-shutdown")
        return handed

    def drop(self, bare: str) -> None:
        """Another process has an account, and comes back into its rooms. Nothing of it is journalled any more."""
        held = self._held.pop(bare)
        held.account.end()
        self._release(held)
        self.shared.endings.forgotten(bare)

    def _hold(self, bare: str) -> HeldAccount:
        held = self._held[bare] = HeldAccount(bare, self)
        held.stream.setServiceParent(self)
        return held

    def line_of(self, bare: str) -> Line:
        """Return what an account's stream opens through: the line of its domain."""
        return self._openings.of(parse_jid(bare).domain, bare)

    def _login_of(self, bare: str) -> AccountLogin | None:
        held = self._find(bare)
        return held.login if held is not None else None

    def _client_of(self, address: str, room: str) -> str | None:
        """Return the client by which the account with that account stream is in a room (see `local_accounts`)."""
        held = self._held.get(address.partition("/")[0])
        if held is None or held.account.address() != address:
            return None
        return held.account.client_in(room)

    # Accounts are blocked, and no more ---------------------------------------------------------------------------

    def is_blocked(self, bare: str) -> bool:
        """Tell whether the operator has blocked an account."""
        return bare in self.logins.blocked

    def blocked(self, bare: str) -> int:
        """The operator has blocked an account. Return how many sessions that has ended."""
        held = self._find(bare)
        if held is None:
            return 0
        number = len(held.account.sessions)
        held.blocked()
        return number

    def unblocked(self, bare: str) -> None:
        """It is not blocked any more: it comes back into the rooms that are kept."""
        held = self._find(bare)
        if held is not None:
            held.unblocked()

    # Accounts go -----------------------------------------------------------------------------------------------

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
        self._returning.first(bare)
        held = self._held.pop(bare, None)
        if held is not None:
            sessions = held.account.end()
            self._release(held)
            for session in sessions:
                session.close(condition, text)
        self.shared.endings.forgotten(bare)
        known = self._journal.account_forgotten(bare) or held is not None
        if known:
            self.log.info("{account} is forgotten", account=bare)
        return self._journal.erased(copies=copies).addCallback(lambda _: known)

    def holds(self, held: HeldAccount) -> bool:
        """Tell whether an account is not forgotten."""
        return self._held.get(held.bare) is held

    def not_needed(self, held: HeldAccount) -> None:
        """An account is not to be held any more, nor anything of it on disk."""
        if self.holds(held):
            del self._held[held.bare]
            self._release(held)
            self._journal.account_expired(held.bare)

    @staticmethod
    def _release(held: HeldAccount) -> None:
        held.stop()
        held.stream.disownServiceParent()
        held.stream.close()

    # The service -----------------------------------------------------------------------------------------------

    def startService(self) -> None:
        """From now on, note now and then which accounts have clients."""
        super().startService()
        self._seen.start(lambda: self.logins.seen_interval)

    def stopService(self) -> Deferred[Any]:
        """Close every account stream. What is kept of accounts and rooms stays: they come back after the start."""
        self._seen.stop()
        self._returning.stop()
        self.reconfiguring.stop()
        self._openings.stop()
        self._rejoins.stop()
        for held in self._held.values():
            held.stop()
        stopped: Deferred[Any] = super().stopService()
        return stopped
