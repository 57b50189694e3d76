"""`make mutants`: what is put wrong, what is left alone, who is asked to notice, and what is said of it."""

import json
import os
import textwrap
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase, TestCase

from mutants import children, faults, operators, postgresql, unittests
from mutants import reached as measuring
from mutants.__main__ import report, sample
from mutants.children import Task
from mutants.guards import AGAINST_LOSS, Guards, lines_of
from mutants.operators import Mutant, mutants_of
from mutants.reached import Reached
from mutants.trying import PATIENCE, START, Verdict, _task, tests_for, verdict
from mutants.unittests import ROOT

PATH = "minimixproxy/somewhere.py"

OPERATORS: list[tuple[str, str, set[str]]] = [
    (operators.DROP_OPERAND, "x = a and b", {"x = ((a))", "x = ((b))"}),
    (operators.DROP_OPERAND, "x = a or b or c", {"x = ((b) or (c))", "x = ((a) or (c))", "x = ((a) or (b))"}),
    (operators.NEGATE, "if f(a): g()", {"if not (f(a)): g()"}),
    (operators.NEGATE, "x = [a for a in b if a]", {"x = [a for a in b if not (a)]"}),
    (operators.NEVER, "if f(a): g()", {"if False: g()"}),
    (operators.COMPARE, "x = (a) < b", {"x = (a) <= b", "x = (a) >= b"}),
    (operators.COMPARE, "x = a not in b", {"x = a in b"}),
    (operators.COMPARE, "x = 0 == a is not b", {"x = 0 != a is not b", "x = 0 == a is b"}),
    (operators.NUMBER, "f(1)", {"f(2)", "f(0)"}),
    (operators.NUMBER, "f(0)", {"f(1)", "f((-1))"}),
    (operators.STRING, "f('ä', b'x')", {"f('~ä~', b'x')", "f('ä', b'~x~')"}),
    (operators.TRUTH, "f(True)", {"f(False)"}),
    (operators.ARITHMETIC, "x = (a + 1) * b", {"x = (a - 1) * b", "x = (a + 1) // b"}),
    (operators.ARITHMETIC, "a += 1", {"a -= 1"}),
    (operators.DELETE, "f(1)", {"pass"}),
    (operators.DELETE, "a.b = 1", {"pass"}),
    (operators.DELETE, "def f():\n    a = 1", {"def f():\n    a = None"}),
    (operators.DELETE, "for a in b: continue", {"for a in b: pass"}),
    (operators.DELETE, "raise Wrong('it is wrong')", {"pass"}),
    (operators.DELETE, "def f():\n    if a: return\n    g = None", {"def f():\n    if a: pass\n    g = None"}),
    (operators.DELETE, "def f():\n    def g(): 0\n    return None", set()),  # it changes nothing
    (operators.DELETE, "def f():\n    try:\n        g = None\n    except A:\n        return None", set()),
    (operators.DELETE, "def f():\n    if a:\n        return\n    else:\n        return", set()),
    (
        operators.DELETE,
        "def f():\n    for a in b:\n        return",
        {"def f():\n    for a in b:\n        pass"},
    ),
    (operators.DELETE_LOG, "self.log.info('a {b}', b=1)", {"pass"}),
    (operators.DELETE, "def f(): raise NotImplementedError", set()),
    (operators.STRING, "f('SELECT a, b FROM c WHERE d IS NULL')", {"f('~SELECT a, b FROM c WHERE d IS NULL~')"}),
    (operators.STRING, "f('default-src none; base-uri none')", {"f('~default-src none; base-uri none~')"}),
    (operators.STRING, "f('two words')", {"f('~two words~')"}),
    (operators.STRING, "f('a word or {two}')", {"f('~a word or {two}~')"}),
    (operators.TRUTH, "zip(a, b, strict=False)", {"zip(a, b, strict=True)"}),
    (operators.STRING, "def f(a, b):\n    if a: raise C(b)\nf(d, 'e f')", set()),
    (
        operators.STRING,
        "def f(a, b):\n    if b: raise C(b)\nf(d, 'e f')",
        {"def f(a, b):\n    if b: raise C(b)\nf(d, '~e f~')"},
    ),
    (
        operators.STRING,
        "def f(a, b):\n    if a: raise C(b)\nf(d, 'e')",
        {"def f(a, b):\n    if a: raise C(b)\nf(d, '~e~')"},
    ),
    (operators.RETURN, "def f(): return a", {"def f(): return None"}),
    (operators.RETURN, "def f(): return False", set()),
    (operators.SWAP, "f(a, b, c)", {"f(b, a, c)", "f(a, c, b)"}),
    (operators.DECORATOR, "@g(1)\ndef f(): 0", {"\ndef f(): 0"}),
    (operators.NOT, "x = not a", {"x = (a)"}),
    (operators.NOT, "x = -a", {"x = (a)"}),
]
LEFT_ALONE = '''
    """A docstring with 1."""
    __all__ = ["a"]
    if TYPE_CHECKING:
        f(1)
    x: Literal["a"]
    y: Dict["a", 1]
    log = Logger("name")
    def f(a: "A") -> "B":
        "Another."
        assert isinstance(a, B), "c"
    z = cast("C", z)
    z = f"{1} {z}"
    z = max(a, b)
    z = f("nobody can say (so far) what it is")
    z = zip(a, strict=True)
    z = op.create_table(sa.Column(b), sa.Column(c))
    def check(why: str): raise NotImplementedError(why)
    z = check("no place")
    z = a.encode("utf-8")
    class I(Protocol[T]):
        @property
        def f(self, a=1):
            "What it says."
'''


def mutant(name: str = operators.NEVER, first: int = 1, last: int = 1, names: frozenset[str] | None = None) -> Mutant:
    return Mutant(PATH, name, 0, 1, "", first, last, names)


class OperatorTests(SynchronousTestCase):
    def test_what_each_makes(self) -> None:
        for operator, source, expected in OPERATORS:
            made = [made for made in mutants_of(PATH, source.encode()) if made.operator == operator]
            self.assertEqual({one.applied(source.encode()).decode() for one in made}, expected, source)

    def test_what_is_left_alone(self) -> None:
        self.assertEqual(mutants_of(PATH, textwrap.dedent(LEFT_ALONE).encode()), [])

    def test_every_mutant_of_the_package_compiles(self) -> None:
        for path in sorted((ROOT / "minimixproxy").glob("*.py")):
            source = path.read_bytes()
            for one in mutants_of(str(path), source)[::29]:
                compile(one.applied(source), str(path), "exec")

    def test_what_a_protocol_does_is_no_interface(self) -> None:
        source = b"class A(Protocol):\n    def f(self):\n        return a(1)\n    @property\n    def g(self): ..."
        made = {one.operator for one in mutants_of(PATH, source)}
        self.assertEqual(made, {operators.NUMBER, operators.RETURN, operators.DECORATOR})

    def test_difference(self) -> None:
        source = b"a = 1\nif (x and\n    y): f()\nb = 2\n"
        (dropped,) = [one for one in mutants_of(PATH, source) if one.text == "((y))"]
        self.assertEqual(dropped.line(source), 2)
        self.assertEqual(dropped.difference(source), "- if (x and\n-     y): f()\n+ if (((y))): f()")

    def test_lines_of_a_compound_statement_are_its_head(self) -> None:
        source = b"def f():\n    while (a and\n           b):\n        g(1)\n"
        spans = {one.operator: (one.first, one.last) for one in mutants_of(PATH, source)}
        self.assertEqual(spans[operators.DROP_OPERAND], (2, 3))
        self.assertEqual(spans[operators.NUMBER], (4, 4))

    def test_what_runs_while_importing_is_known_by_its_names(self) -> None:
        source = b"A = 10\nclass B:\n    c: int = 20\n    def d(self, e=30):\n        return 40\n"
        names = {one.text: one.names for one in mutants_of(PATH, source) if one.operator == operators.NUMBER}
        self.assertEqual((names["9"], names["19"]), (frozenset("A"), frozenset("c")))
        self.assertEqual((names["29"], names["39"]), (None, None))


class SampleTests(SynchronousTestCase):
    def test_a_seed_means_a_sample(self) -> None:
        everything = mutants_of(PATH, b"f(1, 2, 3, 4)\nif a < b and c < d: g(5)\n")
        samples = [sample(everything, 4, Random(seed)) for seed in (1, 1, 2)]
        self.assertEqual(samples[0], samples[1])
        self.assertNotEqual(samples[0], samples[2])

    def test_one_of_each_place(self) -> None:
        chosen = sample(mutants_of(PATH, b"f(1)"), 100, Random(1))
        self.assertEqual({one.operator for one in chosen}, {operators.NUMBER, operators.DELETE})
        self.assertEqual(len(chosen), 2)


class GuardsTests(SynchronousTestCase):
    def test_where_they_are(self) -> None:
        guards = Guards()
        for path, word, is_one in (
            ("storage/journal.py", "def start", True),
            ("sasl/scram_client.py", "def verify", True),
            ("c2s/server/limits.py", "class LoginGuard", True),
            ("minimix/account.py", "def from_client", True),
            ("minimix/account.py", "def __init__", False),
            ("config/settings.py", "class ", False),
        ):
            source = (ROOT / "minimixproxy" / path).read_bytes()
            place = source.index(word.encode())
            one = Mutant(f"minimixproxy/{path}", operators.NEVER, place, place, "", 1, 1)
            self.assertEqual(guards.have(one, source), is_one, (path, word))
        for folder in AGAINST_LOSS:
            self.assertTrue((ROOT / folder).is_dir(), folder)

    def test_lines_of_a_name(self) -> None:
        source = b"A = 1\nclass B:\n    def c(self):\n        1\n    def d(self): 2\ndef c(): 3\n"
        for name, expected in (("A", (1, 1)), ("B", (2, 5)), ("B.c", (3, 4)), ("B.d", (5, 5)), ("c", (6, 6))):
            self.assertEqual(lines_of(name, source), [expected], name)
        self.assertEqual(lines_of("B.e", source), [])


class ChoiceTests(SynchronousTestCase):
    def test_unit_tests_of_every_room(self) -> None:
        """A room within a room, too: once nobody asked those, and everything there survived."""
        modules = unittests.modules()
        for expected in ("tests.test_house", "tests.minimix.room.test_snapshot"):
            self.assertIn(expected, modules)
        rooms = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
        others = {ROOT / "tests" / name for name in unittests.OTHERS}
        wanted = {room for room in rooms if not others & {room, *room.parents}}
        ours = {(ROOT / module.replace(".", "/")).parent for module in modules if module not in unittests.ALSO}
        self.assertEqual(ours, wanted)
        self.assertLessEqual(unittests.ALSO, {*modules})

    def test_what_is_made_of_a_constant_is_looked_at_as_a_whole(self) -> None:
        drawn = "tests.tools.test_draw_commands.CurrentTest.test_all"
        reached = Reached(seconds={drawn: 0.1, "tests.wire.test_stanza.A.test": 0.1})
        self.assertIn(drawn, tests_for(mutant(names=frozenset({"FORGET"})), reached))

    def test_the_nearest_first_then_the_quickest(self) -> None:
        own, sibling, far = "tests.test_somewhere.A.test", "tests.test_else.A.test", "tests.c2s.test_x.A.test"
        slow = "tests.test_somewhere.A.test_slow"
        reached = Reached(seconds={far: 0.1, slow: 9.0, sibling: 0.2, own: 3.0, "tests.test_else.A.test_other": 0.1})
        reached.lines[PATH][7] |= {far, sibling, slow}
        reached.lines[PATH][8] |= {own}
        reached.lines[PATH][9] |= {"tests.test_else.A.test_other"}
        self.assertEqual(tests_for(mutant(first=7, last=8), reached), [own, slow, sibling, far])

    def test_what_a_module_registers_is_noticed_where_all_are_looked_at(self) -> None:
        documented = "tests.operator.web.test_metrics_documented.A.test"
        reached = Reached(seconds={documented: 0.1, "tests.wire.test_stanza.A.test": 0.1})
        self.assertEqual(tests_for(mutant(names=frozenset({"NEVER_NAMED"})), reached), [documented])

    def test_a_constant_is_noticed_where_it_is_used(self) -> None:
        path = "minimixproxy/logs/logger.py"
        source = (ROOT / path).read_text("utf-8")
        use = 1 + source[: source.index("key == TRACE")].count("\n")
        reached = Reached(seconds={"tests.c2s.test_a.A.test": 1.0, "tests.c2s.test_b.A.test": 1.0})
        reached.lines[path][use] |= {"tests.c2s.test_a.A.test"}
        reached.lines[path][1] |= {"tests.c2s.test_b.A.test"}
        of_trace = mutants_of(path, source.encode())
        (at_trace,) = [
            one for one in of_trace if one.names == frozenset({"TRACE"}) and one.operator == operators.STRING
        ]
        self.assertEqual(tests_for(at_trace, reached), ["tests.c2s.test_a.A.test"])

    def test_who_imports_all_of_a_module_reads_all_of_it(self) -> None:
        """As the test that compares the defaults of the configuration with what is documented."""
        test = "tests.test_documents.ConfigurationReferenceTests.test_defaults"
        reached = Reached({test: 1.0, "tests.test_jids.ParseJID.test_valid": 1.0})
        at_default = Mutant(
            "minimixproxy/config/settings.py", operators.NUMBER, 0, 1, "", 1, 1, frozenset({"no_such_key"})
        )
        self.assertEqual(tests_for(at_default, reached), [test])


class MeasuredTests(SynchronousTestCase):
    ALONE, WITH = "tests.a.test_a.A.test", "tests.a.test_a.B.test"

    def measured(self, **found: object) -> dict[str, object]:
        lines = {PATH: {"1": [self.ALONE, self.WITH]}}
        seconds = {self.ALONE: 1.0, self.WITH: 2.0}
        known = {"seconds": seconds, "wrong": {}, "lines": lines, "postgresql": [self.WITH], "imported": ["tests/a.py"]}
        return {**known, **found}

    def test_tests_that_want_postgresql_count_only_where_there_is_one(self) -> None:
        for where, expected in (({}, {self.ALONE}), ({"port": 1}, {self.ALONE, self.WITH})):
            self.patch(postgresql, "_where", where)
            reached = Reached()
            reached.add(self.measured())
            self.assertEqual((set(reached.seconds), reached.lines[PATH][1]), (expected, expected))

    def test_what_is_measured_again(self) -> None:
        files = {PATH: b"1", "tests/a.py": b"2", "tests/b.py": b"3"}
        passing = {"seconds": {self.ALONE: 1.0}}  # but not the one with PostgreSQL, which was not there
        for found, changed, where, known in (
            ({}, {}, {}, True),
            ({}, {"tests/b.py": b"4"}, {}, True),  # which it does not import
            ({}, {"tests/a.py": b"4"}, {}, False),
            ({}, {PATH: b"4"}, {}, False),
            (passing, {}, {}, True),
            (passing, {}, {"port": 1}, False),
            ({"wrong": {self.WITH: "skipped"}}, {}, {}, True),
            ({"wrong": {self.WITH: "it failed"}}, {}, {}, False),  # perhaps only as the machine was busy
        ):
            self.patch(postgresql, "_where", where)
            self.patch(measuring, "CACHE", Path(self.mktemp()))
            measuring.CACHE.mkdir()
            measured = self.measured(**found)
            digest = measuring._digest(measured, files)
            measuring._file("a").write_text(json.dumps({**measured, "digest": digest}))
            self.assertEqual(measuring._known("a", {**files, **changed}) is not None, known, (found, changed, where))


class PatienceTests(SynchronousTestCase):
    def test_a_busy_machine_is_slow_and_not_wrong(self) -> None:
        """The first test has the time that importing takes, others what they take without a fault, many times."""
        patience = _task(mutant(), [], Reached(seconds={"a": 1.0, "b": 100.0})).patience
        self.patch(os, "cpu_count", lambda: 2)
        for load, times in ((0.5, 1), (2.0, 1), (20.0, 10)):
            self.patch(os, "getloadavg", lambda load=load: (load, 0.0, 0.0))
            for said, expected in (([], START), (["a"], START + 20), (["b", "a"], PATIENCE + 20), (["a", "b"], 70.0)):
                self.assertEqual(patience(said), times * expected, (load, said))


class FaultTests(SynchronousTestCase):
    def test_however_it_is_loaded(self) -> None:
        """Alembic loads its migrations by their paths."""
        self.patch(SourceFileLoader, "get_code", SourceFileLoader.get_code)  # and put back in the end
        files = [Path(self.mktemp()).absolute().with_suffix(".py") for _ in range(2)]
        for file in files:
            file.write_text("found = 'whole'")
        faults.replace(files[0].resolve(), b"found = 'changed'")
        self.assertEqual([found_in(file) for file in files], ["changed", "whole"])


def found_in(file: Path) -> object:
    specification = spec_from_file_location("a_module_of_the_test", file)
    assert specification is not None and specification.loader is not None
    module = module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.found


class VerdictTests(SynchronousTestCase):
    def judged(self, *said: object, ended: str = "") -> Verdict:
        return verdict(Task(mutant(), lambda say: None, lambda said: 1.0, list(said), ended))

    def test_who_notices(self) -> None:
        for said, ended, killed in (
            (("a", "b"), "", False),
            (("a", {"failed": "a"}), "", True),
            (("a",), "took too long", True),
            (("a",), "ended with status -11", True),
            (({"fault": "ImportError"},), "ended with status 1", True),
        ):
            self.assertEqual(self.judged(*said, ended=ended).killed, killed, said)

    def test_report(self) -> None:
        path = "minimixproxy/__init__.py"
        source = (ROOT / path).read_bytes()
        (first, *_) = mutants_of(path, source)
        text = report([Verdict(first, False, "3 tests reach it", 3), Verdict(first, True, "x", 1)])
        self.assertIn(f"{path}:{first.line(source)}: {first.operator} (3 tests reach it)\n- ", text)
        self.assertIn(" 50.0 %     1 of    2  killed in all, 0 of them as a test took too long", text)
        text = report([Verdict(first, True, f"a {children.TOO_LONG}", 1)])
        self.assertIn("1 of    1  killed in all, 1 of them as a test took too long", text)


class ChildrenTests(TestCase):
    def ended(self, work: children.Work, patience: float = 30.0) -> Task:
        (task,) = children.run(iter([Task(None, work, lambda said: patience)]), 2)
        return task

    def test_what_is_said(self) -> None:
        def count(say: children.Say) -> None:
            for number in range(3):
                say(number)

        task = self.ended(count)
        self.assertEqual((task.said, task.ended), ([0, 1, 2], ""))

    def test_who_hangs_is_ended(self) -> None:
        def hang(_say: children.Say) -> None:
            while True:
                pass

        self.assertEqual(self.ended(hang, 0.2).ended, "took too long")

    def test_a_fault_is_told(self) -> None:
        task = self.ended(lambda say: 1 // 0)
        self.assertEqual(task.ended, "ended with status 1")
        self.assertIn("ZeroDivisionError", task.said[0]["fault"])

    def test_another_user_may_be_let_into_its_directory(self) -> None:
        """Some tests ask what a user may read there who is not root."""
        task = self.ended(lambda say: say(os.stat(".").st_mode & 0o777))
        self.assertEqual(task.said, [0o711])

    def test_memory_has_a_bound(self) -> None:
        task = self.ended(lambda say: bytes(children.MEMORY) and None)
        self.assertIn("MemoryError", task.said[0]["fault"])
