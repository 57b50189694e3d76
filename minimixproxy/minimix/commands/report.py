"""What an account tells of itself: to its owner by commands, to the operator by the status socket. Pure.

No passwords and no messages, only how many.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from minimixproxy.minimix.interfaces.streams import SessionPort


class Occupied(Protocol):
    """One room of an account; an `Occupancy` is one."""

    @property
    def room(self) -> str:
        """Its bare JID."""

    @property
    def nick(self) -> str:
        """The nick that the account has, or asks for."""

    @property
    def state(self) -> Enum:
        """Where it is in its life."""

    @property
    def bookmarked(self) -> bool:
        """Whether a bookmark with autojoin keeps the account in the room."""

    @property
    def attached(self) -> Iterable[SessionPort]:
        """The sessions that have joined the room from their own point of view."""

    @property
    def messages_kept(self) -> int:
        """How many messages its history has."""


@dataclass(frozen=True, slots=True)
class RoomReport:
    """One room: `devices` are the resources of the attached sessions, `asleep` those of them whose client is gone."""

    room: str
    nick: str
    state: str
    bookmarked: bool
    devices: tuple[str, ...]
    asleep: tuple[str, ...]
    messages: int


def resource_of(session: SessionPort) -> str:
    """Return what a session is called among its account's."""
    return session.jid.partition("/")[2]


def room_reports(rooms: Iterable[Occupied]) -> list[RoomReport]:
    """Return what there is to tell of each room, by address."""
    found = [
        RoomReport(
            occupancy.room,
            occupancy.nick,
            occupancy.state.value,
            occupancy.bookmarked,
            devices_of(occupancy.attached),
            asleep_of(occupancy.attached),
            occupancy.messages_kept,
        )
        for occupancy in rooms
    ]
    return sorted(found, key=lambda report: report.room)


def devices_of(sessions: Iterable[SessionPort]) -> tuple[str, ...]:
    """Return the resources of sessions, in order."""
    return tuple(sorted(map(resource_of, sessions)))


def asleep_of(sessions: Iterable[SessionPort]) -> tuple[str, ...]:
    """Return the resources of the sessions that sleep, in order."""
    return devices_of(session for session in sessions if session.asleep)


def listed(report: RoomReport) -> str:
    """Return the devices of a room in one line."""
    return ", ".join(f"{name} (asleep)" if name in report.asleep else name for name in report.devices)
