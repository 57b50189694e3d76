"""The client's part of SCRAM (RFC 5802, RFC 7677). Pure: messages in, messages out."""

from __future__ import annotations

import hmac
import secrets
from base64 import b64encode

from minimixproxy.sasl.channel_binding import UNBOUND, Binding, escaped
from minimixproxy.sasl.downgrade import Offered, protection
from minimixproxy.sasl.scram import (
    MECHANISMS,
    PLUS,
    Challenge,
    ScramError,
    ScramKeys,
    keyed_hash,
    prepared_name,
    proof_of,
    read_base64,
    read_fields,
    read_iterations,
    read_salt,
    stored_key_of,
)


class Tampered(ScramError):
    """What the server says it offered is not what arrived here (XEP-0474)."""


class ScramClient:
    """One exchange: `first`, `challenge`, `final`, `verify`, in that order."""

    def __init__(self, mechanism: str, username: str, nonce: str | None = None, binding: Binding = UNBOUND) -> None:
        """`mechanism`: one of `MECHANISMS`, or such a one with `PLUS`: then `binding` has data.

        `nonce` is for test vectors. Raises `ScramError` for a forbidden name.
        """
        self.hash_name = MECHANISMS[mechanism.removesuffix(PLUS)]
        self._binding = binding
        self._nonce = nonce if nonce is not None else secrets.token_urlsafe(24)
        name = escaped(prepared_name(username)).encode("utf-8")
        self._first_bare = b"n=%b,r=%b" % (name, self._nonce.encode("ascii"))
        self._server_first: bytes  # these two are those of `challenge`
        self._server_nonce: bytes
        self._signature: bytes | None = None

    @property
    def nonce(self) -> str:
        """Our part of the nonce."""
        return self._nonce

    @property
    def server_first(self) -> bytes:
        """The server-first-message, after `challenge`."""
        return self._server_first

    def first(self) -> bytes:
        """Return the client-first-message."""
        return self._binding.header.encoded() + self._first_bare

    def challenge(self, server_first: bytes, offered: Offered | None = None) -> Challenge:
        """Read the server-first-message. Raises `ScramError` for a bad nonce, salt or iteration count.

        `offered`: what the server offered as far as we heard; if it says what that was, the two are compared. Raises
        `Tampered` if they differ.
        """
        fields = read_fields(server_first)
        if list(fields)[:3] != ["r", "s", "i"]:  # also refuses m=, the mandatory extension
            raise ScramError("unexpected server-first-message")
        nonce = fields["r"]
        if not (nonce.isascii() and nonce.startswith(self._nonce) and len(nonce) > len(self._nonce)):
            raise ScramError("the server's nonce does not continue ours")
        self._check_offer(fields.get("h"), offered)
        self._server_first = server_first
        self._server_nonce = nonce.encode("ascii")
        return Challenge(read_salt(fields["s"]), read_iterations(fields["i"]))

    def _check_offer(self, said: str | None, offered: Offered | None) -> None:
        if said is None or offered is None:
            return
        if not hmac.compare_digest(said.encode("utf-8"), protection(self.hash_name, offered)):
            raise Tampered("what the server says it offered is not what arrived")

    def final(self, keys: ScramKeys) -> bytes:
        """Return the client-final-message, with the proof."""
        without_proof = b"c=%b,r=%b" % (b64encode(self._binding.input), self._server_nonce)
        auth_message = b",".join((self._first_bare, self._server_first, without_proof))
        stored_key = stored_key_of(self.hash_name, keys.client_key)
        proof = proof_of(keys.client_key, stored_key, self.hash_name, auth_message)
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
