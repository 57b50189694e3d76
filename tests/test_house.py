"""The rooms of the house: who may use whom, and what the core must not touch. docs/house.md draws them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy import namespaces
from tests.tools.scripts import load

ROOT = Path(__file__).resolve().parent.parent

#: What each room may use beside what stands in `EVERYWHERE`. Whoever adds to it says why in the commit.
EVERYWHERE = {"namespaces", "jids", "bounds", "counting", "logs", "timing", "config", "wire", "safety_net"}
MAY_USE: dict[str, set[str]] = {
    "namespaces": set(),
    "jids": {"lenient_profiles"},
    "lenient_profiles": set(),
    "bounds": set(),
    "counting": set(),
    "logs": {"bounds"},
    "timing": {"logs"},
    "config": {"jids", "logs"},
    "wire": {"namespaces", "counting"},
    "safety_net": {"logs", "wire"},
    "direct_transport": set(),
    "stream_management": set(),
    "state_lock": {"logs"},
    "unix_sockets": set(),
    "cannot_start": set(),
    "ports": {"cannot_start"},
    "resource_id": {"jids", "logs"},
    "xep": set(),
    "sasl": set(),
    "c2s": set(),
    "c2s.transport": {"c2s", "direct_transport", "sasl"},
    "c2s.websocket": {"c2s.transport", "xep"},
    "c2s.upstream": {"stream_management", "c2s", "c2s.transport", "sasl", "xep"},
    "c2s.session": {
        "stream_management",
        "c2s",
        "c2s.transport",
        "c2s.upstream",
        "direct_transport",
        "minimix.interfaces",
        "xep",
    },
    "c2s.server.exchanges": {"c2s", "c2s.transport", "c2s.upstream", "sasl", "xep"},
    "c2s.server": {
        "stream_management",
        "c2s",
        "c2s.transport",
        "c2s.upstream",
        "c2s.session",
        "c2s.server.exchanges",
        "c2s.websocket",
        "ports",
        "sasl",
        "xep",
    },
    "cluster": {
        "c2s",
        "c2s.transport",
        "c2s.upstream",
        "c2s.session",
        "c2s.server",
        "cannot_start",
        "direct_transport",
        "minimix.interfaces",
        "ports",
        "resource_id",
        "sasl",
        "storage",
        "unix_sockets",
        "xep",
    },
    "minimix.interfaces": set(),
    "minimix.addressing": {"minimix.interfaces", "xep"},
    "minimix.history": {"minimix.interfaces", "xep"},
    "minimix.room": {"minimix.interfaces", "minimix.addressing", "minimix.history", "xep"},
    "minimix.push": {"minimix.interfaces", "minimix.room", "xep"},
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
        "minimix.push",
        "xep",
    },
    "accountstream": {
        "stream_management",
        "minimix",
        "minimix.interfaces",
        "minimix.room",
        "minimix.subprotocols",
        "c2s",
        "c2s.transport",
        "c2s.upstream",
        "sasl",
        "xep",
    },
    "storage": {"minimix.interfaces", "sasl", "xep", "state_lock", "resource_id", "cannot_start"},
    "storage.migrations": {"storage"},
    "storage.migrations.versions": set(),
    "clientproxy": {"direct_transport", "xep"},
    "server_stores": {"sasl"},
    "operator": {"minimix.interfaces", "minimix.commands", "sasl", "server_stores", "unix_sockets"},
    "operator.commands": {"operator", "checking", "resource_id", "sasl", "server_stores", "state_lock", "storage"},
    "checking": {"c2s", "c2s.transport", "c2s.upstream", "cluster", "sasl", "storage"},
    "operator.web": {"operator", "minimix.interfaces", "minimix.commands"},
}
#: Rooms that do no input or output, and what they must not import for that.
CORE = (
    "minimix",
    "stream_management",
    "sasl",
    "xep",
    "wire",
    "bounds",
    "counting",
    "jids",
    "lenient_profiles",
    "namespaces",
)
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

MOST_PARAMETERS = 5
#: Constructors that take more, and why. What several of them pass along is better one frozen context.
MANY_PARAMETERS = {
    "accountstream.stream.AccountStream": "the last one stands for chance, for tests; the others are no group",
    "c2s.server.limits.FailedLogins": "four numbers of the configuration, of which two have a default",
    "clientproxy.component.ComponentStream": "Wokkel's StreamManager takes the first four, and keeps no settings",
    "clientproxy.jat.Translator": "a table in four of them, each with a default",
    "wire.stanza.Stanza": "a record, made by position for each stanza",
}


@cache
def house() -> tuple[Any, Any]:
    """The tool, and all modules by name: they are read once for all tests."""
    tool: Any = load("draw_house")
    return tool, tool.modules()


class HouseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tool, self.modules = house()
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
            for wanted in imported(name):
                wrong = wanted.startswith(OUTSIDE) and not wanted.startswith(HARMLESS)
                self.assertFalse(wrong, f"{name} imports {wanted}")

    def test_the_page_is_current(self) -> None:
        self.assertEqual((ROOT / "docs" / "house.md").read_text("utf-8"), self.tool.page(self.modules))

    def test_each_module_says_what_it_is_for(self) -> None:
        silent = [name for name, module in self.modules.items() if not module.about and "versions" not in name]
        self.assertEqual(silent, [])

    def test_namespaces_are_written_once(self) -> None:
        """All are in `namespaces`, by name."""
        known = {text for value in vars(namespaces).values() for text in named(value)}
        for name in self.modules:
            if name == "minimixproxy.namespaces":
                continue
            for text in filter(":".__contains__, literals(nodes_of(name))):  # as in each namespace
                again = [namespace for namespace in known if f"'{namespace}'" in text or namespace == text]
                self.assertEqual(again, [], f"{name} writes a namespace again")

    def test_constructors_take_few_parameters(self) -> None:
        many = set()
        for name in self.modules:
            for class_name, number in constructors(nodes_of(name)):
                if number > MOST_PARAMETERS:
                    many.add(f"{self.short(name)}.{class_name}")
        self.assertEqual(many - set(MANY_PARAMETERS), set(), "a reason, or a context of what goes together")


class FloorsTests(SynchronousTestCase):
    def test_a_circle_is_named(self) -> None:
        with self.assertRaisesRegex(ValueError, r"\['a', 'b'\]"):
            load("draw_house").floors({"a": {"b"}, "b": {"a"}, "c": set()})

    def test_floors(self) -> None:
        used: dict[str, set[str]] = {"a": {"b", "c"}, "b": {"c"}, "c": set(), "d": set()}
        self.assertEqual(load("draw_house").floors(used), [["c", "d"], ["b"], ["a"]])


def nodes_of(module: str) -> list[ast.AST]:
    path = ROOT / f"{module.replace('.', '/')}.py"
    if not path.exists():
        path = path.with_suffix("") / "__init__.py"
    tool, _ = house()
    nodes: list[ast.AST] = tool.parsed(path)
    return nodes


def constructors(nodes: list[ast.AST]) -> Iterator[tuple[str, int]]:
    """Yield each class that has one, and how many parameters beside `self` it takes."""
    for node in (node for node in nodes if isinstance(node, ast.ClassDef)):
        for inner in node.body:
            if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
                arguments = inner.args
                yield node.name, len(arguments.posonlyargs + arguments.args + arguments.kwonlyargs) - 1


def literals(nodes: list[ast.AST]) -> Iterator[str]:
    """Yield every text and every bytes that stands in a module."""
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.Constant) and isinstance(node.value, bytes):
            yield node.value.decode("utf-8", "replace")


def named(value: object) -> tuple[str, ...]:
    """Return the namespaces that a name of `namespaces` stands for."""
    texts = value if isinstance(value, tuple) else (value,)
    return tuple(text for text in texts if isinstance(text, str) and ":" in text and "\n" not in text)


def imported(module: str) -> set[str]:
    """All that a module imports, as `package.name`."""
    found = set()
    for node in nodes_of(module):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found
