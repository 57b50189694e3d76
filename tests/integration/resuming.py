"""Client libraries whose connection is lost and which resume their stream (XEP-0198): slixmpp, aioxmpp, nbxmpp."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from slixmpp import JID
from twisted.internet.defer import Deferred

from tests.integration.libraries import Aioxmpp, Slixmpp, aioxmpp, waiting
from tests.integration.nbxmpp_device import Nbxmpp
from tests.integration.servers import Account


class Returns:
    """How often a device has resumed its stream, and how often it has begun a new one."""

    def count_from_now(self) -> None:
        self.resumptions = self.sessions = 0
        self._change = asyncio.Event()

    def count(self, *, resumed: bool) -> None:
        self.resumptions += resumed
        self.sessions += not resumed
        self._change.set()

    def back(self, count: int) -> Deferred[Any]:
        """Wait for so many resumptions."""

        async def run() -> None:
            while self.resumptions < count:
                self._change.clear()
                await self._change.wait()

        return waiting(run())


class ResumingSlixmpp(Slixmpp, Returns):
    """It connects again by itself when its connection is lost."""

    def __init__(self, account: Account, resource: str) -> None:
        super().__init__(account, resource)
        self.xmpp.register_plugin("xep_0198")
        self.count_from_now()
        self._port = 0
        self._leaving = False
        self.xmpp.add_event_handler("session_resumed", lambda _event: self.count(resumed=True))
        self.xmpp.add_event_handler("session_start", lambda _event: self.count(resumed=False))
        self.xmpp.add_event_handler("disconnected", lambda _event: self._again())

    def login(self, port: int) -> Deferred[None]:
        self._port = port
        return super().login(port)

    def _again(self) -> None:
        if not self._leaving:
            self.xmpp.connect("127.0.0.1", self._port)

    def write(self, to: str, text: str) -> None:
        self.xmpp.send_message(mto=JID(to), mbody=text, mtype="chat")

    def written(self) -> Deferred[Any]:
        """Wait until all that was said is written; slixmpp forgets what is not when the connection is lost."""
        return waiting(self.xmpp.waiting_queue.join())

    def logout(self) -> Deferred[None]:
        self._leaving = True
        return super().logout()


class ResumingAioxmpp(Aioxmpp, Returns):
    """It connects again by itself, after a moment."""

    def prepare(self) -> None:
        self.count_from_now()
        self._written = asyncio.Event()
        self.client.backoff_start = timedelta(seconds=0.1)
        self.client.on_stream_resumed.connect(lambda: self.count(resumed=True))
        self.client.on_stream_established.connect(lambda: self.count(resumed=False))
        dispatcher = self.client.summon(aioxmpp.dispatcher.SimpleMessageDispatcher)
        dispatcher.register_callback(aioxmpp.MessageType.CHAT, None, self.messages.add)

    def write(self, to: str, text: str) -> None:
        message = aioxmpp.Message(aioxmpp.MessageType.CHAT, to=aioxmpp.JID.fromstr(to))
        message.body[None] = text
        self._written.clear()
        self.client.enqueue(message, on_state_change=self._changed)

    def _changed(self, _token: object, state: object) -> None:
        if state is not aioxmpp.stream.StanzaState.ACTIVE:
            self._written.set()

    def written(self) -> Deferred[Any]:
        """Wait until the last message is written; aioxmpp gives up if it writes to a connection that is gone."""
        return waiting(self._written.wait())


class ResumingNbxmpp:
    """nbxmpp as Gajim uses it: told by its network that the connection is gone, it connects again at once."""

    def __init__(self, account: Account, resource: str) -> None:
        self._device = Nbxmpp(account, resource)
        self.resumptions = 0

    @property
    def jid(self) -> str:
        return self._device.jid

    async def login(self, port: int) -> None:
        await self._device.login(port)
        self._device.do("come_back")

    async def back(self, count: int) -> None:
        """Wait for so many resumptions."""
        while self.resumptions < count:
            await self._device.sees("resumed")
            self.resumptions += 1

    async def join(self, room: str, nick: str) -> None:
        await self._device.join(room, nick)
        self._room = room

    def say(self, room: str, text: str) -> None:
        self._device.say(room, text)

    def write(self, to: str, text: str) -> None:
        self._device.do("say", to=to, body=text, kind="chat")

    async def written(self) -> None:
        """Wait until it has done what it was told: it is another process, which hears of a cut by itself."""
        await self._device.takes_itself_for_joined(self._room)

    async def hears(self, text: str) -> None:
        await self._device.hears(text)

    def seen(self, event: str) -> list[Any]:
        """The events of that kind that nobody waited for."""
        return self._device.seen(event)

    async def logout(self) -> None:
        await self._device.logout()
