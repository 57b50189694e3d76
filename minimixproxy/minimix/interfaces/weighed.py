"""A stanza of a room, with what it means to a device that nobody looks at (XEP-0352). Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class What(Enum):
    """What of an occupant, or of a room, a stanza tells anew."""

    PRESENCE = "presence"
    TYPING = "typing"  # chat states (XEP-0085)
    PRIVATE_TYPING = "private typing"
    MARKER = "marker"  # how far an occupant has read (XEP-0333)
    SUBJECT = "subject"


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What a stanza tells anew: a later one takes its place.

    `had`: a client that was told everything before this knows something that this changes or ends. `ends`: from now on
    there is nothing of it. `whose`: who shows it, the same for the same person; None if that cannot be known.
    `becomes`: the prepared nick that the occupant has from now on. `shows`, `shown_before`: the same for what reads the
    same; None if that is not of interest.
    """

    what: What
    had: bool = True
    ends: bool = False
    whose: str | None = ""
    becomes: str | None = None
    shows: int | None = None
    shown_before: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """One stanza for all sessions of an account that are inactive; `copy` makes that of a session's full JID.

    One that neither `matters` nor changes a state is an ordinary message: it may wait, and keeps its place.
    """

    room: str  # its bare JID
    sender: str  # the prepared nick of an occupant, "" for the room itself
    copy: Callable[[str], bytes]
    size: int  # bytes, about
    matters: bool = False
    change: Change | None = None
    sequence: int | None = None  # of the message in the history, if it is there
