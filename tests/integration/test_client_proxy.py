"""client_proxy on real servers: requests, who is asked, and who may ask."""

from tests.integration.cases import on_both_servers
from tests.integration.proxied import ProxiedCase, condition


@on_both_servers
class RequestTests(ProxiedCase):
    async def test_there_and_back(self) -> None:
        (worker,) = await self.serve("a")
        alice = await self.user()
        reply = await self.ask(alice)
        self.assertEqual((reply.get("type"), reply.get("from")), ("result", self.domain))
        self.assertIn(">a<", str(reply))
        (request,) = worker.requests
        self.assertEqual(request.get("from"), f"{self.domain}/{alice.jid}")
        alice.nothing()

    async def test_all_resources_work(self) -> None:
        workers = await self.serve("a", "b", "c", policy="round-robin")
        alice = await self.user()
        for _ in range(6):
            await self.ask(alice)
        self.assertEqual([len(worker.requests) for worker in workers], [2, 2, 2])

    async def test_an_error_is_an_answer(self) -> None:
        (worker,) = await self.serve("a")
        worker.answer = lambda worker, _request: worker.reply(
            worker.requests[-1],
            "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
            "error",
        )
        alice = await self.user()
        self.assertEqual(condition(await self.ask(alice)), "item-not-found")
