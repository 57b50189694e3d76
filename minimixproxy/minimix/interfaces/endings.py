"""Why an account is not in a room: what there is to tell of it. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Why(Enum):
    """What has happened. The values are in status reports: docs/status.md lists them."""

    # It did not come to a join.
    TOO_MANY_ROOMS = "too-many-rooms"
    TOO_MUCH_WAITS = "too-much-waits"
    SERVER_SLOW = "server-slow"
    UNREADABLE = "join-unreadable"
    # The room, or a server on the way, does not let the account in.
    REFUSED = "join-refused"
    REFUSED_DIRECTLY = "join-refused-directly"  # to a device that joins by itself
    NO_ANSWER = "no-answer"
    NICK_REFUSED = "nick-refused"
    SERVICE_SILENT = "service-silent"
    SHUT_OUT = "shut-out"  # it was in, and is not let in again
    STREAM_LOST = "stream-lost"
    # It was in, and the room has put it out.
    BANNED = "banned"
    KICKED = "kicked"
    AFFILIATION_LOST = "affiliation-lost"
    MEMBERS_ONLY = "members-only"
    DESTROYED = "destroyed"
    PUT_OUT = "put-out"  # by a fault
    UNKNOWN_TO_ROOM = "unknown-to-room"  # without a word
    # It was in, and has left.
    LAST_DEVICE_LEFT = "last-device-left"
    LEFT_BY_COMMAND = "left-by-command"
    BOOKMARK_GONE = "bookmark-gone"
    NO_DEVICE = "no-device"  # for as long as it may stay
    # The proxy.
    NOT_RESTORED = "not-restored"  # what was kept of it cannot be used


@dataclass(frozen=True, slots=True)
class Ending:
    """Why, and what the room or server has said of it: `condition` is that of its error, or status codes.

    `by`: who has done it, as the room says; or the device that has left. All but `why` is what others wrote.
    """

    why: Why
    condition: str = ""
    text: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """The same, with the time at which it happened, in seconds since the epoch."""

    when: float
    ending: Ending
