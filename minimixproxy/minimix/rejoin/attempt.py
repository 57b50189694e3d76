"""One attempt to come back into a room: from the join to having caught up with what was said meanwhile. No I/O."""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.history.room_info import RoomInfo
from minimixproxy.minimix.rejoin.difference import Difference, subject_of
from minimixproxy.minimix.rejoin.missed_messages import MissedMessages
from minimixproxy.minimix.rejoin.paced_forking import PacedForking
from minimixproxy.minimix.room.appearance import Appearance
from minimixproxy.minimix.room.attendance import Attendance
from minimixproxy.minimix.room.context import RoomContext
from minimixproxy.minimix.room.own_presence import rejoin_presence
from minimixproxy.minimix.room.snapshot import Snapshot
from minimixproxy.namespaces import NS_DATA, NS_MUC_OWNER
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep import muc
from minimixproxy.xep.delays import format_time

OVERLAP = 60.0  # seconds of the room's history asked for again, for clocks that differ
# What the owner of a room sends to take it as it is (XEP-0045 §10.1.2).
_INSTANT_ROOM = b"<query xmlns='%b'><x xmlns='%b' type='submit'/></query>" % (NS_MUC_OWNER.encode(), NS_DATA.encode())


class RejoinAttempt:
    """Attached sessions see the difference when the room has let the account in, and then `heard` what they missed.

    `view` is what the room shows, up to the own presence; then it is the attendance's. `heard` gets each message that
    was said meanwhile, known ones too, and whether it is told as something of the past. Then `done` is called, with
    False if some of it could not be read.
    """

    log = Logger()

    def __init__(
        self,
        context: RoomContext,
        info: RoomInfo,
        attendance: Attendance,
        heard: Callable[[Stanza, bool], None],
        done: Callable[[bool], None],
    ) -> None:
        self.view: Snapshot | None = Snapshot.empty(context)
        self.nick = ""  # asked for
        self._context = context
        self._info = info
        self._outlet = context.outlet
        self._attendance = attendance
        self._forking = PacedForking(context.room, context.clock, heard, self._told)
        self._done = done
        self._before: Snapshot = attendance.view
        self._subject_before = (b"", "")
        self._missed: MissedMessages | None = None

    def join(self, nick: str, appearance: Appearance, password: str | None, last_known: float, stanza_id: str) -> None:
        """Ask to be let in, and for what was said since `last_known`, in seconds since the epoch."""
        self.nick = nick
        payload = appearance.best()
        appearance.joined_with(payload)
        since = format_time(max(0.0, last_known - OVERLAP))
        self._outlet.send_to_room(rejoin_presence(f"{self._context.room}/{nick}", payload, password, since, stanza_id))

    def entered(self, stanza: Stanza, appearance: Appearance, nick: str, last_known: tuple[str | None, float]) -> None:
        """The own presence: all who are there have been shown. `last_known`: id and time of the last kept message."""
        view, self.view = self.view, None
        assert view is not None
        view.entered(stanza)
        self._attendance.entered(view)
        before_nick = appearance.nick
        appearance.named(nick)
        seen = self._before.self_presence is not None
        difference = Difference(self._before, view, before_nick, nick)
        self._subject_before = subject_of(self._before)
        self._before.close()
        for session in list(self._attendance.attached) if seen else ():
            session.deliver_all(difference.to(session.jid, self._outlet.stream_jid))
        if view.created:
            # Nobody asked for a new room: as it is, it lets the others in.
            self._outlet.ask(self._context.room, "set", _INSTANT_ROOM, self._accepted)
        self._missed = MissedMessages(self._context, self._info, self._forking.start)
        self._missed.start(*last_known)

    def _accepted(self, answer: Stanza | None) -> None:
        if answer is None or answer.get("type") != "result":
            self.log.warn(
                "{room} was gone, and {account} has made it anew; it may be locked for others",
                room=self._context.room,
                account=self._outlet.account,
            )

    @property
    def archive_told_all(self) -> bool:
        """Whether the room's archive has told all that was said meanwhile."""
        return self._missed is not None and self._missed.archive_told_all

    def groupchat(self, stanza: Stanza, *, again: bool) -> None:
        """A groupchat message of the room takes its place behind what was said before.

        `again`: the room tells its history once more.
        """
        if self._missed is None:
            return  # before the own presence: it is asked for again
        if self._forking.running:
            if not muc.is_subject(stanza):
                self._forking.add(stanza, past=again)
        elif muc.is_subject(stanza):
            self._missed.subject_seen()
        else:
            self._missed.add(stanza, past=again)

    def _told(self) -> None:
        """All that was said meanwhile has its place."""
        view = self._attendance.view
        subject = view.subject
        if subject is not None and subject_of(view) != self._subject_before:
            self._attendance.attached.fork(subject)
        assert self._missed is not None
        self._done(self._missed.complete)

    def stop(self) -> None:
        """It came to nothing, or was interrupted."""
        if self.view is not None:
            self.view.close()
        if self._missed is not None:
            self._missed.stop()
        self._forking.stop()
