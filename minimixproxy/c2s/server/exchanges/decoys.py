"""What clients are challenged with who name an account that does not exist: nobody shall find out by that. Pure.

A server may refuse such a name at once. Here it gets as far as any other, and fails at the proof.
"""

from __future__ import annotations

import hmac
import re
import secrets
from uuid import UUID

from minimixproxy.sasl.scram import MIN_ITERATIONS, Challenge, ScramError, read_fields, read_iterations, read_salt

_USUAL = Challenge(b"s" * 16, MIN_ITERATIONS)
_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class Decoys:
    """One per service. An account that does not exist has the same salt for as long as the process lasts."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._seen: dict[tuple[str, str], Challenge] = {}  # as many as there are domains and hashes

    def seen(self, domain: str, hash_name: str, challenge: Challenge) -> None:
        """The server of a domain has said this for one of its accounts."""
        self._seen[domain, hash_name] = challenge

    def seen_in(self, domain: str, hash_name: str, server_first: bytes) -> None:
        """The same, in a message that was passed on. One that is none was the client's to notice."""
        try:
            fields = read_fields(server_first)
            self.seen(domain, hash_name, Challenge(read_salt(fields["s"]), read_iterations(fields["i"])))
        except (ScramError, KeyError):
            return

    def challenge(self, account: str, domain: str, hash_name: str) -> Challenge:
        """Return what its server might say for an account."""
        usual = self._seen.get((domain, hash_name), _USUAL)
        label = f"{hash_name}:{account}".encode("utf-8", "surrogatepass")
        return Challenge(self._salt(label, usual.salt), usual.iterations)

    def _salt(self, label: bytes, usual: bytes) -> bytes:
        """Return a salt that looks like the one that was seen; Prosody's are UUIDs, as text."""
        size = len(usual)
        blocks = [hmac.digest(self._secret, b"%d:" % number + label, "sha256") for number in range(size // 32 + 1)]
        if _UUID.fullmatch(usual):
            return str(UUID(bytes=blocks[0][:16], version=4)).encode()
        return b"".join(blocks)[:size]
