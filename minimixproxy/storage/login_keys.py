"""The keys that accounts were enrolled with (`accountstream.known_keys.EnrolledKeys`), in memory and on disk.

An account's keys come together, from one source, and go together: those for one hash are of the same password as those
for another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minimixproxy.logs.logger import Logger
from minimixproxy.sasl.keys import Keys
from minimixproxy.sasl.scram import MECHANISMS
from minimixproxy.storage.batch import Batch
from minimixproxy.storage.errors import BadRow
from minimixproxy.storage.gathering import Gathering
from minimixproxy.storage.sealing import Sealer, Unsealable

MAX_ACCOUNTS = 200_000  # about 1,300 bytes each in memory
MAX_HASHES = 4  # of an account


class LoginKeys:
    """All keys by bare JID. Calls become rows of the batch that is gathered."""

    log = Logger()

    def __init__(self, gathering: Gathering) -> None:
        self._gathering = gathering
        self._sealer: Sealer
        self._keys: dict[str, tuple[Keys, ...]] = {}  # an account with none has rows that cannot be used

    def loaded(self, sealer: Sealer, keys: Mapping[str, tuple[Keys, ...]]) -> None:
        """These are in the database. Called once, before anything else."""
        self._sealer = sealer
        self._keys = dict(keys)

    def adopt(self, keys: Mapping[str, tuple[Keys, ...]]) -> None:
        """These were another process's, or nobody's; they are in the database."""
        self._keys.update(keys)

    def let_go(self, bare: str) -> None:
        """The account is this process's no more. Its rows stay."""
        self._keys.pop(bare, None)

    def __len__(self) -> int:
        """How many accounts have keys."""
        return len(self._keys)

    def of(self, bare: str) -> tuple[Keys, ...]:
        """Return the keys of an account, each for another hash."""
        return self._keys.get(bare, ())

    def put(self, bare: str, keys: Iterable[Keys]) -> bool:
        """These are the account's keys, and no others. False: there are too many accounts, and nothing is kept."""
        all_keys = tuple(keys)[:MAX_HASHES]
        if bare not in self._keys and len(self._keys) >= MAX_ACCOUNTS:
            self.log.error(
                "the keys of {account} are not kept: there are those of {number} accounts already",
                account=bare,
                number=len(self._keys),
            )
            return False
        if self._keys.get(bare) == all_keys:
            return True
        self.withdraw(bare)
        self._keys[bare] = all_keys
        self._batch().login_keys.update({(bare, one.hash_name): self._row(bare, one) for one in all_keys})
        return True

    def withdraw(self, bare: str) -> bool:
        """None are known of the account any more. Return whether there were any."""
        keys = self._keys.pop(bare, None)
        if keys is None:
            return False
        batch = self._batch()
        for one in keys:
            batch.login_keys.pop((bare, one.hash_name), None)
        batch.gone_keys.append(bare)
        return True

    def forgotten(self, bare: str) -> bool:
        """The account is to be forgotten: as `withdraw`, and nothing is left on disk, as soon as may be."""
        known = self.withdraw(bare)
        if known:
            batch = self._batch()
            batch.erases = batch.leaves_copies = True
        return known

    def _batch(self) -> Batch:
        return self._gathering.batch or self._gathering.begin()

    def _row(self, bare: str, keys: Keys) -> tuple[str | bytes | int | None, ...]:
        def sealed(key: bytes | None, column: str) -> bytes | None:
            return None if key is None else self._sealer.seal(key, bare, keys.hash_name, column)

        secrets = zip(keys[3:], _SEALED, strict=True)
        return (bare, keys.hash_name, keys.salt, keys.iterations, *(sealed(key, column) for key, column in secrets))


_SEALED = ("stored_key", "server_key", "client_key")


def read_keys(row: Sequence[Any], sealer: Sealer) -> Keys:
    """Return the keys in a row of the table. Raises `BadRow`."""
    bare, hash_name, salt, iterations, *sealed = row
    if hash_name not in MECHANISMS.values():
        raise BadRow("it is of a hash that is not known here")
    if not isinstance(salt, bytes) or not isinstance(iterations, int):
        raise BadRow("no salt, or no iteration count")
    keys: list[Any] = []
    try:
        for key, column in zip(sealed, _SEALED, strict=True):
            absent = key is None and column == "client_key"
            keys.append(None if absent else sealer.open(key, bare, hash_name, column))
    except Unsealable as error:
        raise BadRow("its keys cannot be opened with this seal key") from error
    return Keys(hash_name, salt, iterations, *keys)
