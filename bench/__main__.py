"""`make bench`: measure and print; with WRITE=1, or --output, write docs/benchmarks.md, figures and plots too."""

import argparse
import os
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path

from bench import plots, report, results
from bench.scale import QUICK
from bench.sections import NOT_QUICK, SECTIONS, Beside, say
from bench.servers import HERE
from bench.tables import Section
from tests.checkouts import checkout

DOCUMENT = HERE.parent / "docs" / "benchmarks.md"


class Report:
    """Section by section, printed as soon as it is measured; `before`: the run that is in the documents."""

    def __init__(self, before: results.Run) -> None:
        self._before = before
        self.run = results.Run(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
        self.texts: list[str] = []
        self.failed: list[str] = []

    def add(self, text: str) -> None:
        print(text, flush=True)
        self.texts.append(text)

    def measure(self, name: str, beside: Beside) -> None:
        """Measure a section; one that fails costs only itself."""
        say(name)
        began = time.monotonic()
        try:
            section = SECTIONS[name](beside)
        except Exception:  # noqa: BLE001 (a quarter of an hour's work is not lost; the exit status tells)
            traceback.print_exc()
            self.failed.append(name)
            return
        if isinstance(section, Section):
            self.run.sections[name] = section.results()
            section = section.markdown(self._before.sections.get(name, {}))
        self.run.seconds[name] = seconds = round(time.monotonic() - began, 1)
        self.add(section + plots.shown(name, folder(DOCUMENT).name))
        say(f"{name}: {seconds:.0f} seconds")


def folder(document: Path) -> Path:
    """Return where a document's figures and plots are."""
    return document.with_suffix("")


def _write(document: Path, texts: list[str], run: results.Run) -> None:
    results.write(folder(document), run)
    plots.draw(folder(document), run, results.read(folder(document), results.BEFORE))
    document.write_text("\n".join(texts))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--prosody-modules", type=Path, help="a checkout of prosody-modules, for mod_minimix")
    parser.add_argument("--earlier", type=checkout, help="a checkout of another version of the proxy")
    parser.add_argument("--output", type=Path, help="write it to this file, too; figures and plots to a folder beside")
    parser.add_argument("only", nargs="*", help=f"of {', '.join(SECTIONS)}; that cannot be written over the document")
    options = parser.parse_args()
    if not set(options.only) <= set(SECTIONS):
        parser.error(f"choose from {', '.join(SECTIONS)}")
    if options.output and options.output.resolve() == DOCUMENT and (options.only or QUICK):
        parser.error("the document has all sections, measured in full")
    if options.output and (missing := plots.missing()):
        parser.error(missing)
    began, load = time.monotonic(), os.getloadavg()
    made = Report(results.read(folder(DOCUMENT)))
    made.add(report.HEAD)
    made.add(report.conditions(options.prosody_modules, load))
    beside = Beside(options.prosody_modules, options.earlier)
    for name in options.only or [name for name in SECTIONS if not QUICK or name not in NOT_QUICK]:
        made.measure(name, beside)
    if made.failed:
        parser.exit(1, f"not measured, and nothing is written: {', '.join(made.failed)}\n")
    if options.output:
        _write(options.output, made.texts, made.run)
    say(f"{time.monotonic() - began:.0f} seconds" + (f", written to {options.output}" if options.output else ""))


if __name__ == "__main__":
    main()
