"""Out of the room, by a fault or without a stream, and in again."""

from __future__ import annotations

from functools import partial

from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.occupancy import joining, leaving
from minimixproxy.minimix.occupancy.parts import Parts
from minimixproxy.minimix.occupancy.phases import Input
from minimixproxy.minimix.rejoin.attempt import RejoinAttempt
from minimixproxy.minimix.rejoin.attempts import LastKnown
from minimixproxy.minimix.room.waiting_joins import JoinRequest
from minimixproxy.namespaces import NS_CLIENT, NS_DISCO_INFO
from minimixproxy.wire.stanza import Stanza, serialize
from minimixproxy.xep import muc

ANSWER_TIMEOUT = 60.0  # seconds for a room to answer a join, and for its service to say that it is there
PATIENCE = 60.0  # seconds for sessions that ask to join meanwhile

log = Logger()
_DISCO = b"<query xmlns='%b'/>" % NS_DISCO_INFO.encode()


# Out


def interrupted(parts: Parts) -> bool:
    """The account is out, and means to come back; False: its last session has just left, so it leaves, too."""
    if parts.grace.cut_short():
        return False
    leaving.stop(parts)
    return True


def come_back_later(parts: Parts, *_why: object) -> None:
    """Come back after a wait that grows from failure to failure."""
    if interrupted(parts):
        parts.attempts.schedule.later()


def put_out(parts: Parts, stanza: Stanza) -> None:
    """The room shows the account out, and nobody means it."""
    log.info(
        "{room} has put {account} out by a fault (status {codes}): it means to rejoin",
        room=parts.room,
        account=parts.account,
        codes=sorted(muc.status_codes(stanza)),
    )
    come_back_later(parts)


def silently_out(parts: Parts) -> None:
    """The room does not know the account, and has not said so: come back at once, unless it says so again and again."""
    log.info("{room} does not know {account} any more: it rejoins", room=parts.room, account=parts.account)
    if interrupted(parts):
        parts.attempts.schedule.once_more()


def unanswered(parts: Parts) -> None:
    """The room, or its service, says nothing."""
    log.info(
        "{room} does not answer the rejoin of {account}: tried again later", room=parts.room, account=parts.account
    )
    come_back_later(parts)


# Sessions ask to join meanwhile


def wait(parts: Parts, request: JoinRequest) -> None:
    """A session waits for the account to come back."""
    if request.password is not None:
        parts.membership.learn_password(request.password)
    parts.attendance.has_patience(PATIENCE)


def wait_and_try(parts: Parts, request: JoinRequest) -> None:
    """The same: try now, with the password that was just given."""
    wait(parts, request)
    if parts.outlet.stream_jid:
        try_now(parts)


def give_up(parts: Parts) -> None:
    """There will be no stream until a client logs in: whoever is attached is shown out (307 and 333)."""
    parts.attendance.refuse_waiting("service-unavailable")
    parts.attendance.outbox.refuse("recipient-unavailable")
    parts.attendance.show_out_all(leaving.REMOVED_BY_FAULT, "The server refuses the account's login.")


# An attempt


def try_now(parts: Parts) -> None:
    """Come back in this room's turn."""
    parts.attempts.schedule.now()


def rejoin(parts: Parts, nick: str) -> None:
    """The turn has come: ask for this nick."""
    attempt = RejoinAttempt(
        parts.context,
        parts.info,
        parts.attendance,
        parts.heard,
        partial(parts.happens, Input.CAUGHT_UP),
    )
    parts.attempts.begin(attempt)
    since = parts.attempts.missed_since(_last_known(parts))[1]
    attempt.join(nick, parts.appearance, parts.membership.password, since, parts.join_ids.next())


def _last_known(parts: Parts) -> LastKnown:
    stanza_id, time = parts.history.newest
    return stanza_id, time or parts.membership.since


def note_gap(parts: Parts) -> LastKnown:
    """What was said since the last message that is known is missing. What is heard from now on must not hide that.

    Return that message's id and time, or those of where an earlier gap begins.
    """
    since = parts.attempts.missed_since(_last_known(parts))
    parts.attempts.misses(since)
    parts.membership.note_missing(since)
    return since


def entered(parts: Parts, stanza: Stanza, nick: str) -> None:
    """The own presence: the account is in, and reads what was said meanwhile."""
    parts.join_ids.answered()
    parts.attempts.schedule.answered()
    newest = parts.history.last_sequence
    parts.attendance.outbox.doubt(newest)  # it has had what it has not refused by now, or will never have it
    attempt = parts.attempts.current
    assert attempt is not None
    attempt.entered(stanza, parts.appearance, nick, note_gap(parts))


def caught_up(parts: Parts, complete: bool) -> None:
    """All has been read and shown, but for what could not be, unless `complete`."""
    attempt = parts.attempts.current
    all_told = attempt is not None and attempt.archive_told_all
    parts.attempts.succeeded(complete=complete)
    joining.complete(parts)
    outlet = parts.outlet
    parts.attendance.outbox.release(outlet.from_session_again, outlet.when_acknowledged, all_told=all_told)


# It is not let in


def removed(parts: Parts, stanza: Stanza) -> None:
    """Shown out for good. The join that is on its way comes behind this: it may be let in."""
    attempt = parts.attempts.current
    assert attempt is not None
    parts.outlet.send_to_room(muc.unavailable(parts.room, attempt.nick))
    leaving.show_removal(parts, stanza)


def try_another_nick(parts: Parts, _error: Stanza) -> None:
    """Somebody has the nick, or it has to be the registered one."""
    if interrupted(parts) and not parts.attempts.schedule.other_nick():
        parts.attempts.schedule.later()


def shut_out(parts: Parts, error: Stanza) -> None:
    """The room does not let the account in any more: for its sessions, that is a removal."""
    payload = error.payload(NS_CLIENT, "error")
    assert payload is not None
    parts.outlet.room_removed(parts.room)
    parts.attendance.waiting.refuse_all(serialize(payload))
    parts.attendance.show_out_all(leaving.REMOVED_BY_FAULT, "The room does not let the account in again.")


def ask_service(parts: Parts, error: Stanza) -> None:
    """`forbidden` may be a ban.

    A server that talks to no others says it of its own room service, too, while that is down. The service may come up
    between the two answers. So it is a ban only if the service was there before, too.
    """
    attempt = parts.attempts.current

    def answered(answer: Stanza | None) -> None:
        if parts.attempts.current is not attempt:
            return
        if answer is None or answer.get("type") != "result":
            parts.happens(Input.SERVICE_DOWN)
        elif parts.attempts.forbidden_before:
            parts.happens(Input.BANNED, error)
        else:
            parts.happens(Input.SERVICE_UP)

    parts.outlet.ask(parts.room.partition("@")[2], "get", _DISCO, answered)


def try_once_more(parts: Parts) -> None:
    """The service is there: if it forbids it again, that is a ban."""
    if interrupted(parts):
        parts.attempts.forbidden()
        parts.attempts.schedule.now()
