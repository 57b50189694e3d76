"""How far the account and others have read a room (XEP-0490, XEP-0333), and the room's ids, on real servers."""

from __future__ import annotations

from tests.integration.cases import on_both_servers
from tests.integration.client import Client
from tests.integration.ejabberd import Ejabberd
from tests.integration.inbox import Inbox
from tests.integration.managed import Device
from tests.integration.managedcase import NS_MUC, ManagedCase, bodies, enter, hear, say

NS_PUBSUB = "http://jabber.org/protocol/pubsub"
NS_MDS = "urn:xmpp:mds:displayed:0"
NS_MARKERS = "urn:xmpp:chat-markers:0"
NS_SID = "urn:xmpp:sid:0"
NS_MAM = "urn:xmpp:mam:2"
COUNT = 30  # messages in the room


@on_both_servers
class ReadStateTests(ManagedCase):
    """Alice's phone is in a room through the proxy, bob directly."""

    async def begin(self) -> None:
        self.alice = await self.account("alice")
        self.place = self.room()
        self.bob = await self.client(await self.account("bob"), "desk", direct=True)
        await enter(self.bob, self.place, "bob")
        configuration = (
            "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>"
        )
        await self.bob.iq("set", self.place, configuration)
        self.phone = await self.device(self.alice, "phone")
        await enter(self.phone, self.place, "alice")

    async def said(self, text: str, *listeners: Inbox) -> str:
        """Bob says something, which these have heard; the room's id of it."""
        say(self.bob, self.place, text, "groupchat")
        for listener in (self.bob, *listeners):
            await hear(listener, text, f"{self.place}/bob")
        return self.ids_of(self.bob, text)[0]

    def ids_of(self, listener: Inbox, text: str) -> list[str]:
        """The room's ids of the messages with this text, in the order in which they came."""
        return [
            str(one["id"])
            for stanza in listener.received
            if f">{text}</body>".encode() in stanza.raw
            for one in stanza.element.elements(NS_SID, "stanza-id")
            if one["by"] == self.place
        ]

    async def publish(self, client: Client | Device, stanza_id: str) -> None:
        """A client of alice's says that the room is read so far."""
        named = f"<stanza-id xmlns='{NS_SID}' by='{self.place}' id='{stanza_id}'/>"
        item = f"<item id='{self.place}'><displayed xmlns='{NS_MDS}'>{named}</displayed></item>"
        publish = f"<pubsub xmlns='{NS_PUBSUB}'><publish node='{NS_MDS}'>{item}</publish></pubsub>"
        answer = await client.iq("set", None, publish)
        self.assertEqual(answer.get("type"), "result", str(answer))

    async def comes(self, resource: str, wish: str = "", *, after: bool = False) -> Device:
        """A device joins, `after` the account stream has been told what there is."""
        device = await self.device(self.alice, resource)
        for _ in range(3 if after else 0):  # so long the account stream takes to subscribe, and to ask what there is
            await self.phone.barrier(self.place)
        device.send(f"<presence to='{self.place}/alice'><x xmlns='{NS_MUC}'>{wish}</x></presence>")
        await device.expect(f"<message from='{self.place}' type='groupchat'><subject/></message>")
        return device

    async def test_where_a_new_device_starts(self) -> None:
        """From what a client has published that the proxy has never seen; a device that wishes something gets that."""
        await self.begin()
        ids = [await self.said(f"m{number}", self.phone) for number in range(COUNT)]
        elsewhere = await self.client(self.alice, "elsewhere", direct=True)
        await self.publish(elsewhere, ids[4])
        if isinstance(self.server, Ejabberd):  # tells all devices; Prosody the account stream, once it is subscribed
            await self.phone.expect(f"<message><event xmlns='{NS_PUBSUB}#event'/></message>")
        tablet = await self.comes("tablet", after=True)
        self.assertEqual(bodies(tablet, "groupchat"), [f"m{number}" for number in range(5, COUNT)])
        await self.publish(elsewhere, ids[1])
        old = await self.comes("old", after=True)
        self.assertEqual(bodies(old, "groupchat"), bodies(tablet, "groupchat"), "what is read is read")
        modest = await self.comes("modest", "<history maxstanzas='2'/>", after=True)
        self.assertEqual(bodies(modest, "groupchat"), [f"m{COUNT - 2}", f"m{COUNT - 1}"])

    async def test_after_a_restart(self) -> None:
        proxy = self.own_proxy()
        self.patch(type(self), "entrance", property(lambda _self: proxy.port))
        await self.begin()
        ids = [await self.said(f"m{number}", self.phone) for number in range(COUNT)]
        await self.publish(self.phone, ids[4])
        await self.phone.barrier(self.place)
        await self.phone.line.close()
        self.bob.inbox.clear()
        await proxy.restart()
        await self.bob.expect(f"<presence type='' from='{self.place}/alice'/>")
        tablet = await self.comes("tablet")
        self.assertEqual(bodies(tablet, "groupchat"), [f"m{number}" for number in range(5, COUNT)])

    async def test_markers_of_others(self) -> None:
        """The last of each waits for who is away, behind what it is about; a new device gets them, too."""
        await self.begin()
        laptop = await self.comes("laptop")
        await self.phone.barrier()
        await self.phone.line.close()
        ids = [await self.said(f"m{number}", laptop) for number in range(3)]
        for stanza_id in ids[:2]:
            marker = f"<displayed xmlns='{NS_MARKERS}' id='{stanza_id}'/><store xmlns='urn:xmpp:hints'/>"
            self.bob.send(f"<message to='{self.place}' type='groupchat' id='d-{stanza_id}'>{marker}</message>")
            await laptop.expect(f"<message from='{self.place}/bob' id='d-{stanza_id}'/>")
        own = f"<displayed xmlns='{NS_MARKERS}' id='{ids[2]}'/>"
        laptop.send(f"<message to='{self.place}' type='groupchat' id='own'>{own}</message>")
        await laptop.expect(f"<message from='{self.place}/alice' id='own'/>")
        for resource in ("phone", "tablet"):
            device = await self.comes(resource)
            found = [
                str(marker["id"])
                for stanza in device.received
                for marker in stanza.element.elements(NS_MARKERS, "displayed")
            ]
            self.assertEqual(found, ids[1:])
            self.assertEqual(bodies(device, "groupchat"), ["m0", "m1", "m2"])

    async def test_ids_of_the_room(self) -> None:
        """Live, replayed, corrected and replayed, in its archive: a message has one id."""
        await self.begin()
        stanza_id = await self.said("hello", self.phone)
        tablet = await self.comes("tablet")
        self.assertEqual((self.ids_of(self.phone, "hello"), self.ids_of(tablet, "hello")), ([stanza_id], [stanza_id]))
        self.bob.send(
            f"<message to='{self.place}' type='groupchat' id='c1'><body>hallo</body>"
            f"<replace xmlns='urn:xmpp:message-correct:0' id='{self.sent_id(self.bob, 'hello')}'/></message>"
        )
        for listener in (self.bob, self.phone):
            await hear(listener, "hallo")
        late = await self.comes("late")
        self.assertEqual(self.ids_of(late, "hallo"), [stanza_id])
        start = len(self.phone.received)
        await self.phone.iq("set", self.place, f"<query xmlns='{NS_MAM}'/>")
        found = [
            str(result["id"])
            for stanza in self.phone.received[start:]
            for result in stanza.element.elements(NS_MAM, "result")
        ]
        self.assertEqual(found[0], stanza_id)

    def sent_id(self, listener: Inbox, text: str) -> str:
        (found,) = [stanza.get("id") for stanza in listener.received if f">{text}</body>".encode() in stanza.raw]
        return str(found)
