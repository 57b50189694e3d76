"""A client proves to the proxy that it knows its password: SCRAM (RFC 5802), for accounts whose keys are known.

The proof is checked here, on the proxy's own TLS. It shows the ClientKey; with that the proxy logs in at the server,
in an exchange of its own that began before the client was challenged. So keys are checked upstream at every login.
The steps are the same, in the same order, whoever logs in, and whatever he proves: a question to the server, the
client's proof, another question to the server. So nobody learns from them whether an account exists.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from minimixproxy.c2s.errors import (
    UpstreamError,
    UpstreamProtocolError,
    UpstreamRefused,
    UpstreamUnfit,
    UpstreamUnproved,
)
from minimixproxy.c2s.server.exchanges.login_exchange import Client, Dialogue, ExchangeContext, LoggedIn
from minimixproxy.c2s.server.exchanges.relayed_scram import RelayedScram, relay
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.c2s.upstream.credentials import Credential
from minimixproxy.c2s.upstream.offer import choose_scram
from minimixproxy.c2s.upstream.sasl import SWITCH, ScramLogin
from minimixproxy.c2s.upstream.sasl_channel import SaslChannel
from minimixproxy.logs.logger import Logger
from minimixproxy.sasl.keys import Keys
from minimixproxy.sasl.scram import MECHANISMS, Challenge, ScramError, ScramKeys
from minimixproxy.sasl.scram_server import ClientFirst, Proved, ScramServer, read_client_first
from minimixproxy.xep import sasl
from minimixproxy.xep.sasl import SaslFailure


class ScramExchange:
    """(`login_exchange.Exchange`) Checked here if the keys of the account are known, else relayed to the server."""

    def __init__(self, mechanism: str, client: Client, context: ExchangeContext) -> None:
        self._mechanism = mechanism
        self._client = client
        self._context = context

    async def __call__(self, dialogue: Dialogue) -> LoggedIn:
        """Log in. Raises `SaslFailure`."""
        message = dialogue.first if dialogue.first is not None else await dialogue.challenge(b"")
        first, server = self._read(message)
        login = Login(self._client.domain, first.username, Credential.unknown(), self._context.keys)
        keys = self._context.known_keys.find(login.own.bare, server.hash_name)
        if keys is not None:
            # Not as the client spells it: a server might take that for another account, with another salt.
            login = replace(login, username=login.own.bare.rpartition("@")[0])
        elif first.header.flag != "p":
            return await self._relay(login, first, _Passed(message, dialogue))
        # Only an account whose keys are known is offered -PLUS.
        withdrawn = keys is None and self._client.named == login.own.bare
        local = LocalScram(Begun(self._mechanism, message, first, server, withdrawn), keys, login, self._context)
        attempts, client = self._context.attempts, self._client
        return await attempts.attempt(login.own.bare, client.peer, lambda: local.log_in(dialogue, client), client.time)

    async def _relay(self, login: Login, first: ClientFirst, passed: _Passed) -> LoggedIn:
        decoys, domain, client = self._context.decoys, login.domain.name, self._client
        hash_name = MECHANISMS[self._mechanism]

        # Made for everybody, and before the server answers: else it would tell by its time who does not exist.
        challenge, nonce, extensions = decoys.decoy(login.own.bare, domain, hash_name)
        decoy = ScramServer(self._mechanism, first, client.bindings, client.offered, nonce)
        said = decoy.challenge(challenge, protected=False, extensions=extensions)

        async def unknown() -> None:
            await fails_like_any(decoy, said, passed.dialogue)

        passed.seen = lambda server_first: decoys.seen(domain, hash_name, first.nonce, server_first)
        return await RelayedScram(self._mechanism, client, self._context, unknown)(passed)

    def _read(self, message: bytes) -> tuple[ClientFirst, ScramServer]:
        client = self._client
        try:
            first = read_client_first(message)
            server = ScramServer(self._mechanism, first, client.bindings, client.offered)
        except ScramError as error:
            raise SaslFailure("malformed-request", str(error)) from error
        sasl.check_authzid(first.header.authzid, first.username, client.domain.name)
        return first, server


class _Passed:
    """A dialogue whose first message has been heard already. `seen` is told of the server's first one."""

    def __init__(self, first: bytes, dialogue: Dialogue) -> None:
        self.first: bytes | None = first
        self.dialogue = dialogue
        self.seen: Callable[[bytes], None] | None = None

    async def challenge(self, data: bytes) -> bytes:
        """Send a challenge; return the response. Raises `SaslFailure`."""
        seen, self.seen = self.seen, None
        if seen is not None:
            seen(data)
        return await self.dialogue.challenge(data)


@dataclass(frozen=True, slots=True)
class Begun:
    """What a client has begun. `message`: its client-first-message as it came, `first`: what is in it.

    `withdrawn`: the keys of its account are gone since the mechanisms were offered to it.
    """

    mechanism: str
    message: bytes
    first: ClientFirst
    server: ScramServer
    withdrawn: bool = False


class LocalScram:
    """One login. Its exchange with the client is at most as far as the one with the server."""

    log = Logger()

    def __init__(self, begun: Begun, keys: Keys | None, login: Login, context: ExchangeContext) -> None:
        """`keys`: None where none are known; then nobody can log in."""
        self._begun = begun
        self._keys = keys
        self._login = login
        self._context = context
        self._account = login.own.bare
        self._protected = login.domain.scram_downgrade_protection
        self._success = b""

    async def log_in(self, dialogue: Dialogue, client: Client) -> LoggedIn:
        """Log the client in on both sides. Raises `UpstreamError`, or `SaslFailure` for the client's part."""
        upstream = await self._context.log_in(
            client.domain, client.peer, lambda channel: self._authenticate(channel, dialogue)
        )
        return LoggedIn(upstream, self._login, self._success)

    async def _authenticate(self, channel: SaslChannel, dialogue: Dialogue) -> None:
        ours = self._ours(channel)
        try:
            challenge = await ours.begin()
        except UpstreamRefused as error:
            await self._refuse(error, channel, dialogue)
            raise
        self._context.decoys.seen(self._login.domain.name, ours.hash_name, *ours.challenged)
        if self._keys is None:
            if self._begun.withdrawn:
                raise password_changed()
            await fails_like_any(self._begun.server, self._challenge(challenge), dialogue)
            await self._fail(ours)
        elif challenge != self._keys.challenge:
            await self._relay(channel, dialogue)
        else:
            response = await dialogue.challenge(self._challenge(challenge))
            await self._finish(response, ours, self._keys)

    def _ours(self, channel: SaslChannel) -> ScramLogin:
        """Return our own exchange with the server, with the hash of the client's."""
        hash_name = self._begun.server.hash_name
        choice = choose_scram(channel.offer, [hash_name])
        if choice is None:
            raise UpstreamUnfit(f"the server offers SCRAM with {hash_name} no more")
        return ScramLogin(channel, choice, self._login.username, channel.offer.offered if self._protected else None)

    def _challenge(self, challenge: Challenge) -> bytes:
        return self._begun.server.challenge(challenge, protected=self._protected)

    async def _finish(self, response: bytes, ours: ScramLogin, keys: Keys) -> None:
        """Check the client's proof, and log in with what it shows."""
        try:
            proved = self._begun.server.check(response, keys.stored_key, keys.server_key)
        except ScramError as error:
            await self._fail(ours, error)
        else:
            await self._prove(ours, keys, proved)

    async def _fail(self, ours: ScramLogin, why: ScramError | None = None) -> None:
        """The client has not proved itself; have the server refuse it, too. It is a failure, whatever the server says.

        It is the same one, whatever the client has said: else it would tell who is checked here. Raises `SaslFailure`.
        """
        try:
            await ours.fail()
        except UpstreamRefused:
            pass
        except UpstreamError as error:
            self.log.warn("a login of {account} was to be refused: {error}", account=self._account, error=str(error))
        raise SaslFailure("not-authorized") from why

    async def _prove(self, ours: ScramLogin, keys: Keys, proved: Proved) -> None:
        shown = ScramKeys(proved.client_key, keys.server_key)
        try:
            await ours.prove(shown)
        except UpstreamRefused as error:
            self._refused_after_all(error, ours)
            raise
        except UpstreamUnproved:
            if keys.client_key is None:  # taken from a store, and never tried: they are wrong, rather than the server
                self._withdraw()
            raise
        self._context.known_keys.proved(self._account, keys._replace(client_key=proved.client_key))
        credential = Credential.from_keys(keys.hash_name, keys.challenge, shown)
        self._login = Login(self._login.domain, self._login.username, credential, self._login.keys)
        self._success = proved.final

    def _refused_after_all(self, error: UpstreamRefused, ours: ScramLogin) -> None:
        """The server refuses what was proved here, for the salt and iterations that it has named itself."""
        if error.condition != "not-authorized":
            return
        if ours.bound:
            raise UpstreamProtocolError(f"the server refuses what is right, and bound to the connection: see {SWITCH}")
        self._withdraw()

    def _withdraw(self) -> None:
        """The keys that this login began with are old; the account may have been enrolled anew meanwhile."""
        known, began = self._context.known_keys, self._keys
        current = known.find(self._account, self._begun.server.hash_name)
        if current is not None and began is not None and current.agrees(began):
            known.withdraw(self._account)

    async def _relay(self, channel: SaslChannel, dialogue: Dialogue) -> None:
        """The password was changed elsewhere. The client and the server find out between them who knows the new one."""
        self._withdraw()
        if self._begun.first.header.flag == "p":
            raise password_changed()
        await channel.abort()
        self._success = await relay(channel, dialogue, self._begun.mechanism, self._begun.message)

    async def _refuse(self, error: UpstreamRefused, channel: SaslChannel, dialogue: Dialogue) -> None:
        """The server has said at once that it knows no such account. The client finds out no sooner than others."""
        if error.condition != "not-authorized":
            return
        decoy = self._context.decoys.decoy(self._account, self._login.domain.name, self._begun.server.hash_name)
        await fails_like_any(self._begun.server, self._challenge(decoy.challenge), dialogue)
        await self._ours(channel).begin()  # is refused once more


def password_changed() -> SaslFailure:
    """What a client is told that is bound to TLS, for that cannot be relayed.

    Its password may be right: a client that is told otherwise asks its user for another one.
    """
    return SaslFailure("temporary-auth-failure", "the password was changed, log in anew")


async def fails_like_any(server: ScramServer, challenge: bytes, dialogue: Dialogue) -> None:
    """Challenge a client that cannot succeed, and check its proof against nothing. Raises `SaslFailure`."""
    response = await dialogue.challenge(challenge)
    nothing = secrets.token_bytes(hashlib.new(server.hash_name).digest_size)
    with suppress(ScramError):
        server.check(response, nothing, nothing)
