"""A PostgreSQL that all tests of a run share (`--postgresql`), in a process of its own that ends with the run.

By itself, `python -m mutants.postgresql` starts it, says where it is, and ends it when its input ends. Tests that stop
their PostgreSQL, or want two, are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import SkipTest

if TYPE_CHECKING:
    from tests.storage.postgresql import Databases

_where: dict[str, Any] = {}  # set before the first child is forked


def given() -> bool:
    """Whether there is one."""
    return bool(_where)


@contextmanager
def shared(*, wanted: bool) -> Iterator[None]:
    """Have one, if it is wanted."""
    if not wanted:
        yield
        return
    command = [sys.executable, "-m", "mutants.postgresql"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]) as it:
        assert it.stdin is not None and it.stdout is not None
        _where.update(json.loads(it.stdout.readline()))
        try:
            yield
        finally:
            _where.clear()
            it.stdin.close()


def join() -> None:
    """In a child: have the tests use it."""
    from tests.storage import postgresql

    class Shared(postgresql.Databases):
        def start(self) -> None:
            """It runs."""

        stop = staticmethod(_refused)

    databases = Shared(Path(_where["directory"]), _where["port"], f"of{os.getpid()}_")
    postgresql.cluster = lambda: databases  # type: ignore[assignment]
    postgresql.Cluster = _refused  # type: ignore[assignment, misc]  # it would outlive the child


def _refused(*_of_whatever: object, **_named: object) -> None:
    raise SkipTest("all mutants share one PostgreSQL")


def drop() -> None:
    """In a child: there may be thousands of tests in a run, each with a database."""
    from tests.storage import cases, postgresql

    databases: Databases = postgresql.cluster()
    keep = cases._tables_on_postgresql() if cases._tables_on_postgresql.cache_info().currsize else ""
    with databases.connect("postgres") as connection:
        connection.autocommit = True
        names = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", (f"of{os.getpid()}\\_%",))
        for (name,) in names.fetchall():
            if name != keep:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _main() -> None:
    from tests.storage.postgresql import cluster

    found = cluster()
    print(json.dumps({"directory": str(found.directory), "port": found.port}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    _main()
