"""Where DNS sends clients, with answers of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.names import dns
from twisted.names import error as names_error
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.checking.finding import Finding, Level
from minimixproxy.checking.names import Names


def srv(host: str, port: int, priority: int = 5) -> Any:
    payload = dns.Record_SRV(priority=priority, weight=0, port=port, target=host)
    return dns.RRHeader(type=dns.SRV, payload=payload)


class Threads:
    """A reactor, and its threads, that do all at once."""

    def getThreadPool(self) -> Threads:
        return self

    def callInThreadWithCallback(self, done: Callable[[bool, Any], object], work: Callable[[], Any]) -> None:
        done(True, work())

    def callFromThread(self, work: Callable[..., object], *what: Any) -> None:
        work(*what)


class NamesTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.records: dict[str, list[Any]] = {}
        self.fault: Exception | None = None
        self.hosts = {"here.example.org": ["127.0.0.1"], "example.org": ["127.0.0.1"], "far.test": ["192.0.2.7"]}

    def lookup(self, name: str, _timeouts: object) -> Deferred[Any]:
        if self.fault is not None:
            return fail(self.fault)
        if name not in self.records:
            return fail(names_error.DNSNameError())
        return succeed((self.records[name], [], []))

    async def addresses(self, host: str) -> list[str]:
        if host not in self.hosts:
            raise OSError("Name or service not known")
        return self.hosts[host]

    def check(self) -> list[Finding]:
        names = Names(None, self.lookup, self.addresses)
        return self.successResultOf(Deferred.fromCoroutine(names.check("example.org", [5222, 5223])))

    def one(self, level: Level, *texts: str) -> None:
        (found,) = self.check()
        self.assertEqual((found.level, found.subject), (level, "DNS of example.org"))
        for text in texts:
            self.assertIn(text, found.sentence)

    def test_no_records(self) -> None:
        self.one(Level.GOOD, "no SRV record", "sends clients to example.org:5222", "this machine (127.0.0.1)")

    def test_records(self) -> None:
        self.records["_xmpp-client._tcp.example.org"] = [srv("here.example.org", 5222)]
        self.records["_xmpps-client._tcp.example.org"] = [srv("here.example.org", 5223)]
        starttls, direct = self.check()
        self.assertEqual((starttls.level, direct.level), (Level.GOOD, Level.GOOD))
        self.assertIn("here.example.org:5222 (STARTTLS)", starttls.says)
        self.assertIn("here.example.org:5223 (direct TLS)", direct.says)

    def test_a_port_where_nobody_listens(self) -> None:
        self.records["_xmpp-client._tcp.example.org"] = [srv("here.example.org", 15222)]
        self.one(Level.WARNING, "the proxy does not listen on port 15222")

    def test_elsewhere(self) -> None:
        self.records["_xmpp-client._tcp.example.org"] = [srv("far.test", 5222)]
        self.one(Level.UNKNOWN, "at 192.0.2.7: that is another machine")

    def test_no_address(self) -> None:
        self.records["_xmpp-client._tcp.example.org"] = [srv("gone.test", 5222)]
        self.one(Level.ERROR, "gone.test:5222", "which has no address", "add A and AAAA records")

    def test_no_service(self) -> None:
        self.records["_xmpp-client._tcp.example.org"] = [srv("", 0)]
        self.one(Level.WARNING, "there is no service for clients")

    def test_nobody_answers(self) -> None:
        self.fault = TimeoutError()
        for found in self.check():
            self.assertEqual((found.level, found.subject), (Level.UNKNOWN, "DNS of example.org"))
            self.assertRegex(found.says, "^_xmpps?-client._tcp.example.org could not be asked: TimeoutError$")

    def test_priorities(self) -> None:
        """Where clients go first is told first; and of many addresses only some. (No machine has one of class E.)"""
        self.records["_xmpp-client._tcp.example.org"] = [srv("far.test", 5222, 20), srv("here.example.org", 5222, 5)]
        self.hosts["far.test"] = [f"240.0.0.{number}" for number in range(1, 6)]
        first, second = self.check()
        self.assertEqual((first.level, second.level), (Level.GOOD, Level.UNKNOWN))
        self.assertIn("at 240.0.0.1, 240.0.0.2, 240.0.0.3, 240.0.0.4: ", second.says)

    def test_one_service_that_could_not_be_asked(self) -> None:
        """Nothing is said of a domain without records: nobody knows."""

        def lookup(name: str, timeouts: object) -> Deferred[Any]:
            return fail(TimeoutError()) if name.startswith("_xmpps") else self.lookup(name, timeouts)

        names = Names(None, lookup, self.addresses)
        (found,) = self.successResultOf(Deferred.fromCoroutine(names.check("example.org", [5222])))
        self.assertIn("_xmpps-client._tcp.example.org could not be asked", found.says)

    def test_as_programs_on_this_machine_ask(self) -> None:
        """The resolver is asked for addresses, each is told once; which are of this machine the kernel knows."""
        for host, level in (("127.0.0.1", Level.GOOD), ("240.0.0.7", Level.UNKNOWN)):
            names = Names(Threads(), self.lookup)
            self.records["_xmpp-client._tcp.example.org"] = [srv(host, 5222)]
            (found,) = self.successResultOf(Deferred.fromCoroutine(names.check("example.org", [5222])))
            self.assertEqual(found.level, level)
            self.assertIn(f"sends clients to {host}:5222", found.says)
            self.assertIn(f"({host})" if level is Level.GOOD else f"at {host}: ", found.says)
