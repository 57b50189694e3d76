"""Stream management (XEP-0198) between a session and its server: what each has of the other."""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.handed import HandedServer
from minimixproxy.stream_management.handled import Handled
from minimixproxy.stream_management.unacknowledged import NotSent, Unacknowledged
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep import stream_management as sm

ASK_AFTER = 0.5  # seconds from a stanza to `<r/>`: only when the server has it, the client is told that it is handled
ANSWER_WITHIN = 60.0  # seconds for `<a/>`; then the connection is given up


class ServerManagement:
    """From `<enable/>` on, over all connections to the server.

    What was sent counts from `<enable/>`, what comes from `<enabled/>`; `counts` says that this is there.
    """

    log = Logger()

    __slots__ = (
        "_asked",
        "_behind",
        "_jid",
        "_late",
        "_proven",
        "_say",
        "_silent",
        "_stands",
        "_timer",
        "_told",
        "counts",
        "handled",
        "id",
        "max",
        "sent",
    )

    def __init__(self, jid: str, clock: Clock, say: Callable[[bytes], None], silent: Callable[[], None]) -> None:
        """`jid`: the session's, for the log; `say` sends an element; `silent`: the server does not answer."""
        self._jid = jid
        self.sent = Unacknowledged()
        self.handled = Handled(self._progress)
        self.counts = False
        self.id = ""  # "": the stream cannot be resumed
        self.max: int | None = None  # seconds for that
        self._say = say
        self._silent = silent
        self._timer = Timer(clock)
        self._stands = True  # there is a connection
        self._asked = False  # and not answered
        self._proven = True  # the server goes on with the stream, and has not only said so
        self._told = 0  # the last `h`
        self._behind = False  # that was not all that had come
        self._late = Timer(clock)

    def element(self, stanza: Stanza) -> bool:
        """Take an element of stream management; False: what it says cannot be, and the stream is no good."""
        if stanza.name == "r":
            self._tell()
        elif stanza.name == "a":
            return self._acknowledges(stanza)
        elif stanza.name == "enabled" and not self.counts:
            self.id, self.max, _location = sm.enabled_of(stanza)
            self.counts = True
        else:
            return False
        return True

    def _acknowledges(self, stanza: Stanza) -> bool:
        try:
            self.sent.arrived(sm.handled_of(stanza))
        except (sm.BadElement, NotSent) as error:
            self.log.error("{jid}: its server's acknowledgement cannot be: {error}", jid=self._jid, error=str(error))
            return False
        self._asked = False
        self._proven = True
        self._timer.stop()
        self._ask_later()
        return True

    def send(self, stanzas: list[bytes]) -> None:
        """Stanzas are sent, or are to be sent as soon as there is a connection."""
        self.sent.add_all(stanzas, sum(map(len, stanzas)))
        self._ask_later()

    def _ask_later(self) -> None:
        if self._stands and self.sent and not self._asked and not self._timer.running:
            self._timer.start(ASK_AFTER, self._ask)

    def _ask(self) -> None:
        self._asked = True
        self._say(sm.REQUEST)
        self._timer.start(ANSWER_WITHIN, self._no_answer)

    def _no_answer(self) -> None:
        """Nor will there be one on another connection, if this is one on which the stream was resumed.

        Prosody 0.12 goes on with its old XML parser. If that has half a stanza, all that comes is taken for the rest.
        """
        if not self._proven:
            self.id = ""
        self._silent()

    def _tell(self) -> None:
        self._behind = self.handled.unhandled > 0
        self._told = self.handled.h
        self._say(sm.acknowledgement(self._told))

    def _progress(self) -> None:
        """The client has what it was sent: a server that has asked too early does not ask again, and is told now.

        Once for all that the client has acknowledged together.
        """
        if self._behind and not self._late.running:
            self._late.start(0, self._tell)

    def last_word(self) -> bytes:
        """Return the acknowledgement that the server has not been told yet; empty if there is none."""
        return sm.acknowledgement(self.handled.h) if self.counts and self.handled.h != self._told else b""

    def handed(self, knows_state: bool) -> HandedServer | None:
        """Return what another process is to go on with; None if something is open that cannot be handed on."""
        if not self.id or self.sent or self.handled.expects_again:
            return None
        return HandedServer(self.id, self.max, self.handled.received, self.handled.open, self.sent.sent, knows_state)

    def restore(self, handed: HandedServer) -> list[Callable[[], None]]:
        """Go on with what another process had, without a connection.

        Return what is to be called when the client has acknowledged each stanza that it has to.
        """
        self.rest()
        self.id, self.max, self.counts = handed.id, handed.max, True
        self.sent.acknowledged = handed.sent
        return self.handled.restore(handed.received, handed.open)

    def rest(self) -> None:
        """The connection is gone, or the stream is over: ask and tell nothing."""
        self._timer.stop()
        self._late.stop()
        self._stands = self._asked = self._behind = False

    def resume(self, h: int) -> None:
        """The server goes on with the stream, and has handled so many stanzas. Raises `NotSent`."""
        self.sent.arrived(h)
        self._told = self.handled.h
        self._proven = False
        self._stands = True
        self._ask_later()
