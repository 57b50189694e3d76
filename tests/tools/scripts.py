"""The programs in tools/, which are in no package, as modules for tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def load(name: str) -> ModuleType:
    """Return a new module of `tools/<name>.py`; what can be imported stays as it was."""
    specification = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    path = list(sys.path)
    sys.modules[name] = module  # data classes and named tuples look for it while they are made
    try:
        specification.loader.exec_module(module)
    finally:
        del sys.modules[name]
        sys.path[:] = path
    return module
