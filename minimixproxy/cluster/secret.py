"""The secret that all processes of a cluster share, and what follows from it.

Each use has a secret of its own: who learns one of them learns neither another nor the one they follow from.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

from minimixproxy.storage.sealing import read_key

_PERSON = b"minimix cluster"
_SIZE = 32


class ClusterSecret:
    """What every process of a cluster makes the same things of."""

    def __init__(self, secret: bytes) -> None:
        self._key = blake2b(secret, person=_PERSON).digest()

    @property
    def installation(self) -> bytes:
        """Return that of the resources that account streams bind (`resource_id.Installation`)."""
        return self._for(b"installation")

    @property
    def sealing(self) -> bytes:
        """Return that by which credentials are sealed (`storage.sealing.load_sealer`)."""
        return self._for(b"sealing")

    @property
    def decoys(self) -> bytes:
        """Return that by which accounts that do not exist are challenged: the same way, whichever process is asked."""
        return self._for(b"decoys")

    def _for(self, use: bytes) -> bytes:
        return blake2b(use, key=self._key, person=_PERSON, digest_size=_SIZE).digest()


def read_secret(file: Path) -> ClusterSecret:
    """Return the secret in the file that `[cluster] secret` names. Raises `StateError`. Blocks."""
    return ClusterSecret(read_key(file, "[cluster] secret must name a file, the same for all processes"))
