"""A client's session: what the client sends goes upstream and the other way round, byte for byte.

Less what the account takes (see `minimix`). Output to the client is joined and written once per read or reactor turn.
Each side that is slow to read pauses the other side's reading, and nobody else's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

from minimixproxy.c2s.session.account_link import AccountLink
from minimixproxy.c2s.session.client_side import ClientSide
from minimixproxy.c2s.session.client_state import ClientState, Ways
from minimixproxy.c2s.session.from_server import FromServer
from minimixproxy.c2s.session.held_back import NOTHING_WAITS
from minimixproxy.c2s.session.inline_start import InlineStart
from minimixproxy.c2s.session.login_lines import Pace
from minimixproxy.c2s.session.parts import SessionParts
from minimixproxy.c2s.session.reconnecting import Reconnecting, Resumption
from minimixproxy.c2s.session.server_stream import ServerStream
from minimixproxy.c2s.session.session_context import SessionContext
from minimixproxy.c2s.transport.client_stream import CLOSE_TIMEOUT, ClientStream
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.handed import HandedSession
from minimixproxy.minimix.interfaces.journal import KeptLogin
from minimixproxy.minimix.interfaces.weighed import Weighed
from minimixproxy.stream_management.unacknowledged import NotSent
from minimixproxy.timing.backoff import LASTING
from minimixproxy.wire.events import Event, StreamOpened
from minimixproxy.wire.lazy_stanzas import LazyStanzas
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.xmlstream import FramedXmlStream, ReadsBytes
from minimixproxy.xep import stream_management as sm
from minimixproxy.xep.client_state import INACTIVE
from minimixproxy.xep.stream_features import HIDDEN, HIDDEN_ONCE_BOUND, shown_features
from minimixproxy.xep.stream_headers import STREAM_END, XML_DECLARATION, passed_header, stream_error

#: Seconds without a word of a client that is there, until another process may go on with its session by the way.
QUIET = 600.0
UNBOUND = 120.0  # seconds that a client has to bind a resource: without one it is of no account


class ClientSession:
    """Both streams of a client that is logged in: their beginning, and how they end. Also the account's `SessionPort`.

    What the client sends is `FromClient`'s, what the server sends `FromServer`'s; the account is behind `AccountLink`.
    With stream management the session outlives the client's connection: it sleeps until another one resumes it.
    """

    log = Logger()

    __slots__ = (
        "_client",
        "_close_call",
        "_context",
        "_from_server",
        "_link",
        "_managed_upstream",
        "_output",
        "_pace",
        "_reconnecting",
        "_resumed",
        "_server",
        "_state",
        "carbons",
        "deliver",
        "deliver_all",
        "deliver_weighed",
        "device",
        "inactive",
        "jid",
        "language",
        "login",
        "position",
        "standalone",
    )

    def __init__(
        self,
        context: SessionContext,
        client: ClientStream | None,
        upstream: FramedXmlStream | None,
        login: Login,
        language: str,
    ) -> None:
        """`client`, `upstream`: None if it is to be restored. `language`: of the client's stream, "" if it has none."""
        self.jid = ""
        self.carbons = False
        self.device = ""  # the id of the client's installation (XEP-0388), if it has said one
        self.language = language
        self.standalone = client is not None and client.bottom.standalone
        self._context = context
        self._state = ClientState(self, context.accounts, self._held_back, offered=context.client_state())
        # Up to which message, of any room, everything has been given out, and nothing is held back: with each write.
        self.position: Callable[[], int] = self._state.position
        self.inactive = False  # nobody looks at the client (XEP-0352), or it sleeps; once it is bound
        self._client = ClientSide(self, context, client)
        self._output = self._client.output
        # The ways to the client (see `Ways`); once it is bound, through the gate.
        self.deliver: Callable[[bytes], None] = self._output.deliver
        self.deliver_all: Callable[[LazyStanzas], None]
        self.deliver_weighed: Callable[[Weighed], None]  # set with `jid`, as `deliver_all` is
        # What the client has shown to know, for logging in again. Never what another session of the account knows: a
        # stolen one is not to outlive its password.
        self.login = login
        self._managed_upstream = False  # the server offers stream management
        self._reconnecting: Reconnecting | None = None
        self._pace: Pace | None = None  # of its reconnections, once there was one
        self._resumed = -inf  # when the stream to the server was, in seconds of the clock
        self._server = ServerStream(self, upstream, self._client.slow_server, context.clock)
        self._link = AccountLink(self, context.accounts, login)
        parts = SessionParts(self._output, self._server, self._link)
        self._from_server = FromServer(self, parts)
        self._close_call: Any = None  # ends it, for what its client has not done in time
        self._client.begin(parts)

    def start(self, header: StreamOpened, features: Stanza, behind: list[Event], early: list[Event]) -> None:
        """Take over the server's stream too; answer the client's header as the server did."""
        self._managed_upstream = sm.is_offered(features)
        self._server.begin()
        shown = shown_features(features, header.namespaces, sm.FEATURE + self._state.offer(features))
        self._output.parts.append(XML_DECLARATION + passed_header(header) + shown)
        self._output.flush()
        self.log.info("session of {account} begins, from {address}", account=self._link.name, address=self._client.peer)
        if behind:
            self._from_server.take(behind)
        self._has_to_bind()
        if early:
            self._client.client_events(early)
        self._client.read_on()

    def _has_to_bind(self) -> None:
        self._close_call = self._context.clock.callLater(UNBOUND, self._stays_unbound)

    def _stays_unbound(self) -> None:
        self._close_call = None
        self.log.info("session of {account} ends: it has bound no resource in time", account=self._link.name)
        self.close("connection-timeout", "no resource was bound in time")

    def start_inline(self, header: StreamOpened, features: Stanza, inline: InlineStart) -> None:
        """Take over the server's stream too, of which the client has seen nothing yet; say that the login succeeded.

        What the server has said since is held (see `FramedXmlStream.keep`).
        """
        self.device = inline.device
        self._managed_upstream = sm.is_offered(features)
        self._server.begin()
        offer = self._state.offer(features)

        def first_words(enabled: bytes) -> bytes:
            own = offer if enabled else sm.FEATURE + offer
            hidden = HIDDEN_ONCE_BOUND if inline.jid else HIDDEN
            return inline.success(enabled) + shown_features(features, header.namespaces, own, hidden)

        self._client.first_words(inline.wishes.enable, first_words)
        self.log.info("session of {account} begins, from {address}", account=self._link.name, address=self._client.peer)
        if inline.jid:
            self._begin_bound(inline)
        else:
            self._link.is_void = inline.is_void  # its token may be withdrawn until it is known whose session it is
            self._has_to_bind()
        self._server.release()
        if inline.early:
            self._client.client_events(inline.early)
        self._client.read_on()

    def _begin_bound(self, inline: InlineStart) -> None:
        self.carbons = inline.carbons
        self._link.bound(inline.jid)
        if self.managed:
            self._link.managed()
        if inline.wishes.inactive and self.state_told(INACTIVE):
            self._server.send(INACTIVE)
            self._server.flush()

    # Another process of the cluster goes on with it, or had it

    def hand_on(self, keep: Callable[[Any], KeptLogin], shows: bytes) -> HandedSession | None:
        """Be no more, without a word to client and server; return what another process goes on with.

        None, and nothing has changed, if something is open that cannot be handed on. `keep` makes what is kept of the
        login; `shows`: see `HandedSession`.
        """
        if self._state.limit != NOTHING_WAITS or self._link.watch:
            return None
        client, server = self._client.handed(), self._server.handed(self._state.server_knows)
        if client is None or server is None or sum(tracked for _, tracked in client.open) != sum(server.open):
            return None
        credential, login = self.login.credential, keep(self.login)
        if not credential.known or (login.password is None and credential.password is not None):
            return None  # nor if its keys have not been seen to last
        self.log.info("session of {jid} is handed to another process", jid=self.jid)
        self._client.departs()
        self._leave_account()
        self._client.abandon()
        self._server.abandon()
        return HandedSession(self.jid, self.device, self.language, self.carbons, shows, login, client, server)

    @classmethod
    def restored(cls, context: SessionContext, handed: HandedSession, login: Login) -> ClientSession:
        """Return what another process had, asleep; its stream to the server is being resumed."""
        session = cls(context, None, None, login, handed.language)
        session.device, session.carbons = handed.device, handed.carbons
        session._state.server_knows = handed.server.knows_state
        session._link.restored(handed.jid)
        session._client.restore(handed.client, session._server.restore(handed.server))
        session._link.managed()
        session.sleeps()
        session.server_lost()
        return session

    # What the account asks (SessionPort): `deliver` and the like, `close` and these

    @property
    def asleep(self) -> bool:
        """Whether the client's connection is gone, and may be replaced by another one."""
        return self._output.asleep

    @property
    def managed(self) -> bool:
        """Whether the client acknowledges what it gets (XEP-0198)."""
        return self._output.managed

    def use(self, ways: Ways, *, inactive: bool) -> None:
        """Deliver by these from now on."""
        self.deliver, self.deliver_all, self.deliver_weighed = ways
        self.inactive = inactive

    @property
    def rests(self) -> bool:
        """Whether another process could go on with it, and its client would hardly notice: it is away, or quiet."""
        credential, domain = self.login.credential, self.login.domain
        can_log_in = credential.known and (credential.password is None or domain.keep_passwords)
        quiet = self.asleep or self._context.clock.seconds() >= self.last_active + QUIET
        server = self._server.handed(self._state.server_knows)
        return can_log_in and quiet and self._client.rests and server is not None and not self._link.watch

    def deliver_instead(self, data: bytes) -> None:
        """Give the client this in the place of what its server has just said."""
        self._from_server.instead(data)

    def when_got(self, call: Callable[[], None]) -> None:
        """Call once the client has acknowledged what its server has said last, and it is to get now."""
        self._from_server.when_got(call)

    def when_settled(self, call: Callable[[], None]) -> None:
        """Call once nothing is open between the client and us, or soon: the session is about to be closed."""
        self._state.set_active()  # what is held back is told now, or goes along

        def is_resumed() -> bool:
            return self._reconnecting is None and not self._server.comes_again

        self._client.when_settled(call, lambda: self._server.awaits_acknowledgement or not is_resumed(), is_resumed)

    def have_server_push(self) -> None:
        """Let the server know that the client sleeps: it pushes what that has not acknowledged (XEP-0357).

        By cutting the connection to it, and resuming the stream at once. What it was sent and has not acknowledged
        first is waited for: nothing is to be cut in the middle.
        """
        self._server.when_acknowledged(self._cut_upstream)

    def _cut_upstream(self) -> None:
        if self.asleep and self.login.credential.known and self._server.cut():
            self.log.info("{jid} sleeps: its server is to push what it has for it", jid=self.jid)

    def hold(self) -> Callable[[], None]:
        """Return a function: until it is called, what the client sent last is not acknowledged to it."""
        return self._client.hold()

    def let_wait(self) -> None:
        """Read nothing more of what the client says, but what was read by now, until `go_on`."""
        self._client.let_wait()

    def go_on(self) -> None:
        """Read on."""
        self._client.go_on()

    @property
    def last_active(self) -> float:
        """When the client last sent a stanza, in seconds of the reactor's clock."""
        return self._client.last_active

    @property
    def reached(self) -> float:
        """Up to which message everything delivered has come to the client's machine; infinity: all."""
        return min(self._client.reached, self._state.limit)

    # What its side towards the client tells (SessionOfClient)

    def receives(self, stanza: Stanza) -> bool:
        """Count a stanza of the client; False: it was handled before the session was resumed."""
        return self._client.receives(stanza)

    @property
    def looks_at_each(self) -> bool:
        """Whether `receives` has to tell of each stanza of the client whether it passes."""
        return self._client.looks_at_each

    def received(self, message: bytes, stanza_id: str | None, to: str | None) -> None:
        """Count a message of the client that passes in any case."""
        self._client.received(message, stanza_id, to)

    def passed(self) -> None:
        """A stanza of the client has gone to the server."""
        self._client.passed(self._server.when_acknowledged)

    def state_told(self, element: Stanza) -> bool:
        """The client says that it is active or inactive (XEP-0352); True: its server is to know."""
        return self._state.told(element)

    def stream_management(self, stanza: Stanza) -> None:
        """The client has sent an element of stream management (XEP-0198)."""
        self._client.element(stanza)

    def becomes_managed(self) -> None:
        """From now on the client acknowledges what it gets."""
        self._link.managed()

    def acknowledged(self) -> None:
        """The client has acknowledged something."""
        self._link.acknowledged()

    def sleeps(self) -> None:
        """The client's connection is gone, and may be replaced."""
        self._link.sleeps()
        self._state.set_inactive()

    def wakes(self, login: Login, device: str, *, standalone: bool) -> None:
        """The client has another connection, and has logged in for that. `device`: as it says now, "" if none."""
        self.device = device or self.device
        self.standalone = standalone
        if login.credential.known:
            self.login = login
        self._link.resumed(login)
        if self._reconnecting is not None:
            self._reconnecting.hurry()
        state = self._state.wakes()
        if state is not None:
            self._server.send(state)
            self._server.flush()

    def _held_back(self, waits: bool) -> None:
        self._link.held_back(waits)

    def ends(self) -> None:
        """The client is gone for good: say goodbye to the server, behind all that the client said."""
        self._end_upstream()
        self.log.info("session of {jid} ends, from {address}", jid=self._link.name, address=self._client.peer)

    def flows(self, free: bool) -> None:
        """The client can take more, or cannot: the server's words wait for it."""
        if free:
            self._server.unpause()
        else:
            self._server.pause()

    def overflows(self, waiting: int) -> None:
        """A client that reads slowly may have only so much waiting."""
        self.log.warn("{jid} reads too slowly, {bytes} bytes wait", jid=self.jid, bytes=waiting)
        self.close("resource-constraint", "too much waits to be read")

    # What the link to the account finds out (LinkedSession)

    def flush(self) -> None:
        """Write what the server has said so far: the client hears of it first."""
        self._output.flush()

    def bound(self, jid: str) -> None:
        """The server has bound a JID of the login's account."""
        self.jid = jid
        self._drop_close_call()
        self._output.flush()
        if self._managed_upstream:
            self._server.manage()
            self._server.flush()
        self.log.info("session of {jid} is bound", jid=jid)
        self._state.bound(self._output)

    def carbons_changed(self, enabled: bool) -> None:
        """The server has switched carbons (XEP-0280)."""
        self.carbons = enabled

    def password_changed(self, password: str) -> None:
        """The server has taken another password from the client."""
        self.login = self.login.with_password(password)

    @property
    def queued(self) -> int:
        """Bytes that wait for the client, or for it to acknowledge them; not what is held back while it is inactive."""
        return self._output.queued

    # Ends

    def close(self, condition: str, text: str = "") -> None:
        """End the session with a stream error to the client; upstream it ends in order."""
        self.end(stream_error(condition, text))

    def end(self, data: bytes) -> None:
        """End the session with these bytes to the client; upstream it ends in order."""
        self._end_client(data)
        self._end_upstream()

    def _end_client(self, data: bytes) -> None:
        self._leave_account()
        if not self._output.over:
            self._output.close(self._client.last_word() + data)

    def _end_upstream(self) -> None:
        """Close the stream upstream and give the server some time to agree."""
        self._leave_account()
        if self._reconnecting is not None:
            self._reconnecting.stop()
        self._server.end(self._link.watch, self._link.learned)

    def _leave_account(self) -> None:
        self._drop_close_call()
        self._client.leave()
        self._output.stop_taking()
        self._link.leave()

    def _drop_close_call(self) -> None:
        if self._close_call is not None:
            self._close_call.cancel()
            self._close_call = None

    def client_closes(self) -> None:
        """Let the server close its side too: until it does, or `CLOSE_TIMEOUT` is over, its stanzas still pass."""
        self._client.closes()
        self._leave_account()
        self._say_goodbye()
        self._close_call = self._context.clock.callLater(CLOSE_TIMEOUT, self._close_late)

    def answered(self) -> None:
        """An answer that was due has perhaps come; a client that has closed its stream waited for it."""
        if self._client.done:
            self._say_goodbye()
            self._server.flush()

    def _say_goodbye(self) -> None:
        """Pass on that the client has closed its stream, as soon as no answer for the account is due (`Closing`)."""
        if not self._link.watch.lasting:
            self._server.say_goodbye()

    def _close_late(self) -> None:
        self._close_call = None
        self.end(STREAM_END)

    # The server (ServersClient)

    def server_says(self, events: list[Event]) -> None:
        """What the server has said while nobody read it."""
        self._from_server.take(events)

    @property
    def reads(self) -> ReadsBytes:
        """Reads what the server says."""
        return self._from_server.read

    def server_lost(self) -> None:
        """The connection to the server is gone: another one is tried if the stream can be resumed, after a login."""
        management = self._server.resumable if self.login.credential.known else None
        if management is None or self._output.over or self._client.done:
            self.server_gone(None)
            return
        what = Resumption(management.id, management.max, management.handled)
        self._reconnecting = Reconnecting(self._link.name, self)
        pace = self._pace = self._pace or self._context.lines.pace(self.login.domain.name, self.login.own.bare)
        lasted = self._context.clock.seconds() - self._resumed >= LASTING
        if lasted:
            pace.waits.reset()
        self._reconnecting.start(what, pace, self.language, urgent=not self.asleep, waits=not lasted)

    # Its reconnection (Reconnectable)

    def connect(self, login: Login) -> Awaitable[FramedXmlStream]:
        """Log in again."""
        return self._context.connect(login, self._client.peer)

    def server_back(self, stream: FramedXmlStream, h: int) -> None:
        """The server goes on with the stream, on another connection."""
        self._reconnecting = None
        self._resumed = self._context.clock.seconds()
        try:
            self._server.resume(stream, h)
        except NotSent as error:
            self.log.error("{jid}: the server cannot have handled that: {error}", jid=self.jid, error=str(error))
            stream.transport.abortConnection()
            self.server_gone(None)

    def server_refuses(self) -> None:
        """The server takes the credentials no more: its client may have others."""
        self._reconnecting = None
        self.close("reset", "the server refuses the login: log in again")

    def server_gone(self, handled: int | None) -> None:
        """The server is lost for good; `handled`: how many stanzas it had handled, if it says so."""
        self._reconnecting = None
        if handled is not None:
            self._server.had_handled(handled)
        if not self._output.over:
            if self._client.done:
                self._end_client(STREAM_END)
            else:
                self.close("remote-connection-failed", "the server closed the connection")
