"""client_proxy on real servers when something breaks: whoever asked gets one answer."""

import itertools
import signal
from collections import Counter
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, Protocol

from tests.integration.cases import on_both_servers
from tests.integration.client import Client
from tests.integration.ports import free_port
from tests.integration.proxied import ProxiedCase, Worker, condition, work
from tests.integration.servers import breakable
from tests.integration.xmlcut import Received
from tests.patience import patiently


def silent(_worker: Worker, _request: object) -> None:
    """Leave a request unanswered."""


def request(kind: str, id: str, domain: str) -> str:
    return f"<iq type='{kind}' id='{id}' to='{domain}'><x xmlns='urn:test'/></iq>"


class Asker:
    """Asks `total` requests, `window` at a time, every third of them a set; counts what comes for each id.

    begin() first; go_on() asks for more than `total`.
    """

    def __init__(self, client: Client, domain: str, total: int, window: int = 50) -> None:
        self.client = client
        self.domain = domain
        self.total = total
        self.window = window
        self.asked = 0
        self.answers: Counter[str] = Counter()
        self.results = 0
        self.conditions: Counter[tuple[str, str]] = Counter()  # kind of request, condition
        self.at: dict[int, Deferred[None]] = {}  # number of answers -> fired then
        client.ignore = self._take

    def begin(self) -> None:
        for _ in range(self.window):
            self._ask()

    def go_on(self, total: int) -> None:
        self.total = total
        while self.asked - len(self.answers) < self.window and self.asked < total:
            self._ask()

    def _ask(self) -> None:
        if self.asked < self.total:
            self.asked += 1
            kind = "set" if self.asked % 3 == 0 else "get"
            self.client.transport.write(request(kind, f"{kind}-{self.asked}", self.domain).encode())

    def _take(self, stanza: Received) -> bool:
        if stanza.get("from") != self.domain or stanza.get("type") not in ("result", "error"):
            return False
        id = str(stanza.get("id"))
        self.answers[id] += 1
        if stanza.get("type") == "result":
            self.results += 1
        else:
            self.conditions[id.partition("-")[0], condition(stanza)] += 1
        count = len(self.answers)
        if (waiting := self.at.pop(count, None)) is not None:
            waiting.callback(None)
        self._ask()
        return True

    def after(self, answers: int) -> "Deferred[None]":
        """Fires when so many requests are answered."""
        if len(self.answers) >= answers:
            return succeed(None)
        self.at[answers] = Deferred()
        return self.at[answers]


@on_both_servers
class WorkerFaultTests(ProxiedCase):
    timeout = 240

    async def test_killed_in_the_middle_of_requests(self) -> None:
        workers = {worker.resource: worker for worker in await self.serve("a", "b", policy="sender")}
        for worker in workers.values():
            worker.answer = silent
        alice = await self.user()
        alice.send(request("get", "g", self.domain) + request("set", "s", self.domain))
        chosen = workers["a"]
        await self.until_asked(workers, 2)
        chosen = max(workers.values(), key=lambda worker: len(worker.requests))
        other = workers["b" if chosen.resource == "a" else "a"]
        other.answer = work
        chosen.client.drop()
        self.assertEqual(condition(await alice.expect("<iq type='error' id='s'/>")), "recipient-unavailable")
        reply = await alice.expect("<iq type='result' id='g'/>")
        self.assertIn(f">{other.resource}<", str(reply))
        await alice.barrier()
        alice.nothing()

    async def until_asked(self, workers: dict[str, Worker], count: int) -> None:
        def asked() -> bool:
            return sum(len(worker.requests) for worker in workers.values()) == count

        while not asked():
            await next(iter(workers.values())).client.barrier()

    async def test_one_whose_session_is_kept_for_resumption(self) -> None:
        """The connection breaks, the server waits for it: available, and nobody is there."""
        a, b = await self.serve("a", "b", policy="round-robin", ping_after=1.0)
        a.client.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
        await a.client.expect("<enabled xmlns='urn:xmpp:sm:3'/>")
        a.client.drop()
        alice = await self.user()
        for _ in range(4):
            self.assertIn(">b<", str(await self.ask(alice)))
        self.assertEqual(len(b.requests), 4)
        await self.running.process.says(f"{a.client.jid} does not answer any request")

    async def test_a_target_that_answers_nothing(self) -> None:
        (worker,) = await self.serve("a", timeout=2.0, ping_after=1.0)
        worker.client.ignore = lambda stanza: stanza.element.name == "iq"
        alice = await self.user()
        self.assertEqual(condition(await self.ask(alice)), "remote-server-timeout")

    async def test_ten_thousand_requests_over_three_resources_of_which_one_dies(self) -> None:
        workers = await self.serve("a", "b", "c", max_open_per_asker=200, policy="least-outstanding")
        askers = [Asker(await self.user(name), self.domain, 3500) for name in ("alice", "bob")]
        for asker in askers:
            asker.begin()
        await askers[0].after(1500)
        workers[2].client.drop()
        await askers[0].after(3000)
        workers.append(await self.worker("c"))  # it may take longer to log in than the others to answer everything
        for asker in askers:
            asker.go_on(5000)
        for asker in askers:
            await asker.after(5000).addTimeout(patiently(120), reactor)
            await asker.client.barrier()
            self.assertEqual(set(asker.answers.values()), {1})
            self.assertEqual(len(asker.answers), 5000)
            # What a server says of a resource that is gone, too, before it tells that it is (RFC 6121 §8.5.3.2.3).
            fates = {("set", "recipient-unavailable"), ("set", "service-unavailable")}
            self.assertEqual(set(asker.conditions) - fates, set(), asker.conditions)
            self.assertGreater(asker.results, 4900)
        self.assertTrue(all(worker.requests for worker in workers))


@on_both_servers
class ProxyFaultTests(ProxiedCase):
    async def test_stopped_with_requests_open(self) -> None:
        (worker,) = await self.serve("a")
        worker.answer = silent
        alice = await self.user()
        alice.send(request("get", "g", self.domain))
        await worker.client.until(lambda: bool(worker.requests), "the request")
        self.running.process.signal(signal.SIGTERM)
        self.assertEqual(condition(await alice.expect("<iq type='error' id='g'/>")), "recipient-unavailable")
        self.assertEqual(await self.running.process.ends(), -signal.SIGTERM)

    async def test_killed_and_started_again(self) -> None:
        (worker,) = await self.serve("a")
        alice = await self.user()
        await self.ask(alice)
        self.running.process.signal(signal.SIGKILL)
        await self.running.process.ends()
        self.running.start()
        await worker.known()
        self.assertEqual((await self.ask(alice)).get("type"), "result")

    async def test_a_wrong_secret(self) -> None:
        self.target = await self.account("worker")
        proxy = await self.start_proxy(secret="wrong")
        await proxy.process.says("refused by the server: the secret is wrong")
        await proxy.process.says(r"next try in 1\d\.\d s")

    async def test_several_servers_of_which_the_first_is_down(self) -> None:
        self.target = await self.account("worker")
        port = self.server.component_port
        await self.start_proxy(server=[f"tcp:127.0.0.1:{free_port()}", f"tcp:127.0.0.1:{port}"])
        await self.worker("a")
        alice = await self.user()
        self.assertEqual((await self.ask(alice)).get("type"), "result")


class Relay(Factory):
    """A port between proxy and server. `connections`: the server's sides, which can be cut."""

    noisy = False

    def __init__(self, port: int) -> None:
        self.server = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        self.connections: list[End] = []

    def buildProtocol(self, _address: object) -> Protocol:
        front, back = End(), End()
        front.peer, back.peer = back, front
        self.connections.append(back)
        connectProtocol(self.server, back)
        return front


class End(Protocol):
    """One end of a relayed connection."""

    transport: ITCPTransport | None = None
    peer: "End"

    def __init__(self) -> None:
        self.early: list[bytes] = []
        self.gone: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        for data in self.early:
            self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        if self.peer.transport is None:
            self.peer.early.append(data)
        else:
            self.peer.transport.write(data)

    def connectionLost(self, reason: object = None) -> None:
        self.gone.callback(None)
        if self.peer.transport is not None:
            self.peer.transport.loseConnection()

    def cut(self) -> None:
        for end in (self, self.peer):
            if end.transport is not None:
                end.transport.abortConnection()

    async def hang_up(self) -> None:
        """End it so that whoever is at this end knows when this returns: it has closed its side too."""
        self.transport.loseWriteConnection()  # type: ignore[union-attr]
        await self.gone

    def cut_in_the_middle(self) -> None:
        """Let only half of what comes next through, then cut."""

        def pass_half(data: bytes) -> None:
            assert self.transport is not None and self.peer.transport is not None
            self.peer.transport.write(data[: len(data) // 2])
            self.peer.transport.loseConnection()
            self.transport.abortConnection()

        self.dataReceived = pass_half  # type: ignore[method-assign]


@on_both_servers
class BrokenStreamTests(ProxiedCase):
    async def relay(self) -> Relay:
        """Start a proxy that connects through a relay."""
        relay = Relay(self.server.component_port)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(relay)
        self.target = await self.account("worker")
        await self.start_proxy(server=f"tcp:127.0.0.1:{port.getHost().port}")
        self.addCleanup(self._close, port, relay)
        return relay

    async def _close(self, port: Any, relay: Relay) -> None:
        await port.stopListening()
        for connection in relay.connections:
            connection.cut()

    async def test_the_stream_breaks_in_the_middle_of_a_stanza(self) -> None:
        """Nobody but its sender loses anything: open gets are asked again, sets fail."""
        relay = await self.relay()
        worker = await self.worker("a", answer=silent)
        alice = await self.user()
        alice.send(request("get", "g", self.domain) + request("set", "s", self.domain))
        await worker.client.until(lambda: len(worker.requests) == 2, "both requests")
        worker.answer = work
        relay.connections[-1].cut_in_the_middle()
        alice.send(request("get", "lost", self.domain))
        self.assertEqual(condition(await alice.expect("<iq type='error' id='s'/>")), "recipient-unavailable")
        self.assertIn(">a<", str(await alice.expect("<iq type='result' id='g'/>")))
        self.assertIn(">a<", str(await self.ask(alice)))

    async def test_a_request_sent_while_there_is_no_stream_is_answered(self) -> None:
        """By the server, or by the proxy when it is back.

        What a server writes to a stream of which it does not know yet that it is broken, is lost: the next is not.
        """
        relay = await self.relay()
        await self.worker("a")
        alice = await self.user()
        await self.ask(alice)
        mark = len(self.running.process.lines)
        await relay.connections[-1].hang_up()
        await self.running.process.says("connection lost", start=mark)
        alice.ignore = lambda stanza: stanza.raw.startswith(b"<iq") and b"'meanwhile-" in stanza.raw[:500]
        asked = itertools.count(1)
        while not any(alice.ignore(stanza) for stanza in alice.received):
            alice.send(request("get", f"meanwhile-{next(asked)}", self.domain))
            await alice.barrier()
        await self.running.process.says(": connected", start=mark)
        self.assertIn(">a<", str(await self.ask(alice)))
        await alice.barrier()
        alice.nothing()


@on_both_servers
class ServerRestartTests(ProxiedCase):
    """On a server that others break, too."""

    def setUp(self) -> None:
        super().setUp()
        self.server = breakable(self.kind)

    async def test_a_server_that_is_started_again(self) -> None:
        await self.serve("a")
        account = await self.account("alice")
        alice = await self.client(account, "phone", direct=True)
        await self.ask(alice)
        mark = len(self.running.process.lines)
        self.server.process.stop()
        await self.running.process.says("connection lost")
        self.server.process = self.server.start()
        await self.running.process.says(": connected", start=mark)
        await self.worker("b")
        alice = await self.client(account, "phone", direct=True)
        self.assertIn(">b<", str(await self.ask(alice)))
