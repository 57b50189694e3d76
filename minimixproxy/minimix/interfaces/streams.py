"""The narrow interfaces between an account, its sessions and its stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from wokkel.subprotocols import XMPPHandler

from minimixproxy.bounds.byte_budget import ByteBudget
from minimixproxy.minimix.interfaces.endings import Ending
from minimixproxy.minimix.interfaces.handed import HandedSession
from minimixproxy.minimix.interfaces.journal import KeptLogin
from minimixproxy.minimix.interfaces.said import Said
from minimixproxy.minimix.interfaces.weighed import Weighed
from minimixproxy.timing.answered_line import Turn
from minimixproxy.wire.lazy_stanzas import LazyStanzas
from minimixproxy.wire.stanza import Stanza


class Followed(bytes):
    """A message to send whose sender finds out by itself whether it has arrived: it is not told to be lost."""


#: Gets the result or error that answers an IQ of our own; None when no answer comes.
Answered = Callable[[Stanza | None], None]


class SessionPort(Protocol):
    """One client's session, as its account sees it."""

    @property
    def jid(self) -> str:
        """The full JID, as the server spelled it when it was bound."""

    @property
    def device(self) -> str:
        """The id of the client's installation (XEP-0388), "" if it has not said one. Nobody has checked it."""

    @property
    def carbons(self) -> bool:
        """Whether the client enabled carbons (XEP-0280) and the server agreed."""

    @property
    def language(self) -> str:
        """The language of the client's stream, "" if it named none: that of stanzas that name none."""

    @property
    def last_active(self) -> float:
        """When the client last sent a stanza, in seconds of the reactor's clock."""

    @property
    def standalone(self) -> bool:
        """Whether each stanza is to declare its namespace: the client's transport asks for it, and else does it itself.

        That is worth knowing where many get a copy.
        """

    @property
    def inactive(self) -> bool:
        """Whether nobody looks at the client (XEP-0352): a stanza of a room is to be weighed."""

    @property
    def reached(self) -> float:
        """Up to which message, of any room, what was delivered has come to the client's machine; infinity: all.

        Of a managed session: up to which message the client has acknowledged all that was delivered, replays too. What
        waits to be written is not acknowledged.
        """

    @property
    def managed(self) -> bool:
        """Whether the client acknowledges what it gets (XEP-0198). Once it does, it does so to the session's end."""

    @property
    def asleep(self) -> bool:
        """Whether the client's connection is gone: what it is given waits for it to come back (XEP-0198 §5)."""

    @property
    def rests(self) -> bool:
        """Whether another process could go on with it (see `hand_on`), and its client would hardly notice."""

    @property
    def queued(self) -> int:
        """Bytes that wait for the client, or for it to acknowledge them."""

    def deliver(self, data: bytes) -> None:
        """Give the client one stanza."""

    def deliver_instead(self, data: bytes) -> None:
        """Give the client this in the place of what its server has just said (see `AccountPort.from_server`).

        Nor does the server know it to be handled before the client has this.
        """

    def deliver_all(self, stanzas: LazyStanzas) -> None:
        """Give the client many stanzas, in order with `deliver`; they are made, one by one, when it can take them."""

    def when_settled(self, call: Callable[[], None]) -> None:
        """Call once all that the client has said is handled, and it has acknowledged all that it was told, or soon.

        The session is to be closed then. At once, if the client does not acknowledge.
        """

    def hand_on(self, keep: Callable[[Any], KeptLogin], shows: bytes) -> HandedSession | None:
        """Be no more, without a word, and return what another process goes on with; None: it stays as it is.

        `keep` makes what is kept of its login. `shows`: the payload of its undirected presence.
        """

    def when_got(self, call: Callable[[], None]) -> None:
        """Call once a client that is `managed` has acknowledged what its server has said last, and it is to get now."""

    def have_server_push(self) -> None:
        """Have the server of a client that sleeps push what that has not acknowledged, if the server can."""

    def hold(self) -> Callable[[], None]:
        """Return a function: until it is called, what the client sent last is not acknowledged to it (XEP-0198)."""

    def let_wait(self) -> None:
        """Read nothing more of what the client says, but what was read by now, until `go_on`."""

    def go_on(self) -> None:
        """Read on."""

    def deliver_weighed(self, weighed: Weighed) -> None:
        """Give an inactive client a stanza of a room, in order with `deliver`, or hold it back as long as it may wait.

        What is held back has not come to the client's machine (see `reached`).
        """

    def close(self, condition: str, text: str = "") -> None:
        """End the session with a stream error."""


class OwnRequests(Protocol):
    """IQs that the account itself sends, on its account stream, which opens if need be."""

    def ask(self, to: str, kind: str, payload: bytes, answered: Answered) -> None:
        """Send an IQ of type `kind` (`get`, `set`); `to` "" is the account itself.

        `answered` is called once: after `iq_timeout`, or when the stream ends, with None.
        """

    def ask_archive(
        self, to: str, query_id: str, payload: bytes, result: Callable[[Stanza], None], answered: Answered
    ) -> None:
        """Send a query to an archive (XEP-0313); `result` gets each message that carries a result with `query_id`."""


class OpenRequests(OwnRequests, Protocol):
    """The requests of an account stream that are open."""

    @property
    def waiting(self) -> bool:
        """Whether an answer is still to come."""

    def reader_of(self, result: Stanza) -> Callable[[Stanza], None] | None:
        """Return what reads this result of an archive, if the account itself has asked for it."""

    def unreachable(self, *, refused: bool) -> None:
        """Nothing that was asked is answered any more."""


class Listener(Protocol):
    """Who is told of what is said in rooms."""

    @property
    def active(self) -> bool:
        """Whether it listens."""

    def said(self, said: Said, here: Iterable[SessionPort]) -> None:
        """Something was said; `here`: the sessions that are in the room."""

    def heard_elsewhere(self, message: Stanza) -> None:
        """The account stream was told something by nobody of a room. Its sessions get it, if it says something."""


class RoomOutlet(OwnRequests, Protocol):
    """What an occupancy may do to the world outside its sessions."""

    @property
    def account(self) -> str:
        """The bare JID of the account, for the log."""

    @property
    def stream_jid(self) -> str:
        """The full JID of the account stream; "" before it is bound."""

    def send_to_room(self, data: bytes) -> None:
        """Send a stanza on the account stream."""

    def when_acknowledged(self, call: Callable[[], None]) -> None:
        """Call once the server has acknowledged what was sent to rooms so far (see `StreamPort`)."""

    def rejoin_turn(self, room: str, call: Callable[[], None]) -> Turn:
        """Return a turn, not in line yet, for `call`, which joins a room again: not all of them do at once."""

    def from_session_again(self, session: SessionPort, stanza: Stanza) -> None:
        """Route a session's stanza again that had to wait."""

    @property
    def listener(self) -> Listener:
        """Who is told of what is said."""

    @property
    def client_budget(self) -> ByteBudget:
        """What the account's own clients have kept for them: joins that wait, presences, ids of changes of nick."""

    @property
    def presence_limit(self) -> int:
        """How many bytes of presence the room is shown at most."""

    def room_budget(self) -> ByteBudget:
        """Return a new budget for what a room shows."""

    def history_budget(self) -> ByteBudget:
        """Return a new budget for what was said in a room."""

    def waiting_budget(self, limit: int) -> ByteBudget:
        """Return a new budget of `limit` bytes for what waits in a room: for clients, or for the end of an archive."""

    def room_joined(self, room: str) -> None:
        """The account is in the room, for the first time or again."""

    def room_removed(self, room: str) -> None:
        """The room has removed the account, or does not let it come back, and means it."""

    def room_left(self, room: str) -> None:
        """The account leaves because its last session did: it does not mean to come back."""

    def room_ended(self, room: str) -> None:
        """The occupancy is over; forget it, and join again for whoever waits."""

    def not_in(self, room: str, why: Ending) -> None:
        """Note why the account is not in the room, or not any more."""

    def broadcast_payload(self, session: SessionPort) -> bytes:
        """Return what the session's undirected presence shows, as children of the account's own (see `presence`)."""


class StreamPort(Protocol):
    """The account stream, as its account and the handlers of its subprotocols see it."""

    @property
    def jid(self) -> str:
        """Its full JID; "" while it is not bound."""

    @property
    def requests(self) -> OpenRequests:
        """What is asked on it."""

    def addHandler(self, handler: XMPPHandler) -> None:
        """Have a subprotocol; for `setHandlerParent`."""

    def send(self, data: bytes) -> None:
        """Send a stanza, opening the stream if it is closed."""

    def reply(self, data: bytes) -> None:
        """Send what answers somebody else, unless much waits to be sent."""

    def when_acknowledged(self, call: Callable[[], None]) -> None:
        """Call once the server has acknowledged all that was sent so far; at once if it does not do that.

        If the stream is lost, `call` comes behind what tells of the loss: `unreachable`, and `not_sent` for messages.
        """

    def when_taken(self, call: Callable[[], None]) -> None:
        """Do as `when_acknowledged`; if the server does not acknowledge, call once it has read all but little."""

    @property
    def full(self) -> bool:
        """Whether so much waits for the server that clients are to say no more: the rest is for the account itself."""

    def reopen(self) -> None:
        """Open again by itself: after a wait that grows from failure to failure. Does nothing unless it is closed."""

    def close(self) -> None:
        """Close the stream: the account is in no room."""
