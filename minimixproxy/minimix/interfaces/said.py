"""What was said to the account, as push services are perhaps told of it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minimixproxy.wire.stanza import Stanza


@dataclass(frozen=True, slots=True)
class Calling:
    """What of a message makes clients call for their user. `names`: this one is meant; `calls`: somebody rings."""

    says: bool
    names: bool = False
    calls: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """A message of a room or of an occupant. `room`: its bare JID; `sequence`: its place in the history, if any.

    `own`: the account has said it. `in_group`: to all, not in private. `is_private_group`: asked where it matters, and
    so is `is_read`, whether a device has published that it is read (XEP-0490); None: nobody would know.
    """

    room: str
    message: Stanza
    sequence: int | None
    own: bool
    calling: Calling
    in_group: bool
    is_private_group: Callable[[], bool]
    is_read: Callable[[], bool] | None = None
