"""The people of the demo: slixmpp and aioxmpp clients whose view of a room is kept as plain sentences."""

from __future__ import annotations

import asyncio
from typing import Any
from xml.etree import ElementTree

import slixmpp
from twisted.internet.defer import Deferred

from demo.narrator import StepFailed
from tests.integration.libraries import Aioxmpp, Slixmpp, aioxmpp, waiting
from tests.integration.push_service import PushService, push_service, read_publication
from tests.integration.relay import Relay
from tests.integration.servers import Account, Server
from tests.integration.xmlcut import Received

TIMEOUT = 15.0


class Sight:
    """What a party has seen, as sentences: "bob: hello", "alice comes", "I am removed: kicked"."""

    name: str

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._news = asyncio.Event()

    def see(self, what: str) -> None:
        self.seen.append(what)
        self._news.set()

    def sees(self, what: str) -> Deferred[None]:
        """Wait until this is seen, and take it out. Fails with `StepFailed` after a time-out."""
        return Deferred.fromFuture(asyncio.ensure_future(self._sees(what)))

    async def _sees(self, what: str) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                while what not in self.seen:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            saw = "; ".join(self.seen) or "nothing"
            raise StepFailed(f"expected: {self.name} sees: {what}\nwithin {TIMEOUT:.0f} s it saw: {saw}") from None
        self.seen.remove(what)


class SlixmppParty(Slixmpp, Sight):
    """One device with slixmpp."""

    library = "slixmpp"

    def __init__(self, account: Account, resource: str) -> None:
        Slixmpp.__init__(self, account, resource)
        Sight.__init__(self)
        self.name = f"{account.username}/{resource}"
        self._inside = False
        self.xmpp.add_event_handler("groupchat_presence", self._presence)
        self.xmpp.add_event_handler("groupchat_message", self._message)
        self.xmpp.add_event_handler("message", self._private)
        self.xmpp.add_event_handler("presence_unavailable", self._contact_gone)

    def enter(self, room: str, nick: str) -> Deferred[None]:
        """Join; what the room shows on joining is the starting point, and not told. Its history is."""

        async def run() -> None:
            await self.xmpp["xep_0045"].join_muc_wait(room, nick, timeout=TIMEOUT)
            self._inside = True

        return waiting(run())

    def direct_jid(self, room: str, nick: str) -> str:
        """The real JID of an occupant, as the room tells its owner."""
        return str(self.xmpp["xep_0045"].get_jid_property(room, nick, "jid"))

    def catches_up(self, room: str = "") -> Deferred[Any]:
        """Wait for an answer that takes the way of the room's messages."""
        asked = room or next(iter(self.xmpp["xep_0045"].get_joined_rooms()), "")
        return waiting(self.xmpp["xep_0030"].get_info(jid=asked or self.xmpp.boundjid.domain, cached=False))

    def write(self, to: str, text: str) -> None:
        """Say something to somebody's account, outside of rooms."""
        self.xmpp.send_message(mto=slixmpp.JID(to), mbody=text, mtype="chat")

    def tell_privately(self, room: str, nick: str, text: str) -> None:
        self.xmpp.send_message(mto=slixmpp.JID(f"{room}/{nick}"), mbody=text, mtype="chat")

    def rename(self, room: str, nick: str) -> None:
        self.xmpp.send_presence(pto=f"{room}/{nick}")

    def kick(self, room: str, nick: str, reason: str) -> Deferred[Any]:
        return waiting(self.xmpp["xep_0045"].set_role(room, nick, "none", reason=reason))

    def leave(self, room: str, nick: str) -> None:
        self.xmpp["xep_0045"].leave_muc(room, nick)

    def _presence(self, presence: Any) -> None:
        codes, nick = set(presence["muc"]["status_codes"]), presence["from"].resource
        if presence["type"] == "error" or not nick:
            return
        own = 110 in codes
        if presence["type"] == "unavailable":
            self._goes(presence, codes, nick, own)
        elif self._inside and not own and nick not in self._occupants(presence):
            self.see(f"{nick} comes")

    def _occupants(self, presence: Any) -> list[str]:
        # The plugin's own list, brought up to date only after this event.
        return list(self.xmpp["xep_0045"].get_roster(presence["from"].bare))

    def _goes(self, presence: Any, codes: set[int], nick: str, own: bool) -> None:
        if 303 in codes:
            renamed = presence["muc"]["item_nick"]
            self.see(f"{'I am' if own else f'{nick} is'} now {renamed}")
            self.xmpp["xep_0045"].rooms[None][presence["from"].bare].setdefault(renamed, {})
        elif 307 in codes:
            reason = presence["muc"]["item"]["reason"]
            self.see(f"{'I am' if own else f'{nick} is'} kicked: {reason}")
        else:
            self.see("I have left" if own else f"{nick} leaves")
        if own and 303 not in codes:
            self._inside = False

    def _message(self, message: Any) -> None:
        if message["body"]:
            missed = " (earlier)" if message.get_plugin("delay", check=True) is not None else ""
            self.see(f"{message['from'].resource}{missed}: {message['body']}")

    def _private(self, message: Any) -> None:
        if message["type"] == "chat" and message["body"]:
            sender = message["from"]
            in_room = sender.bare in self.xmpp["xep_0045"].get_joined_rooms()
            who = f"{sender.resource} privately" if in_room else f"{sender.local} one to one"
            self.see(f"{who}: {message['body']}")

    def _contact_gone(self, presence: Any) -> None:
        if presence["from"].bare == self.xmpp.boundjid.bare and presence["from"] != self.xmpp.boundjid:
            self.see(f"my {presence['from'].resource} goes offline")


class Phone(SlixmppParty):
    """A device with stream management (XEP-0198), in a network that fails when it is told to."""

    def __init__(self, account: Account, resource: str) -> None:
        super().__init__(account, resource)
        self.xmpp.register_plugin("xep_0198")
        self.resumed = 0  # times
        self._network: Relay
        self._back = asyncio.Event()
        self.xmpp.add_event_handler("session_resumed", self._is_resumed)

    def login(self, port: int) -> Deferred[None]:
        self._network = Relay(port)
        self._network.start()
        return super().login(self._network.port)

    async def falls_silent(self) -> None:
        """From now on nothing comes through in either direction, and nobody knows. What was said is out before."""
        await waiting(self.xmpp.waiting_queue.join())
        self._network.silence(*self._network.links)

    async def is_cut_off(self) -> None:
        """The connection breaks, behind all that the phone has said; now both sides know."""
        await waiting(self.xmpp.waiting_queue.join())
        gone = self.xmpp.disconnected
        self._network.cut()
        await waiting(gone)

    async def resume(self) -> None:
        """Connect again, as the library does it, and wait until it goes on with its stream."""
        self._back.clear()
        self.xmpp.connect("127.0.0.1", self._network.port)
        await waiting(self._back.wait())

    def enable_push(self, service: str, node: str) -> Deferred[Any]:
        """Ask to be woken through a push service (XEP-0357 §5)."""
        request: Any = self.xmpp.make_iq_set()
        request.append(ElementTree.Element("{urn:xmpp:push:0}enable", jid=service, node=node))
        return waiting(request.send())

    def _is_resumed(self, _event: object) -> None:
        self.resumed += 1
        self._back.set()

    def logout(self) -> Deferred[None]:
        return super().logout().addCallback(self._leaves_network)

    def cut(self) -> Deferred[None]:
        return super().cut().addCallback(self._leaves_network)

    def _leaves_network(self, _result: object) -> Deferred[None]:
        return Deferred.fromCoroutine(self._network.stop())


class Reader(SlixmppParty):
    """A device that tells rooms what it has shown to its user (XEP-0333)."""

    def __init__(self, account: Account, resource: str) -> None:
        super().__init__(account, resource)
        self.xmpp.register_plugin("xep_0333")
        self._shown = ""

    def _message(self, message: Any) -> None:
        self._shown = message["id"]
        super()._message(message)

    def has_read(self, room: str) -> None:
        """Everything up to the last message was read."""
        self.xmpp["xep_0333"].send_marker(slixmpp.JID(room), self._shown, "displayed", mtype="groupchat")


class AppServer(Sight):
    """The push service of a phone's app: is told that there is something, and would wake the phone."""

    name = "app's server"
    domain: str
    publisher: str  # the JID that publishes
    told = 0  # times
    _service: PushService

    async def enter(self, server: Server) -> None:
        """Connect to the server, as a component."""
        self._service = await push_service(server)
        self._service.answer = self._publication
        self.domain = self._service.domain

    def _publication(self, publication: Received) -> str:
        self.told += 1
        node, summary = read_publication(publication)
        count = summary["message-count"]
        self.see(f"{node} has {count} new message{'s' * (count != '1')}: {summary['last-message-body']}")
        return ""

    def catches_up(self) -> Deferred[None]:
        """Wait for all that was published by now."""
        return Deferred.fromCoroutine(self._service.hears_out(self.publisher))

    def leave(self) -> None:
        self._service.transport.loseConnection()


class AioxmppParty(Aioxmpp, Sight):
    """One device with aioxmpp."""

    library = "aioxmpp"

    def __init__(self, account: Account, resource: str) -> None:
        Aioxmpp.__init__(self, account, resource)
        Sight.__init__(self)
        self.name = f"{account.username}/{resource}"

    def login(self, port: int) -> Deferred[None]:
        done = super().login(port)
        done.addCallback(self._listen)
        return done

    def _listen(self, result: None) -> None:
        dispatcher = self.client.summon(aioxmpp.dispatcher.SimpleMessageDispatcher)
        dispatcher.register_callback(aioxmpp.MessageType.CHAT, None, self._private)
        presences = self.client.summon(aioxmpp.dispatcher.SimplePresenceDispatcher)
        presences.register_callback(
            aioxmpp.PresenceType.UNAVAILABLE, self.client.local_jid.bare(), self._contact_gone, wildcard_resource=True
        )
        self._discovery = self.client.summon(aioxmpp.DiscoClient)

    def enter(self, room: str, nick: str) -> Deferred[None]:
        """Join; what the room shows on joining is the starting point, and not told. Its history is."""

        async def run() -> None:
            joined, done = self.muc.join(aioxmpp.JID.fromstr(room), nick, autorejoin=False)
            self._rooms[room] = joined
            entered = asyncio.Event()
            joined.on_enter.connect(lambda **_more: entered.set())
            joined.on_message.connect(self._message)
            joined.on_nick_changed.connect(self._renamed)
            joined.on_exit.connect(self._exits)
            await done
            await entered.wait()
            joined.on_join.connect(self._comes)
            joined.on_leave.connect(self._goes)

        return waiting(run())

    def catches_up(self, room: str = "") -> Deferred[Any]:
        """Wait for an answer that takes the way of the room's messages."""
        asked = room or next(iter(self._rooms), "") or self.client.local_jid.domain
        query = self._discovery.query_info(aioxmpp.JID.fromstr(asked), require_fresh=True, no_cache=True)
        return waiting(query)

    def rename(self, room: str, nick: str) -> Deferred[None]:
        return waiting(self._rooms[room].set_nick(nick))

    def leave(self, room: str, _nick: str = "") -> Deferred[None]:
        return waiting(self._rooms.pop(room).leave())

    def _message(self, message: Any, member: Any, _source: Any, **_more: Any) -> None:
        missed = " (earlier)" if message.xep0203_delay else ""
        self.see(f"{member.nick}{missed}: {message.body.any()}")

    def _private(self, message: Any) -> None:
        if message.body:
            sender = message.from_
            in_room = str(sender.bare()) in self._rooms
            who = f"{sender.resource} privately" if in_room else f"{sender.localpart} one to one"
            self.see(f"{who}: {message.body.any()}")

    def _renamed(self, member: Any, old: str, new: str, **_more: Any) -> None:
        self.see(f"I am now {new}" if member.is_self else f"{old} is now {new}")

    def _comes(self, member: Any, **_more: Any) -> None:
        self.see(f"{member.nick} comes")

    def _goes(self, member: Any, *, muc_leave_mode: Any = None, muc_reason: str | None = None, **_more: Any) -> None:
        if not member.is_self:
            kicked = muc_leave_mode == aioxmpp.muc.LeaveMode.KICKED
            self.see(f"{member.nick} is kicked: {muc_reason}" if kicked else f"{member.nick} leaves")

    def _exits(self, *, muc_leave_mode: Any = None, muc_reason: str | None = None, **_more: Any) -> None:
        kicked = muc_leave_mode == aioxmpp.muc.LeaveMode.KICKED
        self.see(f"I am kicked: {muc_reason}" if kicked else "I have left")

    def _contact_gone(self, presence: Any) -> None:
        if presence.from_ != self.client.local_jid:
            self.see(f"my {presence.from_.resource} goes offline")
