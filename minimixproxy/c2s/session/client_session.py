"""A client's session: what the client sends goes upstream and the other way round, byte for byte.

Less what the account takes (see `minimix`). Output to the client is joined and written once per read or reactor turn.
Each side that is slow to read pauses the other side's reading, and nobody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure
from twisted.words.xish.xmlstream import STREAM_END_EVENT

from minimixproxy.c2s.session.account_interface import AccountPort, AccountsPort
from minimixproxy.c2s.session.acknowledgements import EVERYTHING, Acknowledgements
from minimixproxy.c2s.session.backpressure import Backpressure
from minimixproxy.c2s.session.closing import Closing
from minimixproxy.c2s.session.output import ClientOutput
from minimixproxy.c2s.session.paced_reading import PacedReading
from minimixproxy.c2s.session.request_watch import (
    Bound,
    CarbonsChanged,
    Learned,
    Misbound,
    PasswordChanged,
    Removed,
    RequestWatch,
)
from minimixproxy.c2s.session.turn_shares import TurnShares
from minimixproxy.c2s.transport.client_stream import CLOSE_TIMEOUT, ClientStream
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.config.settings import Limits
from minimixproxy.logs.logger import Logger
from minimixproxy.namespaces import NS_CLIENT, NS_SASL, NS_SASL2
from minimixproxy.safety_net import NET
from minimixproxy.timing.clock import Clock
from minimixproxy.timing.turn_end import TurnEnd
from minimixproxy.wire.framing import Event, Fault, Keepalive, Skipped, StreamClosed, StreamOpened
from minimixproxy.wire.lazy_stanzas import LazyStanzas
from minimixproxy.wire.stanza import Stanza, UnusableStanza, rewrite
from minimixproxy.wire.xmlstream import FramedXmlStream
from minimixproxy.xep.oversized import error_for, lost_answer
from minimixproxy.xep.stanza_errors import error_reply
from minimixproxy.xep.stream_features import shown_features
from minimixproxy.xep.stream_headers import STREAM_END, XML_DECLARATION, passed_header, stream_error
from minimixproxy.xep.unsupported import refusal_of_element

ON_ITS_WAY = 5.0  # seconds for which what was written may not be acknowledged yet


class ClientSession:
    """Both streams of a client that is logged in. Also the account's `SessionPort`."""

    log = Logger()

    __slots__ = (
        "_account",
        "_accounts",
        "_acknowledgements",
        "_client",
        "_client_done",
        "_client_gone",
        "_clock",
        "_close_call",
        "_goodbye_said",
        "_login",
        "_name",
        "_output",
        "_own",
        "_paced_reading",
        "_to_server",
        "_upstream",
        "_upstream_blocked",
        "_watch",
        "carbons",
        "deliver",
        "deliver_all",
        "jid",
        "language",
        "last_active",
    )

    def __init__(
        self,
        client: ClientStream,
        upstream: FramedXmlStream,
        login: Login,
        accounts: AccountsPort,
        turn_end: TurnEnd,
        clock: Clock,
        limits: Limits,
        shares: TurnShares,
    ) -> None:
        self.jid = ""
        self.carbons = False
        self.language: str  # of the client's stream
        self.last_active = clock.seconds()
        self._client = client
        self._upstream: FramedXmlStream | None = upstream
        self._login: Login | None = login  # until the account has it
        self._name = login.account
        self._accounts = accounts
        self._account: AccountPort | None = None
        self._clock = clock
        bottom = client.bottom
        self._acknowledgements = Acknowledgements(
            bottom.transport, clock, accounts.given_out, relayed=bottom.relayed, overhead=bottom.record_overhead
        )
        self._output = ClientOutput(client, turn_end, self._acknowledgements, limits.send_queue, self._overflow)
        self.deliver: Callable[[bytes], None] = self._output.deliver  # gives the client whole stanzas
        self.deliver_all: Callable[[LazyStanzas], None]  # and many, made when needed, once it is bound
        self._to_server: list[bytes] = []  # of the read that is being handled
        self._upstream_blocked = False  # the server reads too slowly
        self._own = login.own
        valve = Backpressure(self._pause_client, self._resume_client)
        feed = client.framer.feed
        self._paced_reading = PacedReading(
            shares, self._own.bare, feed, self._client_event, self._flush_upstream, valve, self._intake_failed
        )
        self._watch = RequestWatch(self._own)
        self._client_done = False  # the client closed its stream
        self._client_gone = False  # without closing it
        self._goodbye_said = False  # to the server
        self._close_call: Any = None

    def start(self, header: StreamOpened, features: Stanza, behind: list[Event], early: list[Event]) -> None:
        """Take over both streams; answer the client's header as the server did."""
        assert self._upstream is not None
        self._client.handler = self
        self._client.take = self.client_data
        self._upstream.sink = self.server_events
        self._client.framer.passing = self._upstream.framer.passing = True
        self._client.framer.allow_depth()
        self._upstream.framer.trusting = True
        self._upstream.addObserver(STREAM_END_EVENT, self._upstream_lost)
        self._client.transport.registerProducer(Backpressure(self._client_blocks, self._client_drains), True)
        self._upstream.transport.registerProducer(Backpressure(self._upstream_blocks, self._upstream_drains), True)
        self._client.write(XML_DECLARATION + passed_header(header) + shown_features(features, header.namespaces))
        self.log.info("session of {account} begins", account=self._name)
        if behind:
            self.server_events(behind)
        if early:
            self.client_events(early)
        self._resume_client()

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

    # From the client

    def client_data(self, data: bytes) -> None:
        """Pass on one read's worth of the client's stream."""
        if self._acknowledgements.relayed:
            self._acknowledgements.heard()
        if not self._output.over:
            self._paced_reading.take(data)

    def client_events(self, events: list[Event]) -> None:
        """Pass on what the client did not wait to send."""
        self._paced_reading.take_events(events)

    def _intake_failed(self) -> None:
        self.close("internal-server-error")

    def _client_event(self, event: Event) -> bool:
        """Handle what the client sent; True if it was more than to pass it on."""
        if self._output.over:
            return False
        if isinstance(event, Stanza):
            if not self._passes(event):
                return True
            self._to_server.append(event.raw)
            return event.name == "presence"  # which passes, and is looked at for each of the account's rooms
        if isinstance(event, Keepalive):
            self._to_server.append(event.raw)
        else:
            self._client_ends(event)
        return False

    def _passes(self, stanza: Stanza) -> bool:
        """Tell whether to pass a stanza of the client on. A fault of ours costs that stanza only."""
        try:
            return self._for_upstream(stanza)
        except Exception:  # noqa: BLE001 (the edge: logged and counted)
            NET.caught(stanza, f"session of {self.jid}")
            if stanza.name == "iq" and stanza.get("type") in ("get", "set"):
                self.deliver(error_reply(stanza, "cancel", "internal-server-error"))
            return False

    def _for_upstream(self, stanza: Stanza) -> bool:
        """Tell whether a stanza of the client is to be passed on, after everybody has had a look at it."""
        if stanza.uri != NS_CLIENT:
            return self._not_refused(stanza)
        self.last_active = self._clock.seconds()
        try:
            if stanza.name == "iq" and not self._watch.asked(stanza):
                self.log.warn("{jid} asks its server for too much at once to be followed", jid=self.jid or self._name)
            return self._account is None or not self._account.from_client(self, stanza)
        except UnusableStanza as error:  # it is the receiver's affair
            NET.unusable(stanza, f"session of {self.jid}, from the client", str(error))
            return True

    def _not_refused(self, stanza: Stanza) -> bool:
        if stanza.uri in (NS_SASL, NS_SASL2):
            self.close("unsupported-stanza-type", "authenticated already")
            return False
        refusal = refusal_of_element(stanza)
        if refusal is None:
            return True
        if refusal.final:
            self._end_client(refusal.answer + STREAM_END)
            self._end_upstream()
        else:
            self.deliver(refusal.answer)
        return False

    def _flush_upstream(self) -> None:
        out = self._to_server
        if out and self._upstream is not None:
            self._upstream.transport.write(out[0] if len(out) == 1 else b"".join(out))
            out.clear()

    def _client_ends(self, event: Event) -> None:
        if isinstance(event, Fault):
            condition, text = event.condition, event.text
            self.log.info("fault of {jid}: {condition} {text}", jid=self.jid, condition=condition, text=text)
            self.close(event.condition, event.text)
        elif isinstance(event, StreamClosed):
            self._client_closes()

    def _client_closes(self) -> None:
        """Let the server close its side too: until it does, or `CLOSE_TIMEOUT` is over, its stanzas still pass."""
        self._client_done = True
        self._leave_account()
        self._say_goodbye()
        self._close_call = self._clock.callLater(CLOSE_TIMEOUT, self._close_late)

    def _say_goodbye(self) -> None:
        """Pass on that the client has closed its stream, as soon as no answer for the account is due (`Closing`)."""
        if not self._goodbye_said and not self._watch.lasting:
            self._goodbye_said = True
            self._to_server.append(STREAM_END)

    def _close_late(self) -> None:
        self._close_call = None
        self._end_client(STREAM_END)
        self._end_upstream()

    def client_lost(self) -> None:
        """The client's connection is gone; to the server it says a proper goodbye, behind all that the client said."""
        self._client_gone = not self._client_done
        if self._paced_reading.busy:
            self._client_blocks()  # what it is told meanwhile must not count as written
        self._paced_reading.at_end(self._lost)

    def _lost(self) -> None:
        self._output.stop()
        self._end_upstream()
        self.log.info("session of {jid} ends", jid=self.jid or self._name)

    # From the server

    def server_events(self, events: list[Event]) -> None:
        """Pass on one read's worth of the server's stream. An error of ours in here costs only this session."""
        try:
            self._from_server(events)
        except Exception:  # noqa: BLE001 (the edge: logged, and an error to the client)
            self.log.failure("while handling what the server sent to {jid}", jid=self.jid)
            self.close("internal-server-error")

    def _from_server(self, events: list[Event]) -> None:
        out = self._output.parts
        for event in events:
            if self._output.over:
                return
            if isinstance(event, Stanza):
                self._stanza_from_server(event)
            elif isinstance(event, Keepalive):
                out.append(event.raw)
            elif isinstance(event, Skipped):
                self._left_out(event)
            else:
                self._server_ends(event)
        self._output.flush()

    def _stanza_from_server(self, stanza: Stanza) -> None:
        account = self._account
        if account is not None and self._taken(account, stanza):
            return
        self._output.parts.append(stanza.raw)
        if self._watch:
            try:
                self._look(stanza)
            except UnusableStanza as error:  # it is the client's affair
                NET.unusable(stanza, f"session of {self.jid}, from the server", str(error))
            except Exception:  # noqa: BLE001 (the edge: logged and counted; it passes all the same)
                NET.caught(stanza, f"session of {self.jid}, from the server")

    def _taken(self, account: AccountPort, stanza: Stanza) -> bool:
        """Tell whether the account takes a stanza of the server. A fault of ours costs that stanza only."""
        try:
            return account.from_server(self, stanza)
        except UnusableStanza as error:  # it is the client's affair
            NET.unusable(stanza, f"session of {self.jid}, from the server", str(error))
            return False
        except Exception:  # noqa: BLE001 (the edge: logged and counted)
            NET.caught(stanza, f"session of {self.jid}, from the server")
            return True

    def _left_out(self, skipped: Skipped) -> None:
        """A stanza of the server cannot be passed. Whoever waits for an answer is told."""
        where = f"session of {self.jid or self._name}, from the server"
        NET.skip(skipped.name, skipped.size, skipped.digest, where, skipped.reason)
        if skipped.name == "iq" and skipped.attributes.get("type") in ("result", "error"):
            answer = lost_answer(skipped.attributes, f"the answer cannot be used: {skipped.reason}")
            self._output.parts.append(answer.raw)
        elif skipped.name == "iq" and (error := error_for("iq", skipped.attributes, skipped.reason)) is not None:
            self._to_server.append(rewrite(error.raw, {"from": None}))
            self._flush_upstream()

    def _server_ends(self, event: Event) -> None:
        if isinstance(event, StreamClosed):
            self._end_client(STREAM_END)
            self._end_upstream()
        elif isinstance(event, Fault):
            self.log.error("server's stream to {jid} is broken: {text}", jid=self.jid, text=event.text)
            self.close("remote-connection-failed", "the server's stream is broken")

    def _upstream_lost(self, _reason: Failure) -> None:
        self._upstream = None
        if not self._output.over:
            if self._client_done:
                self._end_client(STREAM_END)
            else:
                self.close("remote-connection-failed", "the server closed the connection")

    def _look(self, stanza: Stanza) -> None:
        """This may be the answer to something that was watched, and the account must know of it."""
        answer = self._watch.heard(stanza)
        if answer is not None:
            self._of_the_account(answer)
            self._answered(answer)
        if self._client_done:
            self._say_goodbye()
            self._flush_upstream()

    def _of_the_account(self, answer: Learned) -> None:
        """Take what is about the account as a whole, and holds without the session too."""
        if isinstance(answer, PasswordChanged):
            self._accounts.password_changed(self._own.bare, answer.password)
        elif isinstance(answer, Removed):
            self._output.flush()  # the client hears of it first
            if answer.certain:
                self.log.info("{jid} has removed its account", jid=self.jid or self._name)
                self._accounts.removed(self._own.bare)

    def _answered(self, answer: Learned) -> None:
        if isinstance(answer, CarbonsChanged):
            self.carbons = answer.enabled
        elif self._account is not None:
            pass  # a second bind is between client and server
        elif isinstance(answer, Bound):
            self._bound(answer.jid)
        elif isinstance(answer, Misbound):
            self.log.error("no session for {account}: {reason}", account=self._name, reason=answer.reason)
            self.close("remote-connection-failed", "the server bound another address")

    def _bound(self, jid: str) -> None:
        """The server has bound a JID of the login's account."""
        self.jid = jid
        self._output.flush()  # the client hears of it first
        self.log.info("session of {jid} is bound", jid=jid)
        # From now on what the account tells the client is on disk first.
        self.deliver = self._accounts.gated(self._output.deliver)
        self.deliver_all = self._accounts.gated(self._output.deliver_all)
        login, self._login = self._login, None
        assert login is not None
        self._account = self._accounts.session_bound(self, login)

    # To the client: `deliver`, and this

    def _overflow(self, waiting: int) -> None:
        """A client that reads slowly may have only so much waiting."""
        self.log.warn("{jid} reads too slowly, {bytes} bytes wait", jid=self.jid, bytes=waiting)
        self.close("resource-constraint", "too much waits to be read")

    # Ends

    def close(self, condition: str, text: str = "") -> None:
        """End the session with a stream error to the client; upstream it ends in order."""
        self._end_client(stream_error(condition, text))
        self._end_upstream()

    def _end_client(self, data: bytes) -> None:
        self._leave_account()
        if not self._output.over:
            self._output.close(data)

    def _end_upstream(self) -> None:
        """Close the stream upstream and give the server some time to agree."""
        self._leave_account()
        self._flush_upstream()
        upstream, self._upstream = self._upstream, None
        if upstream is None:
            return
        transport = upstream.transport
        transport.unregisterProducer()
        transport.resumeProducing()
        goodbye = b"" if self._goodbye_said else STREAM_END
        Closing(upstream, goodbye, self._watch, self._of_the_account, self._clock)

    def _leave_account(self) -> None:
        if self._close_call is not None:
            self._close_call.cancel()
            self._close_call = None
        account, self._account = self._account, None
        if account is not None:
            self._output.taking = False  # what waits at the gate the client has, to the account, not seen
            try:
                account.session_closed(self)
            except Exception:  # noqa: BLE001 (the edge: logged; the streams are to end all the same)
                self.log.failure("while {jid} leaves its account", jid=self.jid)

    # Backpressure

    def _client_blocks(self) -> None:
        self._output.block()
        if self._upstream is not None:
            self._upstream.transport.pauseProducing()

    def _client_drains(self) -> None:
        self._output.unblock()
        if not self._output.blocked and self._upstream is not None:
            self._upstream.transport.resumeProducing()

    def _upstream_blocks(self) -> None:
        self._upstream_blocked = True
        self._pause_client()

    def _upstream_drains(self) -> None:
        self._upstream_blocked = False
        self._resume_client()

    def _pause_client(self) -> None:
        if not self._output.over:  # then what is left to be read is the end of TLS
            self._client.transport.pauseProducing()

    def _resume_client(self) -> None:
        if not self._upstream_blocked and not self._paced_reading.busy and not self._output.over:
            self._client.transport.resumeProducing()
