"""Puts a changed module in the place of the one on disk when it is imported; the source tree stays as it is."""

from __future__ import annotations

import os
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType

_HERE = Path(__file__).resolve().parent
PYTHONPATH = f"{_HERE / 'hook'}{os.pathsep}{_HERE.parent}"  # of every Python that a test starts
VARIABLE = "MUTANTS_FAULT"  # path of the module, path of the changed source; one a line


def replace(path: Path, changed: bytes) -> None:
    """Have a file loaded with another source, past the caches of the real one.

    By whatever loads it: Alembic finds its migrations without the finders of `import`.
    """
    real = SourceFileLoader.get_code

    def get_code(loader: SourceFileLoader, name: str) -> CodeType | None:
        if os.path.basename(loader.path) == path.name and os.path.realpath(loader.path) == str(path):
            return compile(changed, loader.path, "exec", dont_inherit=True)
        return real(loader, name)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]


def install(path: Path, changed: bytes, directory: Path) -> None:
    """Have a file loaded with another source, here and in every Python started from here."""
    replace(path, changed)
    copy = directory / "mutant.py"
    copy.write_bytes(changed)
    os.environ[VARIABLE] = f"{path}\n{copy}"
    os.environ["PYTHONPATH"] = PYTHONPATH


def install_from_environment() -> None:
    """What a Python does that was started from there."""
    path, copy = os.environ[VARIABLE].split("\n")
    replace(Path(path), Path(copy).read_bytes())
