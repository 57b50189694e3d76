"""The account leaves a room, or is removed from it for good, and the occupancy ends."""

from __future__ import annotations

from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.addressing.outgoing import relayed
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.minimix.occupancy.parts import Parts
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep import muc

REMOVED_BY_FAULT = (muc.SELF, muc.KICKED, muc.TECHNICAL)
REJECTING = "This device has refused a presence of the room."

log = Logger()


def stop(parts: Parts) -> None:
    """Stop everything that belongs to being in the room, or to entering it."""
    parts.history.out_of_step()
    parts.grace.cancel()
    parts.self_ping.stop()
    parts.appearance.stop()
    parts.attempts.stop()


def leave(parts: Parts, request: Stanza | None, reason: str) -> None:
    """Tell the room, with the status text of the client's own leave."""
    leave_out_of_reach(parts, request, reason)
    parts.outlet.send_to_room(muc.unavailable(parts.room, parts.appearance.nick, request))


def leave_out_of_reach(parts: Parts, _request: Stanza | None, reason: str) -> None:
    """The account means to be in the room no more.

    Sessions that are still attached did not ask for it. They are shown out as if kicked (307), with `reason`: a client
    takes what looks like the answer to a leave for the answer to its own, and stays. Those that wait are refused.
    """
    log.info("{account} leaves {room}", account=parts.account, room=parts.room)
    parts.membership.forget()
    stop(parts)
    parts.attendance.refuse_waiting("recipient-unavailable", "the account leaves the room")
    parts.attendance.show_out_all((muc.SELF, muc.KICKED), reason)


def say_unavailable(parts: Parts) -> None:
    """Say so to the room, if it can be reached."""
    if parts.outlet.stream_jid:
        parts.outlet.send_to_room(muc.unavailable(parts.room, parts.appearance.nick))


def ask_to_be_removed(parts: Parts, session: SessionPort, stanza: Stanza) -> None:
    """The only session refuses a presence of the room: the room is to take the account out."""
    parts.outlet.send_to_room(relayed(stanza, session))


def show_out_rejecting(parts: Parts, session: SessionPort, _stanza: Stanza) -> None:
    """A session refuses a presence of the room, and others do not, or the room is out of reach."""
    parts.attendance.show_out(session, REMOVED_BY_FAULT, reason=REJECTING)
    parts.appearance.refresh()


def show_removal(parts: Parts, stanza: Stanza) -> None:
    """The room shows the account out for good."""
    log.info(
        "{room} has removed {account} for good (status {codes})",
        room=parts.room,
        account=parts.account,
        codes=sorted(muc.status_codes(stanza)),
    )
    parts.outlet.room_removed(parts.room)
    parts.attendance.attached.fork_presence(stanza)
    parts.attendance.refuse_waiting("recipient-unavailable", "removed while joining")


def end(parts: Parts) -> None:
    """All is over."""
    stop(parts)
    parts.attendance.refuse_waiting("recipient-unavailable", "the account is not in the room any more")
    parts.attendance.outbox.close()
    parts.membership.forget()
    parts.attendance.close()
    parts.history.close()
    parts.outlet.room_ended(parts.room)
