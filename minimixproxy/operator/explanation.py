"""Why an account is in a room, or is not: one answer, with what to look at next. Pure.

`code` is for programs, and docs/status.md lists all of them; `text` and `check` are for people. What others wrote is in
`last` only, as they wrote it; in `text` it is made printable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from minimixproxy.logs.logger import printable
from minimixproxy.minimix.commands.report import devices_of
from minimixproxy.minimix.interfaces.endings import Ended, Why
from minimixproxy.operator.reported import OUT, ReportedAccount, ReportedRoom, ReportedStream

#: What has happened, and what to look at. `{by}`, `{condition}` and `{text}` are put behind, where they are known.
WORDS: dict[Why, tuple[str, str]] = {
    Why.TOO_MANY_ROOMS: (
        "the account is in as many rooms as it may be, so this one was not joined",
        "max_rooms of [rooms], or have it leave others",
    ),
    Why.TOO_MUCH_WAITS: ("too many joins of its devices waited already", "what its devices do"),
    Why.SERVER_SLOW: (
        "the server took too slowly what the account said, so the join was refused here",
        "the load of the server, and the connection to it",
    ),
    Why.UNREADABLE: ("a device asked to join by a presence that is too large to be read", "what that device is"),
    Why.REFUSED: ("the room, or a server on the way, refused the join", ""),
    Why.REFUSED_DIRECTLY: (
        "a device that joins by itself, since its account is not enrolled, was refused",
        "enroll the account: minimixproxy enroll",
    ),
    Why.NO_ANSWER: ("the room did not answer the join", "whether the room's server is there, and talks to yours"),
    Why.NICK_REFUSED: (
        "the nick is somebody else's in the room, or it has to be the registered one",
        "who has that nick there: another client of the same user, beside the proxy?",
    ),
    Why.SERVICE_SILENT: (
        "the join was forbidden, and the room's service does not answer: it is taken to be down",
        "whether the room's server is there, and talks to yours",
    ),
    Why.SHUT_OUT: ("the room does not let the account in again", ""),
    Why.STREAM_LOST: (
        "the account stream was lost, or could not be opened, while a device waited for the join",
        "whether the server can be reached; devices may join again",
    ),
    Why.BANNED: ("the account was banned from the room", "the room's owners and admins can lift the ban"),
    Why.KICKED: ("the account was kicked", "nobody keeps it out: a device may join again"),
    Why.AFFILIATION_LOST: ("the account lost its affiliation, and the room wants one", "the room's owners and admins"),
    Why.MEMBERS_ONLY: ("the room became open to members only", "the room's owners and admins"),
    Why.DESTROYED: ("the room was destroyed", "the room's owner"),
    Why.PUT_OUT: ("the room put the account out by a fault of its own", "the log of the room's server"),
    Why.UNKNOWN_TO_ROOM: ("the room did not know the account any more, and had not said so", ""),
    Why.LAST_DEVICE_LEFT: ("the last device that was in the room has left it", "the user can join again"),
    Why.LEFT_BY_COMMAND: ("the user had the account leave, by a command", "the user can join again"),
    Why.BOOKMARK_GONE: ("the bookmark that kept the account in the room is gone", "the user can join again"),
    Why.NO_DEVICE: ("no device was connected for as long as accounts stay without one", "stay of [rooms]"),
    Why.NOT_RESTORED: ("what was kept of the room could not be used after the restart", "the log, at the start"),
}
#: What conditions of errors mean for a join (XEP-0045 §7.2).
CONDITIONS = {
    "not-authorized": "it wants a password, or another one: the next device that joins with it brings the account in",
    "registration-required": "it is open to members only",
    "forbidden": "the account is banned from it",
    "conflict": "the nick is taken, or registered by somebody else",
    "service-unavailable": "it is full, or there is no such service",
    "item-not-found": "it is locked, or does not exist and the account may not make it",
    "not-allowed": "the account may not make rooms there",
    "not-acceptable": "the account has to use its registered nick",
    "remote-server-not-found": "its server cannot be found",
    "remote-server-timeout": "its server does not answer",
    "resource-constraint": "something is full",
    "policy-violation": "what was sent is too large, or against a rule of it",
    "gone": "it exists no more",
    "jid-malformed": "the address or the nick is none",
}
_BOOKMARKS = {
    "off": ("bookmarks are not read here", 'bookmarks of [rooms] is "off"'),
    "not-read": ("its bookmarks were not read yet", "whether its stream is open; ask again in a minute"),
    "refused": ("the server gives no bookmarks", "whether the server has PEP or private XML storage"),
    "none": ("there is no bookmark of the room", "the user can join, or make a bookmark with autojoin"),
    "autojoin": ("a bookmark says to join it, and that is about to be done", "ask again in a minute"),
    "no-autojoin": ("its bookmark has no autojoin", "the user can join, or switch autojoin on"),
    "not-followed": (
        "a bookmark says to join it, but the account was put out, or has left, since it was written",
        "the user can join again, or write the bookmark anew",
    ),
}


@dataclass(frozen=True, slots=True)
class Known:
    """What is known: `held`, the account and its stream, None if the proxy holds none; `ended` of the room."""

    account: str
    room: str
    held: tuple[ReportedAccount, ReportedStream] | None
    ended: Ended | None
    served: bool
    blocked: bool = False


def explain(known: Known, now: float) -> dict[str, Any]:
    """Return the answer, as what JSON has. `now`: in seconds since the epoch."""
    is_in, code, text, check = _why(known, now)
    return {
        "account": known.account,
        "room": known.room,
        "in": is_in,
        "code": code,
        "text": text,
        "check": check,
        "bookmark": known.held[0].bookmark_of(known.room).value if known.held is not None else None,
        "last": last(known.ended),
    }


_Answer = tuple[bool, str, str, str]  # whether it is in, code, text, what to check


def _why(known: Known, now: float) -> _Answer:
    if known.blocked:
        return False, "blocked", "the operator has blocked the account", "minimixproxy blocked; minimixproxy unblock"
    if known.held is None:
        return _unknown(known, now)
    account, stream = known.held
    occupancy = account.rooms.get(known.room)
    if occupancy is not None:
        return _occupied(known, account, stream, occupancy, now)
    if account.login_refused:
        why = printable(stream.fault.what) or "not-authorized"
        text = f"the server refuses the account's login ({why}), so it has no stream and is in no room"
        return False, "login-refused", text, "the user's next login by a client mends it, or: minimixproxy enroll"
    if known.ended is not None:
        return _ended(known.ended, now)
    if not account.is_enrolled:
        return False, "not-enrolled", NOT_ENROLLED, "minimixproxy enroll, or a login by PLAIN"
    bookmark = account.bookmark_of(known.room).value
    text, check = _BOOKMARKS[bookmark]
    asked = "no device has asked to join it since the proxy was started; "
    return False, f"bookmark-{bookmark}", asked + text, check


NOT_ENROLLED = "it is not enrolled: the proxy knows no login that opens its stream, so each device joins by itself"


def _unknown(known: Known, now: float) -> _Answer:
    if known.ended is not None:
        return _ended(known.ended, now)
    if not known.served:
        text = "the domain of that account is not served by this proxy"
        return False, "domain-not-served", text, 'the address, and the [domain."…"] tables of the configuration'
    text = "the proxy holds no such account: none of its clients is connected to it, and it is in no room"
    check = "the address; whether the client connects to the proxy and not to the server (its port, SRV records)"
    return False, "account-unknown", text, check


def _occupied(
    known: Known, account: ReportedAccount, stream: ReportedStream, occupancy: ReportedRoom, now: float
) -> _Answer:
    state = occupancy.state.value
    if state == "joined":
        return True, "in", f"it is in the room, as {printable(occupancy.nick)}; {_devices(occupancy)}", ""
    if state not in OUT:
        text = "the join is under way" if state == "joining" else "it is about to leave the room"
        return False, state, text, "ask again in a minute"
    if account.login_refused or not account.is_enrolled:
        why = printable(stream.fault.what) or "not-authorized"
        text = f"it means to come back, but the server does not take its login ({why})"
        return False, "login-refused", text, "the user's next login by a client mends it, or: minimixproxy enroll"
    if stream.state.value != "open":
        return False, f"stream-{stream.state.value}", _stream(stream), "whether the server can be reached from here"
    return False, "rejoining", _rejoining(occupancy, known.ended, now), _check(known.ended)


def _devices(occupancy: ReportedRoom) -> str:
    devices = devices_of(occupancy.attached)
    if not devices:
        return "no device has joined it now, so none shows it"
    return f"joined there: {', '.join(map(printable, devices))}; other devices show it once they join"


def _stream(stream: ReportedStream) -> str:
    fault = f" ({printable(stream.fault.what)})" if stream.fault.what else ""
    wait = f", next try in {stream.opens_in:.0f} s" if stream.opens_in else ""
    return f"it means to come back, but the account stream is not open: {stream.state.value}{fault}{wait}"


def _rejoining(occupancy: ReportedRoom, ended: Ended | None, now: float) -> str:
    tries = f"attempt {occupancy.attempts + 1}"
    wait = occupancy.next_attempt_in
    when = f"{tries} in {wait:.0f} s" if wait else f"attempt {max(1, occupancy.attempts)} is under way, or in line"
    why = f": {_ended(ended, now)[2]}" if ended is not None else ""
    return f"it means to come back, {when}{why}"


def _ended(ended: Ended, now: float) -> _Answer:
    ending = ended.ending
    text, _check_words = WORDS[ending.why]
    if ending.by:
        text += f", by {printable(ending.by)}"
    if ending.why in (Why.REFUSED, Why.SHUT_OUT, Why.REFUSED_DIRECTLY):
        text += f": {_condition(ending.condition)}"
    if ending.text:
        text += f" (“{printable(ending.text)}”)"
    return False, ending.why.value, f"{text}, {ago(now - ended.when)} ago", _check(ended)


def _condition(condition: str) -> str:
    shown = printable(condition) or "without a condition"
    meaning = CONDITIONS.get(condition)
    return f"{shown}, that is, {meaning}" if meaning else shown


def _check(ended: Ended | None) -> str:
    return WORDS[ended.ending.why][1] if ended is not None else ""


def last(ended: Ended | None) -> dict[str, Any] | None:
    """Return a record of why an account is not in a room, as what JSON has."""
    if ended is None:
        return None
    ending = ended.ending
    return {
        "why": ending.why.value,
        "at": stamp(ended.when),
        "condition": ending.condition,
        "text": ending.text,
        "by": ending.by,
    }


def records(endings: Mapping[str, Ended], rooms: Mapping[str, object]) -> list[dict[str, Any]]:
    """Return those of rooms that the account is not in, by address."""
    chosen = sorted((room, ended) for room, ended in endings.items() if room not in rooms)
    return [{"room": room, **(last(ended) or {})} for room, ended in chosen]


def stamp(when: float) -> str:
    """Return seconds since the epoch as a time in UTC (XEP-0082)."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ago(seconds: float) -> str:
    """Return how long ago something was, in its largest unit."""
    seconds = max(0.0, seconds)
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds // unit:.0f} {name}"
    return f"{seconds:.0f} s"
