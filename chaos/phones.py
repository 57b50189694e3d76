"""Phones: devices with stream management that lose their network again and again, and resume."""

from __future__ import annotations

import re
from random import Random
from typing import Any

from twisted.internet import reactor

from chaos.people import KnowsIds
from chaos.writers import CALM, Handset, Place, Writer
from tests.integration.faults import NS_MUC, Heard, message, pause
from tests.integration.relay import Relay
from tests.integration.servers import Account
from tests.integration.xmlcut import Received

JOIN_AGAIN = 30.0  # seconds for a room's subject
REFUSED = 2.0  # seconds from a refusal to the next try
SPOKEN = re.compile(r"^<message to='([^']+)' type='groupchat'")
# How a phone loses its network. "silence": nothing comes through any more, and it finds that out a moment later.
# "change": it is in another network, and its old connection stands for a while.
WAYS = ("reset", "close", "silence", "change")


class Phone(Writer, KnowsIds):
    """In rooms, behind a relay of its own to the proxy; knows messages by their stanza-id on a new stream."""

    kind = "phone"
    client: Any

    def __init__(self, name: str, account: Account, place: Place, resource: str, dice: Random) -> None:
        self.relay = Relay(place.port, address=place.address)
        self.relay.start()
        KnowsIds.__init__(self, name, self._no_dial, account.username)
        Writer.__init__(self, name, Handset(account, self.relay.port, resource, name), dice)
        self._asked: dict[str, float] = {}  # when it asked rooms to let it in
        self.spoken: dict[str, str] = {}  # what it has said, and in which room
        self.refused: set[str] = set()  # of that, what it was told of

    async def _no_dial(self) -> Any:
        raise NotImplementedError

    async def go(self) -> None:
        """Lose the network, in one of several ways."""
        links, way = self.relay.links[-1:], self.dice.choice(WAYS)
        if not links:
            return
        if way == "change":
            self.relay.strand(*links)
        elif way == "silence":
            self.relay.silence(*links)
            await pause(self.dice.uniform(0.0, 2.0))
        else:
            self.relay.cut(*links, reset=way == "reset")

    def fall_silent(self) -> None:
        """Nothing comes through any more: it has to find that out."""
        if self.relay.links:
            self.relay.silence(self.relay.links[-1])

    async def quit(self) -> None:
        await super().quit()
        await self.relay.stop()

    # rooms

    def _is_new(self) -> None:
        self._asked.clear()
        for place in self.places.values():
            place.occupants.clear()
            place.nick = ""

    def _look_after(self) -> None:
        now = reactor.seconds()
        for room in sorted(self.wanted):
            if not self[room].nick and self._asked.get(room, 0.0) < now - JOIN_AGAIN:
                self._asked[room] = now
                self.device.send(f"<presence to='{room}/{self.nick}'><x xmlns='{NS_MUC}'/></presence>")
        self.ready = not self._left and all(self[room].nick for room in self.wanted)

    def talk_in(self, room: str, body: str, identity: str) -> None:
        """Say something in a room, whether the connection stands or not."""
        self.spoken[body] = room
        self.device.send(message(room, body, identity))

    def _may_send(self, stanza: str) -> bool:
        room = SPOKEN.match(stanza)
        return room is None or room[1] not in self.wanted or bool(self[room[1]].nick)

    async def caught_up(self) -> None:
        await super().caught_up()
        for room in sorted(self.wanted):
            if self[room].nick:
                await self.device.iq("get", room, "<ping xmlns='urn:xmpp:ping'/>", CALM)

    def _other(self, stanza: Received) -> bool:
        room = (stanza.get("from") or "").partition("/")[0]
        if stanza.get("type") == "error" and room in self.places:
            if stanza.element.name == "presence":
                self._asked[room] = reactor.seconds() - JOIN_AGAIN + REFUSED
            self.refused.update(re.findall(r"^n?(\d+)$", stanza.get("id") or ""))
            return str(stanza.element.name) != "iq"
        return self._note(stanza) or (room in self.places and str(stanza.element.name) == "presence")

    def _may_come_again(self, heard: Heard) -> bool:
        return heard.delayed and self.anew > 0

    def _lost_unsaid(self) -> list[str]:
        return [body for body in self.spoken if body.split()[0] not in self.refused]

    def unheard(self, heard: dict[str, set[str]]) -> list[str]:
        """What it said, of which it was not told that it failed, and which is not among what was `heard` in rooms."""
        return [
            f"{body} in {self.spoken[body]}" for body in self._lost_unsaid() if body not in heard[self.spoken[body]]
        ]
