"""What a check finds. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from minimixproxy.logs.logger import printable

_MAX_SENTENCE = 4000  # characters


class Level(Enum):
    """How bad it is. `UNKNOWN`: it could not be asked."""

    GOOD = "ok"
    UNKNOWN = "not asked"
    WARNING = "WARNING"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class Finding:
    """`subject`: what was looked at. `advice`: what to do, or ""."""

    level: Level
    subject: str
    says: str
    advice: str = ""

    @property
    def is_error(self) -> bool:
        """Whether something does not work."""
        return self.level is Level.ERROR

    @property
    def sentence(self) -> str:
        """The whole of it in one line, as a terminal may show it: DNS, certificates and servers say what they like."""
        return printable(f"{self.subject}: {self.says}{f': {self.advice}' if self.advice else ''}", _MAX_SENTENCE)


def good(subject: str, says: str) -> Finding:
    """Return that all is well."""
    return Finding(Level.GOOD, subject, says)


def unknown(subject: str, says: str, advice: str = "") -> Finding:
    """Return that something could not be asked."""
    return Finding(Level.UNKNOWN, subject, says, advice)


def warning(subject: str, says: str, advice: str = "") -> Finding:
    """Return that something works, and should not be so."""
    return Finding(Level.WARNING, subject, says, advice)


def error(subject: str, says: str, advice: str = "") -> Finding:
    """Return that something does not work, or not for everybody."""
    return Finding(Level.ERROR, subject, says, advice)


def text(findings: Sequence[Finding]) -> str:
    """Return them as lines for a terminal, and how many there are of each level."""
    lines = [f"{finding.level.value:<10} {finding.sentence}\n" for finding in findings]
    counts = ((level, sum(finding.level is level for finding in findings)) for level in Level)
    told = ", ".join(f"{number} {level.value}" for level, number in counts if number)
    return "".join(lines) + f"{told or 'nothing to check'}\n"
