"""What is said of servers, with connections of the test's own."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.errors import UpstreamError, UpstreamProtocolError, UpstreamTLSError, UpstreamUnreachable
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.c2s.upstream.srv import Target
from minimixproxy.checking import servers
from minimixproxy.checking.finding import Finding
from minimixproxy.checking.loops import ADVICE
from minimixproxy.checking.servers import MOST_TOLD, PATIENCE, Servers
from minimixproxy.config.settings import ClientProxy, Domain, Limits
from minimixproxy.wire.stanza import Stanza, parse_stanza
from tests.c2s.server.test_offers import features
from tests.wires import Wire

SERVER = "server of example.org (tcp:192.0.2.1:5222)"
LOGIN = "login of a@example.org"
SHOWN_LATER = f"not asked {SERVER}: stream management (XEP-0198) is shown after a login only: --login JID looks"
CSI, SM = "client state indication (XEP-0352)", "stream management (XEP-0198)"


class Stream:
    def __init__(self) -> None:
        self.transport = Wire()
        self.sid = "its-id"


class Configured:
    limits = Limits()


class ServersCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.domain = Domain(name="example.org", upstream="tcp:192.0.2.1:5222")
        self.offered: Stanza | Exception | None = features("SCRAM-SHA-256", "PLAIN")
        self.by_system: Exception | None = None  # what is wrong where TLS is verified
        self.own: dict[str, bool | None] = {}
        self.asked: list[Any] = []
        self.streams: list[Stream] = []
        self.patch(servers, "contact_upstream", self.contact)
        self.patch(servers, "connect_upstream", self.connect)
        self.patch(servers, "open_stream", self.opened)
        self.checks = Servers(Configured(), self.clock, self.own.get)  # type: ignore[arg-type]

    def stream(self) -> Stream:
        self.streams.append(Stream())
        return self.streams[-1]

    async def contact(self, reactor: object, domain: Domain, limits: Limits) -> tuple[Stream, Stanza]:
        self.assertEqual((reactor, domain.name, limits), (self.clock, "example.org", Configured.limits))
        self.asked.append(domain.upstream_trust)
        if domain.upstream_trust == "system" and self.by_system is not None:
            raise self.by_system
        return self.stream(), await self.opened()

    async def connect(self, reactor: object, login: Login, limits: Limits) -> Stream:
        self.assertEqual((reactor, limits), (self.clock, Configured.limits))
        self.asked.append((login.own.bare, login.credential.password))
        return self.stream()

    async def opened(self, _stream: object = None) -> Stanza:
        if self.offered is None:
            await Deferred()
        if isinstance(self.offered, Exception):
            raise self.offered
        assert self.offered is not None
        return self.offered

    def told(self, checking: Any) -> list[str]:
        waiting = Deferred.fromCoroutine(checking)
        if self.offered is None:
            self.clock.advance(PATIENCE - 1)
            self.assertNoResult(waiting)
            self.clock.advance(1)
        found: list[Finding] = self.successResultOf(waiting)
        if isinstance(self.offered, Stanza):
            self.assertTrue(all(stream.transport.aborted for stream in self.streams))
        return [f"{one.level.value} {one.sentence}" for one in found]


class DomainTests(ServersCase):
    def check(self) -> list[str]:
        return self.told(self.checks.check(self.domain))

    def test_all_is_well(self) -> None:
        verified = f"ok {SERVER}: answers, by TLS that is verified"
        self.assertEqual(self.check(), [verified, f"ok {SERVER}: offers PLAIN, SCRAM-SHA-256", SHOWN_LATER])

    def test_by_dns(self) -> None:
        self.domain = Domain(name="example.org")
        for targets, where in (
            ([Target("a.test", 5222, False), Target("b.test", 5223, True)], "a.test:5222, b.test:5223"),
            ([], "nowhere"),
        ):
            self.patch(servers, "resolve", lambda _name, found=targets: succeed(found))
            self.assertTrue(self.check()[0].startswith(f"ok server of example.org (by DNS: {where}): "))

    def test_it_cannot_be_reached(self) -> None:
        for fault, advice in (
            (UpstreamUnreachable("x"), "is the server running, and is upstream right?"),
            (UpstreamProtocolError("x"), "is the server running, and is upstream right?"),
            (
                UpstreamProtocolError("x", "host-unknown"),
                "the server does not know this domain: add it there, or correct the name here",
            ),
            (UpstreamTLSError("x"), "correct its certificate, or name the file of its authority in upstream_trust"),
        ):
            self.offered = fault
            self.assertEqual(self.check(), [f"ERROR {SERVER}: x: {advice}"])

    def test_it_does_not_answer(self) -> None:
        self.offered = None
        self.assertEqual(len(self.check()), 1)
        self.assertTrue(self.check()[0].startswith(f"ERROR {SERVER}: no answer within 20 seconds: "))

    def test_it_is_the_proxy_itself(self) -> None:
        for own in (None, False):
            self.own["its-id"] = own
            self.assertEqual(len(self.check()), 3)
        self.own["its-id"] = True
        self.assertEqual(self.check(), [f"ERROR {SERVER}: leads back to the proxy that runs: {ADVICE}"])

    def test_tls_that_is_not_verified(self) -> None:
        self.domain = self.domain.model_copy(update={"upstream_trust": "insecure"})
        says = f'WARNING {SERVER}: answers, and its TLS is not verified: upstream_trust = "insecure"'
        for fault, advice in (
            (UpstreamTLSError("x"), ': "system" would say: x; name the file of its authority instead'),
            (UpstreamError("x"), ""),
            (None, ': leave it out: its certificate is good by "system"'),
        ):
            self.by_system = fault
            self.assertEqual(self.check()[0], says + advice)
            self.assertEqual(self.asked[-2:], ["insecure", "system"])

    def test_mechanisms(self) -> None:
        many = [f"SCRAM-{number}" for number in range(10, 10 + 2 * MOST_TOLD)]
        for names, keeps, says in (
            ((), False, "ERROR {}: offers no mechanism that the proxy can do (none at all): have it offer"),
            (("B", "A"), False, "ERROR {}: offers no mechanism that the proxy can do (A, B): have it offer"),
            (many, False, f"ERROR {{}}: offers no mechanism that the proxy can do ({', '.join(many[:MOST_TOLD])}): "),
            (("PLAIN",), False, "WARNING {}: offers PLAIN only: nothing can be kept of a password, so "),
            (("PLAIN",), True, "ok {}: offers PLAIN"),
            (("SCRAM-SHA-1",), False, "ok {}: offers SCRAM-SHA-1"),
        ):
            self.offered = features(*names)
            self.domain = self.domain.model_copy(update={"keep_passwords": keeps})
            worst = self.check()[1:-1][-1]
            self.assertTrue(worst.startswith(says.format(SERVER)), worst)


class LoginTests(ServersCase):
    def check(self) -> list[str]:
        return self.told(self.checks.check_login(self.domain, "a", "secret"))

    def test_what_is_offered(self) -> None:
        sm, csi = "<sm xmlns='urn:xmpp:sm:3'/>", "<csi xmlns='urn:xmpp:csi:0'/>"
        for inner, told, well in (
            (sm + csi, f"{SM}, {CSI}", True),
            (sm, SM, True),
            (csi, CSI, False),
            ("", "nothing that the proxy looks for", False),
        ):
            self.offered = parse_stanza(f"<features xmlns='http://etherx.jabber.org/streams'>{inner}</features>")
            first, *more = self.check()
            self.assertEqual(first, f"ok {LOGIN}: succeeds; the server offers {told}")
            warned = [one.startswith(f"WARNING {LOGIN}: there is no stream management (XEP-0198), so ") for one in more]
            self.assertEqual(warned, [] if well else [True])
        self.assertEqual(self.asked[-1], ("a@example.org", "secret"))

    def test_it_comes_to_nothing(self) -> None:
        for fault, why in ((UpstreamError("x"), "x"), (None, "no answer within 20 seconds")):
            self.offered = fault
            expected = f"ERROR {LOGIN}: comes to nothing: {why}: is the password right, and may the account log in?"
            self.assertEqual(self.check(), [expected])


class ComponentTests(ServersCase):
    def test_ports(self) -> None:
        protocol = Stream()
        answers = {"tcp:a.test:5347": succeed(protocol), "tcp:b.test:5347": fail(OSError("refused"))}

        class Endpoint:
            def __init__(self, where: str) -> None:
                self.where = where

            def connect(self, _factory: object) -> Deferred[Any]:
                return answers[self.where]

        self.patch(servers, "clientFromString", lambda reactor, where: Endpoint(where) if reactor else None)
        proxy = ClientProxy.model_construct(domain="p.test", server=tuple(answers))
        one, other = (f"client_proxy p.test ({where})" for where in answers)
        self.assertEqual(
            self.told(self.checks.check_component(proxy)),
            [
                f"ok {one}: can be reached",
                f"not asked {one}: the secret is not tried: that would cut off a proxy that runs",
                f"ERROR {other}: cannot be reached: refused: is its port for components (XEP-0114) open?",
            ],
        )
        self.assertTrue(protocol.transport.aborted)
