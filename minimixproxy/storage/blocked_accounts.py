"""The accounts that the operator has blocked: they get no login through the proxy. In memory and on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from minimixproxy.storage.batch import Batch
from minimixproxy.storage.gathering import Gathering

MAX_ACCOUNTS = 100_000


class Block(NamedTuple):
    """Since when an account is blocked, in seconds since the epoch, and why: a note of the operator's."""

    since: float
    reason: str


class BlockedAccounts:
    """All of them by bare JID, prepared. Calls become rows of the batch that is gathered."""

    def __init__(self, gathering: Gathering) -> None:
        self._gathering = gathering
        self._blocks: dict[str, Block] = {}

    def loaded(self, blocks: Mapping[str, Block]) -> None:
        """These are in the database. Called once, before anything else."""
        self._blocks = dict(blocks)

    def adopt(self, blocks: Mapping[str, Block]) -> None:
        """These are accounts that were another process's, or nobody's."""
        self._blocks.update(blocks)

    def let_go(self, bare: str) -> None:
        """The account is this process's no more. Its row stays."""
        self._blocks.pop(bare, None)

    def __contains__(self, bare: object) -> bool:
        return bare in self._blocks

    def __len__(self) -> int:
        return len(self._blocks)

    def __iter__(self) -> Iterator[tuple[str, Block]]:
        """Yield them in the order of their addresses."""
        return iter(sorted(self._blocks.items()))

    @property
    def full(self) -> bool:
        """Whether there is no place for another one."""
        return len(self._blocks) >= MAX_ACCOUNTS

    def put(self, bare: str, since: float, reason: str) -> bool:
        """Block an account, or note another reason. Return whether it was not blocked before."""
        new = bare not in self._blocks
        self._blocks[bare] = block = Block(since, reason)
        self._batch().blocked[bare] = (bare, *block)
        return new

    def withdraw(self, bare: str) -> bool:
        """Block it no more. Return whether it was blocked."""
        if self._blocks.pop(bare, None) is None:
            return False
        self._batch().blocked[bare] = None
        return True

    def _batch(self) -> Batch:
        return self._gathering.batch or self._gathering.begin()
