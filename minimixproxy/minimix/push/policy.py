"""Whether a device's push service is told of a message, and when. Pure.

A message is told only if it says something that was not said by the account itself, and is not told as of the past.

| message | device sleeps | device is gone |
|---|---|---|
| room, muted (XEP-0492 `never`), or `rooms = "none"` | never | never |
| room, names the account or calls it | is told, if the device is in the room | is told |
| room, anything else | the same, where all is told (`always`, `rooms = "all"`) | the same |
| private, in a room that is not muted | is told, if the device is in the room | is told, unless its server does it |
| of a contact | is told: its server believes that it is awake | never: its server does it |

A device that is awake, or has got the message, is told nothing. What is told is told at once if it is a call, or if no
other device is awake; else a moment later: its user may read it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """Where a message comes from."""

    ROOM = "room"
    PRIVATE = "private"  # of an occupant, to the account alone
    CONTACT = "contact"  # to a session of the account, in no room


class State(Enum):
    """What a device does."""

    AWAKE = "awake"
    ASLEEP = "asleep"  # its session can be resumed (XEP-0198)
    GONE = "gone"


class Notify(Enum):
    """Which messages of a room matter: by its bookmark (XEP-0492 §2.1), or by the configuration."""

    ALWAYS = "always"
    ON_MENTION = "on-mention"
    NEVER = "never"


class Verdict(Enum):
    """What becomes of a message for one device."""

    NOW = "now"
    WAIT = "wait"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class MessageFacts:
    """A message. `says`: clients would call for their user; `names`: for this one; `calls`: it is a call.

    `own`: the account itself has said it. `past`: it is told as something said before. `archived`: the account's own
    archive on its server has it (XEP-0313).
    """

    kind: Kind
    says: bool = True
    names: bool = False
    calls: bool = False
    own: bool = False
    past: bool = False
    archived: bool = False


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """A device. `here`: it is in the room. `got`: it has got the message.

    `server_pushes`: the account's server has enabled push for it, too.
    """

    state: State
    here: bool = True
    got: bool = False
    server_pushes: bool = False


def matters(message: MessageFacts, notify: Notify) -> bool:
    """Tell whether any device may be told of a message. `notify`: of its room; of no account for contacts."""
    calls = message.names or message.calls
    if message.own or message.past or not (message.says or calls):
        return False
    if message.kind is Kind.CONTACT:
        return True
    return notify is Notify.ALWAYS or (notify is Notify.ON_MENTION and (calls or message.kind is Kind.PRIVATE))


def verdict(message: MessageFacts, device: DeviceFacts, notify: Notify, *, others_awake: bool) -> Verdict:
    """Return what becomes of a message for a device. `notify`: as for `matters`."""
    if device.got or device.state is State.AWAKE or not matters(message, notify):
        return Verdict.NEVER
    if not _WANTS[message.kind](message, device):
        return Verdict.NEVER
    return Verdict.WAIT if others_awake and not message.calls else Verdict.NOW


def _of_room(_message: MessageFacts, device: DeviceFacts) -> bool:
    return _may_see(device)


def _in_private(message: MessageFacts, device: DeviceFacts) -> bool:
    """Servers push what they archive, to devices that are gone: also what came to the account stream."""
    by_server = device.state is State.GONE and device.server_pushes and message.archived
    return _may_see(device) and not by_server


def _of_contact(_message: MessageFacts, device: DeviceFacts) -> bool:
    return device.state is State.ASLEEP


_WANTS = {Kind.ROOM: _of_room, Kind.PRIVATE: _in_private, Kind.CONTACT: _of_contact}


def _may_see(device: DeviceFacts) -> bool:
    """A device that sleeps is in the rooms that it was in; one that is gone may come back to any."""
    return device.here or device.state is State.GONE
