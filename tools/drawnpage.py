"""What the programs that write a page of the documents from the code have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path


def write_or_check(page: Path, text: Callable[[], str]) -> int:
    """Write the page, or with --check only say whether it is what the code says. Returns the exit status."""
    place, program = "/".join(page.parts[-2:]), Path(sys.argv[0]).name
    parser = argparse.ArgumentParser(description=f"Write {place} from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is not current")
    if not parser.parse_args().check:
        page.write_text(text(), "utf-8")
        return 0
    if page.read_text("utf-8") != text():
        print(f"{place} is not what the code says: run tools/{program}", file=sys.stderr)
        return 1
    return 0


def cell(text: str) -> str:
    """Return a text as it can stand in a table of Markdown."""
    return text.replace("|", "\\|")
