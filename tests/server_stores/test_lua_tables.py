"""The part of Lua in which Prosody writes: read, and never executed."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial import unittest

from minimixproxy.server_stores.lua_tables import MAX_DEPTH, NoTable, read_table


class ReadTest(unittest.SynchronousTestCase):
    def test_table(self) -> None:
        cases: list[tuple[bytes, Any]] = [
            (b"return {\n};\n", {}),
            (b"return{}", {}),
            (b'return {\n\t["salt"] = "ab";\n\t["iteration_count"] = 10;\n};\n', {"salt": "ab", "iteration_count": 10}),
            (b"return { a = 'x', b = true; [1.5] = false, [-2] = nil }", {"a": "x", "b": True, 1.5: False, -2: None}),
            (b'return { "a"; "b", { "c" }; x = 1, "d" };', {1: "a", 2: "b", 3: {1: "c"}, "x": 1, 4: "d"}),
            (b"return -- a comment\n {\f\v\r\n --another\n\t};--the end", {}),
            (rb'return { "\a\b\f\n\r\t\v\\\"\'\195\188\x41\0009" }', {1: "\a\b\f\n\r\t\v\\\"'\u00fcA\x009"}),
            (b"return { '\"', \"'\", '\\\n' }", {1: '"', 2: "'", 3: "\n"}),
            (b"return { 1e3, -0.5, 1.5e-3, 5. }", {1: 1000.0, 2: -0.5, 3: 0.0015, 4: 5.0}),
            (b"return { ['--'] = '--', [\"}\"] = '};' }", {"--": "--", "}": "};"}),
            ("return { 'ü' }".encode(), {1: "ü"}),
            (b"return { truex = true, nilx = nil }", {"truex": True, "nilx": None}),
        ]  # fmt: skip
        for source, expected in cases:
            self.assertEqual(read_table(source), expected, source)

    def test_nothing_is_executed(self) -> None:
        for value in (
            b"os.exit()",
            b"os.exit",
            b"(1/0)",
            b"1/0",
            b"1 .. 2",
            b"'a' .. 'b'",
            b"('x'):rep(1e9)",
            b"function() end",
            b"#{}",
            b"not true",
            b"_G",
            b"f{}",
            b"f''",
            b"[[x]]",
            b"[==[x]==]",
            b"0x10",
            b"--[[\n]] 5",
            b"...",
            b"- 5",
            b"true and 5",
            b"5 5",
            b"5x",
            b"'a\nb'",
            b"'",
            b'"',
            b'"\\"',
            b"'\\z  '",
            b"'\\999'",
            b"'\\256'",
            b"'\\x4'",
            b"'\\u{41}'",
            b"'\\q'",
            b"'\xff'",
            b"'\\255'",
            b"'\\237\\160\\128'",
            b"\0",
            b"",
        ):
            for source in (
                b"return " + value,
                b"return { " + value + b" ",
                b"return { x = " + value + b" + 1 }",
                b"return { [" + value + b"] }",
                b"return {}; " + value + b";",
            ):
                if value == b"" and source.startswith(b"return {};"):
                    continue
                self.assertRaises(NoTable, read_table, source)

    def test_no_table(self) -> None:
        for source in (
            b"",
            b"{}",
            b"return 5",
            b"return 'x';",
            b"return",
            b"return {} {}",
            b"return {};;",
            b"return {,}",
        ):
            self.assertRaises(NoTable, read_table, source)
        self.assertRaises(NoTable, read_table, b"return { [nil] = 1 }")
        self.assertRaises(NoTable, read_table, b"return { [{}] = 1 }")

    def test_depth(self) -> None:
        deepest = b"return " + b"{" * MAX_DEPTH + b"}" * MAX_DEPTH
        self.assertTrue(read_table(deepest))
        for depth in (MAX_DEPTH + 1, 30_000):
            self.assertRaises(NoTable, read_table, b"return " + b"{" * depth + b"}" * depth)

    def test_the_fault_holds_nothing_of_the_file(self) -> None:
        """It is printed, and the file holds keys."""
        error = self.assertRaises(NoTable, read_table, b"return { password = secret }")
        self.assertEqual(str(error), "no literal, at byte 26")

    @given(st.binary(max_size=200))
    def test_anything(self, source: bytes) -> None:
        for whole in (source, b"return {" + source, b"return { x = '" + source + b"' }"):
            try:
                read_table(whole)
            except NoTable:
                continue
