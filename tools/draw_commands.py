#!/usr/bin/env python3
"""Write docs/commands.md, docs/man/minimixproxy.1 and completion/ from the descriptions of the operator's commands."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from commandpages import completion, manual, markdown  # noqa: E402 (the path first)

from minimixproxy.operator.commands.every import COMMANDS  # noqa: E402

TEMPLATE = ROOT / "tools" / "commandpages" / "minimixproxy.1.in"


def pages() -> dict[Path, str]:
    """Return what is in each file."""
    return {
        ROOT / "docs" / "commands.md": markdown.page(COMMANDS),
        ROOT / "docs" / "man" / "minimixproxy.1": manual.page(TEMPLATE.read_text("utf-8"), COMMANDS),
        ROOT / "completion" / "minimixproxy.bash": completion.bash(COMMANDS),
        ROOT / "completion" / "_minimixproxy": completion.zsh(COMMANDS),
        ROOT / "completion" / "minimixproxy.fish": completion.fish(COMMANDS),
    }


def main() -> int:
    """Write them, or with --check only say which are not current. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if one is not current")
    check = parser.parse_args().check
    old = [path for path, text in pages().items() if not path.exists() or path.read_text("utf-8") != text]
    for path in old:
        if check:
            print(f"{path.relative_to(ROOT)} is not what the code says: run tools/draw_commands.py", file=sys.stderr)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(pages()[path], "utf-8")
    return 1 if check and old else 0


if __name__ == "__main__":
    sys.exit(main())
