"""A client proves that it has a token of FAST (XEP-0484): it is admitted without asking the server.

What the server is needed for afterwards is done with the account's keys. A token stands and falls with them.
"""

from __future__ import annotations

from collections.abc import Iterator

from minimixproxy.c2s.server.exchanges.known_keys import KnownKeys
from minimixproxy.c2s.server.exchanges.login_exchange import Client, Dialogue, ExchangeContext, LoggedIn
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.c2s.upstream.credentials import Credential
from minimixproxy.sasl import hashed_token
from minimixproxy.sasl.keys import Keys
from minimixproxy.sasl.scram import MECHANISMS, ScramKeys
from minimixproxy.sasl.tokens import Device, Token, after_use, mark_of, without
from minimixproxy.timing.clock import wall_time
from minimixproxy.xep.sasl import SaslFailure


class TokenExchange:
    """(`login_exchange.Exchange`) One message each way."""

    def __init__(self, mechanism: str, client: Client, context: ExchangeContext) -> None:
        self._mechanism = mechanism
        self._client = client
        self._context = context

    async def __call__(self, dialogue: Dialogue) -> LoggedIn:
        """Log in. Raises `SaslFailure`."""
        message = dialogue.first if dialogue.first is not None else await dialogue.challenge(b"")
        try:
            initiator = hashed_token.read_initiator(message, self._mechanism)
        except hashed_token.HashedTokenError as error:
            raise SaslFailure("malformed-request", str(error)) from error
        client, context = self._client, self._context
        login = Login(client.domain, initiator.username, Credential.unknown(), context.keys)

        async def check() -> LoggedIn:
            return self._checked(login, initiator.proof)

        return await context.attempts.attempt(login.own.bare, client.peer, check, client.time)

    def _checked(self, login: Login, proof: bytes) -> LoggedIn:
        """Check a proof. Raises `SaslFailure`, which is the same whatever there is no such token for."""
        client, account = self._client, login.own.bare
        known = self._context.tokens.of(account, client.device.id)
        token = next((one for one in known if self._proves(one, proof)), None)
        if token is None or client.token_use is None:
            raise SaslFailure("not-authorized")
        count = client.token_use.counted
        if count is not None and count <= token.counted:
            raise SaslFailure("not-authorized", "it has been used as often already")
        keys = next((one for one in usable_keys(self._context.known_keys, account) if mark_of(one) == token.keys), None)
        if keys is None or self._has_expired(token):
            self._put(account, without(known, token))
            raise SaslFailure("credentials-expired")
        left = after_use(known, token, count)
        self._put(account, without(left, token) if client.token_use.invalidate else left)
        shown = ScramKeys(keys.client_key or b"", keys.server_key)
        credential = Credential.from_keys(keys.hash_name, keys.challenge, shown)
        # Not as the client spells it: a server might take that for another account.
        login = Login(login.domain, account.rpartition("@")[0], credential, login.keys)
        success = hashed_token.responder(token.secret, self._mechanism, client.bindings)
        return LoggedIn(None, login, success, token)

    def _proves(self, token: Token, proof: bytes) -> bool:
        return token.mechanism == self._mechanism and hashed_token.is_proved(
            proof, token.secret, self._mechanism, self._client.bindings
        )

    def _has_expired(self, token: Token) -> bool:
        """Tell whether a token is too old, by what it was given, or by how long they live by now."""
        context = self._context
        return min(token.expires, token.issued + context.settings.token_lifetime) <= wall_time(context.clock)

    def _put(self, account: str, tokens: tuple[Token, ...]) -> None:
        device = self._client.device
        known = next((one for one in self._context.tokens.devices(account) if one.id == device.id), device)
        self._context.tokens.put(account, Device(device.id, device.software or known.software, known.issued), tokens)


def usable_keys(known: KnownKeys, account: str) -> Iterator[Keys]:
    """Yield the account's keys that can log in, the strongest first."""
    for hash_name in MECHANISMS.values():
        keys = known.find(account, hash_name)
        if keys is not None and keys.client_key is not None:
            yield keys
