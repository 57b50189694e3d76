"""Puts a changed module in the place of the one on disk when it is imported; the source tree stays as it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

_HERE = Path(__file__).resolve().parent
PYTHONPATH = f"{_HERE / 'hook'}{os.pathsep}{_HERE.parent}"  # of every Python that a test starts
VARIABLE = "MUTANTS_FAULT"  # name of the module, its path, path of the changed source; one a line


class _Loader(SourceFileLoader):
    changed: bytes

    def get_code(self, fullname: str) -> CodeType:
        """Compile the changed source, without the caches of the real one."""
        return compile(self.changed, self.path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    def __init__(self, name: str, path: Path, changed: bytes) -> None:
        self._name = name
        self._path = path
        self._loader = _Loader(name, str(path))
        self._loader.changed = changed

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        inside = [str(self._path.parent)] if self._path.name == "__init__.py" else None
        return spec_from_file_location(fullname, self._path, loader=self._loader, submodule_search_locations=inside)


def install(name: str, path: Path, changed: bytes, directory: Path) -> None:
    """Have `name` imported with another source, here and in every Python started from here."""
    sys.meta_path.insert(0, _Finder(name, path, changed))
    copy = directory / "mutant.py"
    copy.write_bytes(changed)
    os.environ[VARIABLE] = f"{name}\n{path}\n{copy}"
    os.environ["PYTHONPATH"] = PYTHONPATH


def install_from_environment() -> None:
    """What a Python does that was started from there."""
    name, path, copy = os.environ[VARIABLE].split("\n")
    sys.meta_path.insert(0, _Finder(name, Path(path), Path(copy).read_bytes()))
