"""What clients are challenged with who name an account that does not exist: nobody shall find out by that. Pure.

A server may refuse such a name at once. Here it gets as far as any other, and fails at the proof.
"""

from __future__ import annotations

import hmac
import re
import secrets
import string
from base64 import b64decode, b64encode
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple
from uuid import UUID, uuid4

from minimixproxy.sasl.scram import MIN_ITERATIONS, Challenge, ScramError, read_fields, read_iterations, read_salt

_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_BASE64 = re.compile("(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_ALPHABETS = ("0123456789abcdef", string.ascii_letters + string.digits, string.ascii_letters + string.digits + "-_")


class Decoy(NamedTuple):
    """A server-first-message: the server's part of the nonce, and what is behind the iteration count."""

    challenge: Challenge
    nonce: str
    extensions: bytes = b""


_USUAL = Decoy(Challenge(b"s" * 16, MIN_ITERATIONS), "Aa0-_Aa0" * 4)  # of the nonce only the kind is used


class Decoys:
    """One per service. An account that does not exist has the same salt for as long as the process lasts."""

    def __init__(self, secret: Callable[[], bytes] | None = None) -> None:
        """`secret`: returns what all processes make the same salts of that clients come to; None: it is one."""
        self._secret = cache(secret or partial(secrets.token_bytes, 32))
        self._seen: dict[tuple[str, str], Decoy] = {}  # as many as there are domains and hashes

    def seen(self, domain: str, hash_name: str, nonce: str, server_first: bytes) -> None:
        """The server of a domain has said this for one of its accounts to a client with that nonce.

        The first that it says is what all decoys are like: were they like the last, their salts would change. A message
        that is none is the client's to notice.
        """
        if (domain, hash_name) in self._seen:
            return
        try:
            fields = read_fields(server_first)
            challenge = Challenge(read_salt(fields["s"]), read_iterations(fields["i"]))
            extensions = server_first.partition(b",i=")[2].partition(b",")
            decoy = Decoy(challenge, fields["r"].removeprefix(nonce), b"".join(extensions[1:]))
        except (ScramError, KeyError):
            return
        self._seen[domain, hash_name] = decoy

    def decoy(self, account: str, domain: str, hash_name: str) -> Decoy:
        """Return what its server might say for an account."""
        usual = self._seen.get((domain, hash_name), _USUAL)
        label = f"{hash_name}:{account}".encode("utf-8", "surrogatepass")
        challenge = Challenge(self._salt(label, usual.challenge.salt), usual.challenge.iterations)
        return Decoy(challenge, _like(usual.nonce), usual.extensions)

    def _salt(self, label: bytes, usual: bytes) -> bytes:
        """Return a salt that looks like the one that was seen; Prosody's are UUIDs, as text."""
        size = len(usual)
        blocks = [hmac.digest(self._secret(), b"%d:" % number + label, "sha256") for number in range(size // 32 + 1)]
        if _UUID.fullmatch(usual.decode("latin-1")):
            return str(UUID(bytes=blocks[0][:16], version=4)).encode()
        return b"".join(blocks)[:size]


def _like(nonce: str) -> str:
    """Return another nonce of the kind: Prosody's are UUIDs, ejabberd's base64."""
    if _UUID.fullmatch(nonce):
        return str(uuid4())
    if set(nonce) <= set(_ALPHABETS[0]) or not _BASE64.fullmatch(nonce):
        alphabet = next((letters for letters in _ALPHABETS if set(nonce) <= set(letters)), _ALPHABETS[-1])
        return "".join(secrets.choice(alphabet) for _ in nonce)
    return b64encode(secrets.token_bytes(len(b64decode(nonce)))).decode()
