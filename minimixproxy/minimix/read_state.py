"""How far an account has read its rooms, as its devices publish it on its server (XEP-0490). No I/O.

The account stream shows no presence, so servers need not tell it by themselves: it subscribes (XEP-0060 §6.1), which is
enough for Prosody. ejabberd takes that too, but tells only who shows presence; so whatever a client is told counts as
well, and unless the account stream is known to be told all, it asks again whenever a device comes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Protocol

from twisted.words.xish import domish
from wokkel.subprotocols import XMPPHandler

from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.streams import Answered
from minimixproxy.wire.stanza import Stanza, UnusableStanza
from minimixproxy.xep import displayed, muc
from minimixproxy.xep.displayed import Displayed

MAX_ROOMS = 1000  # of which it is known: those that were told of last
MAX_BROKEN = 3  # questions in a row without an answer that can be read
LARGEST = 1024 * 1024  # bytes of one that is read: servers keep hundreds of items, of any size


class ReadingAccount(Protocol):
    """The account, as far as it is concerned."""

    @property
    def bare(self) -> str:
        """Its bare JID."""

    @property
    def stream_jid(self) -> str:
        """The full JID of the account stream; "" while it is not open."""

    def ask(self, to: str, kind: str, payload: bytes, answered: Answered) -> None:
        """Send an IQ of the account's own."""


class ReadHistory(Protocol):
    """What is kept of a room."""

    def read_up_to(self, stanza_id: str) -> None:
        """The account has read so far."""


class ReadRoom(Protocol):
    """A room that the account is in."""

    @property
    def history(self) -> ReadHistory:
        """What is kept of it."""


class ReadState:
    """Of one account; `in_room` returns what it is in, if it is. `read` is called with a room that was read further."""

    log = Logger()

    def __init__(
        self, account: ReadingAccount, in_room: Callable[[str], ReadRoom | None], read: Callable[[str], None]
    ) -> None:
        self._account = account
        self._in_room = in_room
        self._read = read
        self._up_to: OrderedDict[str, str] = OrderedDict()  # the room's id of a message, by room
        self._asking = False
        self._subscribed = False  # on this stream
        self._told = False  # and something came of it
        self._broken = 0

    def __getitem__(self, room: str) -> str | None:
        """Return the room's id of the last message that was read there, as far as it is known."""
        return self._up_to.get(room)

    # When to ask -----------------------------------------------------------------------------------------------

    def stream_opened(self) -> None:
        """The account stream is open (again): something may have been read in between."""
        self._subscribed = self._told = False
        self._begin()

    def session_came(self) -> None:
        """A device comes, which may be a new one: it starts from where the account is now."""
        if not self._told and self._account.stream_jid:
            self._begin()

    def _begin(self) -> None:
        if self._asking:
            return
        self._asking = True
        if self._subscribed:
            self._ask_items()
        else:
            jid = self._account.stream_jid
            self._account.ask("", "set", displayed.subscription(jid), self._subscription_answered)

    def _subscription_answered(self, answer: Stanza | None) -> None:
        """Nothing is there to be subscribed to, or to be asked for, until a client publishes the first item."""
        self._asking = False
        self._subscribed = answer is not None and answer.get("type") == "result"
        if answer is None or (not self._subscribed and muc.error_condition(answer) == "item-not-found"):
            return
        self._asking = True
        self._ask_items()

    def _ask_items(self) -> None:
        """Ask for what there is, but not for ever: the stream holds the account's rooms."""
        if self._broken < MAX_BROKEN:
            self._account.ask("", "get", displayed.ITEMS, self._answered)
        else:
            self._asking = False

    def _answered(self, answer: Stanza | None) -> None:
        self._asking = False
        if answer is not None and len(answer.raw) > LARGEST:
            answer = None
        self._broken = self._broken + 1 if answer is None else 0
        if self._broken == MAX_BROKEN:
            self.log.error(
                "{account}: its server does not answer how far rooms are read, or that is too much: not asked any more",
                account=self._account.bare,
            )
        if answer is not None and answer.get("type") == "result":
            self._take(displayed.of_rooms(displayed.answered(answer)), live=False)

    # What is said of it ----------------------------------------------------------------------------------------

    def on_stream(self, event: Stanza) -> None:
        """Take an event that came on the account stream."""
        found = displayed.of_rooms(displayed.told_by_server(event, self._account.bare))
        self._told = self._told or bool(found)
        self._take(found, live=True)

    def to_client(self, event: Stanza) -> None:
        """Look at an event that came for a client."""
        if self._told:
            return
        found = self._found(lambda: displayed.told_by_server(event, self._account.bare))
        self._take(found, live=True)
        if found and not self._subscribed and self._account.stream_jid:
            self._begin()  # now there is something to be subscribed to

    def from_client(self, stanza: Stanza) -> None:
        """Look at what a client publishes."""
        self._take(self._found(lambda: displayed.told_by_client(stanza)), live=True)

    @staticmethod
    def _found(read: Callable[[], list[domish.Element]]) -> list[Displayed]:
        try:
            return displayed.of_rooms(read())
        except UnusableStanza:
            return []  # it is the receiver's affair

    def _take(self, found: Iterable[Displayed], *, live: bool) -> None:
        for room, stanza_id in found:
            former = self._up_to.pop(room, None)
            self._up_to[room] = stanza_id
            if former != stanza_id:
                self._further(room, stanza_id, live=live or former is not None)
        while len(self._up_to) > MAX_ROOMS:
            self._up_to.popitem(last=False)

    def _further(self, room: str, stanza_id: str, *, live: bool) -> None:
        """A room is read further. What is found when first asked may be long ago: only what is `live` is news."""
        occupancy = self._in_room(room)
        if occupancy is not None:
            occupancy.history.read_up_to(stanza_id)
        if live:
            self._read(room)


class ReadStateHandler(XMPPHandler):  # type: ignore[misc]
    """Tells it that the account stream is open."""

    def __init__(self, read_state: ReadState) -> None:
        super().__init__()
        self._read_state = read_state

    def connectionInitialized(self) -> None:
        """The stream is open (again)."""
        self._read_state.stream_opened()
