"""Nick, password and bookmark of an occupancy, as they are journalled. No I/O."""

from __future__ import annotations

from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.journal import KeptMembership, RoomJournal
from minimixproxy.minimix.room.appearance import Appearance

MAX_PASSWORD = 1024  # characters


class Membership:
    """Nicks (they are the appearance's), password, bookmark; journalled once the account has been in the room.

    So is from where on messages are missing, if some are: after a restart they are still to be read.
    """

    log = Logger()

    __slots__ = ("_appearance", "_bookmarked", "_journal", "_missing_since", "_password", "known", "since")

    def __init__(self, appearance: Appearance, journal: RoomJournal, since: float) -> None:
        """`since`: when the account came in, seconds since the epoch."""
        self._password: str | None = None
        self.since = since
        self._appearance = appearance
        self._journal = journal
        self._bookmarked = False
        self._missing_since: tuple[str | None, float] | None = None
        self.known = False  # to the journal

    def restore(self, kept: KeptMembership) -> None:
        """Take what was kept."""
        self.known = True
        self._appearance.named(kept.nick, wished=kept.wished_nick)
        self._bookmarked, self.since = kept.bookmarked, kept.since
        self._missing_since = kept.missing_since
        self.learn_password(kept.password)

    @property
    def password(self) -> str | None:
        """The room's password, by which the account comes back. One longer than `MAX_PASSWORD` is not kept."""
        return self._password

    def learn_password(self, password: str | None) -> None:
        """The room is asked with this password now, or with none."""
        self._password = password
        if password is not None and len(password) > MAX_PASSWORD:
            self.log.warn(
                "a room password of more than {limit} characters is not kept: without a client that gives it, "
                "the account cannot come back into {room}",
                limit=MAX_PASSWORD,
                room=self._appearance.room,
            )
            self._password = None

    @property
    def kept(self) -> KeptMembership:
        """All of it, as a record."""
        appearance = self._appearance
        return KeptMembership(
            appearance.nick, appearance.wished_nick, self.password, self._bookmarked, self.since, self._missing_since
        )

    @property
    def bookmarked(self) -> bool:
        """Whether a bookmark keeps the account in when its last session leaves (XEP-0402)."""
        return self._bookmarked

    def note_bookmark(self, bookmarked: bool) -> None:
        """A bookmark keeps the account in from now on, or does so no longer."""
        if bookmarked != self._bookmarked:
            self._bookmarked = bookmarked
            self.changed()

    def note_missing(self, since: tuple[str | None, float] | None) -> None:
        """What was said since, by id and time of the last message before, is still to be read; None: all is known."""
        if since != self._missing_since:
            self._missing_since = since
            self.changed()

    def keep(self) -> None:
        """The account is in the room with this."""
        self.known = True
        self._journal.membership(self.kept)

    def changed(self) -> None:
        """Journal the change."""
        if self.known:
            self.keep()

    def forget(self) -> None:
        """Forget the membership, even if the account never got in: messages may have been journalled."""
        self.known = False
        self._journal.forgotten()
