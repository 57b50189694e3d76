"""The states of a negotiation with a client, and what can happen in them; `negotiation` says what follows."""

from __future__ import annotations

from enum import Enum, auto

from minimixproxy.namespaces import NS_CLIENT, NS_SASL, NS_SASL2, NS_TLS
from minimixproxy.wire.events import StreamOpened
from minimixproxy.wire.stanza import Stanza


class State(Enum):
    """What the client is to do next, or what it waits for."""

    OPEN_PLAIN = auto()  # send the first header, without TLS
    PLAIN = auto()  # start TLS
    OPEN_SECURE = auto()  # send the header within TLS
    SEEKING = auto()  # wait for whether the account is held elsewhere, and for its holder there
    LEARNING = auto()  # wait for what the server offers
    SECURE = auto()  # authenticate, or register before
    REGISTERING = auto()  # wait for the server's answer to a request for registration
    NAMING = auto()  # begin the login exchange, which it has announced only
    NAMING_SASL2 = auto()  # the same, by SASL2 (XEP-0388)
    RESPONDING = auto()  # respond to a challenge
    CHECKING = auto()  # wait for the login exchange, which waits for its turn or for the server
    RESPONDING_SASL2 = auto()  # respond to a challenge, by SASL2
    CHECKING_SASL2 = auto()  # wait for the login exchange, by SASL2
    CLAIMING = auto()  # logged in; wait for whether its account can be held here
    OPEN_AUTHENTICATED = auto()  # send the header of the stream for stanzas
    JOINING = auto()  # wait for the server's header and features; by SASL2 for what else was asked for, too
    OVER = auto()  # a session has taken over, or the stream is closed


#: The client is not read, and what it has sent ahead is looked at afterwards.
WAITING = frozenset({State.SEEKING, State.LEARNING, State.REGISTERING, State.CLAIMING, State.JOINING})


def kind_of(event: StreamOpened | Stanza) -> str:
    """Return what the transitions call an event."""
    if isinstance(event, StreamOpened):
        return "header"
    if event.uri in (NS_TLS, NS_SASL):
        return event.name
    if event.uri == NS_SASL2:
        return f"sasl2 {event.name}"
    return "iq" if (event.uri, event.name) == (NS_CLIENT, "iq") else "other"
