"""The server's part of SCRAM (RFC 5802, RFC 7677). Pure: messages in, messages out."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import b64encode
from typing import NamedTuple

from minimixproxy.sasl.channel_binding import Bindings, Gs2Header, read_gs2_header, unescaped
from minimixproxy.sasl.downgrade import Offered, protection
from minimixproxy.sasl.scram import (
    MECHANISMS,
    PLUS,
    Challenge,
    ScramError,
    keyed_hash,
    prepared_name,
    proof_of,
    read_base64,
    read_fields,
    stored_key_of,
)

_NONCE = re.compile(r"[\x21-\x2b\x2d-\x7e]+")
# Characters of a client's. A server answers with it, and what it says has to be taken from it whoever is named: else
# that one exists would be told by an answer too long.
_MAX_NONCE = 1024


class WrongProof(ScramError):
    """The client does not know the account's keys, or is at the end of another TLS connection than we are."""


class ClientFirst(NamedTuple):
    """A client-first-message."""

    header: Gs2Header
    username: str  # as SASLprep leaves it
    nonce: str
    gs2: bytes  # the header, and what follows it, as they came
    bare: bytes


def read_client_first(message: bytes) -> ClientFirst:
    """Read a client-first-message (RFC 5802 §7). Raises `ScramError`."""
    header, length = read_gs2_header(message)
    fields = read_fields(message[length:])
    if list(fields)[:2] != ["n", "r"] or "m" in fields:  # m=: an extension that we must know, and we know none
        raise ScramError("unexpected client-first-message")
    if len(fields["r"]) > _MAX_NONCE or not _NONCE.fullmatch(fields["r"]):
        raise ScramError("malformed nonce")
    username = prepared_name(unescaped(fields["n"]))
    return ClientFirst(header, username, fields["r"], message[:length], message[length:])


class Proved(NamedTuple):
    """The client has proved that it knows the account's keys."""

    client_key: bytes
    final: bytes  # the server-final-message, by which we prove the same

    def __repr__(self) -> str:
        return "<Proved>"


class ScramServer:
    """One exchange after the client-first-message: `challenge`, then `check`."""

    def __init__(
        self, mechanism: str, first: ClientFirst, bindings: Bindings, offered: Offered, nonce: str | None = None
    ) -> None:
        """`bindings`: of the connection. `offered`: what the client has been offered on it. `nonce`: for test vectors.

        Raises `ScramError` if the client wants no or another channel binding than the mechanism demands.
        """
        self.hash_name = MECHANISMS[mechanism.removesuffix(PLUS)]
        self._first = first
        self._offered = offered
        self._binding_data = _binding_data(mechanism, first.header, bindings, offered)
        self._nonce = (first.nonce + (nonce if nonce is not None else secrets.token_urlsafe(24))).encode("ascii")
        self._server_first: bytes

    def challenge(self, challenge: Challenge, *, protected: bool = True, extensions: bytes = b"") -> bytes:
        """Return the server-first-message. `protected`: it tells what was offered (XEP-0474).

        `extensions`: what else is in it, from its comma on.
        """
        message = b"r=%b,s=%b,i=%d" % (self._nonce, b64encode(challenge.salt), challenge.iterations)
        if protected:
            message += b",h=" + protection(self.hash_name, self._offered)
        self._server_first = message + extensions
        return self._server_first

    def check(self, client_final: bytes, stored_key: bytes, server_key: bytes) -> Proved:
        """Read the client-final-message. Raises `ScramError`, `WrongProof` if it is in order but for what it proves."""
        fields = read_fields(client_final)
        if list(fields)[:2] != ["c", "r"] or list(fields)[-1] != "p" or "m" in fields:
            raise ScramError("unexpected client-final-message")
        if not hmac.compare_digest(fields["r"].encode("utf-8"), self._nonce):
            raise ScramError("another nonce than the one in the challenge")
        if not hmac.compare_digest(read_base64(fields["c"]), self._first.gs2 + self._binding_data):
            raise WrongProof("the login is bound to another connection")
        without_proof = client_final[: client_final.rindex(b",p=")]
        auth_message = b",".join((self._first.bare, self._server_first, without_proof))
        client_key = self._client_key(read_base64(fields["p"]), stored_key, auth_message)
        signature = keyed_hash(self.hash_name, server_key, auth_message)
        return Proved(client_key, b"v=" + b64encode(signature))

    def _client_key(self, proof: bytes, stored_key: bytes, auth_message: bytes) -> bytes:
        if len(proof) != hashlib.new(self.hash_name).digest_size:
            raise ScramError("a proof of another length than the hash")
        client_key = proof_of(proof, stored_key, self.hash_name, auth_message)
        if not hmac.compare_digest(stored_key_of(self.hash_name, client_key), stored_key):
            raise WrongProof("wrong proof")
        return client_key


def _binding_data(mechanism: str, header: Gs2Header, bindings: Bindings, offered: Offered) -> bytes:
    """Return what the client has to prove it sees of the connection. RFC 5802 §6, "Channel Binding"."""
    if (header.flag == "p") != mechanism.endswith(PLUS):
        raise ScramError("the mechanism and the flag of channel binding contradict each other")
    if header.flag == "y" and any(name.endswith(PLUS) for name in offered.mechanisms):
        raise ScramError("channel binding was offered, and did not arrive")
    if header.flag != "p":
        return b""
    if header.type not in bindings:
        raise ScramError("unknown type of channel binding")
    return bindings[header.type]
