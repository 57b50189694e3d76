"""Where an occupancy can be in its life, and what can happen to it. `lifecycle` says what follows from what."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """What operators and users are told: each is one phase of a life, or several."""

    JOINING = "joining"
    JOINED = "joined"
    INTERRUPTED = "interrupted"
    REJOINING = "rejoining"
    LEAVING = "leaving"
    ENDED = "ended"


class Phase(Enum):
    """The states of the lifecycle's table."""

    __hash__ = object.__hash__  # as they are compared: Enum's is no part of C, and each stanza asks for some

    NEW = "new"  # nobody has asked to join yet
    JOINING = "joining"  # the join is sent, and the own presence awaited
    ENTERED = "entered"  # the own presence was shown, and the subject is awaited
    JOINED = "joined"
    ASKED_OUT = "asked out"  # joined; its only session has asked the room to remove it
    INTERRUPTED = "interrupted"  # out, and means to come back: in its turn, after a wait, or when there is a stream
    REJOINING = "rejoining"  # the join is sent, and the own presence awaited
    CHECKING = "checking"  # the room forbids it, and its service is asked whether it is there at all
    CATCHING_UP = "catching up"  # in again; what was said meanwhile is being read
    LEAVING = "leaving"  # the leave is sent
    PAUSING = "pausing"  # out; sessions that asked meanwhile wait for the next occupancy of the room
    ENDED = "ended"

    @property
    def state(self) -> State:
        """What operators are told."""
        return _STATES[self]


_STATES = {
    Phase.NEW: State.JOINING,
    Phase.JOINING: State.JOINING,
    Phase.ENTERED: State.JOINING,
    Phase.JOINED: State.JOINED,
    Phase.ASKED_OUT: State.JOINED,
    Phase.INTERRUPTED: State.INTERRUPTED,
    Phase.REJOINING: State.REJOINING,
    Phase.CHECKING: State.REJOINING,
    Phase.CATCHING_UP: State.REJOINING,
    Phase.LEAVING: State.LEAVING,
    Phase.PAUSING: State.LEAVING,
    Phase.ENDED: State.ENDED,
}


class Input(Enum):
    """What can happen; behind each, what comes with it."""

    # Sessions.
    JOIN = "a session asks to join"  # its request
    JOIN_DROPPED = "a session asks to join, and too much waits already"  # its request
    LEAVE = "the account is to leave"  # the client's own leave, if it gave one, and a reason for all others
    ABANDON = "the account is no more"
    REJECTED = "the only session refuses a presence"  # the session, and its presence error
    # The room: the account is in, or out.
    OWN_SHOWN = "own presence"  # it, and the nick
    SUBJECT = "subject"
    REMOVED = "out, and somebody means it"  # the own unavailable presence
    PUT_OUT = "out by a fault"  # the same
    AWAITED_OUT = "out, and a session waits for the next join"  # the same
    SILENTLY_OUT = "the room does not know the account"
    # The room, or its service: the account is not let in.
    REFUSED = "join refused"  # the presence error
    NEXT_REFUSED = "join refused, and another session asks in another way"  # its request
    NICK_REFUSED = "join refused for its nick"  # the presence error
    SHUT_OUT = "join refused for good"  # the same
    FORBIDDEN = "join forbidden"  # the same
    SERVICE_DOWN = "no answer of the service"
    SERVICE_UP = "the service answers"
    BANNED = "the service answers, and did so before the join"  # the presence error
    # The account stream.
    STREAM_LOST = "stream lost"
    STREAM_OPENED = "stream opened"
    GIVEN_UP = "no stream until a client logs in"
    # Time.
    TIMEOUT = "time is up"  # see `lifecycle.TIMEOUTS`
    TURN = "its turn to rejoin"  # the nick to ask for
    CAUGHT_UP = "all has been read"  # False: all but what could not be


ALL = frozenset(Phase)
FIRST = frozenset({Phase.JOINING, Phase.ENTERED})
IN = frozenset({Phase.JOINED, Phase.ASKED_OUT})
ASKING = frozenset({Phase.REJOINING, Phase.CHECKING})
BACK = ASKING | {Phase.CATCHING_UP}
AWAY = BACK | {Phase.INTERRUPTED}
LEFT = frozenset({Phase.LEAVING, Phase.PAUSING})
