"""Stream management (XEP-0198) between a session and its client: what each has of the other, and asking for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import NamedTuple, Protocol

from minimixproxy.c2s.session.acknowledgements import EVERYTHING
from minimixproxy.c2s.session.farewell import Farewell
from minimixproxy.c2s.session.output import ClientOutput
from minimixproxy.minimix.interfaces.handed import HandedClient
from minimixproxy.stream_management.handled import Handled
from minimixproxy.stream_management.unacknowledged import NotSent, Tracked, Unacknowledged
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.wire.children import top_attribute
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep import stream_management as sm
from minimixproxy.xep.stream_headers import stream_error

# Seconds from a stanza to `<r/>`: each answer costs a read, and the phone's radio, so one is for several stanzas. With
# the next stanza, if one comes between these, else by itself. What is acknowledged is not on disk sooner either.
ASK_WITH, ASK_AFTER = 3.0, 4.0
ASK_AT, ASK_AT_BYTES = 200, 64 * 1024  # and so many stanzas or bytes are not waited for
MAX_UNHANDLED = 10_000  # stanzas of a client that may wait for one before them, such as for a room out of reach
ANSWER_WITHIN = 90.0  # seconds for `<a/>`; then the connection is given up
MAX_HANDED = 256 * 1024  # bytes that are open with a client when another process is to go on with it


class Terms(NamedTuple):
    """How a session can be resumed: `id` "" not at all, else for so many `seconds` after its connection was lost."""

    id: str
    seconds: int


class ManagedSession(Protocol):
    """The session, as its stream management sees it."""

    def end(self, data: bytes) -> None:
        """End the session with these bytes to the client."""

    def silent(self) -> None:
        """The client does not answer."""

    def acknowledged(self) -> None:
        """The client has got more."""


class ClientManagement:
    """From `<enable/>` on, over all connections of the client.

    `id` "": it cannot be resumed; else it can for so many `seconds` after its connection was lost.

    `position`: returns up to which message the rooms have been given out.
    """

    __slots__ = (
        "_ask_at",
        "_asked",
        "_behind",
        "_clock",
        "_farewell",
        "_late",
        "_output",
        "_position",
        "_positions",
        "_session",
        "_sure",
        "_timer",
        "_written",
        "handled",
        "sent",
        "terms",
    )

    def __init__(
        self,
        session: ManagedSession,
        output: ClientOutput,
        clock: Clock,
        position: Callable[[], int],
        terms: Terms,
    ) -> None:
        self.terms = terms
        self.sent = Unacknowledged()
        self.handled = Handled(self._progress)
        self._session = session
        self._output = output
        self._position = position
        # What had been given out with each write that is not acknowledged, and behind which stanza that is.
        self._positions: list[tuple[int, int]] = []
        self._written = self._sure = position()
        self._clock = clock
        self._timer = Timer(clock)
        self._ask_at = EVERYTHING  # from then on, the client is asked with the next stanza
        self._asked = False  # and not answered
        self._behind = False  # the last answer to the client's question was not all that it had sent
        self._late = Timer(clock)
        self._farewell: Farewell | None = None

    # What the client has ---------------------------------------------------------------------------------------

    @property
    def reached(self) -> float:
        """As `SessionPort.reached`."""
        return self._sure if self.sent or self._output.waits else EVERYTHING

    def wrote(self, _size: int, *, everything: bool = True) -> None:
        """Something was written (`output.Writes`)."""
        if everything:
            self._written = self._position()
        sent = self.sent
        unacknowledged = len(sent)
        self._positions.append((sent.acknowledged + unacknowledged, self._written))
        if self._asked:
            return
        if unacknowledged >= ASK_AT or sent.size >= ASK_AT_BYTES:
            self._ask()
        elif not self._timer.running:
            self._ask_later()

    def question(self) -> bytes:
        """Return `<r/>` if it is time for that: it costs less with a stanza than by itself."""
        if self._asked or (len(self.sent) < ASK_AT and self._clock.seconds() < self._ask_at):
            return b""
        self._asks()
        return sm.REQUEST

    def _ask_later(self) -> None:
        self._ask_at = self._clock.seconds() + ASK_WITH
        self._timer.start(ASK_AFTER, self._ask)

    def _ask(self) -> None:
        self._asks()
        self._output.say(sm.REQUEST)

    def _asks(self) -> None:
        self._asked = True
        self._ask_at = EVERYTHING
        self._timer.start(ANSWER_WITHIN, self._session.silent)

    def wait_longer(self) -> None:
        """It was not let answer."""
        self._timer.start(ANSWER_WITHIN, self._session.silent)

    def acknowledges(self, h: int) -> None:
        """The client has handled so many stanzas. Raises `NotSent`."""
        news = self.sent.arrived(h)
        known = 0
        while known < len(self._positions) and self._positions[known][0] <= self.sent.acknowledged:
            self._sure = self._positions[known][1]
            known += 1
        del self._positions[:known]
        if news:
            self._output.acknowledged()
            self._session.acknowledged()
            if self._farewell is not None:
                self._farewell.look()

    # Its elements ----------------------------------------------------------------------------------------------

    def element(self, stanza: Stanza) -> None:
        """Take one of its elements from the client; it ends the session if it is not true."""
        if stanza.name == "a":
            self._answered(stanza)
        elif stanza.name == "r":
            self._tell()
        else:  # `<enable/>` or `<resume/>` on a stream that has it already, or what only servers say
            self._output.say(sm.failed("unexpected-request"))

    def bare_acknowledgement(self, data: bytes) -> bool:
        """Take a read of the client if it is `<a/>` and nothing else, as most are written; False: it is something else.

        It comes for every few stanzas, and need not go the way of all else.
        """
        h = sm.bare_acknowledgement(data)
        if h is None:
            return False
        self._acknowledged(h)
        return True

    def _answered(self, stanza: Stanza) -> None:
        try:
            h = sm.handled_of(stanza)
        except sm.BadElement as error:
            self._session.end(stream_error("policy-violation", str(error)))
        else:
            self._acknowledged(h)

    def _acknowledged(self, h: int) -> None:
        self._asked = False  # so that it is asked at once when what it lets go out is much
        self._timer.stop()
        try:
            self.acknowledges(h)
        except NotSent as error:
            self._session.end(sm.handled_count_too_high(error.h, error.sent))
            return
        if self.sent and not self._timer.running:
            self._ask_later()

    # What the client sends -------------------------------------------------------------------------------------

    def receive(self, stanza: Stanza) -> bool:
        """Count a stanza of the client; False: it was handled before the client was cut off, and is sent again."""
        stanza_id, to = stanza.attributes.get("id"), stanza.attributes.get("to")
        if stanza.name == "message":
            return self.receive_message(stanza.raw, stanza_id, to)
        # Either may be long, as a stanza may: what is kept of them is a hash.
        return self.handled.receive(hash((stanza.name, stanza_id, to) if stanza_id else (stanza.name, stanza.raw)))

    def receive_message(self, raw: bytes, stanza_id: str | None, to: str | None) -> bool:
        """Count a message, as `receive` does."""
        if not stanza_id:
            return self.handled.receive(hash(("message", raw)))
        key = hash(("message", stanza_id, to))
        return self.handled.receive(key, named=True, mark=(hash(stanza_id), hash(raw)))

    def handled_unknown(self, waiting: Iterable[bytes]) -> list[int]:
        """Return hashes of messages that are handled, and the client says them again, for it cannot know that.

        Not of those that came back: the client has to learn of that, and the error is lost with the session. It is
        among what the client has not acknowledged, or is `waiting` to be written.
        """
        beyond = self.handled.beyond
        if not beyond or not self.sent.complete:
            return []
        returned = set(map(_id_of_error, chain(self.sent, waiting)))
        return [message for stanza_id, message in beyond if stanza_id not in returned]

    @property
    def overfull(self) -> bool:
        """Whether the client has sent too much behind something that is not handled."""
        return self.handled.unhandled > MAX_UNHANDLED

    @property
    def nearly_overfull(self) -> bool:
        """Whether one more read might be too much."""
        return self.handled.unhandled > MAX_UNHANDLED // 2

    def _progress(self) -> None:
        """The server, or whoever a stanza was for, has it: the client that has asked too early is told now.

        Once for all that the server has acknowledged together.
        """
        if self._behind and not self._late.running:
            self._late.start(0, self._tell)
        if self._farewell is not None:
            self._farewell.look()

    def _tell(self) -> None:
        self._behind = self.handled.unhandled > 0
        self._output.say(sm.acknowledgement(self.handled.h))

    def when_settled(
        self, call: Callable[[], None], server_is_open: Callable[[], bool], is_resumed: Callable[[], bool]
    ) -> None:
        """As `ClientSide.when_settled`. A client that sleeps acknowledges nothing; nor is one asked twice at a time."""
        awake = not self._output.asleep

        def is_open() -> bool:
            return bool(self.handled.unhandled or (awake and self.sent) or server_is_open())

        self._farewell = Farewell(self._clock, is_open, is_resumed, call)
        if awake and self.sent and not self._asked:
            self._ask()
        self._farewell.look()

    @property
    def rests(self) -> bool:
        """Whether `handed` would hand it on, and a client that is there has got and acknowledged all."""
        if self.handled.unhandled or self.handled.expects_again:
            return False
        output = self._output
        return not output.unmade and output.queued <= (MAX_HANDED if output.asleep else 0)

    def handed(self) -> HandedClient | None:
        """Return what another process is to go on with; None if something is open that cannot be handed on."""
        sent, terms, handled = self.sent, self.terms, self.handled
        if not terms.id or not sent.complete or handled.unhandled or handled.expects_again:
            return None
        waiting = self._output.all_waiting()
        open_ = [*sent, *(waiting or ())]
        if waiting is None or sum(map(len, open_)) > MAX_HANDED:
            return None
        stanzas = tuple((bytes(stanza), type(stanza) is Tracked) for stanza in open_)
        return HandedClient(terms.id, terms.seconds, handled.received, sent.acknowledged, stanzas)

    def restore(self, handed: HandedClient, arrivals: Iterable[Callable[[], None]]) -> None:
        """Go on with what another process had. `arrivals`: called for the stanzas that the server waits for."""
        called = iter(arrivals)
        stanzas = [Tracked(raw, next(called)) if of_server else raw for raw, of_server in handed.open]
        self.handled.restore(handed.handled, ())
        self.sent.acknowledged = handed.acknowledged
        self.sent.add_all(stanzas, sum(map(len, stanzas)))
        self._sure = 0  # until all is acknowledged, only what was before counts

    def last_word(self) -> bytes:
        """Return how much is handled, for a client whose stream is about to end.

        What it does not know to be handled it says again in its next session, which may be with another process.
        """
        return sm.acknowledgement(self.handled.h)

    # Connections -----------------------------------------------------------------------------------------------

    def rest(self) -> None:
        """The connection is gone, or the session over: ask and tell nothing."""
        self._timer.stop()
        self._late.stop()
        self._asked = self._behind = False
        farewell, self._farewell = self._farewell, None
        if farewell is not None:
            farewell.end()

    def resume(self, h: int) -> bytes:
        """The client is back, and has handled so many stanzas: return the answer. Raises `NotSent`."""
        self.acknowledges(h)
        self.rest()  # what was asked on a connection that still stood is not answered any more
        self.handled.resume()
        if self.sent:
            self._ask_later()
        return sm.resumed(self.terms.id, self.handled.h)


def _id_of_error(stanza: bytes) -> int | None:
    """Return the hash of the id of a message that is an error, None of all else."""
    if not stanza.startswith(b"<message") or b"error" not in stanza or top_attribute(stanza, "type") != "error":
        return None
    return hash(top_attribute(stanza, "id"))
