"""What sessions said to a room and it has not shown yet: should the stream be lost, it may not have arrived. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from minimixproxy.bounds.byte_budget import OBJECT, ByteBudget
from minimixproxy.minimix.history.amendments import ids_of
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.namespaces import NS_CLIENT
from minimixproxy.timing.clock import Clock
from minimixproxy.wire.children import children_of, first_of, text_of
from minimixproxy.wire.stanza import Stanza

MAX_FOLLOWED = 100  # messages for one room
MAX_BYTES = 256 * 1024
# Seconds after which a message that the server has taken is followed no more: the room does not mean to show it. A
# connection that is dead is found out sooner (see `keepalive`).
UNANSWERED = 120.0
NOTHING = 0  # the text of a message without any
REPEATED = 600.0  # seconds for a client to come back, and to say again what it does not know to be handled

WhenAcknowledged = Callable[[Callable[[], None]], object]


@dataclass(slots=True, eq=False)
class Said:
    """A groupchat message under way. `occupant`: the address in the room under which the account said it.

    `again`: it was sent before. `hold`: until it is called, the message is not acknowledged to its client (XEP-0198).
    """

    session: SessionPort
    stanza: Stanza
    occupant: str
    time: float
    again: bool
    hold: Callable[[], None] | None = None
    waits: bool = True  # for the word of the server, if it gives any
    taken: bool = False  # the server has acknowledged it
    gone: bool = False  # the session is: nobody is told
    in_doubt: bool = False  # the stream is lost: that nobody waits for the server's word any more says nothing
    ids: tuple[str, ...] = field(init=False)
    _text: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.ids = ids_of(self.stanza)

    @property
    def text(self) -> int:
        """What it says (see `_text_of`); found out once, however many messages it is compared with."""
        if self._text is None:
            self._text = _text_of(self.stanza)
        return self._text

    @property
    def cost(self) -> int:
        """Bytes that it takes."""
        return OBJECT + len(self.stanza.raw)

    @property
    def client_repeats(self) -> bool:
        """Whether its client says it again by itself if it has to begin anew: it does not know that it is handled."""
        return self.hold is not None

    def sent(self, when_acknowledged: WhenAcknowledged) -> None:
        """It was sent: its client may know so once the server has it (see `StreamPort.when_acknowledged`).

        A server that does not manage streams says nothing, and so nobody knows whether it has it.
        """
        managed = False

        def acknowledged() -> None:
            if not self.in_doubt:
                self.waits, self.taken = False, managed
                self.done()

        when_acknowledged(acknowledged)
        managed = True

    def done(self) -> None:
        """Its client may know that it is handled."""
        hold, self.hold = self.hold, None
        if hold is not None:
            hold()


class InFlight:
    """Messages in the order in which they were sent, which is the order in which the room shows them."""

    __slots__ = ("_budget", "_bytes", "_clock", "_followed", "_keeps_ids", "_repeats")

    def __init__(self, clock: Clock, budget: ByteBudget) -> None:
        """`budget`: of all that the account's sessions have kept."""
        self._clock = clock
        self._budget = budget
        self._followed: list[Said] = []
        self._bytes = 0
        self._repeats: OrderedDict[int, float] = OrderedDict()  # hashes of what is to be said again, and until when
        self._keeps_ids = False  # the room has shown a message under the id that its client gave it

    def __len__(self) -> int:
        return len(self._followed)

    def add(self, said: Said) -> bool:
        """A message is about to be sent; False: it is not followed, for there are too many."""
        self._forget_unanswered()
        size = len(said.stanza.raw)
        if len(self._followed) >= MAX_FOLLOWED or self._bytes + size > MAX_BYTES or not self._budget.take(said.cost):
            return False
        self._followed.append(said)
        self._bytes += size
        return True

    def shown(self, stanza: Stanza, own: bool | None) -> None:
        """The room shows a message. `own`: it is the account's, by its occupant-id; None: that is not known."""
        place = self.place_in(self._followed, stanza, own)
        if place is not None:
            self._forget(place + 1)

    def place_in(self, followed: list[Said], stanza: Stanza, own: bool | None) -> int | None:
        """Return the place of a message among those that are followed, None if it is none of them."""
        sender = stanza.get("from")
        ids = ids_of(stanza)
        text: int | None = None
        for place, said in enumerate(followed):
            if own or (own is None and said.occupant == sender):
                if said.ids and not set(ids).isdisjoint(said.ids):
                    self._keeps_ids = True
                    return place
                if not (said.ids and self._keeps_ids):
                    text = _text_of(stanza) if text is None else text
                    if text == said.text != NOTHING:
                        return place
        return None

    def refused(self, stanza_id: str | None) -> None:
        """The room refuses the message of that id, and its client is told so."""
        for place, said in enumerate(self._followed):
            if said.stanza.get("id") == stanza_id:
                self._repeats.pop(hash(said.stanza.raw), None)
                self._drop(self._followed.pop(place))
                return

    def renamed(self, occupant: str) -> None:
        """The account has another nick: what the room has not shown by now, it shows under that."""
        for said in self._followed:
            said.occupant = occupant

    def gone(self, session: SessionPort) -> None:
        """A session is gone: what its client does not know to be handled, it says again in its next one.

        But it is on its way, and arrives unless the stream is lost: see `is_repeated`.
        """
        for said in self._followed:
            if said.session is session:
                said.gone = True
                if said.client_repeats:
                    self._expect(said)

    def _expect(self, said: Said) -> None:
        key = hash(said.stanza.raw)
        self._repeats[key] = self._clock.seconds() + REPEATED
        self._repeats.move_to_end(key)
        if len(self._repeats) > MAX_FOLLOWED:
            self._repeats.popitem(last=False)

    def is_repeated(self, session: SessionPort, stanza: Stanza) -> bool:
        """Tell, once, whether a session says what an earlier one has said, and is on its way or has arrived.

        It is known by its bytes, so it has to bear an id.
        """
        if not self._repeats or not stanza.get("id"):
            return False
        until = self._repeats.pop(hash(stanza.raw), 0.0)
        if until < self._clock.seconds():
            return False
        for said in self._followed:
            if said.gone and said.client_repeats and said.stanza.raw == stanza.raw:
                said.session, said.gone = session, False
                said.hold = session.hold() if session.managed else None
                break
        return True

    def take(self) -> list[Said]:
        """The stream is lost, or the room has begun anew: return what may not have arrived, and follow it no more.

        What it has of the budget goes with it. What a client says again by itself is not among it.
        """
        self._forget_unanswered()
        followed, self._followed, self._bytes = self._followed, [], 0
        taken = []
        for said in followed:
            said.in_doubt = True
            if said.gone and said.client_repeats:  # so it is not to be acknowledged now
                self._repeats.pop(hash(said.stanza.raw), None)
                self._budget.give_back(said.cost)
            else:
                taken.append(said)
        return taken

    def close(self) -> None:
        """The account has left the room: nothing is followed."""
        self._repeats.clear()
        self._forget(len(self._followed))

    def _forget_unanswered(self) -> None:
        oldest = self._clock.seconds() - UNANSWERED
        count = 0
        for said in self._followed:
            if said.waits or said.time >= oldest:
                break
            count += 1
        self._forget(count)

    def _forget(self, count: int) -> None:
        """The room has the first so many: it shows in order, and what it does not show it does not mean to."""
        forgotten = self._followed[:count]
        del self._followed[:count]
        for said in forgotten:
            self._drop(said)

    def _drop(self, said: Said) -> None:
        self._give_back(said)
        said.done()

    def _give_back(self, said: Said) -> None:
        self._bytes -= len(said.stanza.raw)
        self._budget.give_back(said.cost)


def _text_of(stanza: Stanza) -> int:
    """Return the hash of a message's text; `NOTHING` if there is none."""
    body = first_of(children_of(stanza), NS_CLIENT, "body")
    return hash(text_of(body)) or 1 if body is not None else NOTHING
