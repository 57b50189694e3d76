"""What can be fuzzed: a function, and what to begin with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """`run` takes any bytes and raises for a finding: whatever it raises is one. `seeds`: input to begin with."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


def same(one: object, other: object, what: str) -> None:
    """Raise unless two things are equal."""
    if one != other:
        raise AssertionError(f"{what}: {one!r} is not {other!r}")
