"""What was measured, as pictures: SVG beside results.json, the same bytes for the same figures.

A further plot is a function in `PLOTS`. The run before is dashed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.report.occupancies import EACH
from bench.results import Run
from bench.tables import Figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# text stays text, ids follow from the figures alone
_STYLE: Any = {
    "svg.hashsalt": "minimixproxy",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
_SIZE = (6.4, 3.6)  # inches


class Plot(NamedTuple):
    """`alternative`: what it shows, for who does not see it."""

    section: str
    table: str
    alternative: str
    draw: Callable[[Axes, Figures, Figures], None]


def _lines(axes: Axes, now: Figures, before: Figures, columns: Sequence[str], compared: Sequence[str]) -> None:
    """Draw columns over rows whose labels are numbers, both axes logarithmic."""
    from matplotlib.ticker import LogLocator

    for number, column in enumerate(columns):
        colour = f"C{number}"
        if any(_points(now, column)):
            axes.plot(*_points(now, column), marker="o", markersize=3, color=colour, label=column)
        if column in compared and any(_points(before, column)):
            axes.plot(*_points(before, column), linestyle="--", linewidth=0.8, color=colour, label=f"{column}, before")
    axes.set_xscale("log")
    axes.set_yscale("log")
    rows = [float(row) for row in now]
    axes.set_xticks(rows, list(now))
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def _points(figures: Figures, column: str) -> tuple[list[float], list[float]]:
    points = [(float(row), values[column]) for row, values in figures.items() if column in values]
    return [x for x, _ in points], [y for _, y in points]


def _cpu(axes: Axes, now: Figures, before: Figures) -> None:
    columns = ("loop", "proxy", "with server", "mod_minimix", "plain joins")
    _lines(axes, now, before, columns, ("proxy", "with server"))
    axes.set_xlabel("sessions of one account")
    axes.set_ylabel("CPU per copy, µs")


def _latency(axes: Axes, now: Figures, before: Figures) -> None:
    columns = ("proxy p50", "proxy p99", "plain joins p50", "plain joins p99")
    _lines(axes, now, before, columns, columns[:2])
    axes.set_xlabel("sessions of one account")
    axes.set_ylabel("from sending to each copy, ms")


def _accounts(axes: Axes, now: Figures, before: Figures) -> None:
    _lines(axes, now, before, ("loop", "proxy", "its server", "plain joins"), ("proxy",))
    axes.set_xlabel("accounts in one room, with two sessions each")
    axes.set_ylabel("CPU per copy, µs")


def _memory(axes: Axes, now: Figures, before: Figures) -> None:
    _lines(axes, now, before, (EACH,), (EACH,))
    axes.set_xlabel("occupants of the room")
    axes.set_ylabel("memory of a further account, KiB")


PLOTS: Mapping[str, Plot] = {
    "cpu-per-copy": Plot(
        "forking", "one", "CPU per copy against sessions: loop, proxy, mod_minimix, plain joins", _cpu
    ),
    "latency": Plot("forking", "latency", "Latency of copies against sessions: proxy and plain joins", _latency),
    "accounts": Plot("accounts", "one", "CPU per copy against accounts in one room", _accounts),
    "memory-per-occupancy": Plot("occupancies", "memory", "Memory of a further account against occupants", _memory),
}


def shown(section: str, folder: str) -> str:
    """Return what has a document show the plots of a section."""
    names = [name for name, plot in PLOTS.items() if plot.section == section]
    return "".join(f"\n![{PLOTS[name].alternative}]({folder}/{name}.svg)\n" for name in names)


def missing() -> str | None:
    """Return what has to be installed to draw."""
    return None if find_spec("matplotlib") else "matplotlib is not installed: make bench does it, by the extra bench"


def draw(folder: Path, now: Run, before: Run) -> None:
    """Draw what was measured."""
    import matplotlib  # of the extra bench: nothing else needs it
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        for name, plot in PLOTS.items():
            measured, earlier = (run.sections.get(plot.section, {}).get(plot.table, {}) for run in (now, before))
            if not measured:
                continue
            figure = Figure(figsize=_SIZE, layout="constrained")
            plot.draw(figure.subplots(), measured, earlier)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
