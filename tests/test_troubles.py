"""docs/troubles.md says what to do about each line that is logged as an error, and each trouble of the status."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from twisted.trial import unittest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = " ".join((ROOT / "docs" / "troubles.md").read_text("utf-8").split())
LOGGERS = {"log", "_log"}
LEVELS = ("error", "critical", "failure")
OF_INTEREST = re.compile(rf"Trouble|log\W*\.\s*({'|'.join(LEVELS)})\b")
HOLE = re.compile(r"\{[^{}]*\}")


@cache
def calls() -> list[tuple[str, ast.Call]]:
    """Every call that may be of interest here, with the file that it is in."""
    return [
        (str(file.relative_to(ROOT)), node)
        for file in sorted((ROOT / "minimixproxy").rglob("*.py"))
        for node in ast.walk(ast.parse(source_if_of_interest(file)))
        if isinstance(node, ast.Call)
    ]


def source_if_of_interest(file: Path) -> str:
    """Most modules have none of these words, and to take them apart takes a while."""
    source = file.read_text("utf-8")
    return source if OF_INTEREST.search(source) else ""


def is_log(call: ast.Call, level: str) -> bool:
    """Whether this is `self.log.error(…)`, or the like at another level."""
    function = call.func
    if not isinstance(function, ast.Attribute) or function.attr != level:
        return False
    named = function.value
    return (named.attr if isinstance(named, ast.Attribute) else getattr(named, "id", "")) in LOGGERS


def texts(node: ast.expr) -> Iterator[str]:
    """The formats that an argument may be, as they stand in the code; none, if it is not written there."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body)
        yield from texts(node.orelse)


def reasons() -> Iterator[str]:
    """What `/readyz` may say: all that its module yields."""
    for node in ast.walk(ast.parse((ROOT / "minimixproxy" / "operator" / "readiness.py").read_text("utf-8"))):
        if isinstance(node, ast.Yield) and node.value is not None:
            yield from map(as_documented, texts(node.value))


def as_documented(text: str) -> str:
    """A format with `…` in the place of what differs."""
    return " ".join(HOLE.sub("…", text).split())


class LogTests(unittest.SynchronousTestCase):
    def lines(self, *levels: str) -> Iterator[tuple[str, str]]:
        self.assertLessEqual(set(levels), set(LEVELS))
        for file, call in calls():
            if any(is_log(call, level) for level in levels):
                found = list(texts(call.args[0])) if call.args else []
                self.assertTrue(found, f"{file}:{call.lineno}: write the text where it is logged")
                for text in found:
                    yield f"{file}:{call.lineno}", as_documented(text)

    def test_each_line_at_error_level_is_explained(self) -> None:
        lines = list(self.lines("error", "critical"))
        self.assertGreater(len(lines), 25, "where have they gone?")
        for where, text in lines:
            if text == "…" or "Please report this" in text:
                continue  # a fault at the start says its own text; a fault of ours asks to be reported
            self.assertIn(f"`{text}`", DOCUMENT, f"{where}: docs/troubles.md does not say what to do")

    def test_faults_of_ours_are_explained_together(self) -> None:
        """They come with a traceback, whatever they are about."""
        self.assertTrue(list(self.lines("failure")))
        self.assertIn("A line followed by a Python traceback, or that asks to *please report this*", DOCUMENT)

    def test_nothing_is_explained_that_is_not_said(self) -> None:
        said = {text for _, text in self.lines("error", "critical")} | set(reasons())
        explained = {text for text in re.findall(r"`([^`]+)`", DOCUMENT) if "…" in text and not text.startswith("min")}
        self.assertEqual(explained - said, set())


class StatusTests(unittest.SynchronousTestCase):
    def test_each_trouble_is_explained(self) -> None:
        for file, call in calls():
            if isinstance(call.func, ast.Name) and call.func.id == "Trouble":
                (code, *_) = texts(call.args[0])
                self.assertIn(f"`{code}`", DOCUMENT, f"{file}:{call.lineno}: docs/troubles.md does not say what to do")

    def test_each_reason_not_to_be_ready_is_explained(self) -> None:
        for reason in reasons():
            self.assertIn(f"`{reason}`", DOCUMENT)
