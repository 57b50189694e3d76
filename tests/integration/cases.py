"""What integration tests begin with: a test class written once, run on both servers."""

import os
import sys
import types
from collections.abc import Callable
from typing import Any, ClassVar
from unittest import TestResult

from twisted.internet.threads import deferToThread
from twisted.trial import unittest

from tests.integration import client as raw
from tests.integration import websocket
from tests.integration.client import Client
from tests.integration.ejabberd import Ejabberd, UnmanagedEjabberd
from tests.integration.inbox import Inbox
from tests.integration.prosody import Prosody, UnmanagedProsody
from tests.integration.proxy import Proxy, shared_proxy
from tests.integration.servers import Account, Server, running
from tests.patience import patiently

#: Whether scripted clients that log in come by WebSocket instead of TCP.
BY_WEBSOCKET = {"": False, "websocket": True}[os.environ.get("MINIMIXPROXY_TEST_CLIENTS", "")]
KINDS: tuple[type[Server], ...] = (Prosody, Ejabberd)


Variants = tuple[type["IntegrationTestCase"], ...]


def on_servers(*kinds: type[Server]) -> Callable[[type["IntegrationTestCase"]], Variants]:
    """Decorator: make of class JoinTests the test cases JoinTestsOnProsody and so on, one for each of these.

    None given: for the `kinds` of the class. The name itself is bound to the tuple of all, which trial does not take
    for a test case.
    """

    def decorate(case: type["IntegrationTestCase"]) -> Variants:
        module = sys.modules[case.__module__]
        made = tuple(_variant(case, kind) for kind in kinds or case.kinds)
        for variant in made:
            setattr(module, variant.__name__, variant)
        return made

    return decorate


on_both_servers = on_servers()
on_all_servers = on_servers(*KINDS, UnmanagedProsody, UnmanagedEjabberd)


def _variant(case: type["IntegrationTestCase"], kind: type[Server]) -> type["IntegrationTestCase"]:
    name = f"{case.__name__}On{kind.__name__}"
    attributes = {"__module__": case.__module__, "__qualname__": name, "__doc__": case.__doc__, "kind": kind}
    return types.new_class(name, (case,), {}, lambda namespace: namespace.update(attributes))


class IntegrationTestCase(unittest.TestCase):
    """A server, the proxy before it, and clients of either.

    Clients still connected at the end are closed. A fault in the proxy's log fails the test; the logs' last lines are
    shown with any failure.
    """

    kind: ClassVar[type[Server]] = Prosody
    kinds: ClassVar[tuple[type[Server], ...]] = KINDS  # those that `on_both_servers` takes
    timeout = 60

    def setUp(self) -> None:
        self.need(self.kind.missing())
        self.server = running(self.kind)
        self._clients: list[Client] = []
        self._proxies: dict[Proxy, int] = {}
        self.addCleanup(self._check_logs)
        self.addCleanup(self._close_clients)

    def getTimeout(self) -> float:
        return patiently(super().getTimeout())

    def need(self, package: str | None) -> None:
        """Skip the test, or fail it if CI is set, if this Debian package is not installed; None: nothing is missing."""
        if package:
            message = f"{package} is not installed: make system"
            if os.environ.get("CI"):
                self.fail(message)
            raise unittest.SkipTest(message)

    @property
    def proxy(self) -> Proxy:
        """The proxy shared by the tests of this server, started when first asked for."""
        return self._watch(shared_proxy(self.server))

    def own_proxy(self, *servers: Server, **settings: Any) -> Proxy:
        """A proxy for this test alone; Proxy has the settings. Stopped at the end of the test."""
        proxy = Proxy(*(servers or (self.server,)), **settings)
        self.addCleanup(self._stop, proxy)
        return self._watch(proxy, 0)

    async def _stop(self, proxy: Proxy) -> None:
        await self._close_clients()
        await deferToThread(proxy.stop)

    def _watch(self, proxy: Proxy, start: int | None = None) -> Proxy:
        self._proxies.setdefault(proxy, len(proxy.process.lines) if start is None else start)
        return proxy

    async def account(self, name: str = "alice") -> Account:
        """A fresh account whose name begins with `name`."""
        return await self.server.account(name)

    async def says_password(self, account: Account, proxy: Proxy | None = None) -> None:
        """A client says its password to the proxy: the account is enrolled, and other clients may use SCRAM."""
        client = await self.client(account, "first", proxy=proxy, online=False)
        await client.close()

    def room(self, name: str = "room") -> str:
        """The bare JID of a room that no other test uses."""
        return self.server.room(name)

    async def connect(
        self, *, direct: bool = False, direct_tls: bool = False, proxy: Proxy | None = None, label: str = "client"
    ) -> Client:
        """A bare connection through the proxy, or `direct` to the server."""
        peer: Server | Proxy = self.server if direct else (proxy or self.proxy)
        port = peer.direct_tls_port if direct_tls else peer.port
        client = await raw.connect(port, self.server.domain, direct_tls=direct_tls, label=label)
        self._clients.append(client)
        return client

    def websocket_beside(self, port: int) -> int | None:
        """The WebSocket of the proxy that has this port for plain connections, if clients are to come that way."""
        proxies = (proxy for proxy in self._proxies if proxy.port == port and proxy.websocket_port in proxy.ports)
        found = next(proxies, None) if BY_WEBSOCKET else None
        return found.websocket_port if found is not None else None

    async def client(
        self,
        account: Account | None = None,
        resource: str | None = None,
        *,
        direct: bool = False,
        direct_tls: bool = False,
        proxy: Proxy | None = None,
        online: bool = True,
        language: str = "",
    ) -> Client:
        """A client logged in through the proxy, or `direct` to the server; `online`: with initial presence."""
        account = account or await self.account()
        label = f"{account.username}/{resource}" if resource else account.username
        port = None if direct else self.websocket_beside((proxy or self.proxy).port)
        if port is None:
            client = await self.connect(direct=direct, direct_tls=direct_tls, proxy=proxy, label=label)
        else:
            client = await websocket.connect(port, self.server.domain, label=label, lenient=True)
            self._clients.append(client)
        client.language = language
        await client.login(account, resource)
        if online:
            await client.online()
        return client

    async def log_is_read(self, proxy: Proxy) -> None:
        """All that the proxy was told by now is done, and what it has logged is in `log`."""
        await deferToThread(proxy.settle)

    async def succeeds(self, client: Inbox, to: str | None, payload: str) -> Any:
        """Have a client set something, which must succeed. Returns the payload of the answer, or None."""
        answer = await client.iq("set", to, payload)
        self.assertEqual(answer.get("type"), "result", str(answer))
        return next(answer.element.elements(), None)

    async def _close_clients(self) -> None:
        for client in self._clients:
            client.drop()
        for client in self._clients:
            await client.until_lost()

    async def _check_logs(self) -> None:
        for proxy in self._proxies:
            await self.log_is_read(proxy)
        faults = [fault for proxy, start in self._proxies.items() for fault in proxy.faults(start)]
        if faults:
            self.fail("the proxy logged:\n" + "\n---\n".join(faults))

    def run(self, result: TestResult | None = None) -> TestResult | None:
        """Show the logs with a failure."""
        before = _bad(result)
        ran: TestResult | None = super().run(result)
        if _bad(result) > before:
            for proxy in getattr(self, "_proxies", {}):
                print(f"\n--- {self.id()}: the end of the log of the proxy:\n{proxy.tail()}", file=sys.stderr)
        return ran


def _bad(result: Any) -> int:
    original = getattr(result, "original", result)
    return len(getattr(original, "failures", ())) + len(getattr(original, "errors", ()))
