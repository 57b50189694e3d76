"""What a peer names is quoted in the log, whoever writes the line; and no module logs past that."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogEvent, eventAsText
from twisted.trial.unittest import SynchronousTestCase

import minimixproxy
from minimixproxy.logs.logger import MAX_VALUE, MAX_VALUES, TEXTS, Logger, name, printable, quoted
from tests.log_events import Observer

PACKAGE = Path(minimixproxy.__file__).parent
LEVELS = {"debug", "info", "warn", "error", "critical", "failure"}
HOSTILE = {
    "\x1b[2J\x1b[31mred": r"\x1b[2J\x1b[31mred",
    "a\nb": r"a\nb",
    "a\r\nb": r"a\r\nb",
    "a\tb\0c\x07\x7f\x9b": r"a\tb\x00c\x07\x7f\x9b",
    "a\u2028b\u2029c\x85d\x0b\x0c": r"a\u2028b\u2029c\x85d\x0b\x0c",
    "\u202egnp.exe\u202c\u2066x\u2069\u200f\u061c": r"\u202egnp.exe\u202c\u2066x\u2069\u200f\u061c",
    "zero\u200bwidth\ufeff": r"zero\u200bwidth\ufeff",
    "no\u00a0space\u3000": r"no\xa0space\u3000",
    "\U000e0041tag": r"\U000e0041tag",
    "\ud800": r"\ud800",
    "alice@a.test/Handy": "alice@a.test/Handy",
    "\u4e2d\u6587\U0001f600\u00e9": "\u4e2d\u6587\U0001f600\u00e9",
}


class QuotingTest(SynchronousTestCase):
    def test_what_is_hostile(self) -> None:
        for text, shown in HOSTILE.items():
            self.assertEqual((printable(text), name(text)), (shown, shown))

    def test_of_a_long_list_only_what_is_shown_is_quoted(self) -> None:
        """A server may name ten thousand."""
        looked_at: list[str] = []

        class Named:
            def __str__(self) -> str:
                looked_at.append("n")
                return "n"

        for values in ([Named() for _ in range(MAX_VALUES + 5)], frozenset(Named() for _ in range(MAX_VALUES + 5))):
            looked_at.clear()
            self.assertEqual(quoted("rooms", values), ", ".join(["n"] * MAX_VALUES + ["... (5 more)"]))
            self.assertEqual(len(looked_at), MAX_VALUES)
        self.assertEqual(quoted("rooms", ["n"] * MAX_VALUES), ", ".join(["n"] * MAX_VALUES))

    def test_names_end_where_they_end(self) -> None:
        for text, shown in (
            ("x from 192.0.2.1 refused: not-authorized", '"x from 192.0.2.1 refused: not-authorized"'),
            ('a" from "b', '"a\\" from \\"b"'),
            ("", '""'),
        ):
            self.assertEqual((quoted("account", text), name(text)), (shown, shown))
            self.assertEqual(quoted("text", text), text)

    def test_length(self) -> None:
        self.assertEqual(printable("x" * 1000), "x" * MAX_VALUE + "... (700 more)")
        self.assertLess(len(printable("\U000e0041" * 100_000)), MAX_VALUE * 10 + 30)
        self.assertLess(len(str(quoted("jids", ["\x1b" * 1000] * 1000))), MAX_VALUE * 4 * 25)

    def test_values(self) -> None:
        for value, shown in (
            (3, 3),
            (2.5, 2.5),
            (True, True),
            (None, None),
            (b"a\x1b\xff", "a\\x1b\ufffd"),
            (["a", "b\x1b c"], 'a, "b\\x1b c"'),
            ([], "-"),
            (("x",), "x"),
            (ValueError("a\nb"), r"a\nb"),
            (Path("/tmp/x"), "/tmp/x"),
            ({"\x1b": 1}, "\"{'\\x1b': 1}\""),
        ):
            self.assertEqual(quoted("value", value), shown)

    @given(st.text(max_size=500), st.sampled_from(["account", *TEXTS]))
    def test_whatever_it_is(self, text: str, key: str) -> None:
        events: list[LogEvent] = []
        Logger("test", observer=Observer(events.append)).info("begin {" + key + "} end", **{key: text})
        line = eventAsText(events[0], includeTimestamp=False, includeSystem=False)
        self.assertTrue(line.isprintable() and line.startswith("begin ") and line.endswith(" end"), line)
        self.assertLess(len(line), MAX_VALUE * 12)

    def test_lines_of_a_traceback(self) -> None:
        self.assertEqual(quoted("trace", 'File "x"\n  a\x1b b\n'), 'File "x"\n  a\\x1b b\n')

    def test_tracebacks(self) -> None:
        events: list[LogEvent] = []
        log = Logger("test", observer=Observer(events.append))
        try:
            raise ValueError("a\x1b[2J\u202e" + "x" * 100_000)
        except ValueError:
            log.failure("while {what}", what="testing")
        line = eventAsText(events[0])
        self.assertTrue(line.replace("\n", "").isprintable())
        self.assertIn(r"ValueError: a\x1b[2J\u202exxx", line)
        self.assertLess(len(line), 20_000)
        self.assertIsInstance(events[0]["log_failure"].value, ValueError)


def modules(pattern: str) -> Iterator[tuple[Path, ast.Module]]:
    """The modules in which this occurs: to take all apart takes a while."""
    wanted = re.compile(pattern)
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text()
        if wanted.search(text):
            yield path, ast.parse(text)


def log_calls(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr not in LEVELS:
            continue
        if ast.unparse(node.func.value).rpartition(".")[2] in ("log", "_log"):
            yield node


def formats(node: ast.expr) -> list[str] | None:
    """The constant texts that a format can be, None if it is anything else."""
    if isinstance(node, ast.IfExp):
        either = [formats(node.body), formats(node.orelse)]
        return [text for texts in either if texts for text in texts] if all(either) else None
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


#: What who only reads the log may use.
READING = {f"twisted.logger.{name}" for name in ("ILogObserver", "LogLevel", "formatEvent", "globalLogPublisher")}


class EveryModuleTest(SynchronousTestCase):
    def test_there_is_one_logger(self) -> None:
        for path, tree in modules(r"\blogging\b|twisted\.(logger|python)\b|\btwisted import|import twisted"):
            for node in ast.walk(tree):
                found = []
                if isinstance(node, ast.Import):
                    found = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    found = [f"{node.module}.{alias.name}" for alias in node.names]
                for module in found:
                    wrong = module.startswith(("logging", "twisted.logger", "twisted.python.log"))
                    reads = path.name == "faults.py" and module in READING
                    writes = path.name in ("logger.py", "output.py")
                    self.assertFalse(wrong and not reads and not writes, f"{path}: {module}")

    def test_formats_are_ours(self) -> None:
        """No text of a peer is in a format, and a format only names values, which are quoted."""
        number = 0
        for path, tree in modules(rf"log\W*\.\s*({'|'.join(LEVELS)})\b"):
            for call in log_calls(tree):
                where = f"{path}:{call.lineno}"
                texts = formats(call.args[0])
                self.assertIsNotNone(texts, f"{where}: the format is not a constant")
                for text in texts or ():
                    fields = [parsed[1] for parsed in Formatter().parse(text) if parsed[1] is not None]
                    self.assertTrue(all(field.isidentifier() for field in fields), f"{where}: {fields}")
                number += 1
        self.assertGreater(number, 100)

    def test_only_the_operator_s_command_prints(self) -> None:
        allowed = ("tap.py", "operator/commands/")
        for path, tree in modules(r"\bprint\b"):
            name = path.relative_to(PACKAGE).as_posix()
            if name.startswith(allowed):
                continue
            for node in ast.walk(tree):
                prints = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
                self.assertFalse(prints, f"{name} prints")
