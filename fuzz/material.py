"""What a fuzzer gives is bytes; the targets need numbers, pieces and text of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")


class Material:
    """Bytes taken from the front, one choice after the other; where there are no more, each is the first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, limit: int) -> int:
        """Return a number from 0 up to `limit` (256 at most), without that."""
        byte = self._data[self._at : self._at + 1]
        self._at += 1
        return byte[0] % limit if byte else 0

    def chosen(self, choices: Sequence[T]) -> T:
        """Return one of these."""
        return choices[self.number(len(choices))]

    def rest(self) -> bytes:
        """Return all that is left."""
        rest, self._at = self._data[self._at :], len(self._data)
        return rest

    def text(self) -> str:
        """Return all that is left as text: what is no UTF-8 is left out."""
        return self.rest().decode("utf-8", "ignore")

    def pieces(self, most: int = 8) -> list[bytes]:
        """Return all that is left, cut into up to so many pieces."""
        shares = [self.number(256) for _number in range(self.number(most))]
        data = self.rest()
        places = sorted({0, len(data), *(share * len(data) // 256 for share in shares)})
        return [data[start:end] for start, end in pairwise(places)]
