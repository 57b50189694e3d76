"""Logging in to a server: SASL with the best mechanism that both sides can (RFC 6120 §6)."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable

from minimixproxy.c2s.errors import UpstreamProtocolError, UpstreamRefused, UpstreamUnfit
from minimixproxy.c2s.upstream.credentials import Credential, KeyCache, KeysUnfit
from minimixproxy.namespaces import NS_SASL
from minimixproxy.sasl.scram import MECHANISMS, ScramError
from minimixproxy.sasl.scram_client import ScramClient
from minimixproxy.wire.stanza import Stanza

PLAIN = "PLAIN"


def choose_mechanism(offered: set[str], credential: Credential) -> str:
    """Return the strongest mechanism that the server offers and the credential can do.

    Raises `UpstreamUnfit` if a password could do what kept keys cannot, else `UpstreamProtocolError`.
    """
    for name, hash_name in MECHANISMS.items():
        if name in offered and credential.can_scram(hash_name):
            return name
    if PLAIN in offered and credential.password is not None:
        return PLAIN
    if offered.intersection((*MECHANISMS, PLAIN)):
        raise UpstreamUnfit("the server offers no mechanism that the kept keys are for")
    raise UpstreamProtocolError("the server offers no mechanism to log in with")


def offered_mechanisms(features: Stanza) -> set[str]:
    """Return the names of the SASL mechanisms in stream features."""
    mechanisms = features.payload(NS_SASL, "mechanisms")
    return {str(child) for child in mechanisms.elements(NS_SASL, "mechanism")} if mechanisms is not None else set()


class SaslExchange:
    """One login over a conversation."""

    def __init__(
        self,
        send: Callable[[bytes], object],
        hear: Callable[[], Awaitable[Stanza]],
        username: str,
        credential: Credential,
    ) -> None:
        """`send` sends an element to the server, `hear` returns the next one that it says."""
        self._send = send
        self._hear = hear
        self._username = username
        self._credential = credential

    async def plain(self) -> None:
        """Log in by PLAIN (RFC 4616), over TLS only: the caller sees to that. Raises `UpstreamError`."""
        self._auth(PLAIN, f"\0{self._username}\0{self._credential.password}".encode())
        if (await self._answer()).name != "success":
            raise UpstreamProtocolError("the server did not understand PLAIN")
        self._credential.used_as_it_is()

    async def scram(self, mechanism: str, cache: KeyCache, account: str) -> None:
        """Log in by SCRAM, and make sure that the server knows the account. Raises `UpstreamError`."""
        try:
            client = ScramClient(mechanism, self._username)
            self._auth(mechanism, client.first())
        except ScramError as error:  # a name or password that no server could accept
            raise UpstreamRefused("not-authorized", str(error)) from error
        try:
            challenge = client.challenge(_data(await self._expect("challenge")))
            keys = await self._credential.keys(cache, account, client.hash_name, challenge)
            self._respond(client.final(keys))
            client.verify(await self._last_word())
        except KeysUnfit as error:
            raise UpstreamUnfit(str(error)) from error
        except ScramError as error:
            raise UpstreamProtocolError(f"SCRAM failed: {error}") from error
        self._credential.learn(client.hash_name, challenge, keys)

    async def _last_word(self) -> bytes:
        """Return the server's final message: additional data with the success, or one more challenge."""
        answer = await self._answer()
        if answer.name == "success":
            return _data(answer)
        self._respond(b"")
        await self._expect("success")
        return _data(answer)

    async def _expect(self, name: str) -> Stanza:
        answer = await self._answer()
        if answer.name != name:
            raise UpstreamProtocolError(f"the server sent SASL {answer.name} instead of {name}")
        return answer

    async def _answer(self) -> Stanza:
        answer = await self._hear()
        if answer.uri != NS_SASL or answer.name not in ("challenge", "success", "failure"):
            raise UpstreamProtocolError("the server answered SASL with something else")
        if answer.name == "failure":
            names = [name for _uri, name in answer.payloads if name != "text"]
            text = answer.payload(NS_SASL, "text")
            raise UpstreamRefused(names[0] if names else "not-authorized", str(text) if text is not None else "")
        return answer

    def _auth(self, mechanism: str, data: bytes) -> None:
        self._send(b"<auth xmlns='%b' mechanism='%b'>%b</auth>" % (_NS, mechanism.encode(), b64encode(data)))

    def _respond(self, data: bytes) -> None:
        self._send(b"<response xmlns='%b'>%b</response>" % (_NS, b64encode(data)))


_NS = NS_SASL.encode()


def _data(answer: Stanza) -> bytes:
    try:
        return b64decode(str(answer.element).strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UpstreamProtocolError("the server sent malformed base64") from error
