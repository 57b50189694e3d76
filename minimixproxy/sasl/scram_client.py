"""The client's part of SCRAM (RFC 5802, RFC 7677), without channel binding. Pure: messages in, messages out."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64encode

from minimixproxy.sasl.scram import (
    MECHANISMS,
    Challenge,
    ScramError,
    ScramKeys,
    keyed_hash,
    prepared_name,
    read_base64,
    read_fields,
    read_iterations,
    read_salt,
)

_GS2_HEADER = b"n,,"  # no channel binding, no authzid


class ScramClient:
    """One exchange: `first`, `challenge`, `final`, `verify`, in that order."""

    def __init__(self, mechanism: str, username: str, nonce: str | None = None) -> None:
        """`mechanism`: one of `MECHANISMS`. `nonce` is for test vectors. Raises `ScramError` for a forbidden name."""
        self.hash_name = MECHANISMS[mechanism]
        self._nonce = nonce if nonce is not None else secrets.token_urlsafe(24)
        self._first_bare = b"n=%b,r=%b" % (prepared_name(username), self._nonce.encode("ascii"))
        self._server_first: bytes  # these two are those of `challenge`
        self._server_nonce: bytes
        self._signature: bytes | None = None

    def first(self) -> bytes:
        """Return the client-first-message."""
        return _GS2_HEADER + self._first_bare

    def challenge(self, server_first: bytes) -> Challenge:
        """Read the server-first-message. Raises `ScramError` for a bad nonce, salt or iteration count."""
        fields = read_fields(server_first)
        if list(fields)[:3] != ["r", "s", "i"]:  # also refuses m=, the mandatory extension
            raise ScramError("unexpected server-first-message")
        nonce = fields["r"]
        if not (nonce.isascii() and nonce.startswith(self._nonce) and len(nonce) > len(self._nonce)):
            raise ScramError("the server's nonce does not continue ours")
        self._server_first = server_first
        self._server_nonce = nonce.encode("ascii")
        return Challenge(read_salt(fields["s"]), read_iterations(fields["i"]))

    def final(self, keys: ScramKeys) -> bytes:
        """Return the client-final-message, with the proof."""
        without_proof = b"c=%b,r=%b" % (b64encode(_GS2_HEADER), self._server_nonce)
        auth_message = b",".join((self._first_bare, self._server_first, without_proof))
        stored_key = hashlib.new(self.hash_name, keys.client_key).digest()
        signature = keyed_hash(self.hash_name, stored_key, auth_message)
        proof = bytes(a ^ b for a, b in zip(keys.client_key, signature, strict=True))
        self._signature = keyed_hash(self.hash_name, keys.server_key, auth_message)
        return without_proof + b",p=" + b64encode(proof)

    def verify(self, server_final: bytes) -> None:
        """Check the server-final-message. Raises `ScramError` unless the server proved itself."""
        fields = read_fields(server_final)
        if "e" in fields:
            raise ScramError(f"the server reports {fields['e'][:64]!r}")
        if self._signature is None or "v" not in fields:
            raise ScramError("no server signature")
        if not hmac.compare_digest(read_base64(fields["v"]), self._signature):
            raise ScramError("wrong server signature")
