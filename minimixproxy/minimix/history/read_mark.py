"""Up to which message of one room the account has read, on whatever device (XEP-0490). Pure."""

from __future__ import annotations

from minimixproxy.minimix.history.kept_messages import KeptMessages
from minimixproxy.minimix.interfaces.journal import RoomJournal

ACCOUNT = ""  # stands for the account itself among the resources whose positions are kept: none is empty


class ReadMark:
    """It only goes forward: what has been read cannot be unread.

    A message that is not there may be one to come, or too old, or none at all: until it is there, what was known before
    counts. One that was there once is remembered by its place, and so stays older than all that has come since.
    """

    __slots__ = ("_journal", "_messages", "_sequence", "_told")

    def __init__(self, journal: RoomJournal, messages: KeptMessages, kept: int | None) -> None:
        self._journal = journal
        self._messages = messages
        self._sequence = kept
        self._told: str | None = None  # the room's id of a message that is not there

    def told(self, stanza_id: str) -> None:
        """A device has published how far the room is read, by the room's id of a message."""
        self._told = stanza_id
        self._find()

    @property
    def sequence(self) -> int | None:
        """The sequence of the last message that is read; None if that is not known."""
        if self._told is not None:
            self._find()
        return self._sequence

    def _find(self) -> None:
        assert self._told is not None
        found = self._messages.with_stanza_id(self._told)
        if found is None:
            return
        self._told = None
        if self._sequence is None or found.sequence > self._sequence:
            self._sequence = found.sequence
            self._journal.seen(ACCOUNT, found.sequence)
