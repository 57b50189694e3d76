"""Rooms as slixmpp's XEP-0045 plugin and aioxmpp's MUC service see them through the proxy.

Alice has two devices behind the proxy, of one library or of both; bob is a client of the server.
"""

import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.libraries import Aioxmpp, Inbox, Slixmpp, aioxmpp, unusable, waiting
from tests.integration.proxy import Proxy
from tests.integration.servers import Account

NS_MUC = "http://jabber.org/protocol/muc"
BOB_IN = f"<presence><x xmlns='{NS_MUC}#user'><status code='110'/></x></presence>"


class AioxmppRooms(Aioxmpp):
    """What aioxmpp's room said: (signal, arguments, keywords) in `events`."""

    SIGNALS = (
        *("on_enter", "on_exit", "on_join", "on_leave", "on_nick_changed", "on_topic_changed", "on_muc_role_changed"),
        *("on_muc_suspend", "on_muc_resume", "on_muc_stale", "on_muc_fresh", "on_muc_affiliation_changed"),
    )

    def __init__(self, account: Account, resource: str) -> None:
        super().__init__(account, resource)
        self.events = Inbox()

    def enter(self, room: str, nick: str, **settings: Any) -> Any:
        """Join with these attributes of aioxmpp's room, and be told everything from the start."""

        async def run() -> None:
            joined, done = self.muc.join(aioxmpp.JID.fromstr(room), nick)
            for name, value in settings.items():
                setattr(joined, name, value)
            for signal in self.SIGNALS:
                getattr(joined, signal).connect(self._recorder(signal))
            joined.on_message.connect(lambda message, *_arguments, **_more: self.messages.add(message))
            self._rooms[room] = joined
            await done

        return waiting(run())

    def _recorder(self, signal: str) -> Callable[..., None]:
        return lambda *arguments, **keywords: self.events.add((signal, arguments, keywords))

    def cut(self) -> None:
        """Break the connection, as aioxmpp does not expect it."""
        self.client.stream._xmlstream._transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def room(self, jid: str) -> Any:
        return self._rooms[jid]

    def told(self, signal: str, fits: Callable[..., bool] = lambda *_arguments: True) -> Any:
        """Wait for a signal whose positional arguments fit; those, and its keywords."""

        async def run() -> Any:
            event = await self.events.get(lambda event: event[0] == signal and fits(*event[1]))
            return event[1:]

        return waiting(run())


class SlixmppRooms(Slixmpp):
    """slixmpp with self-pings and archives, and its room events by name."""

    def __init__(self, account: Account, resource: str) -> None:
        super().__init__(account, resource)
        for plugin in ("xep_0410", "xep_0313", "xep_0092"):
            self.xmpp.register_plugin(plugin)
        self.events = Inbox()

    @property
    def muc(self) -> Any:
        return self.xmpp["xep_0045"]

    def watch(self, room: str) -> None:
        for name in ("got_online", "got_offline"):
            self.xmpp.add_event_handler(f"muc::{room}::{name}", self._recorder(name))
        for name in ("groupchat_subject", "groupchat_presence", "presence_error"):
            self.xmpp.add_event_handler(name, self._recorder(name))

    def _recorder(self, name: str) -> Callable[[Any], None]:
        return lambda stanza: self.events.add((name, stanza))

    def told(self, name: str, nick: str | None = None) -> Any:
        """Wait for an event of the room, about that nick; the stanza."""

        async def run() -> Any:
            event = await self.events.get(lambda event: event[0] == name and nick in (None, event[1]["from"].resource))
            return event[1]

        return waiting(run())


Device = TypeVar("Device", "SlixmppRooms", "AioxmppRooms")


class RoomsCase(IntegrationTestCase):
    def setUp(self) -> None:
        reason = unusable(aioxmpp)
        if reason:
            self.skipTest(reason)
        super().setUp()

    async def begin(self) -> None:
        """A room that bob owns, with the addresses of all shown, and alice's account."""
        self.place = self.room()
        self.alice = await self.account("alice")
        self.bob = await self.client(await self.account("bob"), "desk", direct=True)
        self.bob.send(f"<presence to='{self.place}/bob'><x xmlns='{NS_MUC}'/></presence>")
        await self.bob.expect(BOB_IN)
        await self.bob.expect("<message type='groupchat'><subject/></message>")

    async def slixmpp(self, resource: str = "phone") -> SlixmppRooms:
        return await self._device(SlixmppRooms(self.alice, resource))

    async def aioxmpp(self, resource: str = "laptop", proxy: Proxy | None = None) -> AioxmppRooms:
        return await self._device(AioxmppRooms(self.alice, resource), proxy)

    async def _device(self, device: Device, proxy: Proxy | None = None) -> Device:
        await self.says_password(self.alice, proxy)
        await device.login((proxy or self.proxy).port)
        self.addCleanup(device.logout)
        return device

    async def bob_sets(self, item: str) -> None:
        reply = await self.bob.iq("set", self.place, f"<query xmlns='{NS_MUC}#admin'>{item}</query>")
        self.assertEqual(reply.get("type"), "result", reply)


class SlixmppCase(RoomsCase):
    async def test_join(self) -> None:
        await self.begin()
        self.bob.send(
            f"<message to='{self.place}' type='groupchat'><body>before</body></message>"
            f"<message to='{self.place}' type='groupchat'><subject>news</subject></message>"
        )
        await self.bob.expect("<message><subject>news</subject></message>")
        for resource in ("phone", "laptop"):
            device = await self.slixmpp(resource)
            presence, subject, occupants, history = await device.join(self.place, "alice")
            self.assertEqual(str(presence["from"]), f"{self.place}/alice")
            self.assertEqual([stanza["from"].resource for stanza in occupants], ["bob", "alice"])
            self.assertEqual([stanza["body"] for stanza in history], ["before"])
            self.assertEqual(subject["subject"], "news")
        await self.bob.barrier(self.place)
        arrivals = [stanza for stanza in self.bob.inbox if stanza.get("from") == f"{self.place}/alice"]
        self.assertEqual(len(arrivals), 1, self.bob.transcript())

    async def test_join_refused(self) -> None:
        await self.begin()
        await self.bob_sets(f"<item jid='{self.alice.jid}' affiliation='outcast'/>")
        device = await self.slixmpp()
        device.watch(self.place)
        # join_muc_wait() knows an error only by its <x/>, which Prosody does not send back
        device.muc.join_muc(self.place, "alice")
        error = await device.told("presence_error", "alice")
        self.assertEqual(error["error"]["condition"], "forbidden")

    async def test_leave_and_come_back(self) -> None:
        await self.begin()
        phone, laptop = await self.slixmpp("phone"), await self.slixmpp("laptop")
        for device in (phone, laptop):
            device.watch(self.place)
            await device.join(self.place, "alice")
        phone.muc.leave_muc(self.place, "alice")
        # slixmpp has forgotten the room by now, and fires only this event
        while (await phone.told("groupchat_presence", "alice"))["type"] != "unavailable":
            pass
        laptop.say(self.place, "still here")
        await laptop.hears("still here")
        await self.bob.expect(f"<message from='{self.place}/alice'><body>still here</body></message>")
        _presence, _subject, _occupants, history = await phone.join(self.place, "alice")
        self.assertEqual([stanza["body"] for stanza in history], ["still here"])

    async def test_subject_and_nick(self) -> None:
        await self.begin()
        phone, laptop = await self.slixmpp("phone"), await self.slixmpp("laptop")
        for device in (phone, laptop):
            await device.join(self.place, "alice")
            device.watch(self.place)
        await self.bob_sets("<item nick='alice' role='moderator'/>")
        phone.muc.set_subject(self.place, "by the phone")
        for device in (phone, laptop):
            self.assertEqual((await device.told("groupchat_subject"))["subject"], "by the phone")
        nick = await waiting(laptop.muc.set_self_nick(self.place, "ally"))
        self.assertEqual(nick, "ally")
        await phone.told("got_online", "ally")
        phone.say(self.place, "renamed")
        await self.bob.expect(f"<message from='{self.place}/ally'><body>renamed</body></message>")
        self.assertEqual(laptop.occupants(self.place), ["ally", "bob"])

    async def test_owner(self) -> None:
        """Configuration, lists, roles, affiliations and destruction, as slixmpp does them."""
        await self.begin()
        place, phone, laptop = self.room(), await self.slixmpp("phone"), await self.slixmpp("laptop")
        for device in (phone, laptop):
            device.watch(place)
            await device.join(place, "alice")
        form = await waiting(phone.muc.get_room_config(place))
        form.reply()
        form["values"] = {**form["values"], "muc#roomconfig_roomname": "The Attic"}
        await waiting(phone.muc.set_room_config(place, form))
        self.bob.send(f"<presence to='{place}/bob'><x xmlns='{NS_MUC}'/></presence>")
        await laptop.told("got_online", "bob")
        await waiting(laptop.muc.set_affiliation(place, "member", jid=self.bob.bare))
        members = await waiting(phone.muc.get_affiliation_list(place, "member"))
        self.assertEqual([str(jid) for jid in members], [self.bob.bare])
        moderators = await waiting(laptop.muc.get_roles_list(place, "moderator"))
        self.assertEqual(list(moderators), ["alice"])
        await waiting(laptop.muc.set_role(place, "bob", "none", reason="enough"))
        await phone.told("got_offline", "bob")
        await waiting(phone.muc.destroy(place, reason="done"))
        for device in (phone, laptop):
            await device.told("got_offline", "alice")

    async def test_asking(self) -> None:
        """Self-ping, an occupant's version, the archive: each device gets its own answers."""
        from slixmpp.plugins.xep_0410 import PingStatus

        await self.begin()
        phone, laptop = await self.slixmpp("phone"), await self.slixmpp("laptop")
        for device in (phone, laptop):
            await device.join(self.place, "alice")
            device.xmpp["xep_0092"].software_name = device.jid
        phone.say(self.place, "kept")
        await laptop.hears("kept")
        for device in (phone, laptop):
            status = await waiting(device.xmpp["xep_0410"].send_self_ping(f"{self.place}/alice", device.jid))
            self.assertEqual(status, PingStatus.JOINED)
            answer = device.xmpp["xep_0092"].get_version(f"{self.place}/bob")
            await self._bob_tells_version()
            self.assertEqual((await waiting(answer))["software_version"]["name"], "bobware")
            results = await waiting(device.xmpp["xep_0313"].retrieve(jid=self.place))
            bodies = [entry["mam_result"]["forwarded"]["stanza"]["body"] for entry in results["mam"]["results"]]
            self.assertIn("kept", bodies)

    async def _bob_tells_version(self) -> None:
        asked = await self.bob.expect("<iq type='get'><query xmlns='jabber:iq:version'/></iq>")
        self.bob.send(
            f"<iq type='result' to='{asked.get('from')}' id='{asked.get('id')}'>"
            "<query xmlns='jabber:iq:version'><name>bobware</name><version>1</version></query></iq>"
        )


class AioxmppCase(RoomsCase):
    async def test_others_come_and_go(self) -> None:
        await self.begin()
        phone, laptop = await self.aioxmpp("phone"), await self.aioxmpp("laptop")
        for device in (phone, laptop):
            await device.enter(self.place, "alice")
            await device.told("on_enter")
            self.assertEqual(device.room(self.place).me.nick, "alice")
        carol = await self.client(await self.account("carol"), "desk", direct=True)
        carol.send(f"<presence to='{self.place}/carol'><x xmlns='{NS_MUC}'/></presence>")
        await carol.expect("<message type='groupchat'><subject/></message>")
        for device in (phone, laptop):
            await device.told("on_join", lambda member: member.nick == "carol")
        carol.send(f"<presence to='{self.place}/caroline'/>")
        for device in (phone, laptop):
            (_member, old, new), _keywords = await device.told("on_nick_changed")
            self.assertEqual((old, new), ("carol", "caroline"))
        await self.bob_sets("<item nick='caroline' role='none'><reason>enough</reason></item>")
        for device in (phone, laptop):
            _arguments, keywords = await device.told("on_leave")
            self.assertIs(keywords["muc_leave_mode"], aioxmpp.muc.LeaveMode.KICKED)
            self.assertEqual(keywords["muc_reason"], "enough")
            self.assertEqual(device.occupants(self.place), ["alice", "bob"])

    async def test_own_changes(self) -> None:
        await self.begin()
        phone, laptop = await self.aioxmpp("phone"), await self.aioxmpp("laptop")
        for device in (phone, laptop):
            await device.enter(self.place, "alice")
        await self.bob_sets("<item nick='alice' role='moderator'/>")
        for device in (phone, laptop):
            await device.told("on_muc_role_changed")
            self.assertEqual(device.room(self.place).me.role, "moderator")
        await waiting(phone.room(self.place).set_topic({None: "by the phone"}))
        for device in (phone, laptop):
            _arguments, _keywords = await device.told("on_topic_changed")
        await waiting(laptop.room(self.place).set_nick("ally"))
        for device in (phone, laptop):
            (_member, old, new), _keywords = await device.told("on_nick_changed")
            self.assertEqual((old, new, device.room(self.place).me.nick), ("alice", "ally", "ally"))

    async def test_tracked_message(self) -> None:
        """A message is known to have been delivered when the room reflects its id."""
        await self.begin()
        phone, laptop = await self.aioxmpp("phone"), await self.aioxmpp("laptop")
        for device in (phone, laptop):
            await device.enter(self.place, "alice")
        message = aioxmpp.Message(aioxmpp.MessageType.GROUPCHAT)
        message.body[None] = "tracked"
        _token, tracker = phone.room(self.place).send_message_tracked(message)
        states = Inbox()
        tracker.on_state_changed.connect(lambda state, *_more: states.add(state))
        delivered = aioxmpp.tracking.MessageState.DELIVERED_TO_RECIPIENT
        await waiting(states.get(lambda state: state is delivered))
        await laptop.hears("tracked")

    async def test_removals(self) -> None:
        await self.begin()
        modes = aioxmpp.muc.LeaveMode
        for item, mode in (
            ("<item nick='alice' role='none'/>", modes.KICKED),
            (f"<item jid='{self.alice.jid}' affiliation='outcast'/>", modes.BANNED),
        ):
            phone, laptop = await self.aioxmpp("phone"), await self.aioxmpp("laptop")
            for device in (phone, laptop):
                await device.enter(self.place, "alice")
            await self.bob_sets(item)
            for device in (phone, laptop):
                _arguments, keywords = await device.told("on_exit")
                self.assertIs(keywords["muc_leave_mode"], mode)
                self.assertFalse(device.room(self.place).muc_joined)
                await device.logout()

    async def test_leave(self) -> None:
        await self.begin()
        phone, laptop = await self.aioxmpp("phone"), await self.aioxmpp("laptop")
        for device in (phone, laptop):
            await device.enter(self.place, "alice")
        self.bob.inbox.clear()
        await phone.leave(self.place)
        _arguments, keywords = await phone.told("on_exit")
        self.assertIs(keywords["muc_leave_mode"], aioxmpp.muc.LeaveMode.NORMAL)
        self.assertTrue(laptop.room(self.place).muc_joined)
        await laptop.leave(self.place)
        await self.bob.expect(f"<presence from='{self.place}/alice' type='unavailable'/>")

    async def test_self_ping(self) -> None:
        """What aioxmpp's supervision of its rooms asks (XEP-0410): in, then out of the room."""
        await self.begin()
        phone, laptop = await self.aioxmpp("phone"), await self.aioxmpp("laptop")
        for device in (phone, laptop):
            await device.enter(self.place, "alice")
        occupant = aioxmpp.JID.fromstr(f"{self.place}/alice")
        await waiting(aioxmpp.ping.ping(phone.client, occupant))
        await phone.leave(self.place)
        with self.assertRaises(aioxmpp.errors.XMPPError) as caught:
            await waiting(aioxmpp.ping.ping(phone.client, occupant))
        self.assertIs(caught.exception.condition, aioxmpp.ErrorCondition.NOT_ACCEPTABLE)
        await waiting(aioxmpp.ping.ping(laptop.client, occupant))

    async def test_supervision(self) -> None:
        """aioxmpp holds a silent room stale, pings itself, and is satisfied."""
        await self.begin()
        device = await self.aioxmpp()
        await device.enter(
            self.place,
            "alice",
            muc_hard_timeout=timedelta(seconds=0.1),  # without a sign of life: stale
            muc_soft_timeout=timedelta(seconds=0.2),  # so long: a ping
        )
        await device.told("on_muc_stale")
        await device.told("on_muc_fresh")
        self.assertTrue(device.room(self.place).muc_joined)

    async def test_broken_connection(self) -> None:
        """aioxmpp connects again by itself, joins again, and is shown what it missed; the room sees no leave.

        Nothing can be resumed here; see test_cut_connections for that.
        """
        await self.begin()
        device = await self.aioxmpp(proxy=self.own_proxy(sessions={"resume": 0}))
        await device.enter(self.place, "alice")
        self.bob.inbox.clear()
        device.cut()
        await device.told("on_muc_suspend")
        self.bob.send(f"<message to='{self.place}' type='groupchat'><body>missed</body></message>")
        await device.told("on_muc_resume")
        await device.hears("missed")
        self.assertEqual(device.occupants(self.place), ["alice", "bob"])
        await self.bob.barrier(self.place)
        gone = [stanza for stanza in self.bob.inbox if stanza.get("type") == "unavailable"]
        self.assertEqual(gone, [], self.bob.transcript())


class MixedCase(RoomsCase):
    """One device with slixmpp, the other with aioxmpp."""

    async def devices(self) -> tuple[SlixmppRooms, AioxmppRooms]:
        await self.begin()
        phone, laptop = await self.slixmpp(), await self.aioxmpp()
        phone.watch(self.place)
        await phone.join(self.place, "alice")
        await laptop.enter(self.place, "alice")
        return phone, laptop

    async def test_messages(self) -> None:
        phone, laptop = await self.devices()
        laptop.say(self.place, "from aioxmpp")
        phone.say(self.place, "from slixmpp")
        for text in ("from aioxmpp", "from slixmpp"):
            await phone.hears(text)
            await laptop.hears(text)
            await self.bob.expect(f"<message from='{self.place}/alice'><body>{text}</body></message>")

    async def test_nick_of_one_is_the_others(self) -> None:
        phone, laptop = await self.devices()
        await waiting(phone.muc.set_self_nick(self.place, "ally"))
        _arguments, _keywords = await laptop.told("on_nick_changed")
        self.assertEqual(laptop.room(self.place).me.nick, "ally")
        await waiting(laptop.room(self.place).set_nick("lice"))
        await phone.told("got_online", "lice")

    async def test_private_message(self) -> None:
        phone, _laptop = await self.devices()
        self.bob.send(f"<message to='{self.place}/alice' type='chat'><body>psst</body></message>")
        await phone.hears("psst")

    async def test_kick(self) -> None:
        phone, laptop = await self.devices()
        await self.bob_sets("<item nick='alice' role='none'/>")
        await phone.told("got_offline", "alice")
        _arguments, keywords = await laptop.told("on_exit")
        self.assertIs(keywords["muc_leave_mode"], aioxmpp.muc.LeaveMode.KICKED)

    async def test_one_leaves(self) -> None:
        phone, laptop = await self.devices()
        await laptop.leave(self.place)
        self.bob.send(f"<message to='{self.place}' type='groupchat'><body>who is here?</body></message>")
        await phone.hears("who is here?")
        self.assertEqual(phone.occupants(self.place), ["alice", "bob"])
        self.assertEqual(
            [message for message in laptop.messages.items if str(message.body.any()) == "who is here?"], []
        )


SlixmppTests, AioxmppTests, MixedTests = map(on_both_servers, (SlixmppCase, AioxmppCase, MixedCase))
del RoomsCase, SlixmppCase, AioxmppCase, MixedCase  # else trial would run them by themselves
