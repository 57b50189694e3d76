"""What guards against intruders and against loss: where a fault that no test notices would cost the most."""

from __future__ import annotations

import ast
import re
from collections import defaultdict

from mutants.operators import Mutant, assigned
from mutants.unittests import ROOT

#: What is kept so that nothing is lost; and what counts what a client has got.
AGAINST_LOSS = (
    "minimixproxy/cluster",
    "minimixproxy/minimix/history",
    "minimixproxy/minimix/rejoin",
    "minimixproxy/storage",
    "minimixproxy/stream_management",
)
_NAMED = re.compile(r"`([a-z0-9_/]+\.py)` `([\w.]+)`")


class Guards:
    """The folders against loss, and the places where, as docs/security.md has it, is checked who is believed."""

    def __init__(self) -> None:
        self._lines: dict[str, list[tuple[int, int]]] = defaultdict(list)  # first and last, by path
        for module, name in _NAMED.findall((ROOT / "docs" / "security.md").read_text("utf-8")):
            path = f"minimixproxy/{module}"
            self._lines[path] += lines_of(name, (ROOT / path).read_bytes())

    def have(self, mutant: Mutant, source: bytes) -> bool:
        """Tell whether a mutant is in one of them."""
        if mutant.path.startswith(tuple(f"{folder}/" for folder in AGAINST_LOSS)):
            return True
        line = mutant.line(source)
        return any(first <= line <= last for first, last in self._lines.get(mutant.path, ()))


def lines_of(name: str, source: bytes) -> list[tuple[int, int]]:
    """The lines of `function`, `CONSTANT`, `Class` or `Class.method` in a module, if it is made there."""
    found: list[ast.stmt] = [*ast.parse(source).body]
    for part in name.split("."):
        named = [node for node in found if part in (getattr(node, "name", ""), *assigned(node))]
        found = [inner for node in named for inner in getattr(node, "body", ())]
    return [(node.lineno, node.end_lineno or node.lineno) for node in named]
