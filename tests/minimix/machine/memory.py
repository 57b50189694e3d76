"""What devices of the machine have been told, over restarts: nothing that is confirmed is told again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.minimix.machine.client import Client

AGAIN = 20  # messages that a client with no wish may be shown though it has seen them: all, or none of more


@dataclass(slots=True)
class Replayed:
    """One replay: how many messages, how many of them were seen before."""

    count: int = 0
    again: int = 0


@dataclass(slots=True)
class Memory:
    """By full JID. What is told is `confirmed` once all is on disk; a crash forgets the rest."""

    complain: Callable[[str], None]
    _told: set[tuple[object, ...]] = field(default_factory=set)
    _confirmed: set[tuple[object, ...]] = field(default_factory=set)

    def private(self, jid: str, token: str, data: bytes) -> None:
        """A device is shown a private message: once."""
        if ("private", jid, token) in self._told:
            self.complain(f"{jid} is given a private message twice: {data[:2000]!r}")
        self._told.add(("private", jid, token))

    def message(self, client: Client, room: str, token: str, data: bytes) -> None:
        """A device is shown a room's message, in a replay or as it was said."""
        occupancy = client.account.rooms.get(room)
        model = client.world.rooms.get(room)
        if occupancy is None or model is None or not model.ids:
            return
        key = ("message", client.jid, room, occupancy.membership.since, token)
        replay = client.replay
        if replay is not None:
            replay.count += 1
            replay.again += key in self._told
            if replay.again and replay.count > AGAIN:
                self.complain(f"{client.jid} has seen {replay.again} messages of a long replay: {data[:2000]!r}")
        self._told.add(key)

    def on_disk(self) -> None:
        """Nothing waits to be written."""
        self._confirmed = set(self._told)

    def crashed(self) -> None:
        """What was not confirmed may be told again."""
        self._told = set(self._confirmed)

    def forget(self, *parts: str) -> None:
        """Let these devices, or accounts, be told everything again."""
        for known in (self._told, self._confirmed):
            known.difference_update({key for key in known if str(key[1]).startswith(parts)})
