"""docs/testing.md says which attack is tested where: the tests are there, on the servers that it names."""

import re
from importlib import import_module
from typing import Any

from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.test_documents import ROOT

SERVERS = ("OnProsody", "OnEjabberd")
ROW = re.compile(r"^\| ([\w ]+) \| .+? \| (both|one server|unit) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`([\w.]+?\.[A-Z]\w+)(?:\.(test_\w+))?`")
FAULTS = {*map(str, range(1, 19)), "15a", "15b", "15c"} - {"15"}  # of the issue


def table() -> list[tuple[str, str, str]]:
    """Number, where it was seen, and tests of each row."""
    text = (ROOT / "docs" / "testing.md").read_text("utf-8")
    section = text.partition("## Which attack is tested where\n")[2].partition("\n## ")[0]
    rows: list[tuple[str, str, str]] = ROW.findall(section)
    assert len(rows) == section.count("\n| ") - 1, "a row that cannot be read"  # but for the head
    return rows


class AttackTableTests(SynchronousTestCase):
    def test_each_fault_has_its_tests(self) -> None:
        self.assertEqual({number for number, _, _ in table()}, FAULTS | {"new"})

    def test_they_are_there(self) -> None:
        for number, where, tests in table():
            named = TEST.findall(tests)
            self.assertEqual(len(named), tests.count("`") // 2, tests)
            for name, method in named:
                for case in self.cases(name, where):
                    has = [one for one in dir(case) if one.startswith("test")]
                    self.assertTrue(method in has if method else has, f"{number}: {name}.{method}")

    def cases(self, name: str, where: str) -> list[type[Any]]:
        """The test cases of that name."""
        module, _, case = name.rpartition(".")
        tests = import_module(f"tests.{module}")
        found = [self.case(tests, case + server) for server in (SERVERS if where == "both" else ("",))]
        for one in found:
            is_case = isinstance(one, type) and issubclass(one, SynchronousTestCase | TestCase)
            self.assertTrue(is_case, f"{name} is no test on {where}")
        return [one for one in found if one is not None]

    @staticmethod
    def case(tests: Any, name: str) -> Any:
        """The case of that name, or that on the server without stream management."""
        return getattr(tests, name, None) or getattr(tests, name.replace("TestsOn", "TestsOnUnmanaged"), None)
