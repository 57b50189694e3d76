"""A client's session: what the client sends goes upstream and the other way round, byte for byte.

Less what the account takes (see `minimix`). Output to the client is joined and written once per read or reactor turn.
Each side that is slow to read pauses the other side's reading, and nobody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure

from minimixproxy.c2s.session.account_link import AccountLink
from minimixproxy.c2s.session.acknowledgements import EVERYTHING, Acknowledgements
from minimixproxy.c2s.session.backpressure import Backpressure
from minimixproxy.c2s.session.from_client import FromClient
from minimixproxy.c2s.session.from_server import FromServer
from minimixproxy.c2s.session.output import ClientOutput
from minimixproxy.c2s.session.parts import SessionParts
from minimixproxy.c2s.session.server_stream import ServerStream
from minimixproxy.c2s.session.session_context import SessionContext
from minimixproxy.c2s.transport.client_stream import CLOSE_TIMEOUT, ClientStream
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.logs.logger import Logger
from minimixproxy.wire.events import Event, StreamOpened
from minimixproxy.wire.lazy_stanzas import LazyStanzas
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.xmlstream import FramedXmlStream
from minimixproxy.xep.stream_features import shown_features
from minimixproxy.xep.stream_headers import STREAM_END, XML_DECLARATION, passed_header, stream_error

ON_ITS_WAY = 5.0  # seconds for which what was written may not be acknowledged yet


class ClientSession:
    """Both streams of a client that is logged in: their beginning, and how they end. Also the account's `SessionPort`.

    What the client sends is `FromClient`'s, what the server sends `FromServer`'s; the account is behind `AccountLink`.
    """

    log = Logger()

    __slots__ = (
        "_accounts",
        "_acknowledgements",
        "_client",
        "_client_done",
        "_client_gone",
        "_clock",
        "_close_call",
        "_from_client",
        "_from_server",
        "_link",
        "_output",
        "_server",
        "carbons",
        "deliver",
        "deliver_all",
        "jid",
        "language",
        "managed",
    )

    def __init__(
        self, context: SessionContext, client: ClientStream, upstream: FramedXmlStream, login: Login, language: str
    ) -> None:
        """`language`: of the client's stream, "" if it named none."""
        accounts, clock, bottom = context.accounts, context.clock, client.bottom
        self.jid = ""
        self.carbons = False
        self.language = language
        self.managed = False
        self._accounts = accounts
        self._clock = clock
        self._client = client
        self._acknowledgements = Acknowledgements(
            bottom.transport, clock, accounts.given_out, relayed=bottom.relayed, overhead=bottom.record_overhead
        )
        self._output = ClientOutput(
            client, context.turn_end, self._acknowledgements, context.limits.send_queue, self._overflow
        )
        self.deliver: Callable[[bytes], None] = self._output.deliver  # gives the client whole stanzas
        self.deliver_all: Callable[[LazyStanzas], None]  # and many, made when needed, once it is bound
        self._server = ServerStream(upstream)
        self._link = AccountLink(self, accounts, login)
        parts = SessionParts(client, self._output, self._server, self._link)
        self._from_client = FromClient(self, parts, login.own.bare, clock, context.shares)
        self._from_server = FromServer(self, parts)
        self._client_done = False  # the client closed its stream
        self._client_gone = False  # without closing it
        self._close_call: Any = None

    def start(self, header: StreamOpened, features: Stanza, behind: list[Event], early: list[Event]) -> None:
        """Take over both streams; answer the client's header as the server did."""
        self._client.hand_to(self, self.client_data)
        self._client.framer.pass_on()
        self._client.framer.allow_depth()
        self._client.transport.registerProducer(Backpressure(self._client_blocks, self._client_drains), True)
        slow_server = Backpressure(self._from_client.block, self._from_client.unblock)
        self._server.begin(self._from_server.take, self._server_lost, slow_server)
        self._client.write(XML_DECLARATION + passed_header(header) + shown_features(features, header.namespaces))
        self.log.info("session of {account} begins, from {address}", account=self._link.name, address=self._client.peer)
        if behind:
            self._from_server.take(behind)
        if early:
            self.client_events(early)
        self._from_client.resume_reading()

    # What the wire tells (client_stream.Handler)

    def client_data(self, data: bytes) -> None:
        """Pass on one read's worth of the client's stream."""
        if self._acknowledgements.relayed:
            self._acknowledgements.heard()
        if not self._output.over:
            self._from_client.pacing.take(data)

    def client_events(self, events: list[Event]) -> None:
        """Pass on what the client did not wait to send."""
        self._from_client.pacing.take_events(events)

    def client_lost(self) -> None:
        """The client's connection is gone; to the server it says a proper goodbye, behind all that the client said."""
        self._client_gone = not self._client_done
        if self._from_client.pacing.busy:
            self._client_blocks()  # what it is told meanwhile must not count as written
        self._from_client.pacing.at_end(self._lost)

    def _lost(self) -> None:
        self._output.stop()
        self._end_upstream()
        self.log.info("session of {jid} ends, from {address}", jid=self._link.name, address=self._client.peer)

    # What the account asks (SessionPort): `deliver`, `deliver_all`, `close` and these

    @property
    def last_active(self) -> float:
        """When the client last sent a stanza, in seconds of the reactor's clock."""
        return self._from_client.active

    @property
    def reached(self) -> float:
        """Up to which message everything delivered has come to the client's machine; infinity: all.

        A client that closed its stream reads on until ours is closed too: what is on its way will come. So it will to
        one that is there as far as anybody knows, if it is not late: TCP acknowledges nothing at once. What was never
        written comes to nobody.
        """
        late = self._acknowledgements.since() < self._clock.seconds() - ON_ITS_WAY
        until = self._acknowledgements.until() if self._client_gone or (late and not self._client_done) else EVERYTHING
        return min(until, self._acknowledgements.written) if self._output.incomplete else until

    # What the link to the account finds out (LinkedSession)

    def flush(self) -> None:
        """Write what the server has said so far: the client hears of it first."""
        self._output.flush()

    def bound(self, jid: str) -> None:
        """The server has bound a JID of the login's account."""
        self.jid = jid
        self._output.flush()
        self.log.info("session of {jid} is bound", jid=jid)
        # From now on what the account tells the client is on disk first.
        self.deliver = self._accounts.gated(self._output.deliver)
        self.deliver_all = self._accounts.gated(self._output.deliver_all)

    def carbons_changed(self, enabled: bool) -> None:
        """The server has switched carbons (XEP-0280)."""
        self.carbons = enabled

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
            self._output.close(data)

    def _end_upstream(self) -> None:
        """Close the stream upstream and give the server some time to agree."""
        self._leave_account()
        self._server.end(self._link.watch, self._link.learned, self._clock)

    def _leave_account(self) -> None:
        if self._close_call is not None:
            self._close_call.cancel()
            self._close_call = None
        self._output.stop_taking()
        self._link.leave()

    def client_closes(self) -> None:
        """Let the server close its side too: until it does, or `CLOSE_TIMEOUT` is over, its stanzas still pass."""
        self._client_done = True
        self._leave_account()
        self._say_goodbye()
        self._close_call = self._clock.callLater(CLOSE_TIMEOUT, self._close_late)

    def answered(self) -> None:
        """An answer that was due has perhaps come; a client that has closed its stream waited for it."""
        if self._client_done:
            self._say_goodbye()
            self._server.flush()

    def _say_goodbye(self) -> None:
        """Pass on that the client has closed its stream, as soon as no answer for the account is due (`Closing`)."""
        if not self._link.watch.lasting:
            self._server.say_goodbye()

    def _close_late(self) -> None:
        self._close_call = None
        self.end(STREAM_END)

    def _server_lost(self, _reason: Failure) -> None:
        self._server.lost()
        if not self._output.over:
            if self._client_done:
                self._end_client(STREAM_END)
            else:
                self.close("remote-connection-failed", "the server closed the connection")

    def _overflow(self, waiting: int) -> None:
        """A client that reads slowly may have only so much waiting."""
        self.log.warn("{jid} reads too slowly, {bytes} bytes wait", jid=self.jid, bytes=waiting)
        self.close("resource-constraint", "too much waits to be read")

    # Backpressure

    def _client_blocks(self) -> None:
        self._output.block()
        self._server.pause()

    def _client_drains(self) -> None:
        self._output.unblock()
        if not self._output.blocked:
            self._server.resume()
