"""The client's side of SCRAM (RFC 5802, RFC 7677), as exacting or as careless as one client is.

It shares nothing with minimixproxy.sasl, whose mistakes it is to find.
"""

import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode
from typing import NamedTuple

from tests.integration.logins.rules import Rules

HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}


class Refused(Exception):
    """The client breaks off, though the server would go on. The text says why."""


class Offered(NamedTuple):
    """What a server offered, for XEP-0474."""

    mechanisms: tuple[str, ...]
    bindings: tuple[str, ...] | None  # None: there was no <sasl-channel-binding/>


class SaltedKeys(NamedTuple):
    """What some clients keep instead of the password."""

    hash_name: str
    salt: str
    iterations: int
    salted: bytes


class Scram:
    """One exchange. `binding`: the type of the channel binding and its data, for a -PLUS mechanism."""

    def __init__(
        self,
        rules: Rules,
        mechanism: str,
        username: str,
        secret: str | SaltedKeys,
        offered: Offered,
        binding: tuple[str, bytes] | None = None,
        flag: str = "n",
    ) -> None:
        self._rules = rules
        self._hash = HASHES[mechanism.removesuffix("-PLUS")]
        self._secret = secret
        self._offered = offered
        self.gs2 = f"p={binding[0]},," if binding else f"{flag},,"
        self._channel = binding[1] if binding else b""
        self._nonce = secrets.token_hex(16)
        grease = f",g={secrets.token_hex(8)}" if rules.grease else ""
        escaped = username.replace("=", "=3D").replace(",", "=2C")
        self._first_bare = f"n={escaped},r={self._nonce}{grease}"
        self.server_first = ""  # as it came
        self.keys: SaltedKeys | None = None  # after server-first
        self.verified = False
        self._signature = b""

    def first(self) -> bytes:
        return (self.gs2 + self._first_bare).encode()

    def final(self, challenge: bytes) -> bytes:
        """The answer to the server's first message. Raises Refused."""
        self.server_first = challenge.decode()
        said = dict(part.split("=", 1) for part in self.server_first.split(","))
        if list(said)[:3] != ["r", "s", "i"] or "m" in said:
            raise Refused(f"server-first-message is {self.server_first}")
        if not said["r"].startswith(self._nonce) or said["r"] == self._nonce:
            raise Refused("the server's nonce does not begin with the client's")
        if int(said["i"]) < self._rules.least_iterations:
            raise Refused("too few iterations")
        self._check_lists(said)
        self.keys = self._salt(said["s"], int(said["i"]))
        grease = f",x={secrets.token_hex(8)}" if self._rules.grease else ""
        bare = f"c={b64encode(self.gs2.encode() + self._channel).decode()},r={said['r']}{grease}"
        transcript = ",".join((self._first_bare, self.server_first, bare)).encode()
        client_key = self._hmac(self.keys.salted, b"Client Key")
        stored_key = hashlib.new(self._hash, client_key).digest()
        signature = self._hmac(stored_key, transcript)
        proof = bytes(one ^ other for one, other in zip(client_key, signature, strict=True))
        self._signature = self._hmac(self._hmac(self.keys.salted, b"Server Key"), transcript)
        return f"{bare},p={b64encode(proof).decode()}".encode()

    def _salt(self, salt: str, iterations: int) -> SaltedKeys:
        if isinstance(self._secret, SaltedKeys):
            if self._secret[:3] != (self._hash, salt, iterations):
                raise Refused("the keys that were kept are for another salt")
            return self._secret
        salted = hashlib.pbkdf2_hmac(self._hash, self._secret.encode(), b64decode(salt, validate=True), iterations)
        return SaltedKeys(self._hash, salt, iterations, salted)

    def _check_lists(self, said: dict[str, str]) -> None:
        """XEP-0474: what the server says it has offered is what came."""
        rule = self._rules.lists_hash
        if rule is None or rule.attribute not in said:
            return
        text = rule.between.join(sorted(self._offered.mechanisms))
        if self._offered.bindings is not None:
            text += rule.before_bindings + rule.between.join(sorted(self._offered.bindings))
        expected = b64encode(hashlib.new(self._hash, text.encode()).digest()).decode()
        if said[rule.attribute] != expected:
            raise Refused("the lists of mechanisms and channel bindings were tampered with")
        self.verified = True

    def finish(self, message: bytes) -> None:
        """Check the server's last message. Raises Refused."""
        if self._rules.checks_signature and message.decode() != f"v={b64encode(self._signature).decode()}":
            raise Refused("the server does not know the password")

    def _hmac(self, key: bytes, message: bytes) -> bytes:
        return hmac.digest(key, message, self._hash)
