"""What of an account's password is known here (RFC 5802 §3): enough to check a client, and perhaps to log in. Pure."""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

from minimixproxy.sasl.scram import Challenge, ScramKeys


class Keys(NamedTuple):
    """An account's keys for one hash, salt and iteration count.

    Without `client_key` they check a client's proof, which then shows it; only with it they log in.
    """

    hash_name: str  # as hashlib names it: `sha256`, `sha1`
    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes
    client_key: bytes | None = None

    def __repr__(self) -> str:
        return "<Keys>"

    @classmethod
    def from_scram(cls, hash_name: str, challenge: Challenge, keys: ScramKeys) -> Keys:
        """Return what is known where all of it is."""
        stored_key = hashlib.new(hash_name, keys.client_key).digest()
        return cls(hash_name, *challenge, stored_key, keys.server_key, keys.client_key)

    @property
    def challenge(self) -> Challenge:
        """What they were derived with."""
        return Challenge(self.salt, self.iterations)

    def agrees(self, other: Keys) -> bool:
        """Tell whether both are of one password, salt and iteration count."""
        return self.challenge == other.challenge and hmac.compare_digest(self.stored_key, other.stored_key)
