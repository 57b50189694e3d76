"""A client says its password (PLAIN, RFC 4616), and the proxy logs in with it as well as the server can."""

from __future__ import annotations

from minimixproxy.c2s.server.exchanges.login_exchange import Client, Dialogue, ExchangeContext, LoggedIn
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.c2s.upstream.credentials import Credential
from minimixproxy.xep import sasl

MECHANISM = "PLAIN"


class PlainExchange:
    """(`login_exchange.Exchange`)"""

    def __init__(self, client: Client, context: ExchangeContext) -> None:
        self._client = client
        self._context = context

    async def __call__(self, dialogue: Dialogue) -> LoggedIn:
        """Log in. Raises `SaslFailure`."""
        data = dialogue.first if dialogue.first is not None else await dialogue.challenge(b"")
        message = sasl.parse_plain(data)
        domain = self._client.domain
        sasl.check_authzid(message.authzid, message.username, domain.name)
        login = Login(domain, message.username, Credential.from_password(message.password), self._context.keys)
        client, attempts = self._client, self._context.attempts
        return await attempts.attempt(login.own.bare, client.peer, lambda: self._log_in(login), client.time)

    async def _log_in(self, login: Login) -> LoggedIn:
        return LoggedIn(await self._context.connect(login, self._client.peer), login)
