"""docs/lifecycles-drawn.md is what the tables say."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from tests.tools.scripts import load

ROOT = Path(__file__).resolve().parent.parent


class Lamp(Enum):
    DARK = "dark"  # and | cold
    LIT = "lit"


class Hand(Enum):
    PRESS = "somebody presses"
    PULL = "somebody pulls"


class Follows(NamedTuple):
    to: Lamp | None
    action: Any


def glow() -> None:
    """Glow.

    Not drawn.
    """


def flicker() -> None:
    pass


def nothing() -> None:
    """Nothing: it is no lamp with a cord."""


class DrawnTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tool: Any = load("draw_lifecycles")

    def drawn(self, table: dict[Any, Any], **others: Any) -> str:
        name = f"{self.tool.PACKAGE}.lamp"
        sys.modules[name] = SimpleNamespace(TABLE=table, **others)  # type: ignore[assignment]
        self.addCleanup(sys.modules.pop, name)
        otherwise = next(iter(others), "")
        return "\n".join(self.tool.drawn(self.tool.Lifecycle("Lamp", "lamp", otherwise=otherwise)))

    def test_the_page_is_current(self) -> None:
        self.assertEqual((ROOT / "docs" / "lifecycles-drawn.md").read_text("utf-8"), self.tool.page())

    def test_a_table_with_the_next_states(self) -> None:
        table = {
            (Lamp.LIT, Hand.PRESS): Follows(Lamp.DARK, flicker),
            (Lamp.LIT, Hand.PULL): Follows(Lamp.DARK, flicker),
            (Lamp.DARK, Hand.PRESS): Follows(Lamp.LIT, glow),
            (Lamp.DARK, Hand.PULL): Follows(None, nothing),
        }
        drawn = self.drawn(table)
        self.assertIn(
            "    DARK --> LIT: somebody presses\n    LIT --> DARK: somebody presses / somebody pulls\n", drawn
        )
        self.assertIn("| DARK | and \\| cold |\n| LIT |  |\n", drawn)
        self.assertIn(
            "| DARK | somebody presses | LIT | Glow. |\n| LIT | somebody presses | DARK | `flicker` |\n", drawn
        )
        self.assertIn("|  | somebody pulls | DARK | `flicker` |\n", drawn)
        self.assertIn("| somebody pulls | DARK | Nothing: it is no lamp with a cord. |", drawn)

    def test_a_table_of_actions(self) -> None:
        drawn = self.drawn({(Lamp.LIT, "press"): flicker}, OTHERWISE=glow)
        self.assertNotIn("mermaid", drawn)
        self.assertIn("| LIT | press | `flicker` |\n", drawn)
        self.assertIn("Everything else: Glow.", drawn)
