"""client_proxy on real servers: requests, who is asked, and who may ask."""

from tests.integration.cases import on_both_servers
from tests.integration.patterns import matches
from tests.integration.proxied import ProxiedCase, Worker, condition, work
from tests.integration.proxy import Proxy
from tests.integration.servers import COMPONENT_SECRET
from tests.patience import patiently


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

    async def test_a_resource_of_1023_bytes(self) -> None:
        (worker,) = await self.serve("a")
        alice = await self.client(await self.account("alice"), "x" * 1023, direct=True)
        self.assertEqual((await self.ask(alice)).get("type"), "result")
        self.assertTrue(str(worker.requests[0].get("from")).startswith(f"{self.domain}/@"))

    async def test_a_resource_that_is_no_resource_when_it_stands_beside_latin_letters(self) -> None:
        """Right-to-left alone is valid, mixed with the Latin letters of the address it is not: spelled."""
        (worker,) = await self.serve("a")
        alice = await self.client(await self.account("alice"), "\u05e9\u05dc\u05d5\u05dd", direct=True)
        self.assertEqual((await self.ask(alice)).get("type"), "result")
        self.assertTrue(str(worker.requests[0].get("from")).startswith(f"{self.domain}/@"))

    async def test_a_resource_with_markup(self) -> None:
        await self.serve("a")
        alice = await self.connect(direct=True, label="alice")
        await alice.login(await self.account("alice"), "<'&\"> @/\u00fc")
        await alice.online()
        self.assertEqual((await self.ask(alice)).get("type"), "result")

    async def test_other_addresses_of_the_domain(self) -> None:
        await self.serve("a")
        alice, bob = await self.user(), await self.user("bob")
        for to in (f"node@{self.domain}", f"{self.domain}/resource", f"{self.domain}/{bob.jid}"):
            reply = await self.ask(alice, to=to)
            self.assertEqual((reply.get("type"), reply.get("from")), ("result", to))
        await bob.barrier()
        bob.nothing()

    async def test_two_targets(self) -> None:
        second = await self.account("second")
        self.target = await self.account("worker")
        await self.start_proxy(target=[self.target.jid, second.jid], policy="round-robin")
        workers = [await self.worker("a"), await self.worker("x", second)]
        alice = await self.user()
        for _ in range(4):
            await self.ask(alice)
        self.assertEqual([len(worker.requests) for worker in workers], [2, 2])

    async def test_no_answer_in_time(self) -> None:
        (worker,) = await self.serve("a", timeout=patiently(1.0))  # a busy machine is to answer the second one in time
        worker.answer = lambda _worker, _request: None
        alice = await self.user()
        self.assertEqual(condition(await self.ask(alice)), "remote-server-timeout")
        worker.reply(worker.requests[0])
        await worker.client.barrier()
        worker.answer = work
        self.assertIn(">a<", str(await self.ask(alice)))
        alice.nothing()

    async def test_replies_of_strangers_and_second_replies(self) -> None:
        """The right id from the wrong sender is nothing, and so is the right sender for the second time."""
        a, b = await self.serve("a", "b", policy="round-robin")
        a.answer = lambda _worker, _request: None
        alice, mallory = await self.user(), await self.user("mallory")
        alice.send(f"<iq type='get' id='q' to='{self.domain}'><x xmlns='urn:test'/></iq>")
        await a.client.until(lambda: bool(a.requests), "the request")
        forged = str(a.requests[0].get("id"))
        for client in (mallory, b.client):
            client.send(
                f"<iq type='result' id='{forged}' to='{self.domain}/{alice.jid}'><forged xmlns='urn:test'/></iq>"
            )
            await client.iq("get", self.domain, "<ping xmlns='urn:xmpp:ping'/>")
        a.reply(a.requests[0], "<genuine xmlns='urn:test'/>")
        await alice.expect("<iq type='result' id='q'><genuine xmlns='urn:test'/></iq>")
        a.reply(a.requests[0], "<genuine xmlns='urn:test'/>")
        await a.client.iq("get", self.domain, "<ping xmlns='urn:xmpp:ping'/>")
        await alice.barrier()
        alice.nothing()


@on_both_servers
class SeveralDomainsTests(ProxiedCase):
    async def test_two_domains_of_one_process(self) -> None:
        """Each has its own target, and knows nothing of the other's."""
        targets = [await self.account("one"), await self.account("two")]
        domains = [f"{label}.{self.server.domain}" for label in ("proxy", "proxy2")]
        tables = [
            {
                "domain": domain,
                "target": target.jid,
                "server": f"tcp:127.0.0.1:{self.server.component_port}",
                "secret": COMPONENT_SECRET,
            }
            for domain, target in zip(domains, targets, strict=True)
        ]
        proxy = self._watch(Proxy(listen=(), client_proxy=tables), 0)
        self.addCleanup(proxy.stop)
        for domain, target in zip(domains, targets, strict=True):
            await proxy.process.says(f"{domain}: connected")
            self.domain = domain
            await self.worker(f"of-{target.username}", target)
        alice = await self.user()
        for domain, target in zip(domains, targets, strict=True):
            self.assertIn(f">of-{target.username}<", str(await self.ask(alice, to=domain)))


@on_both_servers
class WhoIsAskedTests(ProxiedCase):
    async def test_nobody_there(self) -> None:
        await self.serve()
        alice = await self.user()
        self.assertEqual(condition(await self.ask(alice)), "service-unavailable")

    async def test_negative_priority_and_dnd_take_nothing_new(self) -> None:
        a, b, c = await self.serve("a", "b", "c", policy="round-robin")
        a.client.send("<presence><priority>-1</priority></presence>")
        b.client.send("<presence><show>dnd</show></presence>")
        for worker in (a, b):
            await worker.client.iq("get", self.domain, "<ping xmlns='urn:xmpp:ping'/>")
        alice = await self.user()
        for _ in range(3):
            await self.ask(alice)
        self.assertEqual([len(worker.requests) for worker in (a, b, c)], [0, 0, 3])

    async def test_a_subscription_that_is_taken_back(self) -> None:
        (worker,) = await self.serve("a")
        alice = await self.user()
        await self.ask(alice)
        worker.client.send(f"<presence type='unsubscribed' to='{self.domain}'/>")
        await self.running.process.says("has withdrawn our subscription")
        self.assertEqual(condition(await self.ask(alice)), "service-unavailable")

    async def test_a_target_that_does_not_exist(self) -> None:
        self.target = (await self.account("x"))._replace(username="nobody")
        await self.start_proxy()
        alice = await self.user()
        self.assertEqual(condition(await self.ask(alice)), "service-unavailable")

    async def test_an_exchange_stays_with_its_resource(self) -> None:
        commands = "http://jabber.org/protocol/commands"

        def answer(worker: Worker, _request: object) -> str:
            return f"<command xmlns='{commands}' node='n' sessionid='{worker.resource}' status='executing'/>"

        workers = await self.serve("a", "b", "c", policy="round-robin")
        for worker in workers:
            worker.answer = answer
        alice = await self.user()
        await self.ask(alice, f"<command xmlns='{commands}' node='n'/>", "set")
        for _ in range(5):
            await self.ask(alice, f"<command xmlns='{commands}' node='n' sessionid='a'/>", "set")
        self.assertEqual([len(worker.requests) for worker in workers], [6, 0, 0])
        await self.ask(alice, f"<command xmlns='{commands}' node='n'/>", "set")
        self.assertEqual([len(worker.requests) for worker in workers], [6, 1, 0])

    async def test_a_feature_of_one_resource(self) -> None:
        await self.serve("a", "b", policy="round-robin")
        special = await self.worker("c", features=("urn:special",))
        await special.client.iq("get", self.domain, "<ping xmlns='urn:xmpp:ping'/>")
        alice = await self.user()
        for _ in range(3):
            await self.ask(alice, "<x xmlns='urn:special'/>")
        self.assertEqual(len(special.requests), 3)


@on_both_servers
class WhoMayAskTests(ProxiedCase):
    async def test_allow_and_deny(self) -> None:
        alice, bob = await self.user(), await self.user("bob")
        await self.serve("a", allow=[self.server.domain], deny=[bob.bare])
        self.assertEqual((await self.ask(alice)).get("type"), "result")
        self.assertEqual(condition(await self.ask(bob)), "not-allowed")

    async def test_a_flood_costs_only_its_sender(self) -> None:
        (worker,) = await self.serve("a", rate=1.0, burst=5)
        alice, mallory = await self.user(), await self.user("mallory")
        mallory.send(
            "".join(f"<iq type='get' id='{n}' to='{self.domain}'><x xmlns='urn:test'/></iq>" for n in range(500))
        )
        self.assertEqual((await self.ask(alice)).get("type"), "result")
        await mallory.until(
            lambda: len([s for s in mallory.received if (s.get("id") or "").isdigit()]) == 500, "500 answers"
        )
        refused = [stanza for stanza in mallory.received if condition(stanza) == "resource-constraint"]
        self.assertGreater(len(refused), 480)
        self.assertLess(len(worker.requests), 20)

    async def test_open_requests_are_bounded(self) -> None:
        (worker,) = await self.serve("a", max_open_per_asker=3)
        worker.answer = lambda _worker, _request: None
        mallory = await self.user("mallory")
        for number in range(3):
            mallory.send(f"<iq type='get' id='{number}' to='{self.domain}'><x xmlns='urn:test'/></iq>")
        self.assertEqual(condition(await self.ask(mallory)), "resource-constraint")


@on_both_servers
class FaceTests(ProxiedCase):
    async def test_it_is_found_and_says_what_it_is(self) -> None:
        await self.serve(name="Works", identity_category="automation", identity_type="rpc")
        worker = await self.worker("a", features=("http://jabber.org/protocol/commands",))
        await worker.client.iq("get", self.domain, "<ping xmlns='urn:xmpp:ping'/>")
        alice = await self.user()
        items = await alice.iq("get", self.server.domain, "<query xmlns='http://jabber.org/protocol/disco#items'/>")
        self.assertIn(f"jid='{self.domain}'", str(items))
        info = await self.ask(alice, "<query xmlns='http://jabber.org/protocol/disco#info'/>")
        self.assertTrue(
            matches(
                "<iq type='result'><query xmlns='http://jabber.org/protocol/disco#info'>"
                "<identity category='automation' type='rpc' name='Works'/><feature var='urn:xmpp:ping'/>"
                "<feature var='http://jabber.org/protocol/commands'/></query></iq>",
                info.element,
            ),
            str(info),
        )

    async def test_ping_version_and_last_activity(self) -> None:
        await self.serve()
        alice = await self.user()
        for payload, said in (
            ("<ping xmlns='urn:xmpp:ping'/>", ""),
            ("<query xmlns='jabber:iq:version'/>", "<name>minimixproxy</name>"),
            ("<query xmlns='jabber:iq:last'/>", "seconds='"),
        ):
            reply = await self.ask(alice, payload)
            self.assertEqual(reply.get("type"), "result")
            self.assertIn(said, str(reply))

    async def test_items_lead_back_to_the_domain(self) -> None:
        (worker,) = await self.serve("a")
        items = "http://jabber.org/protocol/disco#items"
        worker.answer = lambda worker, _request: (
            f"<query xmlns='{items}'><item jid='{worker.client.jid}' node='n'/></query>"
        )
        alice = await self.user()
        reply = await self.ask(alice, f"<query xmlns='{items}' node='http://jabber.org/protocol/commands'/>")
        pattern = f"<iq><query xmlns='{items}'><item jid='{self.domain}' node='n'/></query></iq>"
        self.assertTrue(matches(pattern, reply.element), str(reply))
