"""Push for rooms on real servers: Prosody here knows nothing of push, ejabberd has a push module of its own."""

from __future__ import annotations

from typing import Any

from tests.integration.cases import on_both_servers
from tests.integration.client import Client
from tests.integration.managed import Device
from tests.integration.managedcase import ManagedCase, enter, hear, say
from tests.integration.proxy import Proxy
from tests.integration.push_service import PushService, push_service

NS_PUSH = "urn:xmpp:push:0"
NS_DISCO = "http://jabber.org/protocol/disco#info"
NS_PUBSUB = "http://jabber.org/protocol/pubsub"
NS_BOOKMARKS = "urn:xmpp:bookmarks:1"


class PushCase(ManagedCase):
    """Alice's phone has push enabled and is in a room, where bob is."""

    behind: Proxy
    service: PushService

    async def begin(self, domain: dict[str, Any] | None = None, **push: Any) -> None:
        self.behind = self.own_proxy(push=push, domain=domain or {})
        self.service = await push_service(self.server)
        self.addCleanup(self.service.transport.loseConnection)
        self.alice = await self.account("alice")
        self.place = self.room()
        self.bob = await self.client(await self.account("bob"), "desk", direct=True)
        await enter(self.bob, self.place, "bob")
        self.phone = await self.comes("phone")
        await self.enable(self.phone)

    async def comes(self, resource: str) -> Device:
        device = await self.device(self.alice, resource, port=self.behind.port)
        await enter(device, self.place, "alice")
        return device

    async def enable(self, device: Device, node: str = "phone") -> None:
        answer = await device.iq("set", None, f"<enable xmlns='{NS_PUSH}' jid='{self.service.domain}' node='{node}'/>")
        self.assertEqual(answer.get("type"), "result", str(answer))

    async def said(self, text: str, listener: Client | Device | None = None) -> None:
        """Bob says something, which the room has shown to all; to `listener`, too, as the proxy has taken it."""
        say(self.bob, self.place, text, "groupchat")
        await hear(self.bob, text, f"{self.place}/bob")
        if listener is not None:
            await hear(listener, text, f"{self.place}/bob")

    async def sleeps(self) -> None:
        """The phone's connection is lost; it has acknowledged all."""
        await self.phone.barrier()
        self.phone.acknowledge()
        told = self.phone.told
        self.phone.ask()
        await self.phone.until(lambda: self.phone.told > told, "an answer behind the acknowledgement")
        await self.falls_asleep()

    async def falls_asleep(self) -> None:
        """The phone's connection is lost, and the proxy knows."""
        start = len(self.behind.process.lines)
        self.phone.line.drop()
        await self.behind.process.says(f"session of {self.phone.jid} sleeps", start=start)

    async def logged(self, text: str) -> None:
        await self.behind.process.says(text)

    def count(self) -> int:
        return len(self.service.published)


@on_both_servers
class PushTests(PushCase):
    async def test_while_the_phone_sleeps(self) -> None:
        """A mention, a private message, and one of a contact; what calls for nobody is not told."""
        await self.begin()
        await self.sleeps()
        await self.said("nothing")
        await self.said("alice: come")
        await self.service.told(1)
        publication = self.service.published[0]
        self.assertIn(b"node='phone'", publication.raw.replace(b'"', b"'"))
        self.assertNotIn(b"come", publication.raw)
        self.assertTrue(str(publication.get("from")).startswith(self.alice.jid))
        say(self.bob, f"{self.place}/alice", "psst")
        await self.service.told(2)
        say(self.bob, self.phone.jid, "hello")
        await self.service.told(3)
        self.assertTrue(await self.phone.resume())
        await hear(self.phone, "hello")
        await self.said("alice: there?", self.phone)
        await self.bob.barrier()
        self.assertEqual(self.count(), 3, "nothing twice")

    async def test_while_the_account_has_no_client(self) -> None:
        await self.begin()
        await self.phone.line.close()
        await self.said("alice: come")
        await self.service.told(1)

    async def test_after_a_restart(self) -> None:
        await self.begin()
        await self.phone.line.close()
        self.bob.inbox.clear()
        await self.behind.restart()
        await self.bob.expect(f"<presence type='' from='{self.place}/alice'/>")
        await self.said("alice: come")
        await self.service.told(1)

    async def test_the_laptop_has_read_it(self) -> None:
        await self.begin(delay=3.0)
        laptop = await self.comes("laptop")
        await self.sleeps()
        await self.said("alice: one", laptop)
        laptop.send(
            f"<message type='groupchat' to='{self.place}'><displayed xmlns='urn:xmpp:chat-markers:0' id='x'/></message>"
        )
        await laptop.barrier(self.place)
        await self.said("alice: two", laptop)
        await self.service.told(1)
        self.assertIn(b">1<", self.service.published[0].raw, "only the second")

    async def test_a_muted_room(self) -> None:
        await self.begin()
        laptop = await self.comes("laptop")
        notify = "<extensions><notify xmlns='urn:xmpp:notification-settings:1'><never/></notify></extensions>"
        conference = f"<conference xmlns='{NS_BOOKMARKS}' autojoin='true'>{notify}</conference>"
        publish = f"<publish node='{NS_BOOKMARKS}'><item id='{self.place}'>{conference}</item></publish>"
        answer = await laptop.iq("set", None, f"<pubsub xmlns='{NS_PUBSUB}'>{publish}</pubsub>")
        self.assertEqual(answer.get("type"), "result", str(answer))
        await self.logged(f"mutes {self.place}")
        await self.sleeps()
        await self.said("alice: come", laptop)
        say(self.bob, self.phone.jid, "hello")
        await self.service.told(1)
        self.assertIn(b">1<", self.service.published[0].raw)

    async def test_a_service_that_refuses(self) -> None:
        await self.begin()
        self.service.answer = lambda _one: (
            "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        )
        await self.sleeps()
        await self.said("alice: come")
        await self.logged("is told nothing more")

    async def test_it_is_offered(self) -> None:
        await self.begin()
        answer = await self.phone.iq("get", self.alice.jid, f"<query xmlns='{NS_DISCO}'/>")
        (query,) = answer.element.elements()
        self.assertIn(NS_PUSH, [feature.getAttribute("var") for feature in query.elements(NS_DISCO, "feature")])
