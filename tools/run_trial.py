"""Run trial and close with one plain line, "N passed, N failed, N skipped".

Usage: run_trial.py [trial options] TESTS...
The exit status is trial's own, or 1 if not one test ran.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# slixmpp and aioxmpp need an asyncio loop; Twisted can share theirs.
TRIAL = [str(Path(sys.executable).parent / "trial"), "--reactor=asyncio"]
FAILED = ("failures", "errors", "unexpectedSuccesses")
PASSED = ("successes", "expectedFailures")


def counts(summary: str) -> dict[str, int]:
    """The counts in trial's last line: "FAILED (failures=1, successes=2)" gives {"failures": 1, "successes": 2}."""
    match = re.fullmatch(r"(?:PASSED|FAILED)(?: \((.*)\))?", summary.strip())
    if match is None:
        return {}
    return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", match[1] or "")}


def closing_line(result: dict[str, int]) -> str:
    passed, failed = (sum(result.get(name, 0) for name in names) for names in (PASSED, FAILED))
    return f"{passed} passed, {failed} failed, {result.get('skips', 0)} skipped"


def echo(lines: Iterator[str]) -> str:
    """Pass the lines on and return the last one that says something."""
    last = ""
    for line in lines:
        sys.stdout.write(line)
        sys.stdout.flush()
        last = line if line.strip() else last
    return last


def main(arguments: list[str]) -> int:
    with subprocess.Popen([*TRIAL, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as trial:
        assert trial.stdout is not None
        result = counts(echo(trial.stdout))
    line = closing_line(result)
    if trial.returncode and " 0 failed" in line:
        print(f"trial ended with status {trial.returncode}")
        line = line.replace(" 0 failed", " 1 failed")
    print(line)
    return trial.returncode or (0 if result.get("successes") else 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
