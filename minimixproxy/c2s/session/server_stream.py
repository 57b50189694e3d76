"""A session's stream to its server: what goes there is joined for each read of the client, and ended in order.

With stream management (XEP-0198) it outlives its connection: what was not acknowledged is sent once more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.python.failure import Failure
from twisted.words.xish.xmlstream import STREAM_END_EVENT

from minimixproxy.c2s.session.backpressure import Backpressure
from minimixproxy.c2s.session.closing import Closing
from minimixproxy.c2s.session.request_watch import Learned, RequestWatch
from minimixproxy.c2s.session.server_management import ServerManagement
from minimixproxy.c2s.upstream.records import RECORD, in_records
from minimixproxy.counting.traffic import SESSIONS
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.handed import HandedServer
from minimixproxy.namespaces import NS_CLIENT, NS_CSI
from minimixproxy.stream_management.unacknowledged import NotSent, Tracked
from minimixproxy.timing.clock import Clock
from minimixproxy.wire.events import Event
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.xmlstream import FramedXmlStream, ReadsBytes
from minimixproxy.xep.stream_headers import STREAM_END
from minimixproxy.xep.stream_management import COUNTED, ENABLE

#: What the server may leave unacknowledged, in stanzas and bytes, before the client has to wait.
MAX_UNACKNOWLEDGED, MAX_UNACKNOWLEDGED_BYTES = 1000, 1024 * 1024
#: Stanzas that may be unhandled for a client that sleeps: Prosody forgets what is more than 500.
MAX_UNHANDLED = 400


class ServersClient(Protocol):
    """The session, as its stream to the server sees it."""

    @property
    def jid(self) -> str:
        """The full JID, "" before it is bound."""

    def server_says(self, events: list[Event]) -> None:
        """What one read brought."""

    @property
    def reads(self) -> ReadsBytes:
        """Reads what the server says; `server_says` gets what was held."""

    def server_lost(self) -> None:
        """The connection is gone; if the stream is `resumable`, another may take its place."""


class ServerStream:
    """`parts`: append what `flush` will follow in the same call, and what is no stanza."""

    log = Logger()

    __slots__ = (
        "_backpressure",
        "_blocked",
        "_clock",
        "_full",
        "_goodbye_said",
        "_inactive",
        "_management",
        "_paused",
        "_session",
        "_slow",
        "_stream",
        "parts",
    )

    def __init__(
        self, session: ServersClient, stream: FramedXmlStream | None, backpressure: Backpressure, clock: Clock
    ) -> None:
        """`stream`: None if it is to be restored. `backpressure`: lets the client wait."""
        self._session = session
        self._stream = stream  # None: it is lost, or being closed
        self._backpressure = backpressure
        self._clock = clock
        self._management: ServerManagement | None = None
        self._inactive = b""  # the client's word that it is (XEP-0352), which a connection does not outlive
        self._paused = False  # the server waits for the client
        self._slow = False  # the server reads slowly
        self._full = False  # it acknowledges slowly
        self._blocked = False  # one of the two, and the client waits
        self._goodbye_said = False
        self.parts: list[bytes] = []

    def begin(self) -> None:
        """Have each read's events handed over, which pass unread as far as that is possible."""
        stream = self._stream
        assert stream is not None
        stream.traffic = SESSIONS
        stream.hand_to(self._session.server_says, self._session.reads)
        stream.framer.pass_on(trusting=True)
        stream.addObserver(STREAM_END_EVENT, self._lost)
        stream.transport.registerProducer(Backpressure(self._slows, self._reads), True)

    def release(self) -> None:
        """Take what the server has said so far, which was held."""
        assert self._stream is not None
        self._stream.release(self._session.server_says)

    # What goes there --------------------------------------------------------------------------------------------

    def send(self, stanza: Stanza) -> None:
        """Send a stanza, or another element, of the client; goes out with `flush`."""
        management = self._management
        if management is None:
            self.parts.append(stanza.raw)
        elif stanza.uri == NS_CLIENT and stanza.name in COUNTED:
            self._send_counted(management, [stanza.raw])
        else:
            if stanza.uri == NS_CSI:
                self._inactive = stanza.raw if stanza.name == "inactive" else b""
            self.say(stanza.raw)

    def answer(self, stanza: bytes) -> None:
        """Send a stanza of the proxy's own."""
        if self._management is None:
            self.parts.append(stanza)
        else:
            self._send_counted(self._management, [stanza])

    def send_all(self, stanzas: list[bytes]) -> None:
        """Send stanzas of the client, which nobody has looked into; go out with `flush`."""
        if self._management is None:
            self.parts += stanzas
        else:
            self._send_counted(self._management, stanzas)

    def _send_counted(self, management: ServerManagement, stanzas: list[bytes]) -> None:
        management.send(stanzas)
        if self._stream is not None:
            self.parts += stanzas
        self._look(management)

    def say(self, element: bytes) -> None:
        """Send what is no stanza, if there is a connection; goes out with `flush`."""
        if self._stream is not None:
            self.parts.append(element)

    @property
    def manages(self) -> bool:
        """Whether the server acknowledges what it has handled (XEP-0198)."""
        return self._management is not None

    @property
    def awaits_acknowledgement(self) -> bool:
        """Whether the server has not acknowledged all that it was sent."""
        return self._management is not None and bool(self._management.sent)

    def when_acknowledged(self, call: Callable[[], None]) -> None:
        """Call once all that was sent so far is the server's affair; at once if it does not say."""
        if self._management is None:
            call()
        else:
            self._management.sent.when_arrived(call)

    def flush(self) -> None:
        """Write what there is, with one call if it is not much."""
        parts = self.parts
        if parts and self._stream is not None:
            data = parts[0] if len(parts) == 1 else b"".join(parts)
            SESSIONS.sent += len(parts)
            SESSIONS.sent_bytes += len(data)
            if len(data) <= RECORD:
                self._stream.transport.write(data)
            else:
                for record in in_records(parts):
                    self._stream.transport.write(record)
            parts.clear()

    # Stream management ------------------------------------------------------------------------------------------

    def manage(self) -> None:
        """Switch it on: a resource is bound."""
        self.parts.append(ENABLE)
        self._management = ServerManagement(self._session.jid, self._clock, self._say_now, self._silent)

    def _say_now(self, element: bytes) -> None:
        self.say(element)
        self.flush()

    def element(self, stanza: Stanza) -> bool:
        """Take an element of stream management of the server; False: the stream is no good."""
        management = self._management
        if management is None:
            return False
        if stanza.name == "failed" and not management.counts:
            self.log.warn("{jid}: its server offers stream management, and refuses it", jid=self._session.jid)
            self._management = None
            management.rest()
            management.sent.give_up()
            self._look(management)
            return True
        good = management.element(stanza)
        self._look(management)
        return good

    def _look(self, management: ServerManagement) -> None:
        full = len(management.sent) >= MAX_UNACKNOWLEDGED or management.sent.size >= MAX_UNACKNOWLEDGED_BYTES
        if full is not self._full:
            self._full = full
            self._flows()

    def _silent(self) -> None:
        """The server does not acknowledge what it was sent: the connection is no good."""
        self.log.info("{jid}: its server does not answer: the connection is given up", jid=self._session.jid)
        if self._stream is not None:
            self._stream.transport.abortConnection()

    def receive(self) -> bool:
        """Count a stanza of the server; False: it came before the stream was resumed, and is dealt with."""
        management = self._management
        return management is None or not management.counts or management.handled.receive()

    @property
    def expects_again(self) -> bool:
        """Whether what the server says next may be what it has said before the stream was resumed."""
        return self._management is not None and self._management.handled.expects_again

    def receive_all(self, stanzas: list[bytes], *, tracked: bool) -> list[bytes]:
        """Count stanzas of the server, while it `expects_again` nothing.

        `tracked`: return them so that each counts as handled when its client has acknowledged it.
        """
        management = self._management
        if management is None or not management.counts:
            return stanzas
        handled = management.handled
        if not tracked:
            handled.receive_all(len(stanzas))
            return stanzas
        received: list[bytes] = []
        for stanza in stanzas:
            handled.receive()
            received.append(Tracked(stanza, handled.hold()))
        return received

    def tracked(self, stanza: bytes) -> bytes:
        """Return the stanza that came last, so that it counts as handled when its client has acknowledged it."""
        management = self._management
        if management is None or not management.counts:
            return stanza
        return Tracked(stanza, management.handled.hold())

    @property
    def overdue(self) -> bool:
        """Whether the client has left so much unacknowledged that the server may soon forget some of it."""
        return self._management is not None and self._management.handled.unhandled > MAX_UNHANDLED

    @property
    def resumable(self) -> ServerManagement | None:
        """The stream's management if the server lets it be resumed."""
        management = self._management
        return management if management is not None and management.id and not self._goodbye_said else None

    @property
    def comes_again(self) -> bool:
        """Whether the stream was resumed, and the server has yet to send what it had sent before."""
        return self._management is not None and self._management.handled.expects_again

    def cut(self) -> bool:
        """Give the connection up, to go on with another, if something of the server is open; False: it is left."""
        management = self.resumable
        if management is None or self._stream is None or not management.handled.unhandled:
            return False
        self._stream.transport.abortConnection()
        return True

    def resume(self, stream: FramedXmlStream, h: int) -> None:
        """Go on with another connection; the server has handled so many stanzas. Raises `NotSent`."""
        management = self._management
        assert management is not None
        management.resume(h)
        self._stream = stream
        self.begin()
        if self._paused:
            stream.transport.pauseProducing()
        goodbye = STREAM_END if self._goodbye_said else b""
        self.parts[:] = filter(None, (*management.sent, self._inactive, goodbye))
        self.flush()  # before anything that answers what the server says
        stream.release(self._session.server_says)
        self._look(management)

    def handed(self, knows_state: bool) -> HandedServer | None:
        """Return what another process is to go on with; None if it cannot. `knows_state`: see `HandedServer`."""
        management = self.resumable
        return management.handed(knows_state) if management is not None and self._stream is not None else None

    def restore(self, handed: HandedServer) -> list[Callable[[], None]]:
        """Go on with what another process had (see `ServerManagement.restore`); `resume` follows."""
        self._management = ServerManagement(self._session.jid, self._clock, self._say_now, self._silent)
        return self._management.restore(handed)

    def abandon(self) -> None:
        """Another process goes on with the stream: to the server, the connection is lost."""
        stream, self._stream = self._stream, None
        if self._management is not None:
            self._management.rest()
        if stream is not None:
            stream.hand_to(lambda _events: None)
            stream.removeObserver(STREAM_END_EVENT, self._lost)
            stream.transport.abortConnection()

    def had_handled(self, h: int) -> None:
        """The server goes on no more, and had handled so many stanzas: its client is told so when it asks."""
        try:
            if self._management is not None:
                self._management.sent.arrived(h)
        except NotSent as error:
            jid = self._session.jid
            self.log.warn("{jid}: its server's last acknowledgement cannot be: {error}", jid=jid, error=str(error))

    # Backpressure -----------------------------------------------------------------------------------------------

    def _slows(self) -> None:
        self._slow = True
        self._flows()

    def _reads(self) -> None:
        self._slow = False
        self._flows()

    def _flows(self) -> None:
        blocked = self._slow or self._full
        if blocked is not self._blocked:
            self._blocked = blocked
            if blocked:
                self._backpressure.pauseProducing()
            else:
                self._backpressure.resumeProducing()

    def pause(self) -> None:
        """Do not read what the server says for a while."""
        self._paused = True
        if self._stream is not None:
            self._stream.transport.pauseProducing()

    def unpause(self) -> None:
        """Read on."""
        self._paused = False
        if self._stream is not None:
            self._stream.transport.resumeProducing()

    # Its end ----------------------------------------------------------------------------------------------------

    def say_goodbye(self) -> None:
        """Close the client's half of the stream; goes out with `flush`, once."""
        if not self._goodbye_said:
            self._tell_the_rest()
            self._goodbye_said = True
            self.parts.append(STREAM_END)

    def _tell_the_rest(self) -> None:
        """In the end the server takes care of what it does not know to be handled."""
        if self._management is not None and not self._goodbye_said and (word := self._management.last_word()):
            self.say(word)

    def _lost(self, _reason: Failure) -> None:
        self._stream = None
        self._reads()
        if self._management is not None:
            self._management.rest()
            self.parts.clear()  # what is counted is sent once more
        self._session.server_lost()

    def end(self, watch: RequestWatch, learned: Callable[[Learned], object]) -> None:
        """Close the stream, and give the server some time to agree. `learned` gets what its last answers tell."""
        self._tell_the_rest()
        self.flush()
        if self._management is not None:
            self._management.rest()
        stream, self._stream = self._stream, None
        if stream is None:
            return
        stream.transport.unregisterProducer()
        stream.transport.resumeProducing()
        Closing(stream, b"" if self._goodbye_said else STREAM_END, watch, learned, self._clock)
