"""`minimixproxy backup FILE`: a copy of the database of a proxy that runs."""

from __future__ import annotations

import shlex
from argparse import Namespace
from pathlib import Path

from minimixproxy.checking.state import place_of
from minimixproxy.config.settings import load
from minimixproxy.operator.commands.command import Argument, Command, CommandError, Outcome
from minimixproxy.storage.backup import back_up
from minimixproxy.storage.sealing import SEAL_KEY


def run(options: Namespace) -> Outcome:
    """Copy it; the proxy need not know."""
    settings = load(options.config)
    place = place_of(settings)
    source = place.database.file
    if source is None:
        dump = f"pg_dump --format=custom --file={shlex.quote(str(options.file))} {shlex.quote(place.database.name)}"
        raise CommandError(f"state is in PostgreSQL, whose own program makes the backup: {dump}")
    copied = back_up(source, options.file.absolute(), overwrite=options.force)
    key = settings.seal_key or settings.directory / SEAL_KEY
    installation = settings.directory / "installation"
    text = (
        f"{options.file}: {copied.accounts} accounts in {copied.rooms} rooms, {copied.size} bytes, schema "
        f"{copied.version}\n"
        f"Not in it, and kept apart on purpose: the key {key}, without which no login in it can be opened; keep a copy "
        f"elsewhere. And {installation}, by which a server knows the account streams again.\n"
    )
    report = {**copied._asdict(), "file": str(options.file), "seal_key": str(key), "installation": str(installation)}
    return Outcome(text, report)


BACKUP = Command(
    "backup",
    "a copy of the database while the proxy runs",
    (
        "Copies the SQLite database of a proxy that may be running: as it is at one moment, whole, without what was "
        "deleted, and read through once. The copy is for its owner only (mode 0600). A file that is there already is "
        "left as it is. The proxy goes on writing; what is deleted meanwhile is erased when the copy is done.",
        "The key that seals the credentials (seal.key, or what seal_key names) is not in the copy, so that who "
        "finds it can log in nowhere. Keep a copy of the key at another place. Without it, accounts come back into "
        "their rooms only when their clients have logged in again.",
        "To restore: end the proxy, put the copy in the place of the database, without the files FILE-wal and FILE-shm "
        "of the former one, owned by the proxy's user, mode 0600; put the key and the file “installation” beside it if "
        "they are lost; and start the proxy. With PostgreSQL, the command says what to call instead.",
    ),
    run,
    (
        Argument("file", "The copy to be made.", value="FILE", kind=Path, completes="files"),
        Argument("--force", "Replace FILE if it is there."),
    ),
    {
        0: "The copy is made, and can be read.",
        1: "It is not: one line says why. So also if state is in PostgreSQL, with the command to call instead.",
    },
    ("minimixproxy backup /var/backups/minimixproxy.sqlite --force",),
)
