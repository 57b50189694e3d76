"""As whom the proxy runs, and what that user may do: root, who checks, may do everything."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

SERVICE = "minimixproxy"  # as whom the unit and the package run the proxy


def user_name(number: int) -> str:
    """Return the name of a user, for people."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def proxy_user(directory: Path) -> pwd.struct_passwd | None:
    """Return as whom the proxy runs, if that is known and is another than who asks.

    It is the owner of the directory of state, or, if that is root or there is none, the service's user. Who is not root
    cannot ask for another.
    """
    if os.geteuid() != 0:
        return None
    try:
        owner = directory.stat().st_uid
        return pwd.getpwuid(owner) if owner else _service()
    except OSError:
        return _service()
    except KeyError:
        return None


def may_read(user: pwd.struct_passwd, path: Path) -> bool:
    """Return whether another user may read a file. The kernel is asked: it knows groups, folders and ACLs."""
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    command = ["/usr/bin/test", "-r", str(path)]
    return (
        subprocess.run(
            command, check=False, user=user.pw_uid, group=user.pw_gid, extra_groups=groups, cwd="/"
        ).returncode
        == 0
    )


def _service() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(SERVICE)
    except KeyError:
        return None
