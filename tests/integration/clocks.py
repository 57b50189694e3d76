"""A clock of a program's own, by libfaketime: its time of day is not the machine's. How long something takes is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

RELOADED = 1  # seconds in which a change of the clock is noticed


class ProgramClock:
    """Set while the program runs. `file`: where the library reads how far it is off. `ahead`: seconds."""

    ahead = 0

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    @staticmethod
    def missing() -> str | None:
        return None if _library() else "libfaketime"

    def set(self, seconds: int) -> None:
        """Be so many seconds ahead of the machine's clock, or behind."""
        self.ahead = seconds
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.replace(self._file)

    @property
    def environment(self) -> Mapping[str, str]:
        """Of the program."""
        return {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": str(RELOADED),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def _library() -> Path | None:
    return next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
