"""How many examples are tried: `make test` and CI try all, `make unit` one in eight, so that it ends within a minute.

`MINIMIXPROXY_TEST_PART=8` in the environment says so. All that is listed by hand is tried in any case: this is about
examples that hypothesis or a generator of random numbers draws, and about products of lists.
"""

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

#: One in so many is tried.
PART = int(os.environ.get("MINIMIXPROXY_TEST_PART", "1"))


def examples(number: int) -> int:
    """How many of so many examples to draw, at least two."""
    return max(number // PART, 2)


def some_of(items: Iterable[T], times: int = 1) -> Iterator[T]:
    """One in so many of these, or in so many `times` that, where there are thousands."""
    return islice(items, 0, None, PART if PART == 1 else PART * times)
