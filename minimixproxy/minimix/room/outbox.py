"""What sessions say to a room while the account is on its way back into it, or said before. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minimixproxy.bounds.byte_budget import OBJECT, ByteBudget
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.minimix.room.in_flight import InFlight, Said
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.wire.stanza import Stanza, rewrite
from minimixproxy.xep.muc import is_chat_state, is_history
from minimixproxy.xep.stanza_errors import error_reply

MAX_HELD = 100  # stanzas for one room
MAX_BYTES = 256 * 1024
PATIENCE = 60.0  # seconds

_UNSURE = "The connection to the server was lost: this may not have arrived."


class _Held(NamedTuple):
    session: SessionPort
    stanza: Stanza
    deadline: float
    done: Callable[[], None]  # it may be acknowledged to the client now
    doubtful: Said | None = None  # it was sent, and may not have arrived
    gone: bool = False  # the session is: nobody is told

    @property
    def client_repeats(self) -> bool:
        """Whether its client says it again by itself if it has to begin anew."""
        return self.doubtful.client_repeats if self.doubtful is not None else self.session.managed

    def refuse(self, condition: str) -> None:
        """It is not sent. What the server has acknowledged is not told to be lost."""
        if self.gone:
            pass
        elif self.doubtful is None:
            _refuse(self.session, self.stanza, condition)
        elif not self.doubtful.taken:
            _refuse(self.session, self.stanza, condition, _UNSURE)
        self.done()


class Outbox:
    """Stanzas that wait, in their order. Too many, or too long, and their sender is told that they were not sent.

    Before them come the messages that were under way when the stream was lost: what the room tells then shows which of
    them it has, and the others are sent again. `in_flight` are those of a stream that stands.

    Beside the bounds of the one room, `budget` is that of all that the account's sessions have kept.
    """

    log = Logger()

    __slots__ = ("_budget", "_bytes", "_clock", "_held", "_known", "_sending", "_timer", "_told_known", "in_flight")

    def __init__(self, clock: Clock, budget: ByteBudget) -> None:
        self.in_flight = InFlight(clock, budget)
        self._clock = clock
        self._budget = budget
        self._held: list[_Held] = []  # few: a deque that is empty is larger than these
        self._bytes = 0
        self._timer = Timer(clock)
        self._known = 0  # the sequence of the last message that was known when the stream was lost
        self._told_known = False  # since then, the room has told one of those
        self._sending: _Held | None = None  # it is just being sent

    def __len__(self) -> int:
        return len(self._held)

    # Messages on their way -------------------------------------------------------------------------------------

    def follow(self, session: SessionPort, stanza: Stanza, occupant: str) -> Said | None:
        """A groupchat message is about to be sent, under that address in the room; None: it is not followed."""
        held = self._just_sending(stanza)
        again = held is not None and held.doubtful is not None
        said = Said(session, stanza, occupant, self._clock.seconds(), again)
        if not self.in_flight.add(said):
            return None
        if held is not None:
            self._sending, said.hold, said.gone = None, held.done, held.gone
        elif session.managed:
            said.hold = session.hold()
        return said

    def is_repeated(self, session: SessionPort, stanza: Stanza) -> bool:
        """Tell whether a session says to all what an earlier one of its client has said (see `InFlight`)."""
        return self._just_sending(stanza) is None and self.in_flight.is_repeated(session, stanza)

    @property
    def expects(self) -> bool:
        """Whether something that the room shows may be what was said."""
        return len(self.in_flight) > 0 or (len(self._held) > 0 and self._held[0].doubtful is not None)

    def shown(self, stanza: Stanza, own: bool | None) -> None:
        """The room shows a message that was not known. `own`: it is the account's own, None if that is not clear."""
        doubtful = [held.doubtful for held in self._held if held.doubtful is not None]
        place = self.in_flight.place_in(doubtful, stanza, own)
        if place is None:
            self.in_flight.shown(stanza, own)
            return
        for _ in range(place + 1):
            self._let_go(self._held.pop(0)).done()

    def refused(self, stanza_id: str | None) -> None:
        """The room, or somebody before it, refuses the message of that id, and its client is told so."""
        self.in_flight.refused(stanza_id)
        refused = [held for held in self._held if held.doubtful is not None and held.stanza.get("id") == stanza_id][:1]
        for held in self._take_if(lambda held: held in refused):
            held.done()

    def told_known(self, sequence: int) -> None:
        """The room tells a message once more: if that was known before the loss, it tells all that was said since."""
        self._told_known = self._told_known or sequence <= self._known

    def doubt(self, newest: int) -> None:
        """The stream is lost, or the room has begun anew: what it has not shown may not have arrived.

        `newest`: the sequence of its last message that is known.
        """
        self._told_known = False
        if not (self._held and self._held[0].doubtful):  # else that is about them, too
            self._known = newest
        deadline = self._clock.seconds() + PATIENCE
        if self._held:
            deadline = min(deadline, self._held[0].deadline)
        taken = self.in_flight.take()
        self._bytes += sum(len(said.stanza.raw) for said in taken)
        self._held[:0] = [_Held(said.session, said.stanza, deadline, said.done, said, said.gone) for said in taken]
        self._watch()

    # What waits ------------------------------------------------------------------------------------------------

    def add(self, session: SessionPort, stanza: Stanza) -> None:
        """Let a session's stanza wait; once more if the room has gone out of reach while all that waited was sent."""
        held = self._just_sending(stanza)
        if held is None and (len(self._held) >= MAX_HELD or self._bytes + len(stanza.raw) > MAX_BYTES):
            self.log.warn("too much waits for {room}, from {jid}", room=stanza.get("to"), jid=session.jid)
            _refuse(session, stanza, "resource-constraint")
            return
        if not self._budget.take(_cost(stanza)):
            _refuse(session, stanza, "resource-constraint")
            return
        deadline = self._clock.seconds() + PATIENCE
        if held is None:
            held = _Held(session, stanza, deadline, session.hold())
        else:
            self._sending = None
        self._held.append(held._replace(deadline=deadline))
        self._bytes += len(stanza.raw)
        self._watch()

    def _just_sending(self, stanza: Stanza) -> _Held | None:
        """Return what is known of a stanza that has waited and is just being sent; None: its client says it now."""
        return self._sending if self._sending is not None and self._sending.stanza is stanza else None

    def _watch(self) -> None:
        if self._held and not self._timer.running:
            self._timer.start(max(0.0, self._held[0].deadline - self._clock.seconds()), self._expire)

    def drop(self, session: SessionPort) -> None:
        """The session is gone. What it said to all, and its client does not say again by itself, waits all the same."""
        self._take_if(lambda held: held.session is session and (held.client_repeats or not is_to_all(held.stanza)))
        self._held = [held._replace(gone=True) if held.session is session else held for held in self._held]

    def _take_if(self, is_taken: Callable[[_Held], bool]) -> list[_Held]:
        taken = [self._let_go(held) for held in self._held if is_taken(held)]
        if taken:
            self._held = [held for held in self._held if held not in taken]
        return taken

    def _let_go(self, held: _Held) -> _Held:
        """It waits no more."""
        self._bytes -= len(held.stanza.raw)
        self._budget.give_back(_cost(held.stanza))
        return held

    def release(
        self,
        send: Callable[[SessionPort, Stanza], object],
        when_acknowledged: Callable[[Callable[[], None]], object],
        *,
        all_told: bool = False,
    ) -> None:
        """Send all; `when_acknowledged` calls what it is given once the server has what was sent.

        `all_told`: the room's archive has told all that was said since the stream was lost.
        """
        all_told = all_told or self._told_known
        for held in self._take():
            if held.doubtful is not None and not self._is_sent_again(held, held.doubtful, all_told):
                continue
            self._sending = held
            send(held.session, held.stanza)
            if self._sending is not None:  # it is not followed
                self._sending = None
                when_acknowledged(held.done)

    def _is_sent_again(self, held: _Held, said: Said, all_told: bool) -> bool:
        """Tell whether a message that the room has not told is sent again; if not, its client is told what it may be.

        If the room would have told it, it has not arrived. Else nobody knows. What the server has acknowledged it is
        trusted with. All else is sent again, once: whoever is shown it twice can tell so by its ids, and who misses it
        can tell nothing.
        """
        if all_told and is_history(said.stanza):
            return True
        if said.taken or is_chat_state(said.stanza):
            held.done()
            return False
        if said.again:
            held.refuse("remote-server-timeout")
        return not said.again

    def refuse(self, condition: str) -> None:
        """Tell all senders that their stanzas were not sent."""
        for held in self._take():
            held.refuse(condition)

    def close(self) -> None:
        """The account is in the room no more: what waits is not sent, and nothing is followed."""
        self.refuse("recipient-unavailable")
        self.in_flight.close()

    def refuse_one(self, session: SessionPort, condition: str) -> None:
        """Tell a session that is in the room no more that its stanzas were not sent."""
        for held in self._take_if(lambda held: held.session is session):
            held.refuse(condition)

    def _take(self) -> list[_Held]:
        taken, self._held = self._held, []
        for held in taken:
            self._let_go(held)
        self._timer.stop()
        return taken

    def _expire(self) -> None:
        now = self._clock.seconds()
        while self._held and self._held[0].deadline <= now:
            self._let_go(self._held.pop(0)).refuse("remote-server-timeout")
        self._watch()


def is_to_all(stanza: Stanza) -> bool:
    """Tell whether it is a message to the whole room."""
    return stanza.name == "message" and stanza.get("type") == "groupchat"


def _cost(stanza: Stanza) -> int:
    return OBJECT + len(stanza.raw)


def _refuse(session: SessionPort, stanza: Stanza, condition: str, text: str = "") -> None:
    """Answer with an error what may be answered so (RFC 6120 §8.3.1)."""
    if stanza.get("type") not in ("error", "result"):
        session.deliver(rewrite(error_reply(stanza, "wait", condition, text), {"to": session.jid}))
