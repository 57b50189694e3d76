"""What can be put wrong in a module: every mutant that the operators make of its source.

A mutant replaces a few bytes of the source, so that it can be shown as a difference and nothing else moves. Left alone
are docstrings, annotations, protocols that only mypy reads, `__all__`, `__slots__`, blocks of `TYPE_CHECKING`, what
says that a method is abstract or is an assertion, the order of columns in a migration, what a log call says, and
sentences that people read. A log call as a whole may go.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

DROP_OPERAND = "drop an operand of and/or"
NEGATE = "negate a condition"
NEVER = "a condition is never true"
COMPARE = "change a comparison"
NUMBER = "change a number"
STRING = "change a string"
TRUTH = "swap True and False"
ARITHMETIC = "change arithmetic"
DELETE = "delete a statement"
DELETE_LOG = "delete a log call"
RETURN = "return nothing"
SWAP = "swap arguments"
DECORATOR = "remove a decorator"
NOT = "remove not or minus"

_COMPARISONS: dict[type[ast.cmpop], tuple[str, tuple[str, ...]]] = {
    ast.Lt: ("<", ("<=", ">=")),
    ast.LtE: ("<=", ("<", ">")),
    ast.Gt: (">", (">=", "<=")),
    ast.GtE: (">=", (">", "<")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.Is: ("is", ("is not",)),
    ast.IsNot: (r"is\s+not", ("is",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: (r"not\s+in", ("in",)),
}
_ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: (r"\+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: (r"\*", "//"),
    ast.FloorDiv: ("//", "*"),
    ast.Div: ("/", "*"),
    ast.Mod: ("%", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: (r"\|", "&"),
}
_LOG = re.compile(r"(\w+\.)*_?log\.(debug|info|warn|error|critical|failure)")
_FOR_TYPES = {"cast", "TypeVar", "NewType", "ParamSpec"}
_CODECS = {"encode", "decode"}  # Python finds a codec by many names
_COMMUTATIVE = {"max", "min"}
_LEFT_ALONE = {"__all__", "__slots__", "log"}
_PLAIN_WORD = re.compile(r"""["'(“]*[A-Za-z][a-z']*[)"'”.,:;?]*""")


@dataclass(frozen=True)
class Mutant:
    """One fault: `start` and `end` are offsets in the source's bytes, `text` stands there instead.

    `first` to `last` are the lines of which one has to be reached for the fault to show. If `names` is not None, they
    run when the module is imported, and what shows the fault is the use of one of these names.
    """

    path: str
    operator: str
    start: int
    end: int
    text: str
    first: int
    last: int
    names: frozenset[str] | None = None

    def applied(self, source: bytes) -> bytes:
        return source[: self.start] + self.text.encode() + source[self.end :]

    def line(self, source: bytes) -> int:
        return source.count(b"\n", 0, self.start) + 1

    def difference(self, source: bytes) -> str:
        """The lines that change, as `diff` would show them."""
        begin = source.rfind(b"\n", 0, self.start) + 1
        end = source.find(b"\n", self.end)
        end = len(source) if end < 0 else end
        changed = source[begin : self.start] + self.text.encode() + source[self.end : end]
        old, new = (part.decode().split("\n") for part in (source[begin:end], changed))
        return "\n".join([*(f"- {line}" for line in old), *(f"+ {line}" for line in new)])


def mutants_of(path: str, source: bytes) -> list[Mutant]:
    """Every mutant of a module, in the order of the source."""
    tree = ast.parse(source)
    found = _Finder(path, source, _raising(tree))
    found.visit(tree)
    unique = {(mutant.start, mutant.end, mutant.text): mutant for mutant in reversed(found.mutants)}
    return sorted(unique.values(), key=lambda mutant: (mutant.start, mutant.end, mutant.text))


class _Finder(ast.NodeVisitor):
    """Walks the tree. `_span` and `_names` are those of the statement that it is in."""

    def __init__(self, path: str, source: bytes, raising: dict[str, int]) -> None:
        """`raising`: see there."""
        self.mutants: list[Mutant] = []
        self._path = path
        self._source = source
        self._raising = raising
        self._starts = [0, *(match.end() for match in re.finditer(b"\n", source))]
        self._span = (1, 1)
        self._names: frozenset[str] | None = frozenset()
        self._ends: list[ast.stmt] = []  # statements behind which nothing comes in the function that it is in

    # -- the source

    def _range(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        return start, self._starts[node.end_lineno - 1] + node.end_col_offset

    def _text(self, node: ast.expr) -> str:
        start, end = self._range(node)
        return self._source[start:end].decode()

    def _put(self, operator: str, where: ast.expr | ast.stmt | tuple[int, int], text: str) -> None:
        start, end = where if isinstance(where, tuple) else self._range(where)
        self.mutants.append(Mutant(self._path, operator, start, end, text, *self._span, self._names))

    def _put_between(self, operator: str, left: ast.expr, right: ast.expr, symbol: str, text: str) -> None:
        """Replace the symbol that stands between two expressions."""
        begin, end = self._range(left)[1], self._range(right)[0]
        match = re.search(symbol.encode(), self._source[begin:end])
        if match is not None:
            self._put(operator, (begin + match.start(), begin + match.end()), text)

    # -- statements

    def visit(self, node: ast.AST) -> None:
        if not isinstance(node, ast.stmt):
            super().visit(node)
            return
        span, names = self._span, self._names
        self._span = _lines(node)
        if names is not None:
            self._names = frozenset(assigned(node)) or names
        if not self._names or not self._names & _LEFT_ALONE:
            super().visit(node)
        self._span, self._names = span, names

    def _visit_all(self, nodes: list[ast.stmt] | list[ast.expr]) -> None:
        for node in nodes:
            self.visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        names, span = self._names, self._span
        self._span = (node.lineno, node.end_lineno or node.lineno)
        self._names = None  # whoever calls it sees what it is made of
        self._decorators(node)
        self._visit_all([default for default in (*node.args.defaults, *node.args.kw_defaults) if default is not None])
        self._span = span
        ends, self._ends = self._ends, _ends_of(node.body)
        self._visit_all(node.body)
        self._names, self._ends = names, ends

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if _is_interface(node):
            return
        names = self._names
        self._names = frozenset({node.name}) if names is not None else None
        self._decorators(node)
        self._names = names and names | {node.name}
        self._visit_all(node.body)
        self._names = names

    def _decorators(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        for decorator in node.decorator_list:
            start, end = self._range(decorator)
            at = self._source.rfind(b"@", 0, start)
            if _name(decorator) not in {"override", "overload"}:
                self._put(DECORATOR, (at, end), "")

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" in ast.dump(node.test):
            self._visit_all(node.orelse)
            return
        self._put(NEVER, node.test, "False")
        self._condition(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant | ast.Yield | ast.YieldFrom):
            return
        if _is_log(node.value):
            self._put(DELETE_LOG, node, "pass")
            return
        self._put(DELETE, node, "pass")
        self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        self._assignment(node, node.targets[0], node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._assignment(node, node.target, node.value)

    def _assignment(self, node: ast.stmt, target: ast.expr, value: ast.expr) -> None:
        nothing = isinstance(value, ast.Constant) and value.value is None
        if isinstance(target, ast.Attribute | ast.Subscript):
            self._put(DELETE, node, "pass")
        elif self._names is None and not nothing:
            self._put(DELETE, value, "None")
        self.visit(value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._put(DELETE, node, "pass")
        symbol, other = _ARITHMETIC.get(type(node.op), ("", ""))
        if symbol:
            self._put_between(ARITHMETIC, node.target, node.value, symbol + "=", other + "=")
        self.visit(node.value)

    def _deleted(self, node: ast.stmt) -> None:
        self._put(DELETE, node, "pass")

    visit_Continue = visit_Break = visit_Delete = _deleted

    def visit_Raise(self, node: ast.Raise) -> None:
        if node.exc is not None and _name(node.exc) == "NotImplementedError":
            return  # an abstract method
        self._put(DELETE, node, "pass")
        if isinstance(node.exc, ast.Call):
            self._visit_all([value for value in node.exc.args if not _is_sentence(value)])
            self._visit_all([keyword.value for keyword in node.exc.keywords if not _is_sentence(keyword.value)])

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None):
            if node not in self._ends:
                self._put(DELETE, node, "pass")
            return
        if not (isinstance(node.value, ast.Constant) and not node.value.value):  # to most callers that is the same
            self._put(RETURN, node.value, "None")
        self.visit(node.value)

    def visit_Assert(self, node: ast.Assert) -> None:
        """It tells mypy something."""

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        for case in node.cases:
            if case.guard is not None:
                self._condition(case.guard)
                self.visit(case.guard)
            self._visit_all(case.body)

    # -- expressions

    def _condition(self, node: ast.expr) -> None:
        if not isinstance(node, ast.UnaryOp | ast.Compare | ast.Constant):  # these have operators of their own
            self._put(NEGATE, node, f"not ({self._text(node)})")

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for condition in node.ifs:
            self._condition(condition)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        word = " and " if isinstance(node.op, ast.And) else " or "
        for left_out in node.values:
            rest = [f"({self._text(value)})" for value in node.values if value is not left_out]
            self._put(DROP_OPERAND, node, f"({word.join(rest)})")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            symbol, others = _COMPARISONS[type(operator)]
            for other in others:
                self._put_between(COMPARE, left, right, symbol, other)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.USub):
            self._put(NOT, node, f"({self._text(node.operand)})")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        symbol, other = _ARITHMETIC.get(type(node.op), ("", ""))
        words = any(isinstance(side, ast.JoinedStr) or _is_text(side) for side in (node.left, node.right))
        if symbol and not words and not (self._names is not None and isinstance(node.op, ast.BitOr)):  # a type
            self._put_between(ARITHMETIC, node.left, node.right, symbol, other)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if _name(node.func) in _FOR_TYPES or _is_log(node):
            return
        if _name(node.func) in _CODECS:
            self.visit(node.func)
            return
        if _name(node.func) not in _COMMUTATIVE:
            self._swap(node)
        self.visit(node.func)
        reason = self._raising.get(node.func.id) if isinstance(node.func, ast.Name) else None
        self._visit_all([one for at, one in enumerate(node.args) if not (at == reason and _is_sentence(one))])
        self._visit_all([keyword.value for keyword in node.keywords if not _is_assertion(node, keyword)])

    def _swap(self, node: ast.Call) -> None:
        for one, two in zip(node.args, node.args[1:], strict=False):
            texts = self._text(one), self._text(two)
            columns = _name(node.func) == "create_table" and _name(one) == _name(two) == "Column"
            if texts[0] != texts[1] and not columns and not any(isinstance(arg, ast.Starred) for arg in (one, two)):
                between = self._source[self._range(one)[1] : self._range(two)[0]].decode()
                self._put(SWAP, (self._range(one)[0], self._range(two)[1]), texts[1] + between + texts[0])

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)
        if _name(node.value) != "Literal":
            self.visit(node.slice)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Python 3.11 does not say where its parts are."""

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self._put(TRUTH, node, repr(not value))
        elif isinstance(value, int | float):
            for other in (value + 1, value - 1):
                self._put(NUMBER, node, repr(other) if other >= 0 else f"({other!r})")
        elif isinstance(value, str):
            if not _is_prose(value):
                self._put(STRING, node, repr(f"~{value}~"))
        elif isinstance(value, bytes):
            self._put(STRING, node, repr(b"~%b~" % value))


def _lines(node: ast.stmt) -> tuple[int, int]:
    """The lines of a statement; of a compound one, those of its head."""
    body = getattr(node, "body", None)
    if isinstance(body, list) and body:
        return node.lineno, max(node.lineno, body[0].lineno - 1)
    return node.lineno, node.end_lineno or node.lineno


def _ends_of(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements of a function's body behind which nothing comes, in each branch."""
    last = body[-1]
    branches: list[list[ast.stmt]] = []
    if isinstance(last, ast.If):
        branches = [last.body, last.orelse]
    elif isinstance(last, ast.With):
        branches = [last.body]
    elif isinstance(last, ast.Try):
        branches = [last.orelse or last.body, *(handler.body for handler in last.handlers)]
    return [last, *(end for branch in branches if branch for end in _ends_of(branch))]


def assigned(node: ast.stmt) -> Iterator[str]:
    """The names that an assignment gives a value."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    for target in targets:
        for part in ast.walk(target):
            if isinstance(part, ast.Name):
                yield part.id


def _name(node: ast.expr) -> str:
    """The last name of `a.b.c` or `a.b.c(...)`."""
    if isinstance(node, ast.Call):
        return _name(node.func)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_interface(node: ast.ClassDef) -> bool:
    """Tell whether it is a protocol that has nothing but signatures: only mypy reads them."""
    bases = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
    bodies = [function.body for function in node.body if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)]
    only_said = all(
        isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) for body in bodies for line in body
    )
    return only_said and any(_name(base) == "Protocol" for base in bases)


def _is_log(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _LOG.fullmatch(ast.unparse(node.func)) is not None


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)


def _is_sentence(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
    )


def _is_prose(text: str) -> bool:
    """Tell whether people read it: three words or more, nearly all of letters only. No protocol or SQL is like that."""
    words = text.split()
    plain = sum(_PLAIN_WORD.fullmatch(word) is not None for word in words)
    return len(words) >= 3 and plain >= 0.75 * len(words) and not set(text) & set("<>={}")


def _is_assertion(call: ast.Call, keyword: ast.keyword) -> bool:
    """Tell whether it says that both of what `zip` takes are of one length."""
    is_true = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
    return is_true and keyword.arg == "strict" and _name(call.func) == "zip"


def _raising(tree: ast.Module) -> dict[str, int]:
    """The module's functions that do no more with a parameter than raise an exception with it; which one it is."""
    found = {}
    for function in tree.body:
        if isinstance(function, ast.FunctionDef):
            names = [node.id for node in ast.walk(function) if isinstance(node, ast.Name)]
            raised = [node.exc for node in ast.walk(function) if isinstance(node, ast.Raise)]
            said = [arg for error in raised if isinstance(error, ast.Call) for arg in error.args]
            for at, parameter in enumerate(function.args.args):
                if names.count(parameter.arg) == 1 and parameter.arg in [_name(arg) for arg in said]:
                    found[function.name] = at
    return found
