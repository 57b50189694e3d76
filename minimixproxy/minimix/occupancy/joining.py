"""A first join: sent for the session that asks first, seen through to its end, shown to all that wait (XEP-0045 §7)."""

from __future__ import annotations

from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.occupancy.parts import Parts
from minimixproxy.minimix.rejoin.difference import gone
from minimixproxy.minimix.room.own_presence import join_presence, presence_payload
from minimixproxy.minimix.room.removal import is_meant
from minimixproxy.minimix.room.waiting_joins import JoinRequest
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep import muc

JOIN_TIMEOUT = 60.0  # seconds for a room to answer a join

log = Logger()


# A session asks to join


def send(parts: Parts, request: JoinRequest) -> None:
    """Ask the room to let the account in, as this session does."""
    parts.attendance.sends(request)
    parts.appearance.named(request.nick, wished=request.nick)
    parts.membership.learn_password(request.password)
    payload = presence_payload(request.stanza, parts.context.caps)
    parts.appearance.joined_with(payload)
    occupant = f"{parts.room}/{request.nick}"
    history, stanza_id = parts.context.settings.history, parts.join_ids.next()
    parts.outlet.send_to_room(join_presence(request.stanza, payload, occupant, history, stanza_id))


def let_in(parts: Parts, request: JoinRequest) -> None:
    """The account is in already: show the room to this session."""
    parts.attendance.let_in(request)


def refuse(parts: Parts, _request: JoinRequest) -> None:
    """The occupancy is over."""
    parts.attendance.refuse_waiting("recipient-unavailable", "the account is not in the room any more")


# The room lets the account in


def entered(parts: Parts, stanza: Stanza, nick: str) -> None:
    """The own presence. Rooms may give another nick than the one asked for, a registered one for instance."""
    parts.join_ids.answered()
    parts.appearance.named(nick, wished=nick)
    parts.attendance.view.entered(stanza)


def complete(parts: Parts) -> None:
    """The room has shown everything: now every waiting session is given its replay."""
    parts.history.in_step()
    joiner = parts.attendance.joiner
    if joiner is not None and joiner.wish is None:  # of a first join: nobody's is sent on coming back
        parts.history.room_shows(len(parts.history))
    log.info("{account} is in {room}, as {nick}", account=parts.account, room=parts.room, nick=parts.appearance.nick)
    parts.membership.keep()
    parts.self_ping.start()
    parts.attendance.let_in_waiting()
    parts.appearance.seek_wished_nick()
    parts.appearance.refresh()
    parts.outlet.room_joined(parts.room)


def own_changed(parts: Parts, stanza: Stanza, nick: str) -> None:
    """The room shows the account again, perhaps by another nick."""
    shown = parts.attendance.view.self_presence
    parts.attendance.view.own_shown(stanza)
    weigh = parts.scales.of_own(shown)
    if not parts.appearance.is_nick(nick):
        if shown is not None:  # nothing has said yet that the account is that one now
            former = f"{parts.room}/{parts.appearance.nick}"
            parts.attendance.attached.fork_presence(gone(shown, former, nick))
        parts.appearance.nick_changed(nick)
        parts.attendance.outbox.in_flight.renamed(f"{parts.room}/{nick}")
        parts.membership.keep()
        weigh = None
    parts.attendance.attached.fork_presence(stanza, weigh)
    parts.appearance.own_shown(stanza)


# It does not


def unanswered(parts: Parts) -> None:
    """The room says nothing. It may let the account in later: it is to know that nobody wants to be in any more."""
    parts.attendance.refuse_waiting("remote-server-timeout", "the room did not answer")
    parts.outlet.send_to_room(muc.unavailable(parts.room, parts.appearance.nick))


def stream_lost(parts: Parts) -> None:
    """There is no way to the room."""
    parts.attendance.refuse_waiting("remote-server-timeout", "connection to the server lost")


def removed(parts: Parts, stanza: Stanza) -> None:
    """In, and out at once."""
    if is_meant(stanza):
        parts.outlet.room_removed(parts.room)
    parts.attendance.refuse_waiting("recipient-unavailable", "removed while joining")


def start_anew(parts: Parts, _stanza: Stanza) -> None:
    """The room shows the account out, and has not shown it in yet: that is the end of a time before this join."""
    log.info(
        "{room} says that {account} is out, of a stay before this join: the join continues",
        room=parts.room,
        account=parts.account,
    )
    parts.attendance.view.start_anew()


def removed_before_in(parts: Parts, stanza: Stanza) -> None:
    """The same, and it is meant: it ends this join too. The room may let the account in all the same."""
    start_anew(parts, stanza)
    parts.outlet.send_to_room(muc.unavailable(parts.room, parts.appearance.nick))
    removed(parts, stanza)
