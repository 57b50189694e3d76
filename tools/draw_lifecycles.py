"""Writes docs/lifecycles-drawn.md: what has states, and what follows from what in them. From the code alone.

Usage: draw_lifecycles.py [--check]

With --check nothing is written, and the exit status is 1 if the page is not what the code says.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

from drawnpage import cell, write_or_check

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "lifecycles-drawn.md"
PACKAGE = "minimixproxy"

HEAD = """# Lifecycles, drawn

Written by `tools/draw_lifecycles.py` from the tables that the code runs: do not edit. `tests/test_lifecycles_drawn.py`
checks that this page is current. [What happens when](lifecycles.md) tells how the parts work together.
"""


class Lifecycle(NamedTuple):
    """Where a table is. What it maps (state, input) to is an action, or has the next state as `to` and an `action`.

    `otherwise` names what is done where the table has no entry.
    """

    title: str
    module: str
    table: str = "TABLE"
    otherwise: str = ""


LIFECYCLES = [
    Lifecycle("Account stream", "accountstream.lifecycle"),
    Lifecycle("Occupancy of a room", "minimix.occupancy.lifecycle"),
    Lifecycle("Domain of client_proxy, in a cluster", "cluster.component_duty"),
    Lifecycle("Negotiation with a client", "c2s.server.negotiation", "TRANSITIONS", "OTHERWISE"),
]


class Row(NamedTuple):
    """One entry of a table: `to` is "" if it is the same state, None if only the action knows."""

    state: str
    what: str
    to: str | None
    action: Callable[..., Any]

    @property
    def changes(self) -> bool:
        """Whether anything follows: actions of these names say why nothing does."""
        return bool(self.to) or self.action.__name__ not in ("nothing", "impossible")


def rows(table: Mapping[tuple[Enum, Any], Any]) -> Iterator[Row]:
    """Yield a table's entries, state by state and in its own order of inputs."""
    states = list(type(next(iter(table))[0]))
    for (state, what), follows in sorted(table.items(), key=lambda entry: states.index(entry[0][0])):
        text = what.value if isinstance(what, Enum) else what
        if hasattr(follows, "action"):
            to = follows.to.name if follows.to is not None else ""
            yield Row(state.name, text, to, follows.action)
        else:
            yield Row(state.name, text, None, follows)


def page(lifecycles: list[Lifecycle] = LIFECYCLES) -> str:
    """Return the page, as Markdown."""
    return "\n".join([HEAD, *("\n".join(drawn(lifecycle)) for lifecycle in lifecycles)])


def drawn(lifecycle: Lifecycle) -> Iterator[str]:
    """Yield the lines of one lifecycle."""
    module = importlib.import_module(f"{PACKAGE}.{lifecycle.module}")
    table = getattr(module, lifecycle.table)
    found = list(rows(table))
    file = f"{PACKAGE}/{lifecycle.module.replace('.', '/')}.py"
    yield from (f"## {lifecycle.title}", "", f"`{file}` `{lifecycle.table}`", "")
    yield from _diagram(found)
    yield from _states(type(next(iter(table))[0]))
    yield from _transitions(found)
    yield from _without(found)
    if lifecycle.otherwise:
        yield from (f"Everything else: {_said(getattr(module, lifecycle.otherwise))}", "")


def _diagram(found: list[Row]) -> Iterator[str]:
    """Yield a drawing in which all inputs that lead from one state to another are one arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for row in found:
        if row.to:
            arrows.setdefault((row.state, row.to), []).append(row.what)
    if not arrows:
        yield from ("The actions choose the next state, so there is no drawing of the ways between them.", "")
        return
    yield from ("```mermaid", "stateDiagram-v2")
    yield from (f"    {start} --> {end}: {' / '.join(inputs)}" for (start, end), inputs in arrows.items())
    yield from ("```", "")


def _states(states: type[Enum]) -> Iterator[str]:
    comments = _comments(states)
    yield from ("| state | what it is |", "|---|---|")
    for state in states:
        yield f"| {state.name} | {cell(getattr(state, 'about', comments.get(state.name, '')))} |"
    yield ""


def _comments(states: type[Enum]) -> dict[str, str]:
    """Return what stands behind each member in the source."""
    found = {}
    for line in inspect.getsource(states).splitlines():
        name, equals, rest = line.strip().partition(" = ")
        if equals and name in states.__members__:
            found[name] = rest.partition("  # ")[2]
    return found


def _transitions(found: list[Row]) -> Iterator[str]:
    nexts = any(row.to is not None for row in found)
    yield "| state | input | next state | what is done |" if nexts else "| state | input | what is done |"
    yield "|---|---|---|---|" if nexts else "|---|---|---|"
    before = ""
    for row in found:
        if row.changes:
            state, before = "" if row.state == before else row.state, row.state
            cells = (
                [state, row.what, row.to or "", _said(row.action)] if nexts else [state, row.what, _said(row.action)]
            )
            yield f"| {' | '.join(cell(one) for one in cells)} |"
    yield ""


def _without(found: list[Row]) -> Iterator[str]:
    """Yield what changes nothing, or cannot happen, by input and reason."""
    where: dict[tuple[str, str], list[str]] = {}
    for row in found:
        if not row.changes:
            where.setdefault((row.what, _said(row.action)), []).append(row.state)
    if where:
        yield from ("| input | in | what follows |", "|---|---|---|")
        for (what, said), states in sorted(where.items()):
            yield f"| {cell(what)} | {', '.join(states)} | {cell(said)} |"
        yield ""


def _said(action: Callable[..., Any]) -> str:
    """Return the first line of an action's docstring, or its name."""
    text = (inspect.getdoc(action) or "").partition("\n")[0]
    return text or f"`{action.__qualname__}`"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(write_or_check(PAGE, page))
