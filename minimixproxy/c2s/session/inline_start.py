"""How a session begins that was asked for along with a login (XEP-0388): bound already, mostly (XEP-0386)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minimixproxy.wire.events import Event
from minimixproxy.xep.bind2 import Wishes


@dataclass(frozen=True, slots=True)
class InlineStart:
    """`success`: makes the element that the client waits for, given what its session answers to `wishes`.

    `jid`: what the server has bound, "" if nothing: then the client binds as ever, and wishes nothing. `carbons`: the
    server has switched them on. `device`: the id of the client's installation, "" if it has not said one. `early`: what
    the client did not wait to send. `is_void`: tells whether the token by which it has logged in has been withdrawn.
    """

    success: Callable[[bytes], bytes]
    jid: str
    wishes: Wishes
    carbons: bool
    device: str
    early: list[Event]
    is_void: Callable[[], bool]
