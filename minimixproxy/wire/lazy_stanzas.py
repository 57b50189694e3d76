"""Many stanzas that are made one after the other, when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

#: What a session is given: bytes, or `LazyStanzas`.
Output = TypeVar("Output")


class LazyStanzas:
    """`count` stanzas. They can be had once."""

    __slots__ = ("_count", "_stanzas")

    def __init__(self, count: int, stanzas: Iterator[bytes]) -> None:
        self._count = count
        self._stanzas = stanzas

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        return self._stanzas
