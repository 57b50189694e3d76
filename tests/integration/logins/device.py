"""A device that logs in as its client would: it chooses, checks, refuses and remembers by `Rules`."""

from __future__ import annotations

import unicodedata
import uuid
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import NamedTuple

from tests.integration.client import NS_SASL
from tests.integration.logins import sasl2
from tests.integration.logins.connection import Connection, connect
from tests.integration.logins.rules import PLAIN, AfterFailure, Pin, Rules, Vouching
from tests.integration.logins.sasl2 import NS_SASL2, Offer, Request, Success, Token
from tests.integration.logins.scram import Offered, Refused, SaltedKeys, Scram
from tests.integration.servers import Account
from tests.integration.xmlcut import Received

STRENGTHS = {PLAIN: 10, "SCRAM-SHA-1": 20, "SCRAM-SHA-256": 25, "SCRAM-SHA-512": 30}
PLUS_STRENGTH = 15
BINDING_STRENGTHS = {"tls-exporter": 2, "tls-unique": 2, "tls-server-end-point": 1, "": 0}


class Failed(Exception):
    """The server refuses; the text is the condition."""


class Way(NamedTuple):
    """How a device would log in, or did."""

    mechanism: str
    header: str = ""  # of GS2

    @property
    def binding(self) -> str:
        return self.header[2:].rstrip(",") if self.header.startswith("p=") else ""

    @property
    def strength(self) -> int:
        plain = STRENGTHS[self.mechanism.removesuffix("-PLUS")]
        return plain + (PLUS_STRENGTH + BINDING_STRENGTHS[self.binding] if self.binding else 0)


class Device:
    """Remembers between logins: the secret, a token, what can be resumed. The rest is of the last login."""

    client: Connection
    way: Way
    offered: Offered  # by the profile of SASL that was used
    server_first: str = ""
    resumed = False
    vouched = False  # the server said that its lists are what came (XEP-0474)

    def __init__(self, rules: Rules, account: Account, password: str | None = None) -> None:
        self.rules = rules
        self.account = account
        self.secret: str | SaltedKeys = account.password if password is None else password
        self.user_agent = str(uuid.uuid4())
        self.token: Token | None = None
        self.resumable: tuple[str, int] | None = None  # previd and h
        self.attempts: list[Way] = []  # all, in order
        self._pinned = 0
        self._without_plain = False
        self._last_offer: Offer | None = None
        self._enabled: tuple[str, int] | None = None  # id, and what had been received by then

    async def login(
        self,
        port: int,
        tls: str = "1.3",
        resource: str | None = None,
        *,
        direct_tls: bool = False,
        websocket: bool = False,
    ) -> Connection:
        """Log in, and bind or resume. Raises Refused or Failed, with the connection closed."""
        self.client = client = await connect(self.account, port, tls, direct_tls=direct_tls, websocket=websocket)
        self._enabled, self.resumed = None, False
        try:
            if not (direct_tls or websocket):
                await client.opened(self._name(self.rules.names_itself_early))
                await client.starttls()
            if not await self._quick_start():
                await client.opened(self._name(self.rules.names_itself))
                await self._authenticate()
            if not client.jid:
                await client.bind(resource)
        except (Refused, Failed):
            client.send("</stream:stream>")
            client.transport.loseConnection()
            raise
        return client

    def _name(self, named: bool) -> str | None:
        return self.account.jid if named else None

    def cut(self) -> None:
        """The connection breaks; the next login resumes the stream, if stream management was enabled in the bind."""
        if self._enabled is not None:
            identity, before = self._enabled
            stanzas = [one for one in self.client.received[before:] if one.element.uri == "jabber:client"]
            self.resumable = (identity, len(stanzas))
        self.client.drop()

    # Choosing

    def _bindings(self) -> list[str]:
        """The channel bindings that could be used now, best first."""
        own = self.rules.bindings.get(self.client.version, ())
        if not self.rules.reads_types:
            return list(own)
        return [kind for kind in own if kind in (self.client.types() or ())]

    def _usable(self, mechanisms: Sequence[str]) -> list[str]:
        """Those that are offered and that the client would use, best first."""
        names = [name for name in mechanisms if name in self.offered.mechanisms]
        if not self._bindings():
            names = [name for name in names if not name.endswith("-PLUS")]
        if self._without_plain or (self.rules.plain_only_alone and names != [PLAIN]):
            names = [name for name in names if name != PLAIN]
        if not names:
            raise Refused("no mechanism that this client would use is offered")
        return names

    def _choose(self, mechanism: str) -> None:
        """Take this way, unless the client would not."""
        plus = mechanism.endswith("-PLUS")
        unfit = self.offered.bindings is not None and not self._bindings()
        flag = (self.rules.flag_unfit if unfit else "") or self.rules.flag
        self.way = Way(mechanism, "" if mechanism == PLAIN else f"p={self._bindings()[0]},," if plus else f"{flag},,")
        offers_plus = any(name.endswith("-PLUS") for name in self.offered.mechanisms)
        if self.rules.needs_consistency and mechanism != PLAIN and offers_plus is (self.offered.bindings is None):
            raise Refused("-PLUS and types of channel binding do not fit together")
        if self.rules.needs_binding and not plus:
            raise Refused("no channel binding is offered")
        if self.rules.pin is Pin.STRENGTH and self.way.strength < self._pinned:
            raise Refused("downgrade")
        self.attempts.append(self.way)

    def _start(self) -> Scram:
        kind = self.way.binding
        binding = (kind, self.client.binding(kind)) if kind else None
        name = self.way.mechanism.removesuffix("-PLUS")
        flag = self.way.header[:1]
        return Scram(self.rules, name, self.account.username, self.secret, self.offered, binding, flag)

    def _final(self, exchange: Scram, challenge: Received) -> str:
        final = exchange.final(b64decode(str(challenge.element), validate=True))
        self.server_first, self.vouched = exchange.server_first, exchange.verified
        listed = Vouching.LISTED if self.offered.bindings is not None else None
        if self.rules.needs_vouching in (Vouching.ALWAYS, listed) and not (self._bindings() or exchange.verified):
            raise Refused("no channel binding, and nothing vouches for that")
        return _encoded(final)

    def _finished(self, exchange: Scram, data: str) -> None:
        exchange.finish(b64decode(data, validate=True))
        if self.rules.keeps_keys and exchange.keys is not None:
            self.secret = exchange.keys

    def _plain(self) -> bytes:
        if not isinstance(self.secret, str):
            raise Refused("the password was not kept, only keys")
        return f"\0{self.account.username}\0{self.secret}".encode()

    async def _authenticate(self) -> None:
        offered = self.client.offered2() if self.rules.sasl2 is not None else None
        if offered is not None:
            await self._by_sasl2(offered)
        else:
            await self._by_sasl1()
            self.client.restart()
            await self.client.opened(self._name(self.rules.names_itself))

    async def _ask(self, element: str, uri: str) -> Received:
        self.client.send(element)
        return await self._answer(uri)

    async def _answer(self, uri: str) -> Received:
        return await self.client.expect(lambda stanza: stanza.element.uri == uri, timeout=30.0)

    # SASL1

    async def _by_sasl1(self) -> None:
        self.offered = self.client.offered()
        names = self._usable(self.rules.mechanisms)
        if self.rules.after_failure is not AfterFailure.TRIES_NEXT:
            names = names[:1]
        for left, name in zip(range(len(names) - 1, -1, -1), names, strict=True):
            self._choose(name)
            try:
                await self._exchange()
                break
            except Failed:
                if self.rules.after_failure is AfterFailure.ABORTS:
                    self.client.send(f"<abort xmlns='{NS_SASL}'/>")
                if not left:
                    raise
        self._pinned = max(self._pinned, self.way.strength)

    async def _exchange(self) -> None:
        mechanism = self.way.mechanism
        exchange = None if mechanism == PLAIN else self._start()
        first = _encoded(exchange.first() if exchange else self._plain())
        reply = await self._ask(f"<auth xmlns='{NS_SASL}' mechanism='{mechanism}'>{first}</auth>", NS_SASL)
        if exchange is not None:
            final = self._final(exchange, _expected(reply, "challenge"))
            reply = await self._ask(f"<response xmlns='{NS_SASL}'>{final}</response>", NS_SASL)
            self._finished(exchange, str(_expected(reply, "success").element))
        _expected(reply, "success")

    # SASL2

    async def _quick_start(self) -> bool:
        """Log in by the token before any features have come, if this client does so and last time it could have."""
        rules, last = self.rules.sasl2, self._last_offer
        if rules is None or not rules.pipelines or self.token is None or last is None:
            return False
        if not last.resumption or not set(rules.inline) <= set(last.bind or ()):
            return False
        await self.client.secured()
        request = self._token_request(self.token, last)
        await self.client.answered(self.client.header(self._name(self.rules.names_itself)) + request.element())
        offered = self.client.offered2()
        if offered is None:
            raise Refused("SASL2 is not offered any more")
        if not await self._token_answered(self.token):
            await self._by_sasl2(offered)
        return True

    async def _by_sasl2(self, offered: Offer) -> None:
        assert self.rules.sasl2 is not None
        self._last_offer = offered
        if self.token is not None:
            self.client.send(self._token_request(self.token, offered).element())
            if await self._token_answered(self.token):
                return
        self.offered = Offered(offered.mechanisms, self.client.types())
        self._choose(self._usable(self.rules.sasl2_mechanisms or self.rules.mechanisms)[0])
        exchange = None if self.way.mechanism == PLAIN else self._start()
        first = exchange.first() if exchange else self._plain()
        wanted = sasl2.token_wanted(self.rules.sasl2, offered, self._bindings()) if self.user_agent else None
        reply = await self._ask(self._request(self.way.mechanism, first, offered, wanted).element(), NS_SASL2)
        if exchange is not None:
            final = self._final(exchange, _expected(reply, "challenge"))
            reply = await self._ask(f"<response xmlns='{NS_SASL2}'>{final}</response>", NS_SASL2)
        success = sasl2.success(_expected(reply, "success"))
        if exchange is not None and self.rules.sasl2.checks_signature:
            self._finished(exchange, success.data)
        self._pinned = max(self._pinned, self.way.strength)
        self._without_plain = self._without_plain or self.rules.pin is Pin.NO_PLAIN
        self._keep_token(success, wanted)
        await self._logged_in(success)

    def _request(
        self, mechanism: str, first: bytes, offered: Offer, token_for: str | None, *, by_token: bool = False
    ) -> Request:
        rules = self.rules.sasl2
        assert rules is not None
        resume = self.resumable if rules.resumes and offered.resumption else None
        binds = rules.tag is not None and offered.bind is not None and (not self.resumable or resume is not None)
        enable = tuple(name for name in rules.inline if name in (offered.bind or ()))
        user_agent = self.user_agent if rules.user_agent else None
        tag = rules.tag if binds else None
        return Request(mechanism, first, user_agent, tag, enable, resume, token_for, by_token)

    def _token_request(self, token: Token, offered: Offer) -> Request:
        binding = self.client.binding(token.binding) if token.binding else b""
        self.way = Way(token.mechanism)
        self.attempts.append(self.way)
        first = token.first(self.account.username, binding)
        return self._request(token.mechanism, first, offered, None, by_token=True)

    async def _token_answered(self, token: Token) -> bool:
        """False: the token was refused, and is forgotten."""
        reply = await self._answer(NS_SASL2)
        if reply.element.name == "failure":
            self.token = None
            return False
        success = sasl2.success(_expected(reply, "success"))
        binding = self.client.binding(token.binding) if token.binding else b""
        if b64decode(success.data, validate=True) != token.proof("Responder", binding):
            raise Refused("the server does not know the token")
        self._keep_token(success, token.mechanism)
        await self._logged_in(success)
        return True

    def _keep_token(self, success: Success, mechanism: str | None) -> None:
        """A new token, unless it binds less than the login did."""
        if success.token is None:
            return
        if mechanism is None:
            raise Refused("a token that was not asked for")
        token = Token(mechanism, *success.token)
        by_token = self.way.mechanism.startswith("HT-")
        if by_token or BINDING_STRENGTHS[token.binding] >= BINDING_STRENGTHS[self.way.binding]:
            self.token = token

    async def _logged_in(self, success: Success) -> None:
        """What was asked for inline has been done, or is still to be done."""
        client = self.client
        if _same(success.jid.partition("/")[0]) != _same(self.account.jid):
            raise Refused(f"logged in as {success.jid}")
        if success.bound is not None and success.resumed is not None:
            raise Refused("bound and resumed")
        if success.resumed is not None:
            self.resumed, client.jid = True, success.jid
            return
        self.resumable = None
        await client.new_features()
        if success.bound is not None:
            if "/" not in success.jid:
                raise Refused(f"bound to {success.jid}")
            client.jid = success.jid
        if success.enabled is not None:
            self._enabled = (str(success.enabled["id"]), len(client.received))
        assert self.rules.sasl2 is not None
        if self.rules.sasl2.needs_bind and success.bound is None:
            raise Refused("not bound")


def _encoded(message: bytes) -> str:
    return b64encode(message).decode()


def _expected(reply: Received, name: str) -> Received:
    if reply.element.name == "failure":
        raise Failed(next(child.name for child in reply.element.elements()))
    if reply.element.name != name:
        raise Refused(f"{reply.element.name} instead of {name}")
    return reply


def _same(jid: str) -> str:
    """However it is written: clients compare addresses as they are prepared."""
    return unicodedata.normalize("NFKC", jid).casefold()
