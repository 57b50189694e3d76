"""The journal of all accounts in a database: what is journalled in a turn of the reactor becomes one transaction.

It composes its parts: rows of accounts and rooms (`account_rows`) enter the batch that is gathered (`gathering`), which
is written in time (`durability`). What clients are told waits at the gate with the batch before it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred

from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.handed import HandedAccount
from minimixproxy.minimix.interfaces.journal import KeptAccount, KeptLogin, KeptPush, TokenDevice
from minimixproxy.sasl.keys import Keys
from minimixproxy.storage.account_rows import AccountRows
from minimixproxy.storage.batch import Batch, Erasure
from minimixproxy.storage.blocked_accounts import Block, BlockedAccounts
from minimixproxy.storage.bodies import Placing
from minimixproxy.storage.durability import Durability, JournalStatus, Outlet
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.given_out import Mark
from minimixproxy.storage.handed_accounts import HANDED, encoded
from minimixproxy.storage.loading import LoadedAccount
from minimixproxy.storage.login_keys import LoginKeys
from minimixproxy.storage.login_tokens import Kept, LoginTokens
from minimixproxy.storage.numbering import Numbering
from minimixproxy.storage.room_journal import SQLRoomJournal
from minimixproxy.storage.sealing import Sealer
from minimixproxy.storage.writer import Writing
from minimixproxy.timing.clock import Clock
from minimixproxy.timing.turn_end import TurnEnd
from minimixproxy.wire.lazy_stanzas import Output


@dataclass(frozen=True, slots=True)
class OpenState:
    """State that was opened: what is in it, and what goes on from there."""

    accounts: list[LoadedAccount]
    login_keys: Mapping[str, tuple[Keys, ...]]  # by bare JID
    login_tokens: Mapping[str, Mapping[str, Kept]]  # by bare JID and device
    blocked: Mapping[str, Block]  # by bare JID
    bodies: Placing  # what messages say
    last_id: int
    last_sequence: int
    writer: Writing
    sealer: Sealer
    given_out: Mark
    numbering: Numbering = field(default_factory=Numbering)


@dataclass(frozen=True, slots=True)
class Adopted:
    """Accounts that this process of a cluster has taken, as they are in the database.

    `last_sequence`: the highest of their messages'.
    """

    names: Sequence[str]  # of all, also of those that have nothing in the database
    accounts: list[LoadedAccount]
    login_keys: Mapping[str, tuple[Keys, ...]]  # by bare JID
    login_tokens: Mapping[str, Mapping[str, Kept]]  # by bare JID and device
    blocked: Mapping[str, Block]  # by bare JID
    last_sequence: int
    handed: Mapping[str, HandedAccount] = field(default_factory=dict)  # by bare JID, what came along

    def without(self, names: Container[str]) -> Adopted:
        """Return the same but for these accounts."""
        if not any(bare in names for bare in self.names):
            return self
        return Adopted(
            [bare for bare in self.names if bare not in names],
            [account for account in self.accounts if account.kept.bare not in names],
            {bare: one for bare, one in self.login_keys.items() if bare not in names},
            {bare: one for bare, one in self.login_tokens.items() if bare not in names},
            {bare: one for bare, one in self.blocked.items() if bare not in names},
            self.last_sequence,
            {bare: one for bare, one in self.handed.items() if bare not in names},
        )


class SQLJournal:
    """Implements `minimix.interfaces.journal.Journal`. Call `start` before anything is journalled."""

    log = Logger()

    def __init__(self, clock: Clock, turn_end: TurnEnd) -> None:
        self._durability = Durability(clock, turn_end)
        self.gathering = self._durability.gathering
        self.given_out = self.gathering.given_out
        self.login_keys = LoginKeys(self.gathering)
        self.login_tokens = LoginTokens(self.gathering, clock)
        self.blocked = BlockedAccounts(self.gathering)
        self._rows: AccountRows
        self._sealer: Sealer
        self._in_memory: Callable[[], Iterable[KeptAccount]] | None = None

    def start(
        self,
        state: OpenState,
        lost: Callable[[StateError], None],
        in_memory: Callable[[], Iterable[KeptAccount]] | None = None,
    ) -> None:
        """Begin to write.

        `lost` is called when another proxy has the database: nothing is written from then on, and nothing more is said.
        `in_memory` returns all that there is, when messages had to be let go. None: they stay lost to the database.
        """
        self._in_memory = in_memory
        self._sealer = state.sealer
        last_id = state.numbering.last_before(state.last_id)
        self._rows = AccountRows(self.gathering, state.sealer, state.accounts, state.bodies, last_id)
        self.login_keys.loaded(state.sealer, state.login_keys)
        self.login_tokens.loaded(state.sealer, state.login_tokens)
        self.blocked.loaded(state.blocked)
        outlet = Outlet(state.writer, state.given_out, self._complete, lost)
        self._durability.start(outlet, state.last_sequence, state.numbering)

    # Accounts come and go, in a cluster ------------------------------------------------------------------------

    def adopt(self, adopted: Adopted) -> None:
        """These accounts are this process's from now on: what is journalled of them goes on from there."""
        self.gathering.go_above(adopted.last_sequence)
        self._rows.adopt(adopted.accounts)
        self.login_keys.adopt(adopted.login_keys)
        self.login_tokens.adopt(adopted.login_tokens)
        self.blocked.adopt(adopted.blocked)

    def let_go(self, bare: str, *, to_others: bool, handed: HandedAccount | None = None) -> Deferred[None]:
        """An account is this process's no more, when that fires: all that was journalled of it is on disk then.

        `to_others`: another process is to take it; else nobody needs it, and nothing is kept of it. `handed`: what goes
        along.
        """
        self._rows.let_go(bare)
        self.login_keys.let_go(bare)
        self.login_tokens.let_go(bare)
        self.blocked.let_go(bare)
        batch = self.gathering.batch or self.gathering.begin()
        (batch.freed if to_others else batch.released).append(bare)
        if handed is not None:
            batch.handed[bare] = (bare, self._sealer.seal(encoded(handed), *HANDED, bare))
        done = Deferred[None]()
        batch.erased.append((Erasure.NOWHERE, done))
        return done

    # What is journalled ----------------------------------------------------------------------------------------

    def room(self, bare: str, room: str) -> SQLRoomJournal:
        return self._rows.room(bare, room)

    def account_kept(self, bare: str, login: KeptLogin | None, last_seen: float) -> None:
        self._rows.kept(bare, login, last_seen)

    def account_refused(self, bare: str, refused: bool) -> None:
        self._rows.refused(bare, refused)

    def bookmarks_unfollowed(self, bare: str, rooms: Mapping[str, str | None]) -> None:
        self._rows.unfollowed(bare, rooms)

    def token_devices(self, bare: str) -> list[TokenDevice]:
        return [TokenDevice(*device) for device in self.login_tokens.devices(bare)]

    def tokens_withdrawn(self, bare: str, device: str) -> None:
        self.login_tokens.withdraw(bare, device)

    def push_enabled(self, bare: str, enabled: tuple[KeptPush, ...]) -> None:
        self._rows.push_enabled(bare, enabled)

    def account_expired(self, bare: str) -> None:
        self._rows.forgotten(bare)

    def account_forgotten(self, bare: str) -> bool:
        keys_known = self.login_keys.forgotten(bare)
        tokens_known = self.login_tokens.forgotten(bare)
        return self._rows.forgotten(bare) or keys_known or tokens_known

    def acknowledged(self, bare: str, resource: str, sequence: int) -> None:
        self._rows.acknowledged(bare, resource, sequence)

    def not_managed(self, bare: str, resource: str) -> None:
        self._rows.not_managed(bare, resource)

    def erased(self, *, copies: bool) -> Deferred[None]:
        done = Deferred[None]()
        batch = self.gathering.batch or self.gathering.begin()
        batch.erased.append((Erasure.FILE if copies else Erasure.LOG, done))
        batch.erases = True
        batch.writes_anew = batch.writes_anew or copies
        return done

    def gated(self, deliver: Callable[[Output], None]) -> Callable[[Output], None]:
        return self._durability.gate.gated(deliver)

    @property
    def status(self) -> JournalStatus:
        """How writing goes."""
        return self._durability.status

    def stop(self) -> Deferred[None]:
        """Write what there is, and end. What cannot be written in some seconds is lost."""
        return self._durability.stop()

    def _complete(self, batch: Batch) -> None:
        """Messages were let go: have all that there are now written instead."""
        accounts = self._all_in_memory()
        if accounts is None:
            self._rows.bodies.rely_on_none()
            self.log.error("state on disk lacks messages that had no place while it could not be written")
            return
        self._rows.replace_history(batch, accounts)
        self.log.warn("state on disk has all messages again")

    def _all_in_memory(self) -> list[KeptAccount] | None:
        """Return all that there is, None if that cannot be told: by a fault of ours, which must not cost more."""
        if self._in_memory is None:
            return None
        try:
            return list(self._in_memory())
        except Exception:  # noqa: BLE001 (the edge: what is in the database stays, and writing goes on)
            self.log.failure("while all that is in memory was to be written")
            return None
