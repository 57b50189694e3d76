"""What a client asks for along with its login (XEP-0388): to go on with a session, or to begin one, bound already."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from secrets import token_hex
from typing import NamedTuple, Protocol

from twisted.internet.defer import Deferred

from minimixproxy.c2s.errors import UpstreamError, UpstreamRefused, UpstreamUnfit
from minimixproxy.c2s.server.exchanges.known_keys import KnownKeys
from minimixproxy.c2s.server.exchanges.login_exchange import LoggedIn
from minimixproxy.c2s.server.exchanges.token import usable_keys
from minimixproxy.c2s.session.account_link import ELSEWHERE
from minimixproxy.c2s.session.client_session import ClientSession
from minimixproxy.c2s.session.inline_start import InlineStart
from minimixproxy.c2s.session.resumable import HandedOver, NotResumable, Resumable
from minimixproxy.c2s.session.session_context import SessionContext
from minimixproxy.c2s.transport.client_stream import ClientStream
from minimixproxy.c2s.transport.peers import Peer
from minimixproxy.c2s.upstream.connecting import bind_resource, enable_carbons, open_stream_with
from minimixproxy.logs.logger import Logger
from minimixproxy.sasl.tokens import mark_of
from minimixproxy.timing.clock import Clock
from minimixproxy.wire.events import Event, StreamOpened
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.xmlstream import FramedXmlStream
from minimixproxy.xep import bind2, sasl2
from minimixproxy.xep.sasl import SaslFailure

#: Ends the negotiation; returns the client, what it has sent ahead, and its language.
HandOver = Callable[[], tuple[ClientStream, list[Event], str]]


class Grant(Protocol):
    """What a login is good for (`token_giver.Grant`)."""

    def given(self, *, bound: bool) -> bytes:
        """Return a token for the client, or nothing. `bound`: the server has just bound a JID of its account."""

    def is_void(self) -> bool:
        """Tell whether the token that it was made by has been withdrawn."""


class Begun(Protocol):
    """All is there for the client's session."""

    def start(self, hand_over: HandOver, grant: Grant) -> None:
        """Let it begin, or go on. Raises `NotSent` before either is called if the client has counted what never was."""


class InlineLogin:
    """One client that has logged in."""

    log = Logger()

    def __init__(
        self, request: sasl2.Request, logged_in: LoggedIn, sessions: SessionContext, known_keys: KnownKeys
    ) -> None:
        self._request = request
        self._logged_in = logged_in
        self._sessions = sessions
        self._known_keys = known_keys
        self._own = logged_in.login.own

    async def begin(self, header: bytes, client: Peer, connected: Callable[[FramedXmlStream], None]) -> Begun:
        """Do what the client asks for. `header`: the client's, as the server is to see it.

        `connected` is told of the stream to the server if there was none yet. Raises `UpstreamError`, or `SaslFailure`.
        """
        await _next_turn(self._sessions.clock)  # what the client has sent in the same read is for its session
        refused = b""
        if self._request.resume is not None:
            if self._sessions.accounts.is_elsewhere(self._own.bare):  # with the session, perhaps
                raise SaslFailure("temporary-auth-failure", ELSEWHERE)
            try:
                session, h = self._sessions.resumable.asked(self._request.resume, self._own.bare)
            except NotResumable as reason:
                refused = reason.answer
            else:
                return Resumed(session, h, self._logged_in, self._request.device)
        stream = self._logged_in.upstream
        if stream is None:
            stream = await self._connect(client)
            connected(stream)
        opened, features = await open_stream_with(stream, header, stream.keep())
        wishes = self._request.bind
        jid = await self._bound(stream, wishes) if wishes is not None else ""
        carbons = wishes is not None and wishes.carbons and await self._has_carbons(stream, jid)
        logged_in = self._logged_in._replace(upstream=stream)
        return Started(self._sessions, logged_in, self._request, opened, features, jid, carbons, refused)

    async def _connect(self, client: Peer) -> FramedXmlStream:
        """Log in with the account's keys, as a token has let the client in. If they are old, so is the token."""
        try:
            return await self._sessions.connect(self._logged_in.login, client)
        except UpstreamError as error:
            if not (isinstance(error, UpstreamUnfit) or (isinstance(error, UpstreamRefused) and error.final)):
                raise
            self.log.info("{account}: its keys are old, a token is refused", account=self._own.bare)
            if self._keys_are_current():  # it may have been enrolled anew meanwhile
                self._known_keys.withdraw(self._own.bare)
            raise SaslFailure("credentials-expired") from error

    def _keys_are_current(self) -> bool:
        token = self._logged_in.token
        return token is not None and any(
            mark_of(keys) == token.keys for keys in usable_keys(self._known_keys, self._own.bare)
        )

    async def _bound(self, stream: FramedXmlStream, wishes: bind2.Wishes) -> str:
        """Bind a resource; the same one each time for a device that has said which it is."""
        try:
            return await bind_resource(stream, self._own, bind2.resource(wishes.tag, self._unique()))
        except UpstreamRefused as error:
            if error.condition != "conflict":
                raise
        # Its last session is there still, and the server lets it stay.
        return await bind_resource(stream, self._own, bind2.resource(wishes.tag, token_hex(UNIQUE)))

    def _unique(self) -> str:
        """Return the proxy's part of the resource, which tells nothing of the device's id."""
        if not self._request.device:
            return token_hex(UNIQUE)
        named = f"{self._own.bare}\0{self._request.device}".encode()
        return hashlib.blake2b(named, digest_size=UNIQUE).hexdigest()

    async def _has_carbons(self, stream: FramedXmlStream, jid: str) -> bool:
        try:
            await enable_carbons(stream, self._own)
        except UpstreamRefused as error:
            self.log.warn("{jid} wants carbons, its server refuses: {condition}", jid=jid, condition=error.condition)
            return False
        return True


UNIQUE = 6  # bytes of the proxy's own part of a resource


class Resumed(NamedTuple):
    """A session goes on (`Begun`). Its stream upstream is there still: that of the login is not needed."""

    session: Resumable
    h: int
    logged_in: LoggedIn
    device: str

    def start(self, hand_over: HandOver, grant: Grant) -> None:
        logged_in = self.logged_in

        def given() -> HandedOver:
            client, early, _language = hand_over()
            client.framer.pass_on()
            client.framer.allow_depth()
            logged_in.abort()
            return HandedOver(client, early, [], logged_in.login, self.device)

        def words(resumed: bytes) -> bytes:
            return sasl2.success(self.session.jid, logged_in.success, resumed + grant.given(bound=False))

        self.session.resume(self.h, given, words)


class Started(NamedTuple):
    """A session begins (`Begun`). `refused`: what the client is told of a session with which it cannot go on."""

    sessions: SessionContext
    logged_in: LoggedIn
    request: sasl2.Request
    opened: StreamOpened
    features: Stanza
    jid: str
    carbons: bool
    refused: bytes

    def start(self, hand_over: HandOver, grant: Grant) -> None:
        client, early, language = hand_over()
        upstream = self.logged_in.upstream
        assert upstream is not None
        wishes = self.request.bind or bind2.Wishes()

        def success(enabled: bytes) -> bytes:
            return self._success(enabled, grant.given(bound=bool(self.jid)))

        inline = InlineStart(success, self.jid, wishes, self.carbons, self.request.device, early, grant.is_void)
        session = ClientSession(self.sessions, client, upstream, self.logged_in.login, language)
        session.start_inline(self.opened, self.features, inline)

    def _success(self, enabled: bytes, token: bytes) -> bytes:
        bound = bind2.bound(enabled) if self.jid else b""
        jid = self.jid or self.logged_in.login.own.bare
        return sasl2.success(jid, self.logged_in.success, self.refused + bound + token)


async def _next_turn(clock: Clock) -> None:
    turn: Deferred[None] = Deferred(lambda _turn: call.cancel())
    call = clock.callLater(0, turn.callback, None)
    await turn
