"""A target under atheris: `python -m fuzz.guided MODULE TARGET [options of libFuzzer] CORPUS`. Started by `runner`."""

from __future__ import annotations

import sys
from importlib import import_module

import atheris

from fuzz.quiet import quieten


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    quieten()
    with atheris.instrument_imports(include=["minimixproxy"]):  # of what this target needs: it takes a while
        module = import_module(sys.argv[1])
    atheris.Setup([sys.argv[0], *sys.argv[3:]], module.TARGETS[sys.argv[2]].run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
