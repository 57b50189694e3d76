"""One target under atheris: `python -m fuzz.guided TARGET [options of libFuzzer] CORPUS`. Started by `runner`."""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-not-found]

with atheris.instrument_imports(include=["minimixproxy"]):
    from fuzz.quiet import quieten
    from fuzz.table import TARGETS


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    quieten()
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
