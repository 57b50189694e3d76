"""A client proves that it knows its password to the server itself: SCRAM messages pass (RFC 5802). Nothing is learned.

The proxy sees who wants to log in, and what the server says in the end. Everything else is between the two, which share
a secret that the proxy has not: a server that lies is found out by the client.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from minimixproxy.c2s.errors import UpstreamProtocolError, UpstreamRefused, UpstreamUnfit
from minimixproxy.c2s.server.exchanges.login_exchange import Client, Dialogue, ExchangeContext, LoggedIn
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.c2s.upstream.credentials import Credential
from minimixproxy.c2s.upstream.sasl_channel import Answer, SaslChannel
from minimixproxy.logs.logger import Logger
from minimixproxy.sasl.scram import PLUS, ScramError
from minimixproxy.sasl.scram_server import ClientFirst, read_client_first
from minimixproxy.xep import sasl
from minimixproxy.xep.sasl import SaslFailure

#: Has a client fail as if its account existed. Raises `SaslFailure` for the client's part.
Unknown = Callable[[], Awaitable[None]]


class RelayedScram:
    """(`login_exchange.Exchange`)"""

    log = Logger()

    def __init__(
        self, mechanism: str, client: Client, context: ExchangeContext, unknown: Unknown | None = None
    ) -> None:
        """`unknown`: see `relay`."""
        self._mechanism = mechanism
        self._client = client
        self._context = context
        self._unknown = unknown

    async def __call__(self, dialogue: Dialogue) -> LoggedIn:
        """Log in. Raises `SaslFailure`."""
        message = dialogue.first if dialogue.first is not None else await dialogue.challenge(b"")
        first = self._read(message)
        login = Login(self._client.domain, first.username, Credential.unknown(), self._context.keys)
        attempts, client = self._context.attempts, self._client
        return await attempts.attempt(
            login.own.bare, client.peer, lambda: self._log_in(dialogue, message, first, login), client.time
        )

    def _read(self, message: bytes) -> ClientFirst:
        """Return what the client says who it is. It can be bound to no TLS connection: there are two in between."""
        try:
            first = read_client_first(message)
        except ScramError as error:
            raise SaslFailure("malformed-request", str(error)) from error
        if first.header.flag == "p":
            raise SaslFailure("malformed-request", "channel binding is not offered with this mechanism")
        sasl.check_authzid(first.header.authzid, first.username, self._client.domain.name)
        return first

    async def _log_in(self, dialogue: Dialogue, message: bytes, first: ClientFirst, login: Login) -> LoggedIn:
        success: list[bytes] = []

        async def authenticate(channel: SaslChannel) -> None:
            if self._mechanism not in channel.mechanisms:
                raise UpstreamUnfit(f"the server offers {self._mechanism} no more")
            with_plus = any(name.endswith(PLUS) for name in channel.mechanisms)
            doubted = with_plus and first.header.flag == "y"
            success.append(await self._relay(channel, dialogue, message, doubted=doubted))

        upstream = await self._context.log_in(self._client.domain, self._client.peer, authenticate)
        return LoggedIn(upstream, login, success[-1])

    async def _relay(self, channel: SaslChannel, dialogue: Dialogue, message: bytes, *, doubted: bool) -> bytes:
        """Pass the messages both ways. `doubted`: the server may take the first for that of somebody attacked."""
        try:
            return await relay(channel, dialogue, self._mechanism, message, self._unknown)
        except UpstreamRefused as error:
            if doubted and error.condition in ("malformed-request", "invalid-mechanism"):
                raise self._not_believed() from error
            raise

    def _not_believed(self) -> SaslFailure:
        """RFC 5802 §6: "y" says that the server offers no channel binding, and it does, to the proxy."""
        self.log.warn(
            "the client at {address}, which can do channel binding, cannot log in at {domain} before its account is "
            "enrolled: the server offers channel binding to the proxy, and takes it for an attack that the client was "
            "offered none",
            address=self._client.peer.address,
            domain=self._client.domain.name,
        )
        return SaslFailure("temporary-auth-failure", "this account has to be enrolled before this client can log in")


async def relay(
    channel: SaslChannel, dialogue: Dialogue, mechanism: str, message: bytes, unknown: Unknown | None = None
) -> bytes:
    """Have a client and a server prove themselves to each other; return what goes with the success.

    `message`: the client-first-message, as it came. `unknown`: what is done with a client whose account does not exist,
    so that it does not find out by that. Raises `UpstreamError`, or `SaslFailure` for the client's part.
    """
    channel.auth(mechanism, message)
    try:
        answer = await channel.answer()
    except UpstreamRefused as error:
        if unknown is not None and error.condition == "not-authorized":
            await unknown()
            channel.auth(mechanism, message)  # to be refused once more: as many questions to the server as for others
            await channel.answer()
        raise
    if answer.success:
        raise UpstreamProtocolError("the server lets a client in that has proved nothing")
    answer = await _passed_on(answer, channel, dialogue)
    if answer.success:
        return answer.data
    # The server's last message as one more challenge (RFC 5802 §5 with RFC 4422 §4): the client has to say nothing.
    answer = await _passed_on(answer, channel, dialogue)
    if not answer.success:
        raise UpstreamProtocolError("the server challenges a client without end")
    return answer.data


async def _passed_on(challenge: Answer, channel: SaslChannel, dialogue: Dialogue) -> Answer:
    channel.respond(await dialogue.challenge(challenge.data))
    return await channel.answer()
