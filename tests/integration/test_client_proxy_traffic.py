"""client_proxy on real servers: messages, presence, subscriptions, and the target taking the initiative."""

from functools import partial

from tests.integration.cases import on_both_servers
from tests.integration.client import Client
from tests.integration.proxied import ProxiedCase, condition
from tests.integration.xmlcut import Received


def is_message(kind: str, stanza: Received) -> bool:
    return stanza.element.name == "message" and stanza.get("id") == kind


@on_both_servers
class TargetInitiatesTests(ProxiedCase):
    async def test_a_request_to_a_user_and_back_to_the_very_resource(self) -> None:
        workers = await self.serve("a", "b", "c")
        alice = await self.user()
        for worker in workers:
            worker.client.send(f"<iq type='get' id='same' to='{self.domain}/{alice.jid}'><x xmlns='urn:test'/></iq>")
        for _ in workers:
            request = await alice.expect(f"<iq type='get' from='{self.domain}'><x xmlns='urn:test'/></iq>")
            alice.send(f"<iq type='result' id='{request.get('id')}' to='{self.domain}'><y xmlns='urn:test'/></iq>")
        for worker in workers:
            await worker.client.expect(f"<iq type='result' id='same' from='{self.domain}/{alice.jid}'/>")
            await worker.client.barrier()
            self.assertEqual([s for s in worker.client.inbox if s.get("id") == "same"], [])

    async def test_to_nobody(self) -> None:
        (worker,) = await self.serve("a")
        for to, name in (
            (f"{self.domain}/@token", "item-not-found"),
            (f"{self.domain}/{self.domain}", "not-allowed"),
            (self.domain, "bad-request"),
        ):
            self.assertEqual(condition(await worker.client.iq("get", to, "<x xmlns='urn:test'/>")), name)


@on_both_servers
class MessageTests(ProxiedCase):
    async def test_a_conversation(self) -> None:
        workers = await self.serve("a", "b", "c", policy="round-robin")
        alice = await self.user()
        chat = f"<message type='chat' id='m' to='{self.domain}'><body>question</body></message>"
        alice.send(chat * 3)
        for _ in range(3):
            await workers[0].client.expect(
                f"<message type='chat' id='m' from='{self.domain}/{alice.jid}'><body>question</body></message>"
            )
        workers[0].client.send(f"<message type='chat' to='{self.domain}/{alice.jid}'><body>answer</body></message>")
        await alice.expect(f"<message type='chat' from='{self.domain}' to='{alice.jid}'><body>answer</body></message>")

    async def test_the_answer_goes_to_the_resource_that_wrote(self) -> None:
        workers = await self.serve("a", "b", "c")
        alice = await self.user()
        workers[2].client.send(f"<message to='{self.domain}/{alice.jid}'><body>hello</body></message>")
        await alice.expect(f"<message from='{self.domain}'><body>hello</body></message>")
        for kind in ("normal", "headline", "chat", "error"):
            alice.send(f"<message type='{kind}' id='{kind}' to='{self.domain}'><body>hello yourself</body></message>")
            await workers[2].client.expect(partial(is_message, kind))

    async def test_nobody_there(self) -> None:
        await self.serve()
        alice = await self.user()
        alice.send(f"<message type='chat' id='m' to='{self.domain}'><body>anybody?</body></message>")
        self.assertEqual(condition(await alice.expect("<message type='error' id='m'/>")), "service-unavailable")

    async def test_a_user_cannot_write_to_another_through_it(self) -> None:
        (worker,) = await self.serve("a")
        alice, bob = await self.user(), await self.user("bob")
        alice.send(f"<message type='chat' to='{self.domain}/{bob.jid}'><body>from whom?</body></message>")
        await worker.client.expect(f"<message from='{self.domain}/{alice.jid}'/>")
        await bob.barrier()
        bob.nothing()


@on_both_servers
class SubscriptionTests(ProxiedCase):
    async def subscribe(self, user: Client) -> None:
        user.send("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>")
        user.send(f"<presence type='subscribe' to='{self.domain}'/>")

    async def test_accepted_by_the_proxy(self) -> None:
        (worker,) = await self.serve("a")
        alice = await self.user()
        await self.subscribe(alice)
        await alice.expect(f"<presence type='subscribed' from='{self.domain}'/>")
        await alice.expect(
            lambda s: s.element.name == "presence" and s.get("from") == self.domain and not s.get("type")
        )
        worker.client.drop()
        await alice.expect(f"<presence type='unavailable' from='{self.domain}'/>")
        await self.worker("b")
        await alice.expect(
            lambda s: s.element.name == "presence" and s.get("from") == self.domain and not s.get("type")
        )

    async def test_a_new_session_of_a_subscriber_sees_it(self) -> None:
        await self.serve("a")
        account = await self.account("alice")
        alice = await self.client(account, "phone", direct=True)
        await self.subscribe(alice)
        await alice.expect(f"<presence type='subscribed' from='{self.domain}'/>")
        await alice.close()
        again = await self.client(account, "laptop", direct=True)
        await again.expect(
            lambda s: s.element.name == "presence" and s.get("from") == self.domain and not s.get("type")
        )

    async def test_decided_by_the_target(self) -> None:
        (worker,) = await self.serve("a", subscriptions="target")
        alice = await self.user()
        contact = f"{alice.bare.replace('@', chr(92) + '40')}@{self.domain}"
        await self.subscribe(alice)
        await worker.client.expect(f"<presence type='subscribe' from='{contact}'/>")
        worker.client.send(f"<presence type='subscribed' to='{contact}'/>")
        await alice.expect(f"<presence type='subscribed' from='{self.domain}'/>")
        await alice.expect(
            lambda s: s.element.name == "presence" and s.get("from") == self.domain and not s.get("type")
        )
        worker.client.drop()
        await alice.expect(f"<presence type='unavailable' from='{self.domain}'/>")

    async def test_refused_by_the_target(self) -> None:
        (worker,) = await self.serve("a", subscriptions="target")
        bob = await self.user("bob")
        contact = f"{bob.bare.replace('@', chr(92) + '40')}@{self.domain}"
        await self.subscribe(bob)
        await worker.client.expect(f"<presence type='subscribe' from='{contact}'/>")
        worker.client.send(f"<presence type='unsubscribed' to='{contact}'/>")
        await bob.expect(f"<presence type='unsubscribed' from='{self.domain}'/>")

    async def test_the_target_remembers_subscribers_for_the_proxy(self) -> None:
        """Its server's roster is the memory: a proxy that was started anew answers for who was let in before."""
        (worker,) = await self.serve("a", subscriptions="target")
        account = await self.account("alice")
        alice = await self.client(account, "phone", direct=True)
        contact = f"{alice.bare.replace('@', chr(92) + '40')}@{self.domain}"
        await self.subscribe(alice)
        await worker.client.expect(f"<presence type='subscribe' from='{contact}'/>")
        worker.client.send(f"<presence type='subscribed' to='{contact}'/>")
        await alice.expect(f"<presence type='subscribed' from='{self.domain}'/>")
        await alice.close()
        self.running.stop()
        self.running.start()
        await worker.known()
        again = await self.client(account, "laptop", direct=True)
        await again.expect(
            lambda s: s.element.name == "presence" and s.get("from") == self.domain and not s.get("type")
        )

    async def test_directed_presence_both_ways(self) -> None:
        (worker,) = await self.serve("a")
        alice = await self.user()
        alice.send(f"<presence to='{self.domain}'><status>here</status></presence>")
        await worker.client.expect(f"<presence from='{self.domain}/{alice.jid}'><status>here</status></presence>")
        worker.client.send(f"<presence to='{self.domain}/{alice.jid}'><status>there</status></presence>")
        await alice.expect(f"<presence from='{self.domain}'><status>there</status></presence>")
        alice.drop()
        await worker.client.expect(f"<presence type='unavailable' from='{self.domain}/{alice.jid}'/>")
