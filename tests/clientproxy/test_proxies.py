"""Which proxied domains are served, from the start and after the configuration was read again."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.clientproxy import ClientProxies
from minimixproxy.config.settings import ClientProxy, Settings


def section(domain: str, secret: str = "x") -> ClientProxy:
    return ClientProxy(domain=domain, target=("bot@example.org",), server=("tcp:127.0.0.1:5347",), secret=secret)


def settings(*sections: ClientProxy) -> Settings:
    return Settings.model_construct(client_proxy=sections)


class Domain(Service):
    connected = standing_by = True
    dropped = 0

    def __init__(self, section: ClientProxy) -> None:
        self.section = section
        self.domain = section.domain
        self.ends: Deferred[None] | None = None

    def status(self) -> dict[str, object]:
        return {}

    def stopService(self) -> Any:
        super().stopService()
        return self.ends


class ProxiesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.settings = settings(section("a.test"), section("b.test"))
        self.proxies = ClientProxies(self.settings, Domain)
        self.proxies.startService()
        self.addCleanup(self.proxies.stopService)

    def served(self) -> dict[str, str]:
        return {one.domain: one.section.secret for one in self.proxies if isinstance(one, Domain)}

    def reload(self, *sections: ClientProxy) -> None:
        new = settings(*sections)
        prepared = self.successResultOf(Deferred.fromCoroutine(self.proxies.prepare(new)))
        vars(self.settings)["client_proxy"] = new.client_proxy  # in place, as a reload does
        prepared.commit()

    def test_from_the_start(self) -> None:
        self.assertEqual(self.served(), {"a.test": "x", "b.test": "x"})
        one, other = self.proxies
        self.assertEqual((len(self.proxies), one in self.proxies, "a.test" in self.proxies), (2, True, False))
        self.assertTrue(isinstance(other, Domain) and other.running)

    def test_one_changes_one_goes_and_one_comes(self) -> None:
        before = list(self.proxies)
        self.reload(section("c.test"), section("a.test", "y"))
        self.assertEqual(self.served(), {"c.test": "x", "a.test": "y"})
        self.assertFalse(any(one in self.proxies for one in before))

    def test_what_stays_as_it_is_goes_on(self) -> None:
        one, _other = self.proxies
        self.reload(section("a.test"), section("b.test", "y"))
        self.assertIn(one, self.proxies)
        self.assertEqual(self.served(), {"a.test": "x", "b.test": "y"})

    def test_the_next_one_waits_until_the_last_has_ended(self) -> None:
        """The server would refuse it."""
        (first, _other), ends = self.proxies, Deferred[None]()
        assert isinstance(first, Domain)
        first.ends = ends
        self.reload(section("a.test", "y"), section("b.test"))
        self.assertEqual(self.served(), {"b.test": "x"})
        self.reload(section("a.test", "z"), section("b.test"))
        ends.callback(None)
        self.assertEqual(self.served(), {"b.test": "x", "a.test": "z"})

    def test_one_that_ends_with_a_fault(self) -> None:
        first, _other = self.proxies
        assert isinstance(first, Domain)
        first.ends = Deferred()
        self.reload(section("a.test", "y"), section("b.test"))
        first.ends.errback(RuntimeError("a fault"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.served(), {"b.test": "x", "a.test": "y"})

    def test_not_wanted_any_more_when_it_has_ended(self) -> None:
        first, _other = self.proxies
        assert isinstance(first, Domain)
        first.ends = Deferred()
        self.reload(section("a.test", "y"), section("b.test"))
        self.reload(section("b.test"))
        first.ends.callback(None)
        self.assertEqual(self.served(), {"b.test": "x"})

    def test_undone(self) -> None:
        prepared = self.successResultOf(Deferred.fromCoroutine(self.proxies.prepare(settings())))
        self.assertEqual(set(prepared.ended), {"a.test", "b.test"})
        prepared.undo()
        self.assertEqual(self.served(), {"a.test": "x", "b.test": "x"})
