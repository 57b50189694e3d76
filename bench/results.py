"""Figures of a run as JSON, with those of the run before beside them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.tables import Results

NOW, BEFORE = "results.json", "results-before.json"


@dataclass
class Run:
    """`taken`: when; `sections`: figures by section, table, row and column; `seconds`: how long each section took."""

    taken: str = ""
    sections: dict[str, Results] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def text(self) -> str:
        whole = {"taken": self.taken, "seconds": self.seconds, "sections": self.sections}
        return json.dumps(_rounded(whole), indent=1, ensure_ascii=False) + "\n"


def _rounded(value: Any) -> Any:
    """Four digits are more than there is in any of it."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    return {key: _rounded(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def read(folder: Path, name: str = NOW) -> Run:
    """Return what is kept there, an empty run if nothing is."""
    try:
        return Run(**json.loads((folder / name).read_text()))
    except FileNotFoundError:
        return Run()


def write(folder: Path, run: Run) -> None:
    """Keep this run, and the one that was there as the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / NOW).exists():
        (folder / NOW).replace(folder / BEFORE)
    (folder / NOW).write_text(run.text())
