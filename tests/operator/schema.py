"""Compares a status report with docs/status.md: each member is described there, and is what is said of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "status.md"
_SIMPLE: dict[str, Any] = {
    "text": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "numbers": lambda value: isinstance(value, dict) and all(isinstance(one, int) for one in value.values()),
    "texts": lambda value: isinstance(value, dict) and all(isinstance(one, str) for one in value.values()),
}


def tables() -> dict[str, dict[str, str]]:
    """By object: the type of each member, as the document has it."""
    text = DOCUMENT.read_text("utf-8").partition("\n## JSON\n")[2]
    return {
        name: dict(re.findall(r"^\| `(\w+)` \| ([\w ]+?) \|", section, re.MULTILINE))
        for name, section in re.findall(r"^### `(\w+)`\n(.*?)(?=^### |\Z)", text, re.MULTILINE | re.DOTALL)
    }


def faults(value: Any, kind: str = "status", where: str = "") -> Iterator[str]:
    """Yield what is not as the document says."""
    kind, _or, null = kind.partition(" or ")
    if null == "null" and value is None:
        return
    if kind.startswith("list of "):
        if not isinstance(value, list):
            yield f"{where}: no list: {value!r}"
            return
        for number, one in enumerate(value):
            yield from faults(one, kind.removeprefix("list of "), f"{where}[{number}]")
    elif kind in _SIMPLE:
        if not _SIMPLE[kind](value):
            yield f"{where}: no {kind}: {value!r}"
    else:
        yield from _members(value, tables()[kind], where)


def _members(value: Any, members: dict[str, str], where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: no object: {value!r}"
    elif set(value) != set(members):
        yield f"{where}: members differ: {sorted(set(value) ^ set(members))}"
    else:
        for name, kind in members.items():
            yield from faults(value[name], kind, f"{where}.{name}")
