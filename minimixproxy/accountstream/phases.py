"""The phases of an account stream's life, and what can happen in them. `lifecycle.py` says what follows."""

from __future__ import annotations

from enum import Enum, StrEnum


class StreamState(Enum):
    """What others need to know of where a stream is in its life."""

    CLOSED = "closed"
    WAITING = "waiting"
    OPENING = "opening"
    OPEN = "open"
    RESUMING = "resuming"
    REFUSED = "refused"


class Phase(Enum):
    """Where a stream is in its life: as others see it, and what it is for."""

    CLOSED = StreamState.CLOSED, "nobody needs it"
    WAITING = StreamState.WAITING, "time has to pass after a failure, up to two minutes; nobody waits for it"
    HURRYING = StreamState.WAITING, "somebody waits: time has to pass after a failure, a few seconds at most"
    IN_LINE = StreamState.WAITING, "stands in line for a slot, so that not all streams open at once"
    FIRST_IN_LINE = StreamState.WAITING, "somebody waits: in line before all that are not in a hurry"
    OPENING = StreamState.OPENING, "connecting, up to a bound resource; a minute at most"
    OPEN = StreamState.OPEN, "stanzas go out at once; a server that is silent is given up"
    CONGESTED = StreamState.OPEN, "open, but the server does not read: what waits is counted"
    BROKEN = StreamState.RESUMING, "the connection is gone, nobody is told: time has to pass to the next try to resume"
    TO_RESUME = StreamState.RESUMING, "the same: in line for a slot, before all that are not in a hurry"
    RESUMING = StreamState.RESUMING, "the same: connecting, up to the server's word on it; a minute at most"
    LEAVING = StreamState.CLOSED, "nobody needs it, but the server keeps it: resumed once to close it"
    REFUSED = StreamState.REFUSED, "the credential is no good: until a client logs in"
    TELLING = StreamState.REFUSED, "who sends is told so, in the reactor's next turn"

    def __init__(self, shown: StreamState, about: str) -> None:
        self.shown = shown
        self.about = about


class Input(StrEnum):
    """What can happen to a stream."""

    SEND = "a stanza is to be sent"
    REOPEN = "there are rooms to come back to"
    MENDED = "a client has logged in"
    REFUSE = "no usable login was kept"
    CLOSE = "nobody needs it now"
    TIME_UP = "the time of this phase is up"
    SLOT = "it gets a slot"
    CONNECTED = "a resource is bound"
    RESUMED = "the server goes on with the stream"
    CANNOT_OPEN = "it could not be opened"
    CREDENTIAL_REFUSED = "the credential was refused"
    ENDED = "the connection has ended, or is no good"
    BROKEN = "the same, and the stream can be resumed"
    FULL = "the server does not read"
    DRAINED = "the server has read all"
    TOO_MUCH = "more waits than may"
