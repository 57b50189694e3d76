"""Logging in to a server by SASL (RFC 6120 §6), with the mechanism that was chosen (see `offer`)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from minimixproxy.c2s.errors import (
    UpstreamError,
    UpstreamImpossible,
    UpstreamProtocolError,
    UpstreamRefused,
    UpstreamUnfit,
    UpstreamUnproved,
)
from minimixproxy.c2s.upstream.credentials import Credential, KeyCache, KeysUnfit
from minimixproxy.c2s.upstream.offer import PLAIN, Choice
from minimixproxy.c2s.upstream.sasl_channel import SaslChannel
from minimixproxy.jids import InvalidJID, prepare_local
from minimixproxy.logs.logger import Logger
from minimixproxy.sasl.downgrade import Offered
from minimixproxy.sasl.scram import Challenge, ScramError, ScramKeys
from minimixproxy.sasl.scram_client import ScramClient, Tampered

log = Logger()

#: What helps where a server offers channel binding and cannot do it.
SWITCH = "upstream_channel_binding = false"


class SaslExchange:
    """One login on a stream that is secured."""

    def __init__(self, channel: SaslChannel, username: str, credential: Credential) -> None:
        self._channel = channel
        self._username = username
        self._credential = credential

    async def plain(self) -> None:
        """Log in by PLAIN (RFC 4616), over TLS only: the caller sees to that. Raises `UpstreamError`."""
        self._channel.auth(PLAIN, f"\0{self._username}\0{self._credential.password}".encode())
        if not (await self._channel.answer()).success:
            raise UpstreamProtocolError("the server did not understand PLAIN")
        self._credential.used_as_it_is()

    async def scram(self, choice: Choice, cache: KeyCache, account: str, offered: Offered | None = None) -> None:
        """Log in by SCRAM, and make sure that the server knows the account. Raises `UpstreamError`.

        `offered`: see `ScramLogin`.
        """
        login = ScramLogin(self._channel, choice, self._username, offered)
        try:
            challenge = await login.begin()
        except UpstreamRefused as error:
            await self._in_vain(error, login, cache, account)
            raise
        cache.met(account, login.hash_name, challenge)
        try:
            keys = await self._credential.keys(cache, account, login.hash_name, challenge)
        except KeysUnfit as error:
            raise UpstreamUnfit(str(error)) from error
        except ScramError as error:
            raise UpstreamImpossible(f"SCRAM failed: {error}") from error
        await login.prove(keys)
        self._credential.learn(login.hash_name, challenge, keys)

    async def _in_vain(self, error: UpstreamRefused, login: ScramLogin, cache: KeyCache, account: str) -> None:
        """The server says at once that there is no such account: nobody is to learn it by the time that takes.

        So the password is worked on, and the server asked once more, as with one that is wrong. Raises `UpstreamError`.
        """
        password = self._credential.password
        if password is None or error.condition != "not-authorized":
            return
        try:
            await cache.derive_in_vain(account, login.hash_name, password)
        except ScramError as unfit:
            raise UpstreamImpossible(f"SCRAM failed: {unfit}") from unfit
        with suppress(UpstreamError):  # once more
            await login.begin()


class ScramLogin:
    """The proxy's own exchange with a server by SCRAM: `begin`, then `prove`, or `fail`."""

    def __init__(self, channel: SaslChannel, choice: Choice, username: str, offered: Offered | None = None) -> None:
        """`offered`: what the server offered, to be compared with what it says it was (XEP-0474); None: it is not.

        Raises `UpstreamRefused` for a name that no server could accept.
        """
        self._channel = channel
        self._choice = choice
        self._username = username
        self._offered = offered
        try:
            self._client = ScramClient(choice.mechanism, username, binding=choice.binding)
        except ScramError as error:
            raise UpstreamRefused("not-authorized", str(error)) from error

    @property
    def hash_name(self) -> str:
        """The hash of the mechanism."""
        return self._client.hash_name

    @property
    def bound(self) -> bool:
        """Whether it is bound to the TLS connection."""
        return self._choice.binding.header.flag == "p"

    @property
    def challenged(self) -> tuple[str, bytes]:
        """Our part of the nonce, and the server's first message, after `begin`."""
        return self._client.nonce, self._client.server_first

    async def begin(self) -> Challenge:
        """Return what the server wants keys for. Raises `UpstreamError`."""
        with self._telling():
            self._channel.auth(self._choice.mechanism, self._client.first())
            return self._client.challenge(await self._channel.challenge(), self._offered)

    async def prove(self, keys: ScramKeys) -> None:
        """Log in with keys; the server has to know them, too. Raises `UpstreamError`."""
        with self._telling():
            self._channel.respond(self._client.final(keys))
            last_word = await self._last_word()
        try:
            self._client.verify(last_word)
        except ScramError as error:
            raise UpstreamUnproved(f"SCRAM failed: {error}") from error

    async def fail(self) -> None:
        """Have the server refuse the login: it counts who guesses, and it takes its time. Raises `UpstreamError`."""
        size = hashlib.new(self.hash_name).digest_size
        self._channel.respond(self._client.final(ScramKeys(secrets.token_bytes(size), b"")))
        await self._channel.answer()
        raise UpstreamProtocolError("the server let somebody in who has proved nothing")

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Turn what goes wrong into an `UpstreamError`."""
        try:
            yield
        except Tampered as error:
            raise UpstreamProtocolError(f"{error}: see scram_downgrade_protection") from error
        except ScramError as error:
            raise UpstreamProtocolError(f"SCRAM failed: {error}") from error
        except UpstreamRefused as error:
            raise explained(error, self._choice, self._username) from error

    async def _last_word(self) -> bytes:
        """Return the server's final message: additional data with the success, or one more challenge."""
        answer = await self._channel.answer()
        if not answer.success:
            self._channel.respond(b"")
            await self._channel.success()
        return answer.data


def explained(error: UpstreamRefused, choice: Choice, username: str) -> UpstreamRefused | UpstreamProtocolError:
    """Return why a server has refused a login by SCRAM: not for the account's sake, if it is about channel binding.

    Servers have no condition of their own for that. Prosody calls such a request malformed, as it does one with an
    impossible name; ejabberd refuses it as it does a wrong password, so the log has a word on every such refusal.
    """
    flag, type_, _authzid = choice.binding.header
    if flag == "n":
        return error
    if error.condition == "malformed-request" and _possible(username):
        seems = "does not take" if flag == "p" else "wants, and does not offer,"
        why = f"the server {seems} logins bound to the connection; if it is as it should be, say {SWITCH}"
        return UpstreamProtocolError(why)
    if flag == "p":
        log.info(
            "a login of {username}, bound to the connection ({mechanism}, {type}), was refused: {condition}. If all "
            "are, with right passwords, too, then TLS ends before the server, and {switch} helps",
            username=username,
            mechanism=choice.mechanism,
            type=type_,
            condition=error.condition,
            switch=SWITCH,
        )
    return error


def _possible(username: str) -> bool:
    try:
        prepare_local(username)
    except InvalidJID:
        return False
    return True
