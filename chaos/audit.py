"""Triggers in the database of a run: which process had which account when, and which one wrote. No node is asked.

Each process comes with an `application_name` of its own, which the run gives it; with that it enters its row of
`holders`, and so is known by its number in all that it writes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg

from chaos.tenures import Change, Snapshot, Write, wrong
from minimixproxy.storage.lease import LEASE

TABLES = """
CREATE SCHEMA audit;
CREATE TABLE audit.processes (number bigint, program text);
CREATE TABLE audit.ends (number bigint, program text, expired boolean);
CREATE TABLE audit.changes (id bigserial, at float DEFAULT extract(epoch FROM clock_timestamp()), bare text,
    former bigint, holder bigint, epoch bigint, over boolean, program text, xid text, snapshot text);
CREATE TABLE audit.writes (at float DEFAULT extract(epoch FROM clock_timestamp()),
    program text, bare text, name text, xid text, snapshot text);
CREATE TABLE audit.said (at float DEFAULT extract(epoch FROM clock_timestamp()), bare text, body text);
CREATE TABLE audit.unmarked (change bigint, bare text, body text);
CREATE TABLE audit.revived (number bigint);
CREATE FUNCTION audit.program() RETURNS text LANGUAGE sql AS $$ SELECT current_setting('application_name') $$;
CREATE FUNCTION audit.body(raw bytea) RETURNS text LANGUAGE sql AS $$
    SELECT substring(convert_from(raw, 'UTF8') FROM '<body>(.*?)</body>') $$;

CREATE FUNCTION audit.holder() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO audit.processes VALUES (NEW.number, audit.program());
    ELSIF OLD.ended AND NEW IS DISTINCT FROM OLD THEN
        INSERT INTO audit.revived VALUES (NEW.number);
    ELSIF NEW.ended THEN
        INSERT INTO audit.ends
        VALUES (NEW.number, audit.program(), OLD.expires < extract(epoch FROM clock_timestamp()));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE ON holders FOR EACH ROW EXECUTE FUNCTION audit.holder();

CREATE FUNCTION audit.lease() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE former bigint := 0; holder bigint := 0; epoch bigint := 0; name text; given bigint := -1; number bigint;
    is_over boolean := true;
BEGIN
    IF TG_OP <> 'INSERT' THEN former := OLD.holder; name := OLD.bare; END IF;
    IF TG_OP <> 'DELETE' THEN holder := NEW.holder; epoch := NEW.epoch; name := NEW.bare; END IF;
    SELECT h.ended, h.given_out INTO is_over, given FROM holders h WHERE h.number = former;
    INSERT INTO audit.changes (bare, former, holder, epoch, over, program, xid, snapshot)
    VALUES (name, former, holder, epoch, coalesce(is_over, true), audit.program(), pg_current_xact_id()::text,
        pg_current_snapshot()::text) RETURNING id INTO number;
    IF is_over AND given >= 0 THEN
        INSERT INTO audit.unmarked SELECT number, name, audit.body(m.raw) FROM accounts a
        JOIN rooms r ON r.account_id = a.id JOIN messages m ON m.room_id = r.id
        WHERE a.bare = name AND m.sequence > given;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON leases FOR EACH ROW EXECUTE FUNCTION audit.lease();

CREATE FUNCTION audit.said() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO audit.said (bare, body) SELECT a.bare, audit.body(c.raw) FROM changed c
    JOIN rooms r ON r.id = c.room_id JOIN accounts a ON a.id = r.account_id;
    RETURN NULL;
END $$;
CREATE TRIGGER said AFTER INSERT ON messages REFERENCING NEW TABLE AS changed FOR EACH STATEMENT
    EXECUTE FUNCTION audit.said();
"""
WRITTEN = """
CREATE FUNCTION audit.written_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO audit.writes (program, bare, name, xid, snapshot)
    SELECT DISTINCT audit.program(), {bare}, TG_TABLE_NAME, pg_current_xact_id()::text,
        pg_current_snapshot()::text FROM changed c {join};
    RETURN NULL;
END $$;
CREATE TRIGGER inserted AFTER INSERT ON {table} REFERENCING NEW TABLE AS changed FOR EACH STATEMENT
    EXECUTE FUNCTION audit.written_{table}();
CREATE TRIGGER updated AFTER UPDATE ON {table} REFERENCING NEW TABLE AS changed FOR EACH STATEMENT
    EXECUTE FUNCTION audit.written_{table}();
CREATE TRIGGER deleted AFTER DELETE ON {table} REFERENCING OLD TABLE AS changed FOR EACH STATEMENT
    EXECUTE FUNCTION audit.written_{table}();
"""
OF_ACCOUNT = "JOIN accounts a ON a.id = c.account_id"
OF_ROOM = "JOIN rooms r ON r.id = c.room_id JOIN accounts a ON a.id = r.account_id"
#: How the account of a row is found.
JOINS = {
    "accounts": "",
    "login_keys": "",
    "login_tokens": "",
    "blocked": "",
    "rooms": OF_ACCOUNT,
    "acknowledged": OF_ACCOUNT,
    "messages": OF_ROOM,
    "cursors": OF_ROOM,
    "privates": OF_ROOM,
}


class Twice(NamedTuple):
    """What may come twice as one process has taken over from another, that has ended: at that time of an account,

    what was on disk and not `unmarked` as given out; what was not `on_disk`; and what was heard behind the `last` time
    that the former one wrote anything, for then it could not note that either.
    """

    time: float
    last: float
    unmarked: frozenset[str]
    on_disk: frozenset[str]


class Audit:
    """Asks from aside, by a connection of its own for each question."""

    def __init__(self, connect: Any) -> None:
        """`connect()`: a connection of psycopg's."""
        self._connect = connect

    def install(self) -> None:
        """Before the first account is there, and behind the product's own tables."""
        with self._connect() as connection:
            connection.execute(TABLES)
            connection.execute(FIRST)
            for table, join in JOINS.items():
                bare = "a.bare" if join else "c.bare"
                connection.execute(WRITTEN.format(table=table, join=join, bare=bare))

    def wrong(self) -> list[str]:
        """What must not be: two that hold an account, or one that writes without holding it."""
        with self._connect() as connection:
            programs = dict(_rows(connection, "SELECT program, number FROM audit.processes"))
            changes = _changes(connection, programs)
            writes = _writes(connection, programs)
            revived = [f"{number} was written for when it had ended" for (number,) in _rows(connection, REVIVED)]
            return wrong(changes, writes) + revived + _buried_alive(connection)

    def lively(self, since: float) -> set[str]:
        """Processes that have given a sign of life since then."""
        with self._connect() as connection:
            return {program for (program,) in _rows(connection, LIVELY, since + LEASE)}

    def summary(self) -> str:
        with self._connect() as connection:
            counts = [_rows(connection, f"SELECT count(*) FROM audit.{name}")[0][0] for name in COUNTED]
        return "{} processes; {} times an account had another holder; {} transactions wrote for an account".format(
            *counts
        )

    def twice(self, bare: str) -> list[Twice]:
        """Each time that the account was taken over from a process that had ended."""
        with self._connect() as connection:
            took = _rows(connection, TAKEN_OVER, bare)
            return [
                Twice(
                    at,
                    last,
                    frozenset(body for (body,) in _rows(connection, UNMARKED, number)),
                    frozenset(body for (body,) in _rows(connection, ON_DISK, bare, at)),
                )
                for number, at, last in took
            ]


LIVELY = """
SELECT program FROM audit.processes JOIN holders ON holders.number = processes.number WHERE NOT ended AND expires > %s
"""
#: The node that has made the tables is there already.
FIRST = "INSERT INTO audit.processes SELECT number, name || '.1' FROM holders"
COUNTED = ("processes", "changes", "writes")
REVIVED = "SELECT number FROM audit.revived"
TAKEN_OVER = """
SELECT id, at, coalesce((SELECT max(w.at) FROM audit.writes w JOIN audit.processes p ON p.program = w.program
    WHERE p.number = former), 0)
FROM audit.changes WHERE bare = %s AND former <> 0 AND over ORDER BY id
"""
UNMARKED = "SELECT body FROM audit.unmarked WHERE change = %s AND body IS NOT NULL"
ON_DISK = "SELECT body FROM audit.said WHERE bare = %s AND at < %s AND body IS NOT NULL"


def _rows(connection: psycopg.Connection, statement: Any, *parameters: object) -> list[tuple[Any, ...]]:
    return connection.execute(statement, parameters).fetchall()


def _changes(connection: psycopg.Connection, programs: dict[str, int]) -> list[Change]:
    columns = "bare, former, holder, epoch, over, program, xid, snapshot"
    return [
        Change(bare, former, holder, epoch, over, programs.get(program, -1), int(xid), Snapshot.parse(snapshot))
        for bare, former, holder, epoch, over, program, xid, snapshot in _rows(
            connection, f"SELECT {columns} FROM audit.changes ORDER BY id"
        )
    ]


def _writes(connection: psycopg.Connection, programs: dict[str, int]) -> list[Write]:
    return [
        Write(bare, programs.get(program, -1), name, int(xid), Snapshot.parse(snapshot))
        for program, bare, name, xid, snapshot in _rows(
            connection, "SELECT program, bare, name, xid, snapshot FROM audit.writes"
        )
    ]


def _buried_alive(connection: psycopg.Connection) -> list[str]:
    """Who was noted as ended by another one before its time; by the next one of the same directory it may be."""
    ends = "SELECT e.number, p.program, e.program FROM audit.ends e JOIN audit.processes p ON p.number = e.number"
    return [
        f"{program}, number {number}, was ended by {by}, and it had time left"
        for number, program, by in _rows(connection, f"{ends} WHERE NOT e.expired")
        if program.partition(".")[0] != by.partition(".")[0]
    ]
