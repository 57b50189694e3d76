"""Logging in to a server: SASL with the best mechanism that both sides can (RFC 6120 §6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from minimixproxy.c2s.errors import UpstreamProtocolError, UpstreamRefused, UpstreamUnfit
from minimixproxy.c2s.upstream.credentials import Credential, KeyCache, KeysUnfit
from minimixproxy.c2s.upstream.sasl_channel import SaslChannel
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
        self._channel = SaslChannel(send, hear)
        self._username = username
        self._credential = credential

    async def plain(self) -> None:
        """Log in by PLAIN (RFC 4616), over TLS only: the caller sees to that. Raises `UpstreamError`."""
        self._channel.auth(PLAIN, f"\0{self._username}\0{self._credential.password}".encode())
        if not (await self._channel.answer()).success:
            raise UpstreamProtocolError("the server did not understand PLAIN")
        self._credential.used_as_it_is()

    async def scram(self, mechanism: str, cache: KeyCache, account: str) -> None:
        """Log in by SCRAM, and make sure that the server knows the account. Raises `UpstreamError`."""
        channel = self._channel
        try:
            client = ScramClient(mechanism, self._username)
            channel.auth(mechanism, client.first())
        except ScramError as error:  # a name or password that no server could accept
            raise UpstreamRefused("not-authorized", str(error)) from error
        try:
            challenge = client.challenge(await channel.challenge())
            keys = await self._credential.keys(cache, account, client.hash_name, challenge)
            channel.respond(client.final(keys))
            client.verify(await self._last_word())
        except KeysUnfit as error:
            raise UpstreamUnfit(str(error)) from error
        except ScramError as error:
            raise UpstreamProtocolError(f"SCRAM failed: {error}") from error
        self._credential.learn(client.hash_name, challenge, keys)

    async def _last_word(self) -> bytes:
        """Return the server's final message: additional data with the success, or one more challenge."""
        answer = await self._channel.answer()
        if not answer.success:
            self._channel.respond(b"")
            await self._channel.success()
        return answer.data
