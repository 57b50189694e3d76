"""The rows of accounts and their rooms: which there are, their numbers, and what of them is sealed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from time import time
from typing import Any

from minimixproxy.minimix.interfaces.journal import KeptAccount, KeptLogin, KeptPush
from minimixproxy.storage.batch import Batch
from minimixproxy.storage.bodies import Placing
from minimixproxy.storage.gathering import Gathering
from minimixproxy.storage.loading import LoadedAccount
from minimixproxy.storage.push_column import push_column
from minimixproxy.storage.room_journal import SQLRoomJournal
from minimixproxy.storage.sealing import Sealer


class _Account:
    """What is to be known of an account to write its row."""

    __slots__ = ("bare", "id", "last_seen", "login", "push", "refused", "rooms", "unfollowed")

    def __init__(self, number: int, bare: str) -> None:
        self.id = number
        self.bare = bare
        self.refused = False
        self.last_seen = 0.0
        self.login: tuple[Any, ...] = (None,) * 8  # the row's columns from `domain` on, sealed
        self.unfollowed: str | None = None  # as in the row
        self.push: bytes | None = None  # the same
        self.rooms: dict[str, SQLRoomJournal] = {}  # those that have a row

    def row(self) -> tuple[Any, ...]:
        return (self.id, self.bare, self.refused, self.last_seen, *self.login, self.unfollowed, self.push)


class AccountRows:
    """All accounts that have a row. Calls of the journal about them become rows of the batch that is gathered."""

    def __init__(
        self, gathering: Gathering, sealer: Sealer, accounts: Iterable[LoadedAccount], bodies: Placing, last_id: int
    ) -> None:
        """`accounts`: those that are in the database; `last_id`: the highest number of a row ever given.

        `bodies`: what their messages say.
        """
        self.bodies = bodies
        self._gathering = gathering
        self._sealer = sealer
        self._last_id = last_id
        self._accounts: dict[str, _Account] = {}
        self._push: dict[str, bytes] = {}  # what devices have enabled in accounts that have no row yet
        self._devices: dict[str, dict[str, int]] = {}  # that acknowledge, and how far they have, by bare JID
        for loaded in accounts:
            self._restore(loaded)

    def _restore(self, loaded: LoadedAccount) -> None:
        kept = loaded.kept
        account = self._accounts[kept.bare] = _Account(loaded.id, kept.bare)
        account.refused, account.last_seen, account.login = kept.refused, kept.last_seen, tuple(loaded.login)
        account.unfollowed, account.push = _unfollowed_column(kept.unfollowed), loaded.push
        for room in loaded.rooms.values():
            journal = account.rooms[room.kept.room] = SQLRoomJournal(self._gathering, self, kept.bare, room.kept.room)
            journal.loaded(room.id, room.kept.membership, room.messages)

    # Accounts come and go, in a cluster ------------------------------------------------------------------------

    def adopt(self, accounts: Iterable[LoadedAccount]) -> None:
        """These were another process's, or nobody's; their rows are in the database."""
        for loaded in accounts:
            self._restore(loaded)

    def let_go(self, bare: str) -> None:
        """The account is another process's from now on, or nobody's. Its rows stay."""
        account = self._accounts.pop(bare, None)
        for room in account.rooms.values() if account is not None else ():
            room.part()
        self._push.pop(bare, None)
        self._devices.pop(bare, None)

    # For the journal -------------------------------------------------------------------------------------------

    def room(self, bare: str, room: str) -> SQLRoomJournal:
        """Return the journal of a room, a new one if it has no row."""
        account = self._accounts.get(bare)
        known = account.rooms.get(room) if account is not None else None
        return known or SQLRoomJournal(self._gathering, self, bare, room)

    def kept(self, bare: str, login: KeptLogin | None, last_seen: float) -> None:
        """The account is known; by this login from now on, if it is not None."""
        account = self._accounts.get(bare) or self._new(bare)
        account.last_seen = last_seen
        if login is not None:
            account.login = self._sealed_login(bare, login)
        self._batch().accounts[account.id] = account.row()

    def refused(self, bare: str, refused: bool) -> None:
        """The server refuses the login of the account, or takes it again."""
        account = self._accounts.get(bare)
        if account is not None and account.refused != refused:
            account.refused = refused
            self._batch().accounts[account.id] = account.row()

    def unfollowed(self, bare: str, rooms: Mapping[str, str | None]) -> None:
        """These are the rooms whose bookmarks are not followed. Of an account without a row, nothing is kept."""
        account, column = self._accounts.get(bare), _unfollowed_column(rooms)
        if account is not None and account.unfollowed != column:
            account.unfollowed = column
            self._batch().accounts[account.id] = account.row()

    def push_enabled(self, bare: str, enabled: tuple[KeptPush, ...]) -> None:
        """This is what devices of the account have enabled. It is on disk for as long as the account is."""
        account, column = self._accounts.get(bare), push_column(bare, enabled, self._sealer)
        if account is None:
            self._push.pop(bare, None)
            if column is not None:
                self._push[bare] = column
        elif column is not None or account.push is not None:
            account.push = column
            self._batch().accounts[account.id] = account.row()

    def forgotten(self, bare: str) -> bool:
        """The account's rows go, its rooms' too. Return whether there were any."""
        self._push.pop(bare, None)
        account = self._accounts.get(bare)
        if account is None:
            return False
        for room in list(account.rooms.values()):
            room.forgotten()
        batch = self._batch()
        batch.accounts.pop(account.id, None)
        batch.gone_accounts.append(account.id)
        batch.erases = batch.leaves_copies = True
        del self._accounts[bare]
        return True

    def acknowledged(self, bare: str, resource: str, sequence: int) -> None:
        """A device has acknowledged everything up to a message. That is on disk for as long as the account is."""
        self._devices.setdefault(bare, {})[resource] = sequence
        account = self._accounts.get(bare)
        if account is not None:
            self._batch().acknowledged[account.id, resource] = sequence

    def not_managed(self, bare: str, resource: str) -> None:
        """A device is not there any more, or does not acknowledge."""
        devices = self._devices.get(bare, {})
        if devices.pop(resource, None) is None:
            return
        if not devices:
            del self._devices[bare]
        account = self._accounts.get(bare)
        if account is not None:
            self._batch().acknowledged[account.id, resource] = None

    def replace_history(self, batch: Batch, accounts: Iterable[KeptAccount]) -> None:
        """Have the messages of these accounts written in the place of all that are in the database."""
        batch.drop_history()
        batch.replaces_history = self.bodies.shared
        self.bodies.clear()
        known_rooms = [journal for known in self._accounts.values() for journal in known.rooms.values()]
        for journal in known_rooms:
            journal.no_history()
        if not self.bodies.shared:  # others have a part of the database
            batch.replaced_rooms = [journal.id for journal in known_rooms]
        for account in accounts:
            for room in account.rooms:
                journal = self.room(account.bare, room.room)
                if journal.id:
                    journal.history(batch, room.messages, room.privates)

    # For SQLRoomJournal ----------------------------------------------------------------------------------------

    def account_id(self, bare: str) -> int:
        """Return the number of an account, which gets a row if it has none."""
        account = self._accounts.get(bare)
        if account is None:
            self.kept(bare, None, time())
            account = self._accounts[bare]
        return account.id

    def room_added(self, bare: str, room: str, journal: SQLRoomJournal) -> int:
        """Return a number for a room's row, in the place of any that the account's room had before."""
        former = self._accounts[bare].rooms.get(room)
        if former is not None:
            former.forgotten()
        self._accounts[bare].rooms[room] = journal
        return self._next_id()

    def room_removed(self, bare: str, room: str) -> None:
        """The room has no row any more."""
        self._accounts[bare].rooms.pop(room, None)

    def sealed(self, text: str | None, *place: str) -> bytes | None:
        """Return a password as the database may have it."""
        return None if text is None else self._sealer.seal(text.encode(), *place)

    # -----------------------------------------------------------------------------------------------------------

    def _batch(self) -> Batch:
        return self._gathering.batch or self._gathering.begin()

    def _next_id(self) -> int:
        self._last_id += self._gathering.step
        return self._last_id

    def _new(self, bare: str) -> _Account:
        account = self._accounts[bare] = _Account(self._next_id(), bare)
        account.push = self._push.pop(bare, None)
        devices = self._devices.get(bare, {})
        self._batch().acknowledged.update({(account.id, resource): devices[resource] for resource in devices})
        return account

    def _sealed_login(self, bare: str, login: KeptLogin) -> tuple[Any, ...]:
        return (
            login.domain,
            login.username,
            login.hash_name,
            login.salt,
            login.iterations,
            self._sealer.seal(login.client_key, bare, "client_key") if login.client_key else None,
            self._sealer.seal(login.server_key, bare, "server_key") if login.server_key else None,
            self.sealed(login.password, bare, "password"),
        )


def _unfollowed_column(rooms: Mapping[str, str | None]) -> str | None:
    return json.dumps(dict(rooms)) if rooms else None
