"""What is counted is among the known values; in the product, what is not counts as another one.

So nobody makes numbers without end. Here it is a fault: a value of ours that was forgotten where they are listed, or
arguments in the wrong order.
"""

from __future__ import annotations

from minimixproxy.counting.tally import OTHER, TALLIES, Tally

as_in_the_product = Tally._nearest
_NONE = {OTHER, ""}  # what is counted of who has named no mechanism yet


def _strict(tally: Tally, values: tuple[str, ...]) -> tuple[str, ...]:
    if tally in TALLIES and not _NONE & set(values):
        raise AssertionError(f"{tally.name} does not know {values}")
    return as_in_the_product(tally, values)


def be_strict() -> None:
    """In all tests, but for those that patch `Tally._nearest` to be as in the product."""
    Tally._nearest = _strict  # type: ignore[method-assign, assignment]
