"""A component domain of a cluster: one process connects it, and another when that one is gone."""

import json
import re
import signal
from collections.abc import Awaitable
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.words.xish import domish

from tests.integration.cases import on_both_servers, on_servers
from tests.integration.client import Client
from tests.integration.commands import run
from tests.integration.ejabberd import Ejabberd
from tests.integration.nodes import ClusterCase, Node
from tests.integration.prosody import Prosody
from tests.integration.proxied import ProxiedCase, Worker, condition
from tests.integration.relay import Relay
from tests.integration.servers import COMPONENT_SECRET
from tests.integration.test_client_proxy_faults import Asker
from tests.storage import postgresql

LONG = 60.0  # seconds: a row is good for 15


def silent(_worker: Worker, _request: domish.Element) -> None:
    """Leave a request unanswered."""


class SharedDomainCase(ClusterCase, ProxiedCase):
    """A domain that two nodes may connect, and a worker."""

    async def serve_by_two(
        self, *resources: str, component: int | None = None, database: int | None = None, **settings: Any
    ) -> tuple[Node, Node, list[Worker]]:
        """Return who connects the domain, who stands by, and workers of these resources.

        `component`, `database`: ports by which the first one reaches these.
        """
        self.target = await self.account("worker")
        self.domain = f"proxy.{self.server.domain}"
        table = {
            "domain": self.domain,
            "target": self.target.jid,
            "server": f"tcp:127.0.0.1:{self.server.component_port}",
            "secret": COMPONENT_SECRET,
            **settings,
        }
        port = {**table, "server": f"tcp:127.0.0.1:{component}"} if component is not None else table
        one = self.node(client_proxy=[port], database=database)
        other = self.node(client_proxy=[table])
        await self.start(one)
        await self.connected(one)
        await self.start(other)
        await other.process.says(f"{re.escape(self.domain)}: node-0 has it, and this process stands by")
        return one, other, [await self.worker(resource) for resource in resources]

    async def connected(self, node: Node) -> None:
        await node.process.says(rf"{re.escape(self.domain)}: connected", LONG)


@on_both_servers
class SharedDomainTests(SharedDomainCase):
    async def test_one_ends_in_order(self) -> None:
        """Who waits gets an error, and the other one is connected before the lease could have run out."""
        one, other, (worker,) = await self.serve_by_two("a")
        alice = await self.user()
        worker.answer = silent
        alice.send(f"<iq type='set' id='s' to='{self.domain}'><x xmlns='urn:test'/></iq>")
        await worker.client.until(lambda: bool(worker.requests), "the request")
        ended = deferToThread(one.stop)
        self.assertEqual(condition(await alice.expect("<iq type='error' id='s'/>")), "recipient-unavailable")
        await ended
        await self.connected(other)
        await worker.known()
        self.assertEqual(self.query("SELECT name FROM components JOIN holders ON number = holder"), [("node-1",)])

    async def test_one_is_drained(self) -> None:
        """Who has asked it by an address that is not legible is reached by that at the other one."""
        one, other, (worker,) = await self.serve_by_two("a")
        alice = await self.client(await self.account("alice"), "\u05e9\u05dc\u05d5\u05dd", direct=True)
        await self.ask(alice)
        address = str(worker.requests[0].get("from"))
        self.assertTrue(address.startswith(f"{self.domain}/@0"))
        self.assertEqual((await run(one, "drain", "--no-wait")).returncode, 0)
        await self.connected(other)
        await worker.known()
        worker.client.send(f"<message id='again' to='{address}'><body>again</body></message>")
        await alice.expect(f"<message from='{self.domain}' id='again'/>")
        self.assertIn(">a<", str(await self.ask(alice)))
        told = json.loads((await run(one, "status", "--json")).stdout)["client_proxy"]
        self.assertEqual([domain["standing_by"] for domain in told], [True])

    async def test_many_requests_while_one_is_killed(self) -> None:
        """Of each there is one answer at most, and those that came before and come after are answered."""
        one, other, (worker,) = await self.serve_by_two("a")
        asker = Asker(await self.user(), self.domain, 3000)
        asker.begin()
        await asker.after(1000)
        await deferToThread(one.process.kill)
        await self.connected(other)
        await worker.known()
        before, asked = set(asker.answers), asker.asked
        asker.total = 0  # what is still answered causes no more
        again = Asker(await self.user("bob"), self.domain, 1000)
        again.begin()
        await again.after(1000)
        await asker.client.barrier()
        self.assertEqual((set(again.answers.values()), again.results), ({1}, 1000))
        self.assertEqual(set(asker.answers.values()), {1})
        lost = asked - len(asker.answers)
        self.assertTrue(0 <= lost <= asker.window, (lost, asked, len(before)))

    async def test_status_names_who_has_it(self) -> None:
        one, other, _workers = await self.serve_by_two()
        for node, connected in ((one, True), (other, False)):
            report = json.loads((await run(node, "status", "--json")).stdout)
            (told,) = report["client_proxy"]
            self.assertEqual(
                (told["holder"], told["connected"], told["standing_by"]), ("node-0", connected, not connected)
            )
            self.assertEqual(report["troubles"], [])
        self.assertIn("by node-0", (await run(other, "status")).stdout)


@on_both_servers
class CutOffTests(SharedDomainCase):
    """The one that is connected does not reach what it needs."""

    def relay(self, port: int) -> Relay:
        relay = Relay(port)
        relay.start()
        self.addCleanup(relay.stop)
        return relay

    async def test_from_the_server(self) -> None:
        """Another one that reaches it is connected then."""
        relay = self.relay(self.server.component_port)
        one, other, (worker,) = await self.serve_by_two("a", component=relay.port)
        alice = await self.user()
        await relay.refuse()
        relay.cut()
        await one.process.says(f"{re.escape(self.domain)}: let go of, .*: .not connected for 3", LONG)
        await self.connected(other)
        await worker.known()
        self.assertIn(">a<", str(await self.ask(alice)))

    async def test_from_the_database(self) -> None:
        """It answers until its row has run out, and then cuts its connection."""
        relay = self.relay(postgresql.cluster().port)
        one, other, (worker,) = await self.serve_by_two("a", database=relay.port)
        alice = await self.user()
        relay.silence()
        self.assertIn(">a<", str(await self.ask(alice)))
        await one.process.says("no sign of life could be given in time.*this proxy ends", LONG)
        await self.connected(other)
        await worker.known()
        self.assertIn(">a<", str(await self.ask(alice)))


class ReplacingProsody(Prosody):
    """A second connection of a component takes the place of the first one, as docs/cluster.md has it."""

    options = 'component_conflict_resolve = "kick_old"'


class StandsStillCase(SharedDomainCase):
    """The one that is connected stands still for longer than its row is good, and goes on."""

    async def stand_still(self, node: Node, until: Awaitable[object]) -> None:
        """It goes on then, and finds that it is over."""
        node.process.process.send_signal(signal.SIGSTOP)
        try:
            await until
        finally:
            node.process.process.send_signal(signal.SIGCONT)
        await node.process.says("this proxy ends", LONG)
        self.assertEqual(await deferToThread(node.process.process.wait, 60), 1)

    async def ask_meanwhile(self, other: Node, worker: Worker, user: Client) -> None:
        """Once the other one is connected, all is as before."""
        await self.connected(other)
        await worker.known()
        self.assertIn(">a<", str(await self.ask(user)))


@on_servers(Prosody)
class RefusedTests(StandsStillCase):
    async def test_until_it_goes_on(self) -> None:
        """The server refuses a second connection as long as there is the first one."""
        one, other, (worker,) = await self.serve_by_two("a")
        alice = await self.user()
        await self.stand_still(one, other.process.says("the component is connected already", LONG))
        await self.ask_meanwhile(other, worker, alice)


@on_servers(ReplacingProsody)
class ReplacedTests(StandsStillCase):
    async def test_at_once(self) -> None:
        one, other, (worker,) = await self.serve_by_two("a")
        alice = await self.user()
        await self.stand_still(one, self.ask_meanwhile(other, worker, alice))
        self.assertIn(">a<", str(await self.ask(alice)))


@on_servers(Ejabberd)
class BesideEachOtherTests(StandsStillCase):
    async def test_some_goes_to_each(self) -> None:
        """The other one finds that out, and asks anew for what it may have missed when the first one is gone."""
        one, other, (worker,) = await self.serve_by_two("a")
        alice = await self.user()
        await self.stand_still(one, other.process.says("the server has another connection of it", LONG))
        await other.process.says("the server has no other connection of it any more", LONG)
        await self.connected(other)
        while condition(answer := await self.ask(alice)):
            await worker.client.barrier()  # what it missed may be told only now
        self.assertIn(">a<", str(answer))
