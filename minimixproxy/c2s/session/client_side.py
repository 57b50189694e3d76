"""A session's side towards its client: the connection, which may be lost and replaced by another one (XEP-0198 §5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from minimixproxy.c2s.session.account_link import ELSEWHERE
from minimixproxy.c2s.session.acknowledgements import EVERYTHING, Acknowledgements
from minimixproxy.c2s.session.backpressure import Backpressure
from minimixproxy.c2s.session.client_management import ClientManagement, Terms
from minimixproxy.c2s.session.from_client import FromClient
from minimixproxy.c2s.session.output import ClientOutput, OutputHost
from minimixproxy.c2s.session.parts import EndingSession, SessionParts
from minimixproxy.c2s.session.resumable import HandedOver, NotResumable
from minimixproxy.c2s.session.session_context import SessionContext
from minimixproxy.c2s.transport.client_stream import ClientStream
from minimixproxy.c2s.transport.peers import NOBODY, Peer
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.counting.resumptions import RESUMPTIONS
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.handed import HandedClient
from minimixproxy.stream_management.unacknowledged import NotSent
from minimixproxy.timing.clock import Timer
from minimixproxy.wire.events import Event
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep import stream_management as sm
from minimixproxy.xep.stream_headers import stream_error

ON_ITS_WAY = 5.0  # seconds for which what was written may not be acknowledged yet


class SessionOfClient(EndingSession, OutputHost, Protocol):
    """The session, as its side towards the client sees it."""

    def ends(self) -> None:
        """The client is gone for good: say goodbye to the server."""

    def becomes_managed(self) -> None:
        """From now on the client acknowledges what it gets."""

    def acknowledged(self) -> None:
        """The client has acknowledged something."""

    @property
    def login(self) -> Login:
        """What the client has logged in with last."""

    @property
    def device(self) -> str:
        """The id of the client's installation, "" if it has not said one."""

    def wakes(self, login: Login, device: str, *, standalone: bool) -> None:
        """The client has another connection, and has logged in for that. `device`, `standalone`: see there."""

    @property
    def position(self) -> Callable[[], int]:
        """Returns up to which message, of any room, everything has been given out, and nothing is held back."""

    def sleeps(self) -> None:
        """The client's connection is gone, and may be replaced."""


class ClientSide:
    """Without stream management it has one connection; with it, the session sleeps until another one resumes it.

    Implements `client_stream.Handler`, `resumable.Resumable` and `client_management.ManagedSession`.
    """

    log = Logger()

    __slots__ = (
        "_acknowledgements",
        "_active",
        "_client",
        "_context",
        "_done",
        "_from_client",
        "_gone",
        "_hindrances",
        "_management",
        "_parts",
        "_peer",
        "_session",
        "_sleep",
        "output",
    )
    _parts: SessionParts

    def __init__(self, session: SessionOfClient, context: SessionContext, client: ClientStream | None) -> None:
        """`client`: None if it is to be restored."""
        self._session = session
        self._context = context
        # Both None while there is no connection: a session that sleeps is to take little.
        self._client = client
        self._from_client: FromClient | None = None
        self._peer = client.peer if client is not None else NOBODY
        self._active = context.clock.seconds()  # when the client last sent a stanza on an earlier connection
        written = self._acknowledgements_of(client)
        self._acknowledgements: Acknowledgements | None = written
        self.output = ClientOutput(client, context.turn_end, written, context.limits.send_queue, session)
        self._management: ClientManagement | None = None  # None: it is not enabled
        self._sleep = Timer(context.clock)
        self._gone = False  # without closing its stream
        self._done = False
        self._hindrances = 0  # so many let the client wait

    def _acknowledgements_of(self, client: ClientStream | None) -> Acknowledgements:
        if client is None:
            return Acknowledgements(None, self._context.clock, self._session.position)
        bottom = client.bottom
        written = Acknowledgements(
            bottom.transport,
            self._context.clock,
            self._session.position,
            relayed=bottom.relayed,
            overhead=bottom.record_overhead,
        )
        if bottom.framed is not None:
            written.in_frames(bottom.framed)
        return written

    @property
    def done(self) -> bool:
        """Whether the client has closed its stream."""
        return self._done

    def closes(self) -> None:
        """The client closes its stream."""
        self._done = True

    def begin(self, parts: SessionParts) -> None:
        """Take the client's stream over."""
        self._parts = parts
        if self._client is None:
            return
        self._client.framer.pass_on()
        self._client.framer.allow_depth()
        self._connect(self._client)

    def _connect(self, client: ClientStream) -> FromClient:
        from_client = FromClient(self._session, client, self._parts, self._context.clock, self._context.turn_end.shares)
        if self._hindrances:
            from_client.block()
        self._client, self._from_client, self._peer = client, from_client, client.peer
        client.hand_to(self, self.client_data)
        client.transport.registerProducer(Backpressure(self.output.block, self.output.unblock), True)
        return from_client

    def _disconnect(self) -> HandedOver:
        """From now on there is no connection; return the one that was, and what it brought that is not handled."""
        client, from_client = self._client, self._from_client
        assert client is not None and from_client is not None
        self._client = self._from_client = None
        self._active = from_client.active
        return HandedOver(client, *from_client.leave(), self._session.login, self._session.device)

    @property
    def slow_server(self) -> Backpressure:
        """What lets the client wait for its server."""
        return Backpressure(self.let_wait, self.go_on)

    def let_wait(self) -> None:
        """Read nothing more of the client, until as many `go_on` have come."""
        self._hindrances += 1
        self.output.excuse()
        if self._from_client is not None:
            self._from_client.block()

    def go_on(self) -> None:
        """One hindrance less."""
        self._hindrances -= 1
        if self._from_client is not None and not self._hindrances:
            self._from_client.unblock()

    # What the wire tells (client_stream.Handler) ----------------------------------------------------------------

    def client_data(self, data: bytes) -> None:
        """Pass on one read's worth of the client's stream."""
        if self._acknowledgements is not None and self._acknowledgements.relayed:
            self._acknowledgements.heard()
        from_client = self._from_client
        if from_client is None or self.output.over:
            return
        if not (data.startswith(b"<a") and self._bare_acknowledgement(data)):
            from_client.pacing.take(data)

    def _bare_acknowledgement(self, data: bytes) -> bool:
        management, from_client = self._management, self._from_client
        if management is None or from_client is None or from_client.mid_stanza:
            return False
        return management.bare_acknowledgement(data)

    def client_events(self, events: list[Event]) -> None:
        """Pass on what the client did not wait to send."""
        if self._from_client is not None:
            self._from_client.pacing.take_events(events)

    def client_lost(self) -> None:
        """The client's connection is gone: behind all that the client said, the session sleeps or ends."""
        self._gone = not self._done
        if self._from_client is None:
            return
        if self._from_client.pacing.busy:
            self.output.block()  # what it is told meanwhile must not count as written
        self._from_client.pacing.at_end(self._lost)

    def _lost(self) -> None:
        management = self._management
        if management is not None and self._is_resumable:
            self._fall_asleep(management)
        else:
            self.output.stop()
            self._session.ends()

    @property
    def domain(self) -> str:
        """The domain of the login."""
        return self._session.login.domain.name

    def close(self, condition: str, text: str = "") -> None:
        """End the session with a stream error."""
        self._session.close(condition, text)

    def read_on(self) -> None:
        """The client may say more."""
        if self._from_client is not None:
            self._from_client.resume_reading()

    # What is known of the client --------------------------------------------------------------------------------

    @property
    def last_active(self) -> float:
        """When the client last sent a stanza, in seconds of the reactor's clock."""
        return self._from_client.active if self._from_client is not None else self._active

    @property
    def reached(self) -> float:
        """Up to which message everything delivered has come to the client's machine; infinity: all.

        With stream management it is what the client has acknowledged. Else: a client that closed its stream reads on
        until ours is closed too: what is on its way will come, unless nothing came through for a while; it has left by
        then. So it will to one that is there as far as anybody knows, if it is not late: TCP acknowledges nothing at
        once. What was never written comes to nobody.
        """
        if self._management is not None:
            return self._management.reached
        written = self._acknowledgements
        assert written is not None
        since = written.under_way_since() if self._done else written.since()
        late = since < self._context.clock.seconds() - ON_ITS_WAY
        until = written.until() if self._gone or late else EVERYTHING
        return min(until, written.written) if self.output.incomplete else until

    # Stream management (XEP-0198) -------------------------------------------------------------------------------

    @property
    def asleep(self) -> bool:
        """Whether there is no connection to the client."""
        return self.output.asleep

    @property
    def peer(self) -> Peer:
        """Who is, or was last, at the other end."""
        return self._peer

    @property
    def account(self) -> str:
        """The account's bare JID, prepared."""
        return self._parts.link.account

    @property
    def jid(self) -> str:
        """The session's full JID, as the server spelled it."""
        return self._session.jid

    @property
    def device(self) -> str:
        """The id of the client's installation, "" if it has not said one."""
        return self._session.device

    @property
    def handled(self) -> int:
        """How many of the client's stanzas are handled, as it counts."""
        return self._management.handled.h if self._management is not None else 0

    def receives(self, stanza: Stanza) -> bool:
        """Count a stanza of the client; False: it was handled before, or it is one too many."""
        management = self._management
        repeated = self._is_repeated(stanza)
        if management is None:
            return not repeated
        new = management.receive(stanza)
        if not management.overfull:
            return new and not repeated
        self.log.warn("{jid} says too much while something that it said is not handled", jid=self.jid)
        self._session.close("resource-constraint", "too much waits to be handled")
        return False

    @property
    def looks_at_each(self) -> bool:
        """Whether one may have been handled before, or be one too many."""
        management = self._management
        managed = management is not None and (management.handled.expects_again or management.nearly_overfull)
        return managed or self._context.resumable.repeats.expects(self.account, self._context.clock.seconds())

    def received(self, message: bytes, stanza_id: str | None, to: str | None) -> None:
        """Count a message of the client that passes in any case."""
        if self._management is not None:
            self._management.receive_message(message, stanza_id, to)

    def _is_repeated(self, stanza: Stanza) -> bool:
        """Tell whether it is a message that an earlier session had handled, and its client could not know that."""
        repeats = self._context.resumable.repeats
        if not repeats or stanza.name != "message" or not stanza.get("id"):
            return False
        repeated = repeats.takes(self.account, hash(stanza.raw), self._context.clock.seconds())
        if repeated:
            self.log.info("{jid} says once more what its last session had handled: that is left out", jid=self.jid)
        return repeated

    def hold(self) -> Callable[[], None]:
        """Return a function: until it is called, what the client sent last does not count as handled."""
        return self._management.handled.hold() if self._management is not None else _nothing

    def passed(self, when_acknowledged: Callable[[Callable[[], None]], None]) -> None:
        """What the client sent last went on: it is handled once that is acknowledged."""
        if self._management is not None:
            when_acknowledged(self._management.handled.hold())

    def element(self, stanza: Stanza) -> None:
        """Take an element of stream management from the client."""
        if self._management is not None:
            self._management.element(stanza)
        elif self._gone:
            pass  # it waited for its turn: a lost connection resumes nothing, and nothing sleeps that nobody knows of
        elif stanza.name == "enable" and self.jid and self._all_written():
            self._enable(stanza, _as_it_is)
            self._session.becomes_managed()
        elif stanza.name == "resume" and not self.jid:
            self._resume_another(stanza)
        else:
            self.output.say(sm.failed("unexpected-request"))

    def _all_written(self) -> bool:
        self.output.flush_at_once()
        return not (self.output.blocked or self.output.waits)

    def first_words(self, enable: Stanza | None, words: Callable[[bytes], bytes]) -> None:
        """Write the first bytes: `words` of the answer to `enable`, or of nothing if the client does not wish that."""
        if enable is not None:
            self._enable(enable, words)
        else:
            self.output.parts.append(words(b""))
            self.output.flush()

    def _enable(self, enable: Stanza, words: Callable[[bytes], bytes]) -> None:
        resumable = self._context.resumable
        seconds, wanted = resumable.settings.resume, sm.wanted_max(enable)
        seconds = seconds if wanted is None else min(seconds, wanted)
        terms = Terms(resumable.add(self) if seconds and sm.wants_resumption(enable) else "", seconds)
        position = self._session.position
        self._acknowledgements = None
        self._management = ClientManagement(self, self.output, self._context.clock, position, terms)
        answer = sm.enabled(terms.id, seconds, resumable.settings.location)
        self.output.manage(self._management.sent, self._management, words(answer))

    def acknowledged(self) -> None:
        """The client has got more."""
        self.output.excuse(self._hindrances > 0)
        self._session.acknowledged()

    def end(self, data: bytes) -> None:
        """End the session with these bytes to the client."""
        self._session.end(data)

    def silent(self) -> None:
        """The client does not answer: its connection is given up, and the session sleeps.

        If it had to wait, its answer may be behind what was not read: that is worth as much patience once more.
        """
        if self.output.excused and self._management is not None:
            self.output.excuse(self._hindrances > 0)
            self._management.wait_longer()
            return
        self.log.info("{jid} does not answer: its connection is given up", jid=self.jid)
        if self._client is not None:
            self._client.transport.abortConnection()

    def when_settled(
        self, call: Callable[[], None], server_is_open: Callable[[], bool], is_resumed: Callable[[], bool]
    ) -> None:
        """As `SessionPort.when_settled`. `server_is_open`: whether its server has not acknowledged all.

        `is_resumed`: whether the stream to it stands, and has come as far as before.
        """
        if self._management is None:
            call()
        else:
            self._management.when_settled(call, server_is_open, is_resumed)

    def last_word(self) -> bytes:
        """Return what goes before the end of the client's stream."""
        management = self._management
        if management is None:
            return b""
        self._context.resumable.told_at_last(management.terms.id, self.account, management.handled.h)
        return management.last_word()

    def leave(self) -> None:
        """The session is over, or about to be: it cannot be resumed any more."""
        self._sleep.stop()
        if self._management is not None:
            self._management.rest()
            resumable = self._context.resumable
            if resumable.remove(self._management.terms.id) and self._parts.server.manages:
                now = self._context.clock.seconds()
                repeated = self._management.handled_unknown(self.output.waiting)
                resumable.repeats.expect(self.account, repeated, now)

    # Another process of the cluster goes on with it, or had it

    @property
    def rests(self) -> bool:
        """Whether another process could go on with it, and nothing is on its way."""
        return self._management is not None and self._is_resumable and self._management.rests

    def handed(self) -> HandedClient | None:
        """Return what another process is to go on with; None if it cannot."""
        return self._management.handed() if self._management is not None and not self._done else None

    def departs(self) -> None:
        """Another process goes on with it: how much of it is handled is for that one to say, also when it is over."""
        if self._management is not None:
            self._context.resumable.departs(self._management.terms.id)

    def abandon(self) -> None:
        """Another process goes on with it: to the client, the connection is lost."""
        client = self._disconnect().client if self._client is not None else None
        self.output.stop()
        if client is not None:
            client.release(b"")

    def restore(self, handed: HandedClient, arrivals: list[Callable[[], None]]) -> None:
        """Go on with what another process had, asleep."""
        resumable, terms = self._context.resumable, Terms(handed.id, handed.seconds)
        self._acknowledgements = None
        self._management = ClientManagement(self, self.output, self._context.clock, self._session.position, terms)
        self._management.restore(handed, arrivals)
        self.output.manage_asleep(self._management.sent, self._management)
        resumable.restore(handed.id, self)
        self._sleeps(self._management)

    def leaves_edge(self) -> None:
        """The process that the client has reached stops: it can come by another one, and resume its stream if it can.

        Behind all that it has said. Who has closed its stream is about to go, and is still told what its server says.
        """
        if self._is_resumable and self._client is not None:
            self._client.close()
        elif self._from_client is not None and self._session.jid:
            self._from_client.pacing.at_end(self._left_edge)
        else:
            self._left_edge()

    def _left_edge(self) -> None:
        if not self._done:
            self._session.close("system-shutdown")

    # Sleep

    @property
    def _is_resumable(self) -> bool:
        management = self._management
        if management is None or self.output.over or self._done:
            return False
        return bool(management.terms.id) and management.sent.complete

    def _fall_asleep(self, management: ClientManagement) -> None:
        management.rest()
        self._disconnect()
        self.output.fall_asleep()
        self.log.info("session of {jid} sleeps: its client is gone, and may come back", jid=self.jid)
        self._sleeps(management)

    def _sleeps(self, management: ClientManagement) -> None:
        self._sleep.start(management.terms.seconds, self._overslept)
        self._session.sleeps()
        self._context.resumable.falls_asleep(management.terms.id)

    def _overslept(self) -> None:
        self.log.info("session of {jid} ends: its client did not come back", jid=self.jid)
        self._session.close("connection-timeout")

    def _resume_another(self, request: Stanza) -> None:
        """The client of this session, which is not bound yet, wants to go on with another one of its account."""
        if self._context.accounts.is_elsewhere(self.account):  # with that session, perhaps
            self._session.close("reset", ELSEWHERE)
            return
        if self._parts.link.withdrawn():
            return
        try:
            other, h = self._context.resumable.asked(request, self.account)
        except NotResumable as reason:
            self.output.say(reason.answer)
            return
        try:
            other.resume(h, self._hand_over, _as_it_is)
        except NotSent as error:
            self._session.end(sm.handled_count_too_high(error.h, error.sent))

    def _hand_over(self) -> HandedOver:
        """Give the client away; the stream upstream was only for its login."""
        self.output.flush()
        given = self._disconnect()
        given.client.transport.unregisterProducer()
        self.output.fall_asleep()
        self.output.stop()
        self._session.ends()
        return given

    def has_all_behind(self, h: int) -> bool:
        """Whether all is kept that a client which has handled so many stanzas would be sent again."""
        return self._management is not None and self._management.sent.complete_behind(h)

    def resume(self, h: int, hand_over: Callable[[], HandedOver], words: Callable[[bytes], bytes]) -> None:
        """Go on with another connection (see `Resumable`). Raises `NotSent`."""
        management = self._management
        assert management is not None
        answer = management.resume(h)
        came = hand_over()
        if self._client is not None:  # or its loss is not yet known
            former = self._disconnect().client
            former.release(stream_error("conflict", "the session is resumed on another connection"))
            self.output.fall_asleep()
        self._sleep.stop()
        self._context.resumable.wakes(management.terms.id, self.account)
        RESUMPTIONS.count("client", "success")
        self.log.info("session of {jid} is resumed, from {address}", jid=self.jid, address=came.client.peer)
        self._gone = False
        from_client = self._connect(came.client)
        from_client.is_resumed = True
        self.output.excuse(self._hindrances > 0)
        self.output.wake(came.client, words(answer))
        self._session.wakes(came.login, came.device, standalone=came.client.bottom.standalone)
        self._context.resumable.named(management.terms.id, self)
        from_client.take_over(came.events, came.pieces)


def _nothing() -> None:
    pass


def _as_it_is(answer: bytes) -> bytes:
    return answer
