"""`minimixproxy enroll`: reads a password, or another server's store, and tells the running proxy."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from minimixproxy.config.settings import load
from minimixproxy.jids import Address, InvalidJID, parse_jid
from minimixproxy.logs.logger import printable
from minimixproxy.operator.asking import NoStatus, Refusal
from minimixproxy.operator.commands import proxy
from minimixproxy.operator.commands.command import Argument, Command, Outcome
from minimixproxy.operator.commands.passwords import ask_password
from minimixproxy.operator.enroll import MAX_ACCOUNTS, PATIENCE
from minimixproxy.operator.forget import account_address
from minimixproxy.sasl.keys import Keys
from minimixproxy.server_stores.records import Record, Unusable, checked_password

TIMEOUT = PATIENCE + 10.0  # seconds for an answer
MAX_REQUEST = 48 * 1024  # bytes of accounts in one request, about
PROGRESS = 1000  # accounts
NAMED = 20  # of those left out


def run(options: Namespace) -> Outcome:
    """Do what the options say. Raises `NoStatus`, `InvalidJID`, `BadRecord` or `StoreError`."""
    if options.account is not None:
        return _enroll_one(options)
    domains = set(load(options.config).domain)
    records = _records(options)
    first = list(islice(records, 1))  # the store is there, before anybody is asked
    with proxy.connect(options, TIMEOUT) as connection:
        done = Import(connection.ask, domains, options.domain).run(chain(first, records))
    return Outcome(done.summary(), done.report(), 1 if done.left_out else 0)


def _enroll_one(options: Namespace) -> Outcome:
    bare = account_address(options.account)
    password = checked_password(ask_password(bare))
    with proxy.connect(options, TIMEOUT) as connection:
        answer = connection.ask({"request": "enroll", "account": bare, "password": password}, "hash", "lasts")
    report = {"account": bare, "hash": answer["hash"], "lasts": answer["lasts"]}
    return Outcome(f"{bare}: {_told(answer)}\n", report)


def _told(answer: dict[str, Any]) -> str:
    if answer["hash"] is not None:
        return "enrolled"
    if answer["lasts"]:
        return "enrolled; the password itself is kept, since the server leaves no keys that last"
    return "enrolled until the proxy is restarted, since the server leaves no keys that last (see keep_passwords)"


def _records(options: Namespace) -> Iterator[Record | Unusable]:
    if options.from_prosody is not None:
        from minimixproxy.server_stores.prosody_files import read_directory

        return read_directory(options.from_prosody)
    from minimixproxy.server_stores.sql_tables import read_database  # which loads SQLAlchemy

    return read_database(options.from_sql)


class Import:
    """Takes records to the proxy, and counts what becomes of them."""

    def __init__(self, ask: Callable[..., dict[str, Any]], domains: set[str], default: str | None) -> None:
        """`ask`: as `Connection.ask`. `default`: the domain of accounts whose store does not tell it."""
        self._ask = ask
        self._domains = domains
        self._default = default if default is not None or len(domains) != 1 else next(iter(domains))
        self._batch: list[tuple[str, list[Any]]] = []
        self._size = 0
        self._seen = 0
        self.enrolled = 0
        self.left_out = 0
        self._elsewhere: Counter[str] = Counter()  # by domain
        self._in_vain: set[str] = set()  # domains whose server leaves nothing of a password

    def run(self, records: Iterable[Record | Unusable]) -> Import:
        """Take all of them; return itself. Raises `NoStatus` or `StoreError`, when what came before is enrolled."""
        try:
            for record in records:
                self._seen += 1
                if self._seen % PROGRESS == 0:
                    _say(f"{self._seen} accounts read, {self.enrolled} enrolled")
                if isinstance(record, Unusable):
                    self._leave_out(record.what, record.why)
                else:
                    self._take(record)
        finally:
            if sys.exc_info()[0] is not NoStatus:
                self._send()
        return self

    def summary(self) -> str:
        """Return what came of it, in lines."""
        lines = [f"{self.enrolled} of {self._seen} accounts are enrolled"]
        lines += [f"{name}: not served by this proxy: {number} left alone" for name, number in self._elsewhere.items()]
        if self.left_out:
            lines.append(f"{self.left_out} left out, see above")
        return "\n".join(lines) + "\n"

    def report(self) -> dict[str, Any]:
        """Return the same as what JSON has."""
        return {
            "read": self._seen,
            "enrolled": self.enrolled,
            "left_out": self.left_out,
            "not_served": dict(self._elsewhere),
        }

    def _take(self, record: Record) -> None:
        domain = record.domain or self._default
        if domain is None:
            self._leave_out(record.local, "the store does not tell its domain: say which by --domain")
            return
        try:
            address = parse_jid(account_address(f"{record.local}@{domain}"))
        except InvalidJID:
            self._leave_out(f"{record.local}@{domain}"[:200], "it is no address")
            return
        if address.domain not in self._domains:
            self._elsewhere[address.domain if len(self._elsewhere) < NAMED else "others"] += 1
        elif record.keys:
            self._add(address.bare, record.keys)
        else:
            self._by_password(address, record.password)

    def _add(self, bare: str, keys: Iterable[Keys]) -> None:
        fields = [
            (one.hash_name, _base64(one.salt), one.iterations, _base64(one.stored_key), _base64(one.server_key))
            for one in keys
        ]
        size = len(json.dumps([bare, fields], ensure_ascii=False).encode())
        if len(self._batch) >= MAX_ACCOUNTS or self._size + size > MAX_REQUEST:
            self._send()
        self._batch.append((bare, fields))
        self._size += size

    def _send(self) -> None:
        batch, self._batch, self._size = self._batch, [], 0
        if batch:
            answer = self._ask({"request": "enroll_keys", "accounts": batch}, "kept", "refused")
            self.enrolled += answer["kept"]
            for what, why in answer["refused"]:
                self._leave_out(what, why)

    def _by_password(self, address: Address, password: str | None) -> None:
        """Passwords in plain: the server makes keys of them nobody knows yet, so it is asked."""
        if address.domain in self._in_vain:
            self._leave_out(address.bare, "as those before: nothing of its password could be kept")
            return
        try:
            self._ask({"request": "enroll", "account": address.bare, "password": password}, "hash")
            self.enrolled += 1
        except Refusal as error:
            self._leave_out(address.bare, str(error))
            if error.answer.get("in_vain"):
                self._in_vain.add(address.domain)

    def _leave_out(self, what: str, why: str) -> None:
        self.left_out += 1
        if self.left_out <= NAMED:
            _say(f"{what}: {why}")
        elif self.left_out == NAMED + 1:
            _say("and others, which are only counted")


def _base64(value: bytes) -> str:
    return b64encode(value).decode("ascii")


def _say(line: str) -> None:
    print(f"minimixproxy: {printable(line)}", file=sys.stderr)


ENROLL = Command(
    "enroll",
    "accounts whose clients log in by SCRAM",
    (
        "Has the running proxy know the keys of accounts, so that their clients can log in by SCRAM, and the accounts "
        "can join rooms. With a JID: asks for the password on the terminal, without an echo, or reads a line of "
        "standard input, and logs in at the server with it. Else for many accounts, from the server's own store.",
        "Nothing in the store is changed. What cannot be used is named on standard error, and the rest is taken.",
    ),
    run,
    (
        Argument("account", "The account of this address.", value="JID", one_of="source"),
        Argument(
            "--from-prosody",
            "All accounts in the files of Prosody (internal_hashed), below its data_path.",
            value="DIRECTORY",
            kind=Path,
            one_of="source",
            completes="directories",
        ),
        Argument(
            "--from-sql",
            "All accounts in the SQL database of Prosody or ejabberd: sqlite:////PATH or postgresql://USER@HOST/NAME.",
            value="URL",
            one_of="source",
        ),
        Argument("--domain", "The domain of accounts whose store does not tell it.", value="DOMAIN"),
    ),
    {
        0: "All are enrolled.",
        1: "The server does not take the password or cannot be reached, nothing can be kept of it, an account of a "
        "store was left out, or the proxy is not running.",
    },
    (
        "minimixproxy enroll alice@example.org",
        "minimixproxy enroll --from-prosody /var/lib/prosody",
        "minimixproxy enroll --from-sql postgresql://ejabberd@127.0.0.1/ejabberd --domain example.org",
    ),
)
