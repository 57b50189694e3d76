"""What was measured, as tables: in Markdown beside the run before, and as plain figures for JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

Figures = Mapping[str, Mapping[str, float]]  # of one table: by row, by column
Results = Mapping[str, Figures]  # of one section: by table


class Goal(NamedTuple):
    """At most that much, or at least."""

    limit: float
    least: bool = False
    unit: str = ""

    def judged(self, value: float) -> str:
        met = value >= self.limit if self.least else value <= self.limit
        return f"{'≥' if self.least else '≤'} {self.limit:g}{self.unit}, {'met' if met else '**missed**'}"


@dataclass(frozen=True)
class Column:
    """`before`: what it was in the run before stands beside it; `goal`: and whether the row's goal is met."""

    name: str
    digits: int = 0
    before: bool = False
    goal: bool = False

    def heads(self) -> list[str]:
        return [self.name, *(["before"] if self.before else []), *(["goal"] if self.goal else [])]

    def shown(self, value: float | None) -> str:
        return "" if value is None else f"{value:.{self.digits}f}"


class Row(NamedTuple):
    """Its labels, its figures by name of column, and goals likewise. What is None was not measured."""

    labels: Sequence[str]
    figures: Mapping[str, float | None]
    goals: Mapping[str, Goal] = {}

    @property
    def key(self) -> str:
        return ", ".join(self.labels)


@dataclass(frozen=True)
class Table:
    """`name`: what it is called in results.json; `labels`: the heads of the first columns, which are words."""

    name: str
    labels: Sequence[str]
    columns: Sequence[Column]
    rows: Sequence[Row]

    def figures(self) -> dict[str, dict[str, float]]:
        """Return what was measured, without the rest."""
        return {
            row.key: {
                column.name: value for column in self.columns if (value := row.figures.get(column.name)) is not None
            }
            for row in self.rows
        }

    def markdown(self, before: Figures) -> str:
        """Return the table; columns are left out of which nothing was measured, now or in the run before."""
        measured = [column for column in self.columns if _has(self.figures(), column.name)]
        columns = [replace(column, before=column.before and _has(before, column.name)) for column in measured]
        heads = [*self.labels, *(head for column in columns for head in column.heads())]
        rules = ["---"] * len(self.labels) + ["---:"] * (len(heads) - len(self.labels))
        lines = [_line(heads), _line(rules), *(_line(self._cells(row, columns, before)) for row in self.rows)]
        return "\n".join([*lines, ""])

    def _cells(self, row: Row, columns: Sequence[Column], before: Figures) -> list[str]:
        cells = list(row.labels)
        for column in columns:
            value = row.figures.get(column.name)
            cells.append(column.shown(value))
            if column.before:
                cells.append(column.shown(before.get(row.key, {}).get(column.name)))
            if column.goal:
                goal = row.goals.get(column.name)
                cells.append(goal.judged(value) if goal is not None and value is not None else "")
        return cells


def _has(figures: Figures, column: str) -> bool:
    return any(column in row for row in figures.values())


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


@dataclass(frozen=True)
class Section:
    """A part of the report: paragraphs and tables."""

    name: str
    title: str
    parts: Sequence[str | Table] = field(default_factory=list)

    def results(self) -> dict[str, dict[str, dict[str, float]]]:
        return {part.name: part.figures() for part in self.parts if isinstance(part, Table)}

    def markdown(self, before: Results) -> str:
        parts = (part.markdown(before.get(part.name, {})) if isinstance(part, Table) else part for part in self.parts)
        return "\n".join([f"## {self.title}", "", *(text if text.endswith("\n") else f"{text}\n" for text in parts)])
