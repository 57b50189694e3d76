"""Reads what was kept. A row that cannot be used costs that row, and is logged; it is not deleted."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import time
from typing import Any, NamedTuple
from zlib import crc32

from sqlalchemy import Connection, LargeBinary, Table, cast, delete, not_, select, update

from minimixproxy.jids import is_jid, is_resource
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.journal import (
    KeptAccount,
    KeptLogin,
    KeptMembership,
    KeptMessage,
    KeptPrivate,
    KeptPush,
    KeptRoom,
)
from minimixproxy.sasl.keys import Keys
from minimixproxy.sasl.tokens import NO_DEVICE
from minimixproxy.storage import schema
from minimixproxy.storage.blocked_accounts import Block
from minimixproxy.storage.bodies import Bodies, Placed
from minimixproxy.storage.errors import BadRow
from minimixproxy.storage.login_keys import read_keys
from minimixproxy.storage.login_tokens import Kept, read_token
from minimixproxy.storage.numbering import highest
from minimixproxy.storage.push_column import read_push
from minimixproxy.storage.sealing import Sealer, Unsealable
from minimixproxy.storage.statements import DISOWNED
from minimixproxy.xep.delays import possible_time

Row = Sequence[Any]
_BATCH = 1000
MOST_DOWN = 86400.0  # seconds without a proxy that count as time without a client


@dataclass(slots=True)
class LoadedRoom:
    """A room with the number that it has in the database, and its messages: of bad ones only the number is known."""

    id: int
    kept: KeptRoom
    messages: list[Placed] = field(default_factory=list)


@dataclass(slots=True)
class LoadedAccount:
    """An account with its number, and its login and what devices enabled as they are in the row, sealed."""

    id: int
    kept: KeptAccount
    login: Row
    push: bytes | None = None
    rooms: dict[int, LoadedRoom] = field(default_factory=dict)


class GivenOutUpTo(NamedTuple):
    """Up to where messages were handed to sessions, None if that is not known. `of_accounts`: of some that is another.

    Those were another process's.
    """

    number: int | None
    of_accounts: Mapping[str, int] = {}

    def of(self, bare: str) -> int | None:
        """Return it for the sessions of one account."""
        return self.of_accounts.get(bare, self.number)


class Loader:
    """Reads a database on one connection, in its transaction: all of it, or what there is of some accounts."""

    log = Logger()

    def __init__(
        self,
        connection: Connection,
        name: str,
        sealer: Sealer,
        only: Collection[str] | None = None,
        *,
        down: float = 0.0,
    ) -> None:
        """`name`: of the database, for the log. `only`: these accounts, in PostgreSQL; a cluster has the others.

        `down`: for how many seconds no proxy has run, by the machine's clock. That is perhaps wrong for a while, at a
        start above all, and accounts that nobody has used for long are forgotten: so they grow older by a day at most.
        """
        self._connection = connection
        self._only = None if only is None else list(only)
        self._name = name
        self._sealer = sealer
        self._accounts: dict[int, LoadedAccount] = {}
        self._rooms: dict[int, LoadedRoom] = {}
        self._account_of: dict[int, int] = {}  # by number of the room
        self._acknowledged: dict[tuple[int, str], int] = {}  # by account and resource
        self.last_sequence = 0
        self.last_id = 0
        self._contents: dict[int, bytes] = {}  # of rows that others name, by sequence
        self._ownerless: list[int] = []  # sequences of rows that belong to no room
        self.bodies = Bodies()
        self._now = time()
        self._not_counted = max(0.0, down - MOST_DOWN)
        self._bad: list[tuple[Table, Any]] = []
        self.login_tokens: dict[str, dict[str, Kept]] = {}  # by bare JID and device
        self.blocked: dict[str, Block] = {}  # by bare JID
        self.login_keys: dict[str, tuple[Keys, ...]] = {}  # by bare JID; none, if none of an account's can be used

    def load(self, given_out: GivenOutUpTo) -> list[LoadedAccount]:
        """Return all accounts, or those that are asked for."""
        if self._only is None:
            self._sweep()
            self.last_id = highest(self._connection, schema.accounts.c.id, schema.rooms.c.id)
            last = highest(self._connection, schema.messages.c.sequence, schema.privates.c.sequence)
            self.last_sequence = max(last, given_out.number or 0, *given_out.of_accounts.values())
            self._contents = self._named()
        for table, take in (
            (schema.accounts, self._account),
            (schema.login_keys, self._keys),
            (schema.login_tokens, self._token),
            (schema.blocked, self._block),
            (schema.rooms, self._room),
            (schema.messages, self._message),
            (schema.privates, self._private),
            (schema.acknowledged, self._device),
        ):
            for row in self._rows(table):
                self._try(table, row, take)
        self._settle_cursors(given_out)
        if self._only is None:
            of_clusters = (schema.leases, schema.components, schema.holders, schema.handed)  # whose processes are over
            for cluster in of_clusters:
                self._connection.execute(delete(cluster))
        for row in self._rows(schema.cursors):
            self._try(schema.cursors, row, self._cursor)
        self._make_way()
        if self._only is None:
            self._restore_bodies()
        return list(self._accounts.values())

    def _named(self) -> dict[int, bytes]:
        """What is in the rows that messages name for what they say."""
        statement = "SELECT sequence, raw FROM messages WHERE sequence IN (SELECT body FROM messages)"
        found = self._connection.exec_driver_sql(statement, execution_options={"yield_per": _BATCH})
        return {sequence: raw for sequence, raw in found if isinstance(raw, bytes)}

    def _restore_bodies(self) -> None:
        """Take over which row has what, and delete rows that are no message and that none needs."""
        rooms = (room for account in self._accounts.values() for room in account.rooms.values())
        messages = (message for room in rooms for message in room.messages if message[1])
        unused = self.bodies.restore(messages, self._contents, self._ownerless)
        key = schema.messages.c.sequence
        for start in range(0, len(unused), _BATCH):
            self._connection.execute(delete(schema.messages).where(key.in_(unused[start : start + _BATCH])))

    def _rows(self, table: Table) -> Iterator[Row]:
        """Rows as the driver gives them: SQLite may hold anything anywhere, and converters would stumble over it."""
        order = ", ".join(column.name for column in table.primary_key)
        names = ", ".join(column.name for column in table.columns)
        where, parameters = "", None
        if self._only is not None:
            column, keys = self._part(table)
            where, parameters = f"WHERE {column} = ANY(%s) ", (list(keys),)
        statement = f"SELECT {names} FROM {table.name} {where}ORDER BY {order}"
        yield from self._connection.exec_driver_sql(statement, parameters, execution_options={"yield_per": _BATCH})

    def _part(self, table: Table) -> tuple[str, Collection[Any]]:
        """Return which rows are of the accounts that are asked for: a column, and what it may hold."""
        if "bare" in table.c:
            return "bare", self._only or ()
        return ("account_id", self._accounts) if "account_id" in table.c else ("room_id", self._rooms)

    def _try(self, table: Table, row: Row, take: Callable[[Row], None]) -> None:
        try:
            take(row)
        except BadRow as error:
            self._bad.append((table, row[0]))
            self.log.error(
                "{name}: row {key} of {table} is left out: {error}",
                name=self._name,
                key=str(row[0])[:40],
                table=table.name,
                error=error,
            )

    def _make_way(self) -> None:
        """Delete bad accounts and rooms, and what belongs to them: the account of a client that comes needs the place.

        And nothing may be here that nobody knows of, for it could not be forgotten.
        """
        self._add_rooms_of_bad_accounts()
        numbers = {table: [key for bad, key in self._bad if bad is table] for table in (schema.rooms, schema.accounts)}
        for table, bad in numbers.items():
            for number in bad:
                self._connection.execute(delete(table).where(table.c.id == number))
        if any(numbers.values()):
            self._sweep()
        known: dict[Table, Container[str]] = {
            schema.login_keys: self.login_keys,
            schema.login_tokens: self.login_tokens,
        }
        for table, key in ((bad, key) for bad, key in self._bad if bad in known and key not in known[bad]):
            bare = cast(table.c.bare, LargeBinary)
            self._connection.execute(delete(table).where(bare == (key or b"")))

    def _add_rooms_of_bad_accounts(self) -> None:
        if self._only is None:
            return  # all rooms were read
        accounts = [key for bad, key in self._bad if bad is schema.accounts]
        found = self._connection.execute(select(schema.rooms.c.id).where(schema.rooms.c.account_id.in_(accounts)))
        self._bad += [(schema.rooms, number) for number in found.scalars()]

    def _account(self, row: Row) -> None:
        number, bare, refused, last_seen = row[:4]
        _check(is_jid(bare), "no address")
        seen = float(last_seen) + self._not_counted if isinstance(last_seen, int | float) else self._now
        seen = possible_time(seen, self._now)
        unfollowed, push = self._unfollowed(bare, row[12]), self._push(bare, row[13])
        kept = KeptAccount(bare, self._login(bare, row), bool(refused), seen, [], unfollowed, push)
        self._accounts[number] = LoadedAccount(number, kept, tuple(row[4:12]), row[13] if push else None)

    def _push(self, bare: str, column: object) -> tuple[KeptPush, ...]:
        try:
            return read_push(bare, column, self._sealer)
        except BadRow as error:
            self.log.error(
                "{name}: what devices of {account} have enabled for push notifications is left out: {error}",
                name=self._name,
                account=bare,
                error=error,
            )
            return ()

    def _unfollowed(self, bare: str, column: object) -> dict[str, str | None]:
        try:
            found = json.loads(column) if isinstance(column, str) else {}
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or not all(isinstance(one, str | None) for one in found.values()):
            self.log.error(
                "{name}: it cannot be read which bookmarks of {account} are not followed: all are",
                name=self._name,
                account=bare,
            )
            return {}
        return found

    def _login(self, bare: str, row: Row) -> KeptLogin | None:
        domain, username, hash_name, salt, iterations, client_key, server_key, password = row[4:12]
        if domain is None:
            return None
        try:
            _check(isinstance(domain, str) and isinstance(username, str) and isinstance(hash_name, str), "no login")
            _check(isinstance(salt, bytes) and isinstance(iterations, int), "no salt")
            return KeptLogin(
                domain,
                username,
                hash_name,
                salt,
                iterations,
                self._sealer.open(client_key, bare, "client_key") if client_key is not None else b"",
                self._sealer.open(server_key, bare, "server_key") if server_key is not None else b"",
                self._sealer.open(password, bare, "password").decode() if password is not None else None,
            )
        except (Unsealable, BadRow, UnicodeDecodeError):
            self.log.error(
                "{name}: the login of {account} cannot be opened with this seal key: {account} comes back to its "
                "rooms when one of its clients logs in",
                name=self._name,
                account=bare,
            )
            return None

    def _keys(self, row: Row) -> None:
        """Keys that cannot be used stay where they are, and are forgotten with the account."""
        bare = row[0]
        _check(isinstance(bare, str) and bool(bare), "no address")
        known = self.login_keys.setdefault(bare, ())
        self.login_keys[bare] = (*known, read_keys(row, self._sealer))

    def _token(self, row: Row) -> None:
        """One that cannot be used stays where it is, and is forgotten with the account."""
        bare, named = row[:2]
        _check(isinstance(bare, str) and bool(bare), "no address")
        _check(isinstance(named, str) and bool(named), "no device")
        devices = self.login_tokens.setdefault(bare, {})
        _, known = devices.setdefault(named, (NO_DEVICE._replace(id=named), ()))
        device, token = read_token(row, self._sealer)
        devices[named] = device, (*known, token)

    def _room(self, row: Row) -> None:
        number, account_id, room, nick, wished, password, bookmarked, since, *missing = row
        if nick is None:  # it was never entered
            self._bad.append((schema.rooms, number))
            return
        account = self._accounts.get(account_id)
        _check(account is not None and is_jid(room), "no account, or no room")
        _check(is_resource(nick) and isinstance(since, int | float), "no nick, or no time")
        assert account is not None
        membership = KeptMembership(
            nick,
            wished if is_resource(wished) else nick,
            self._room_password(account.kept.bare, room, password),
            bool(bookmarked),
            possible_time(float(since), self._now),
            self._missing_since(*missing),
        )
        loaded = LoadedRoom(number, KeptRoom(room, membership))
        account.kept.rooms.append(loaded.kept)
        account.rooms[number] = self._rooms[number] = loaded
        self._account_of[number] = account_id

    def _block(self, row: Row) -> None:
        """A note that is damaged blocks all the same."""
        bare, since, reason = row
        _check(isinstance(bare, str) and bare != "", "no address")
        time = possible_time(float(since), self._now) if isinstance(since, int | float) else 0.0
        self.blocked[bare] = Block(time, reason if isinstance(reason, str) else "")

    def _missing_since(self, stanza_id: object, time: object) -> tuple[str | None, float] | None:
        if not isinstance(time, int | float):
            return None
        return stanza_id if isinstance(stanza_id, str) else None, possible_time(float(time), self._now)

    def _room_password(self, bare: str, room: str, sealed: object) -> str | None:
        if sealed is None:
            return None
        try:
            return self._sealer.open(sealed, bare, room, "password").decode()
        except (Unsealable, UnicodeDecodeError):
            self.log.error(
                "{name}: the password of {room}, for {account}, cannot be opened with this seal key",
                name=self._name,
                room=room,
                account=bare,
            )
            return None

    def _message(self, row: Row) -> None:
        sequence, room_id, sent, raw, stamped, stanza_id, amends, retracted, checksum, body = row
        room = self._rooms.get(room_id)
        if room is None:
            self._ownerless.append(sequence)
            _check(room_id == schema.NOBODY, "no room")
            return
        room.messages.append((sequence, b"", sequence))
        place = sequence if body is None else body
        raw = self._contents.get(place, raw if body is None else b"")
        _check(isinstance(raw, bytes) and raw != b"" and crc32(raw) == checksum, "damaged")
        _check(isinstance(sent, int | float), "no time")
        _check(stanza_id is None or isinstance(stanza_id, str), "no stanza-id")
        _check(amends is None or isinstance(amends, int), "amends nothing")
        time = possible_time(float(sent), self._now)
        room.messages[-1] = (sequence, raw, place)
        self.last_sequence = max(self.last_sequence, sequence)
        room.kept.messages.append(KeptMessage(sequence, time, raw, bool(stamped), stanza_id, amends, bool(retracted)))

    def _private(self, row: Row) -> None:
        sequence, room_id, raw, checksum = row
        room = self._rooms.get(room_id)
        _check(room is not None, "no room")
        assert room is not None
        _check(isinstance(raw, bytes) and crc32(raw) == checksum, "damaged")
        room.kept.privates.append(KeptPrivate(sequence, raw))
        self.last_sequence = max(self.last_sequence, sequence)

    def _device(self, row: Row) -> None:
        account_id, resource, sequence = row
        self._acknowledged[account_id, resource] = sequence if isinstance(sequence, int) else 0
        _check(isinstance(sequence, int), "no place")

    def _cursor(self, row: Row) -> None:
        room_id, resource, sequence, _ = row
        room = self._rooms.get(room_id)
        _check(room is not None, "no room")
        assert room is not None
        _check(isinstance(resource, str) and isinstance(sequence, int), "no place")
        room.kept.cursors[resource] = sequence
        self.last_sequence = max(self.last_sequence, sequence)

    def _settle_cursors(self, given_out: GivenOutUpTo) -> None:
        """Sessions that were attached at the end are so no more, and have seen what was handed out since.

        Of that, those that acknowledge have seen what they have acknowledged.
        """
        table = schema.cursors
        chosen = [table.c.attached.is_not(None)]
        if self._only is not None:
            chosen.append(table.c.room_id.in_(self._rooms))
        for room_id, resource, sequence, since in self._connection.execute(select(table).where(*chosen)).all():
            row = (table.c.room_id == room_id) & (table.c.resource == resource)
            room = self._rooms.get(room_id)
            newest = room.messages[-1][0] if room is not None and room.messages else 0
            account_id = self._account_of.get(room_id, 0)
            account = self._accounts.get(account_id)
            handed = given_out.of(account.kept.bare) if account is not None else given_out.number
            limits = (handed, self._acknowledged.get((account_id, resource)))
            until = min((limit for limit in limits if limit is not None), default=None)
            if until is None or (isinstance(since, int) and since <= until):
                sequence = newest if until is None else min(newest, until)
            elif sequence is None:
                self._connection.execute(delete(table).where(row))
                continue
            self._connection.execute(update(table).where(row).values(sequence=sequence, attached=None))
            self.last_sequence = max(self.last_sequence, since if isinstance(since, int) else 0)
        done = delete(schema.acknowledged)
        if self._only is not None:
            done = done.where(schema.acknowledged.c.account_id.in_(self._accounts))
        self._connection.execute(done)

    def _sweep(self) -> None:
        """Delete rooms that were never entered, and what belongs to no room; of messages the bytes stay for now."""
        connection, rooms = self._connection, schema.rooms
        if self._only is not None:
            self._sweep_rooms()
            return
        connection.execute(delete(rooms).where(rooms.c.nick.is_(None)))
        for table in (schema.privates, schema.cursors):
            connection.execute(delete(table).where(not_(table.c.room_id.in_(select(rooms.c.id)))))
        room_id = schema.messages.c.room_id
        lost = (room_id != schema.NOBODY) & not_(room_id.in_(select(rooms.c.id)))
        connection.execute(update(schema.messages).values(DISOWNED).where(lost))  # others may name them

    def _sweep_rooms(self) -> None:
        """The same for bad rooms of the accounts that are asked for."""
        bad = [key for table, key in self._bad if table is schema.rooms]
        for table in (schema.privates, schema.cursors, schema.messages):
            self._connection.execute(delete(table).where(table.c.room_id.in_(bad)))


def _check(good: bool, fault: str) -> None:
    if not good:
        raise BadRow(fault)
