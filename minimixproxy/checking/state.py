"""Whether state can be used: its directory, the database and its version, the key that seals credentials."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr

from minimixproxy.checking.finding import Finding, error, good, unknown, warning
from minimixproxy.checking.users import proxy_user, user_name
from minimixproxy.config.settings import Settings
from minimixproxy.storage.database import Database
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.service import Place, check

LONGEST_SOCKET = 107  # bytes of its path
_CONTROL = "control"


def place_of(settings: Settings) -> Place:
    """Return where state is. Raises `StateError`."""
    state = settings.state
    database = Database(state.get_secret_value() if isinstance(state, SecretStr) else state)
    return Place(database, settings.directory, settings.seal_key)


def check_state(settings: Settings) -> Iterator[Finding]:
    """Yield what is to be said of the directory, then of what is in it. Blocks; changes nothing."""
    directory = list(_directory(settings.directory))
    yield from directory
    if any(finding.is_error for finding in directory):
        return
    try:
        place = place_of(settings)
        check(place)
        version, newest = place.database.version()
    except StateError as fault:
        yield error("state", str(fault))
        return
    yield from _owner(place)
    name = place.database.name
    if version is None:
        yield good("state", f"{name} is empty, or not there yet: it is made at the start")
    elif version == newest:
        yield good("state", f"{name} is of version {version}, as it should be")
    else:
        yield good("state", f"{name} is of version {version}: the next start makes it {newest}, so keep a backup")


def _directory(path: Path) -> Iterator[Finding]:
    length = len(os.fsencode(path / _CONTROL))
    if length > LONGEST_SOCKET:
        yield warning(
            "state",
            f"the path of the control socket in {path} has {length} bytes, {LONGEST_SOCKET} are possible, so "
            "the proxy cannot be asked anything",
            "name a shorter state_directory",
        )
    try:
        found = path.stat()
    except FileNotFoundError:
        yield from _to_be_made(path)
        return
    except OSError as fault:
        yield error("state", f"{path}: {fault.strerror}", "run this as the proxy's user, or as root")
        return
    if not stat.S_ISDIR(found.st_mode):
        yield error("state", f"{path} is no directory", "name another state_directory")
    elif not os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        yield error(
            "state",
            f"{path} belongs to {user_name(found.st_uid)} (mode {stat.S_IMODE(found.st_mode):04o}), and "
            f"{user_name(os.geteuid())} may not write in it",
            f"run this, and the proxy, as {user_name(found.st_uid)}, or chown {path}",
        )
    elif found.st_mode & 0o002:
        yield error("state", f"everybody on this machine may write in {path}", f"chmod 700 {path}")
    elif found.st_uid == 0 and (user := proxy_user(path)) is not None:
        yield error(
            "state",
            f"{path} belongs to root, and {user.pw_name}, as whom the service runs, may not write in it",
            f"chown {user.pw_name} {path}, or name another place for state, below /var/lib/minimixproxy",
        )
    else:
        yield good("state", f"{path} belongs to {user_name(found.st_uid)}, as whom the proxy has to run")


def _to_be_made(path: Path) -> Iterator[Finding]:
    parent = next(parent for parent in path.absolute().parents if parent.exists())
    if os.access(parent, os.W_OK | os.X_OK, effective_ids=True):
        yield good("state", f"{path} is not there yet: it is made at the start")
    else:
        yield error(
            "state",
            f"{path} is not there, and {user_name(os.geteuid())} may not make it in {parent}",
            f"make it, and chown it to the proxy's user (or let systemd do so: StateDirectory={path.name})",
        )


def _owner(place: Place) -> Iterator[Finding]:
    """Root may have run the proxy once, in the directory of another user."""
    file = place.database.file
    if file is None:
        return
    try:
        ours, theirs = place.directory.stat().st_uid, file.stat().st_uid
    except FileNotFoundError:
        return
    except OSError as fault:
        yield unknown("state", f"{file}: {fault.strerror}")
        return
    if ours != theirs:
        yield error(
            "state",
            f"{file} belongs to {user_name(theirs)}, its directory to {user_name(ours)}: it was run as another user",
            f"chown {user_name(ours)} {file}*",
        )
