"""One name whose DNS is silent is in nobody else's way."""

import socket
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.base import ReactorBase
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import DNSLookupError
from twisted.internet.protocol import Factory, Protocol
from twisted.trial import unittest

from minimixproxy.c2s.upstream import names
from minimixproxy.c2s.upstream.credentials import KeyCache
from minimixproxy.c2s.upstream.names import DomainsEndpoint, Found, Names, ask_apart
from minimixproxy.sasl.scram import Challenge
from tests.patience import patiently

V4 = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))
V6 = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 0, 0, 3))


class AtOnce:
    """A reactor all of whose threads are one."""

    def callFromThread(self, call: Callable[..., Any], *with_it: Any) -> None:
        call(*with_it)


class Told:
    """Who wants to know (`IResolutionReceiver`)."""

    def __init__(self) -> None:
        self.addresses: list[Any] = []
        self.name = ""
        self.complete = False

    def resolutionBegan(self, resolution: Any) -> None:
        self.name = resolution.name

    def addressResolved(self, address: Any) -> None:
        self.addresses.append(address)

    def resolutionComplete(self) -> None:
        self.complete = True


class NamesTest(unittest.TestCase):
    def setUp(self) -> None:
        self.begun: list[Callable[[], None]] = []  # what is done in threads
        self.asked: list[str] = []
        self.names = Names(AtOnce(), self.ask, self.begun.append)

    def ask(self, host: str, *_how: object) -> Found:
        self.asked.append(host)
        if host.startswith("no"):
            raise socket.gaierror(socket.EAI_NONAME, "no such host")
        return [V4, V6]

    def go_on(self) -> None:
        for begun in self.begun[: len(self.begun)]:
            self.begun.remove(begun)
            begun()

    def test_both_kinds(self) -> None:
        told = Told()
        self.names.resolveHostName(told, "a.example", 5222)
        self.assertFalse(told.complete)
        self.go_on()
        both = [IPv4Address("TCP", "192.0.2.1", 5222), IPv6Address("TCP", "2001:db8::1", 5222, 0, 3)]
        self.assertEqual((told.name, told.addresses, told.complete), ("a.example", both, True))

    def test_one_kind(self) -> None:
        told = Told()
        self.names.resolveHostName(told, "a.example", 53, [IPv4Address], "UDP")
        self.go_on()
        self.assertEqual(told.addresses, [IPv4Address("UDP", "192.0.2.1", 53)])

    def test_an_address_is_no_name(self) -> None:
        for host in ("192.0.2.7", "2001:db8::7"):
            told = Told()
            self.names.resolveHostName(told, host, 1)
            self.assertEqual([address.host for address in told.addresses], [host])
        self.assertEqual(self.begun, [])

    def test_no_such_name(self) -> None:
        for host in ("no.example", "no\0.example", "no" * 40 + ".example"):
            told = Told()
            self.names.resolveHostName(told, host)
            self.go_on()
            self.assertEqual((told.addresses, told.complete), ([], True))

    def test_asked_once_by_many(self) -> None:
        answers = [self.names.addresses("a.example") for _ in range(50)]
        answers[0].addErrback(lambda failure: failure.trap(CancelledError))
        answers[0].cancel()
        self.assertEqual(len(self.begun), 1)
        self.go_on()
        for answer in answers[1:]:
            self.assertEqual(self.successResultOf(answer), [V4, V6])
        self.names.addresses("a.example")
        self.assertEqual((self.asked, len(self.begun)), (["a.example"], 1))

    def test_no_more_threads(self) -> None:
        def refuses(_work: object) -> None:
            raise RuntimeError("can't start new thread")

        few = Names(AtOnce(), self.ask, refuses)
        self.assertEqual(self.successResultOf(few.addresses("a.example")), [])

    def test_something_else_goes_wrong(self) -> None:
        """As when there is no memory left: whoever waits is told, and the name can be asked for again."""

        def fails(*_asked: object) -> Found:
            raise MemoryError

        names = Names(AtOnce(), fails, self.begun.append)
        for _ in range(2):
            answer = names.addresses("a.example")
            self.assertRaises(MemoryError, self.go_on)
            self.assertEqual(self.successResultOf(answer), [])

    def of(self, domain: str, host: str) -> Deferred[Found]:
        return Deferred.fromCoroutine(self.names.of_domain(domain, host))

    def test_a_domain_has_some_asked_for_at_once(self) -> None:
        answers = [self.of("many.example", f"{number}.example") for number in range(names.AT_ONCE + 3)]
        other = self.of("other.example", "a.example")
        self.assertEqual(len(self.begun), names.AT_ONCE + 1)
        self.begun.pop()()
        self.assertEqual(self.successResultOf(other), [V4, V6])
        self.go_on()
        self.assertEqual(len(self.begun), 3)
        self.go_on()
        for answer in answers:
            self.assertEqual(self.successResultOf(answer), [V4, V6])

    def test_one_name_has_one_place(self) -> None:
        """However many want it: else one that is silent would hold up the others of its domain."""
        silent = [self.of("many.example", "silent.example") for _ in range(names.AT_ONCE)]
        other = self.of("many.example", "a.example")
        self.assertEqual(len(self.begun), 2)
        silent[1].cancel()
        self.failureResultOf(silent[1], CancelledError)
        self.begun.pop()()
        self.assertEqual(self.successResultOf(other), [V4, V6])
        self.go_on()
        self.assertEqual(self.successResultOf(silent[0]), [V4, V6])

    def test_who_does_not_wait_any_more(self) -> None:
        """Its place stays taken while the thread is at work, and one that had none yet is not asked for."""
        answers = [self.of("many.example", f"{number}.example") for number in range(names.AT_ONCE * 3)]
        for answer in answers[:-1]:
            answer.cancel()
            self.failureResultOf(answer, CancelledError)
        self.assertEqual(len(self.begun), names.AT_ONCE)
        self.go_on()
        self.assertEqual(len(self.begun), 1)
        self.go_on()
        self.assertEqual(self.successResultOf(answers[-1]), [V4, V6])


class ThreadsTest(unittest.TestCase):
    """With real ones."""

    def setUp(self) -> None:
        assert isinstance(reactor, ReactorBase)
        self.go_on = threading.Event()
        self.addCleanup(self.go_on.set)
        before: Any = reactor.nameResolver
        self.addCleanup(reactor.installNameResolver, before)

    def answering(self, ask: Callable[..., Found]) -> None:
        """Have names asked for in this way."""
        own = Names(reactor, ask)
        reactor.installNameResolver(own)  # type: ignore[attr-defined]

    def hang(self, *_asked: object) -> Found:
        self.go_on.wait(patiently(60))
        return []

    async def test_keys_are_derived_while_names_hang(self) -> None:
        """Ten threads were all that there was for both."""
        self.answering(self.hang)
        hanging = [
            DomainsEndpoint(reactor, f"{number}.example", f"xmpp.{number}.example", 5222, 10.0).connect(Factory())
            for number in range(30)
        ]
        await KeyCache().derive("alice@example.org", "sha1", "pencil", Challenge(b"salt", 4096))
        self.go_on.set()
        for attempt in hanging:
            with self.assertRaises(DNSLookupError):
                await attempt

    async def test_connected(self) -> None:
        factory = Factory.forProtocol(Protocol)
        port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        self.answering(lambda *_asked: [(*V4[:4], ("127.0.0.1", 0))])
        number = port.getHost().port
        connected = await DomainsEndpoint(reactor, "example.org", "xmpp.example.org", number, 10.0).connect(factory)
        gone: Deferred[None] = Deferred()
        connected.connectionLost = lambda _reason: gone.callback(None)
        connected.transport.abortConnection()
        await gone

    def test_installed_once(self) -> None:
        ask_apart(reactor)
        resolver: Any = reactor.nameResolver  # type: ignore[attr-defined]
        ask_apart(reactor)
        self.assertIsInstance(resolver, Names)
        self.assertIs(reactor.nameResolver, resolver)  # type: ignore[attr-defined]
        ask_apart(object())
