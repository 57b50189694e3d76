"""What a room says of itself (XEP-0030): whether it keeps an archive, above all. No I/O."""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.streams import RoomOutlet
from minimixproxy.namespaces import NS_DISCO_INFO, NS_MAM
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep import muc

MAX_WAITING = 100  # who waits for an answer of the room
# Status codes that say, or imply, that the room has another configuration now (XEP-0045 §10.2.1).
_CONFIGURED = frozenset({"104", "170", "171", "172", "173", "174"})


class RoomInfo:
    """What is to be known of one room, asked for when it is needed, and again when it may have changed.

    Of the features that a room names, and there may be any number, nothing else is kept.
    """

    log = Logger()

    __slots__ = ("_asked", "_asking", "_outlet", "_waiting", "archive", "members_only", "room")

    def __init__(self, room: str, outlet: RoomOutlet) -> None:
        self.room = room
        self.members_only: bool | None = None  # None: not known yet
        self.archive: bool | None = None  # whether the room keeps an archive (XEP-0313); None: not known yet
        self._outlet = outlet
        self._waiting: list[Callable[[], None]] = []
        self._asking = False
        self._asked = False

    def refresh_once(self) -> None:
        """Ask the room if it was never asked."""
        if not self._asked:
            self.refresh()

    def refresh(self, done: Callable[[], None] | None = None) -> None:
        """Ask the room; then `done` is called, whatever became of it. If too many wait, it is called at once."""
        if done is not None and len(self._waiting) >= MAX_WAITING:
            self.log.warn(
                "too many requests wait for {room} to tell {account} what it supports: one more proceeds without",
                room=self.room,
                account=self._outlet.account,
            )
            done()
        elif done is not None:
            self._waiting.append(done)
        if not self._asking:
            self._asking = self._asked = True
            self._outlet.ask(self.room, "get", b"<query xmlns='%b'/>" % NS_DISCO_INFO.encode(), self._answered)

    def _answered(self, answer: Stanza | None) -> None:
        self._asking = False
        if answer is not None:
            self.learn(answer)
        if answer is None or answer.get("type") != "result":
            self.log.info(
                "{room} does not tell {account} what it supports", room=self.room, account=self._outlet.account
            )
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done()

    def learn(self, answer: Stanza) -> bool:
        """Take an answer of the room, whoever asked; False if it does not tell of the room itself."""
        query = answer.payload(NS_DISCO_INFO, "query")
        if query is None or query.hasAttribute("node") or answer.get("type") != "result":
            return False
        features = {feature.getAttribute("var") for feature in query.elements(NS_DISCO_INFO, "feature")}
        self.archive = NS_MAM in features
        self.members_only = "muc_membersonly" in features
        return True

    def message_seen(self, message: Stanza) -> None:
        """Look at a groupchat message: with another configuration, a room may have an archive, or none any more."""
        if self.archive is not None and not _CONFIGURED.isdisjoint(muc.configuration_codes(message)):
            self.refresh()
