"""All that can be asked is asked at once, and each has an end."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.checking import online
from minimixproxy.checking.finding import Finding, good
from minimixproxy.checking.online import PATIENCE, LoginToTry, check_online
from minimixproxy.config.settings import ClientProxy, Domain, Listen, Settings


class Asked:
    """Names and servers: what is asked of them, and when they answer."""

    def __init__(self) -> None:
        self.open: dict[str, Deferred[list[Finding]]] = {}
        self.ports: list[int] = []

    async def ask(self, what: str) -> list[Finding]:
        self.open[what] = Deferred()
        return await self.open[what]

    async def check(self, what: Any, ports: list[int] | None = None) -> list[Finding]:
        if ports is not None:
            self.ports = ports
            return await self.ask(f"DNS {what}")
        return await self.ask(f"server {what.name}")

    async def check_component(self, proxy: ClientProxy) -> list[Finding]:
        return await self.ask(f"component {proxy.domain}")

    async def check_login(self, domain: Domain, local: str, password: str) -> list[Finding]:
        return await self.ask(f"login {local}@{domain.name} {password}")


class OnlineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.asked = Clock(), Asked()
        domain = Domain(name="a.test")
        self.settings = Settings.model_construct(
            domain={"a.test": domain},
            client_proxy=(ClientProxy.model_construct(domain="p.test"),),
            listen=tuple(
                Listen.model_construct(endpoint=one) for one in ("tcp:5222", "unix:/x", "nonsense:1", "tcp:0")
            ),
        )
        login = LoginToTry(domain, "me", "secret")
        asking: Any = self.asked
        checking = check_online(self.settings, self.clock, asking, asking, login)
        self.waiting = Deferred.fromCoroutine(checking)

    def told(self) -> list[str]:
        return [one.sentence for one in self.successResultOf(self.waiting)]

    def test_in_the_order_of_the_configuration(self) -> None:
        names = ["DNS a.test", "server a.test", "component p.test", "login me@a.test secret"]
        self.assertEqual(list(self.asked.open), names)
        for name in reversed(names):
            self.assertNoResult(self.waiting)
            self.asked.open[name].callback([good(name, "1"), good(name, "2")])
        self.assertEqual(self.told(), [f"{name}: {number}" for name in names for number in (1, 2)])
        self.assertEqual(self.asked.ports, [5222])

    def test_faults_and_silence(self) -> None:
        self.asked.open["DNS a.test"].errback(ValueError("odd"))
        self.clock.advance(PATIENCE - 1)
        self.assertNoResult(self.waiting)
        self.clock.advance(1)
        self.assertEqual(
            self.told(),
            ["DNS of a.test: could not be asked: odd"]
            + [
                f"{name}: no answer within 60 seconds"
                for name in ("server of a.test", "client_proxy p.test", "login of me@a.test")
            ],
        )

    def test_without_a_login(self) -> None:
        asked: Any = Asked()
        Deferred.fromCoroutine(online.check_online(self.settings, self.clock, asked, asked))
        self.assertEqual(list(asked.open), ["DNS a.test", "server a.test", "component p.test"])
