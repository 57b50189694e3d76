"""Writes docs/house.md: which rooms the house has, what is in each, and which room uses which. From the code alone.

Usage: draw_house.py [--check]

With --check nothing is written, and the exit status is 1 if the page is not what the code says.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

from drawnpage import cell, write_or_check

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "house.md"
PACKAGE = "minimixproxy"

HEAD = """# The house

Written by `tools/draw_house.py` from the code: do not edit. A room (package) uses only rooms
on floors below its own.
`tests/test_house.py` checks that, and that this page is current.

## Floors
"""


class Module(NamedTuple):
    """One module: its dotted name, the first line of its docstring, and the modules of ours that it imports."""

    name: str
    about: str
    imports: frozenset[str]

    @property
    def room(self) -> str:
        """The package that it stands in; a module of the top package is a room of its own."""
        package = self.name.rpartition(".")[0]
        return self.name if package == PACKAGE else package


def modules(root: Path = ROOT) -> dict[str, Module]:
    """Return all modules and packages, by name."""
    paths = {_dotted(path.relative_to(root)): path for path in sorted((root / PACKAGE).rglob("*.py"))}
    found = {}
    for name, path in paths.items():
        tree, *nodes = parsed(path)
        assert isinstance(tree, ast.Module)
        about = (ast.get_docstring(tree) or "").partition("\n")[0]
        found[name] = Module(name, about, frozenset(_imports(nodes, set(paths))))
    return found


@cache
def parsed(path: Path) -> list[ast.AST]:
    """Return all nodes of a module, itself first."""
    return list(ast.walk(ast.parse(path.read_text("utf-8"))))


def _dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(nodes: Iterable[ast.AST], known: set[str]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)


def rooms(found: dict[str, Module]) -> dict[str, set[str]]:
    """Return which room uses which others. The version in the package itself is no room."""
    used: dict[str, set[str]] = {}
    packages = {name for name in found if any(other.startswith(f"{name}.") for other in found)}
    room_of = {name: name if name in packages else module.room for name, module in found.items()}
    for name, module in found.items():
        others = {room_of[other] for other in module.imports}
        used.setdefault(room_of[name], set()).update(others - {room_of[name], PACKAGE})
    used.pop(PACKAGE, None)
    return used


def floors(used: dict[str, set[str]]) -> list[list[str]]:
    """Return the rooms floor by floor, the lowest first. Raises `ValueError` if some go round in a circle."""
    built: list[list[str]] = []
    below: set[str] = set()
    while len(below) < len(used):
        floor = sorted(room for room, others in used.items() if room not in below and others <= below)
        if not floor:
            raise ValueError(f"these use each other in a circle: {sorted(set(used) - below)}")
        built.append(floor)
        below.update(floor)
    return built


def page(found: dict[str, Module]) -> str:
    """Return the page, as Markdown."""
    used = rooms(found)
    lines = [HEAD]
    stack = floors(used)
    for number in reversed(range(len(stack))):
        lines.append(f"    {number + 1:2}  {'  '.join(_short(room) for room in stack[number])}")
    lines += ["", "## Rooms"]
    for room in sorted(used):
        lines += ["", f"### {_short(room)}", ""]
        if found[room].about:
            lines += [found[room].about, ""]
        below = sorted(_short(other) for other in used[room])
        lines += [f"Uses {', '.join(f'`{name}`' for name in below)}." if below else "Uses no other room.", ""]
        inside = [module for module in found.values() if module.room == room and module.name not in used]
        if inside:
            lines += ["| module | what |", "|---|---|"]
            lines += [f"| `{module.name.rpartition('.')[2]}` | {cell(module.about)} |" for module in inside]
    return "\n".join(lines).rstrip("\n") + "\n"


def _short(room: str) -> str:
    return room.removeprefix(f"{PACKAGE}.")


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, lambda: page(modules())))
