"""The rooms of the house: who may use whom, and what the core must not touch. docs/house.md draws them."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.tools.scripts import load

ROOT = Path(__file__).resolve().parent.parent

#: What each room may use beside what stands in `EVERYWHERE`. Whoever adds to it says why in the commit.
EVERYWHERE = {"namespaces", "jids", "bounds", "logs", "timing", "config", "wire", "safety_net"}
MAY_USE: dict[str, set[str]] = {
    "namespaces": set(),
    "jids": set(),
    "bounds": set(),
    "logs": {"bounds"},
    "timing": {"logs"},
    "config": {"jids"},
    "wire": {"namespaces"},
    "safety_net": {"logs", "wire"},
    "state_lock": {"logs"},
    "resource_id": {"jids", "logs"},
    "xep": set(),
    "c2s": set(),
    "c2s.transport": {"c2s"},
    "c2s.upstream": {"c2s", "c2s.transport", "xep"},
    "c2s.session": {"c2s", "c2s.transport", "c2s.upstream", "minimix.interfaces", "xep"},
    "c2s.server": {"c2s", "c2s.transport", "c2s.upstream", "c2s.session", "xep"},
    "minimix.interfaces": set(),
    "minimix.addressing": {"minimix.interfaces", "xep"},
    "minimix.history": {"minimix.interfaces", "xep"},
    "minimix.room": {"minimix.interfaces", "minimix.addressing", "minimix.history", "xep"},
    "minimix.rejoin": {"minimix.interfaces", "minimix.history", "minimix.room", "xep"},
    "minimix.occupancy": {
        "minimix.interfaces",
        "minimix.addressing",
        "minimix.history",
        "minimix.room",
        "minimix.rejoin",
        "xep",
    },
    "minimix.subprotocols": {
        "minimix.interfaces",
        "minimix.addressing",
        "minimix.history",
        "minimix.room",
        "minimix.occupancy",
        "minimix.rejoin",
        "xep",
    },
    "minimix.bookmarks": {"minimix.interfaces", "xep"},
    "minimix.commands": {"minimix.interfaces", "minimix.addressing", "minimix.history", "xep"},
    "minimix": {
        "minimix.interfaces",
        "minimix.addressing",
        "minimix.history",
        "minimix.room",
        "minimix.occupancy",
        "minimix.subprotocols",
        "minimix.bookmarks",
        "minimix.commands",
        "xep",
    },
    "accountstream": {
        "minimix",
        "minimix.interfaces",
        "minimix.room",
        "minimix.subprotocols",
        "c2s",
        "c2s.upstream",
        "xep",
    },
    "storage": {"minimix.interfaces", "xep", "state_lock", "resource_id"},
    "storage.migrations": {"storage"},
    "storage.migrations.versions": set(),
    "clientproxy": {"xep"},
    "operator": {"minimix.interfaces", "minimix.commands"},
}
#: Rooms that do no input or output, and what they must not import for that.
CORE = ("minimix", "xep", "wire", "bounds", "jids", "namespaces")
OUTSIDE = (
    "twisted.internet",
    "twisted.application",
    "socket",
    "select",
    "ssl",
    "sqlite3",
    "sqlalchemy",
    "psycopg",
    "OpenSSL",
    "subprocess",
)
#: What of these is no input or output.
HARMLESS = ("twisted.internet.defer", "twisted.internet.interfaces", "twisted.internet.error")
#: The one module of `wire` that is a Twisted protocol.
PROTOCOL = "minimixproxy.wire.xmlstream"


class HouseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tool: Any = load("draw_house")
        self.modules = self.tool.modules()
        used = self.tool.rooms(self.modules)
        self.used = {self.short(room): {self.short(other) for other in others} for room, others in used.items()}

    def short(self, name: str) -> str:
        return name.removeprefix("minimixproxy.")

    def test_who_may_use_whom(self) -> None:
        """Only tap knows all: it composes."""
        self.assertEqual(sorted(set(self.used) - set(MAY_USE)), ["tap"], "not placed, or gone")
        for room, allowed in MAY_USE.items():
            beyond = self.used[room] - allowed - (EVERYWHERE if room not in EVERYWHERE else set())
            self.assertEqual(beyond, set(), f"{room} uses what it may not")

    def test_nothing_goes_round(self) -> None:
        self.tool.floors(self.tool.rooms(self.modules))  # ValueError names them
        single = {name: set(module.imports) - {name} for name, module in self.modules.items()}
        single["minimixproxy"] = set()
        self.tool.floors(single)

    def test_the_core_does_no_io(self) -> None:
        for name in self.modules:
            if self.short(name).split(".")[0] not in CORE or name == PROTOCOL:
                continue
            for wanted in imported(ROOT / f"{name.replace('.', '/')}.py"):
                wrong = wanted.startswith(OUTSIDE) and not wanted.startswith(HARMLESS)
                self.assertFalse(wrong, f"{name} imports {wanted}")

    def test_the_page_is_current(self) -> None:
        self.assertEqual((ROOT / "docs" / "house.md").read_text("utf-8"), self.tool.page(self.modules))

    def test_each_module_says_what_it_is_for(self) -> None:
        silent = [name for name, module in self.modules.items() if not module.about and "versions" not in name]
        self.assertEqual(silent, [])


class FloorsTests(SynchronousTestCase):
    def test_a_circle_is_named(self) -> None:
        with self.assertRaisesRegex(ValueError, r"\['a', 'b'\]"):
            load("draw_house").floors({"a": {"b"}, "b": {"a"}, "c": set()})

    def test_floors(self) -> None:
        used: dict[str, set[str]] = {"a": {"b", "c"}, "b": {"c"}, "c": set(), "d": set()}
        self.assertEqual(load("draw_house").floors(used), [["c", "d"], ["b"], ["a"]])


def imported(path: Path) -> set[str]:
    """All that a module imports, as `package.name`."""
    if not path.exists():
        path = path.with_suffix("") / "__init__.py"
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found
