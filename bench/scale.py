"""How long it all takes: `make bench` a quarter of an hour at most, `make bench QUICK=1` three minutes."""

import os
from typing import TypeVar

QUICK = bool(os.environ.get("BENCH_QUICK"))  # in the environment, for sections are processes of their own

_T = TypeVar("_T")


def scaled(full: _T, quick: _T) -> _T:
    """Return which of the two this run is about."""
    return quick if QUICK else full
