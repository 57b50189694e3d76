"""`minimixproxy migrate --to URL`: all state from one database to another, while the proxy does not run."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

from minimixproxy import state_lock
from minimixproxy.checking.state import place_of
from minimixproxy.config.settings import load
from minimixproxy.operator.commands.command import Argument, Command, CommandError, Outcome
from minimixproxy.resource_id import Installation
from minimixproxy.storage.database import Database
from minimixproxy.storage.moving import move


def run(options: Namespace) -> Outcome:
    """Move it; the configuration is for the operator to change."""
    settings = load(options.config)
    source = place_of(settings).database
    target = Database(_target(options.to))
    directory = settings.directory
    try:
        with state_lock.held(directory):
            moved = move(source, target, Installation(directory).name)
    except state_lock.InUse as error:
        raise CommandError(f"{error}: end the proxy first") from error
    except OSError as error:
        raise CommandError(f"{directory}: {error.strerror}") from error
    rows = sum(moved.values())
    written = json.dumps(target.name, ensure_ascii=False)
    secret = target.engine.url.password is not None
    text = (
        f"{rows} rows are in {target.name}; {source.name} is left as it is. To use the former, write in "
        f"{options.config}:\n"
        f"state = {written}{' # and the password, which is not shown here' if secret else ''}\n"
        f"state_directory = {json.dumps(str(directory), ensure_ascii=False)}\n"
    )
    return Outcome(text, {"from": source.name, "to": target.name, "rows": moved, "state_directory": str(directory)})


def _target(text: str) -> Path | str:
    if text.startswith(("postgresql://", "postgres://")):
        return text
    if "://" in text or not text:
        raise CommandError(f"--to {text}: must be a file name or a URL, postgresql://user@host/database")
    return Path(text).absolute()


MIGRATE = Command(
    "migrate",
    "all state to another database",
    (
        "Copies all state of a proxy that does not run from the database that the configuration names to another one: "
        "from SQLite to PostgreSQL, back, or to another file. The other one must be empty; it is made if it is a file, "
        "and its tables are made. All is copied or nothing, and counted afterwards. The former database is left as it "
        "is. Then the configuration has to be changed: the command says how.",
        "Credentials stay sealed: the key that opens them, and all else beside the database, stays in the directory of "
        "state, which the configuration has to name from then on. A password for PostgreSQL is better in ~/.pgpass or "
        "PGPASSWORD than in the URL, which others on the machine may see.",
    ),
    run,
    (
        Argument(
            "--to",
            "Where to: postgresql://USER@HOST/DATABASE, or a file for SQLite.",
            value="URL",
            required=True,
        ),
    ),
    {
        0: "All is there.",
        1: "Nothing is: the proxy runs, the other database is not empty or cannot be used; one line says which.",
    },
    ("minimixproxy migrate --to postgresql://minimixproxy@127.0.0.1/minimixproxy",),
)
