"""What tests of client_proxy begin with: a domain proxied for workers, who are bare connections that answer."""

import re
from collections.abc import Callable
from typing import Any

from twisted.words.xish import domish

from tests.integration.cases import IntegrationTestCase
from tests.integration.client import Client
from tests.integration.proxy import Proxy
from tests.integration.servers import COMPONENT_SECRET, Account
from tests.integration.xmlcut import Received

NS_INFO = "http://jabber.org/protocol/disco#info"
Answer = Callable[["Worker", domish.Element], str | None]


def work(worker: "Worker", request: domish.Element) -> str | None:
    """Answer every request with the worker's resource; None leaves it unanswered."""
    return f"<worker xmlns='urn:test'>{worker.resource}</worker>"


class Worker:
    """One resource of the implementing client. `requests`: what it was asked, in order; `answer`: what it says."""

    def __init__(self, client: Client, domain: str, answer: Answer = work, features: tuple[str, ...] = ()) -> None:
        self.client = client
        self.domain = domain
        self.answer = answer
        self.features = features
        self.requests: list[Received] = []
        client.ignore = self._take

    @property
    def resource(self) -> str:
        return self.client.jid.partition("/")[2]

    def _take(self, stanza: Received) -> bool:
        """Answer requests from the domain; leave everything else to the test."""
        element = stanza.element
        sender = str(stanza.get("from") or "")
        if element.name == "presence" and stanza.get("type") == "subscribe" and sender == self.domain:
            self.client.send(f"<presence type='subscribed' to='{self.domain}'/>")
            return True
        if element.name != "iq" or stanza.get("type") not in ("get", "set") or not sender.startswith(self.domain):
            return False
        if sender == self.domain:
            self._introduce(stanza)
            return False
        self.requests.append(stanza)
        content = self.answer(self, element)
        if content is not None:
            self.reply(stanza, content)
        return True

    def _introduce(self, question: Received) -> None:
        features = "".join(f"<feature var='{feature}'/>" for feature in self.features)
        self.reply(question, f"<query xmlns='{NS_INFO}'>{features}</query>")

    def reply(self, request: Received, content: str = "", kind: str = "result") -> None:
        address = str(request.get("from")).replace("&", "&amp;").replace("'", "&apos;").replace("<", "&lt;")
        self.client.send(f"<iq type='{kind}' id='{request.get('id')}' to='{address}'>{content}</iq>")

    async def known(self) -> None:
        """Wait until the proxy has noticed this resource: it asks for the features then."""
        await self.client.expect(
            f"<iq type='get' from='{self.domain}'><query xmlns='{NS_INFO}'/></iq>",
        )


class ProxiedCase(IntegrationTestCase):
    """A domain of the server, proxied for one account that each test makes anew."""

    async def serve(self, *resources: str, **settings: Any) -> list[Worker]:
        """Start a proxy, and workers of these resources behind it; return them when it knows them all."""
        self.target = await self.account("worker")
        await self.start_proxy(**settings)
        return [await self.worker(resource) for resource in resources]

    async def start_proxy(self, label: str = "proxy", **settings: Any) -> Proxy:
        self.domain = f"{label}.{self.server.domain}"
        table = {
            "domain": self.domain,
            "target": self.target.jid,
            "server": f"tcp:127.0.0.1:{self.server.component_port}",
            "secret": COMPONENT_SECRET,
            **settings,
        }
        self.running = Proxy(listen=(), client_proxy=[table])
        self.addCleanup(lambda: self.running.stop())
        self._watch(self.running, 0)
        if settings.get("secret") is None:
            await self.running.process.says(rf"{re.escape(self.domain)}: connected")
        return self.running

    async def worker(self, resource: str, account: Account | None = None, answer: Answer = work, **more: Any) -> Worker:
        client = await self.client(account or self.target, resource, direct=True, online=False)
        worker = Worker(client, self.domain, answer, **more)
        client.send("<presence/>")
        await worker.known()
        return worker

    async def user(self, name: str = "alice", resource: str = "phone") -> Client:
        return await self.client(await self.account(name), resource, direct=True)

    async def ask(
        self, user: Client, payload: str = "<x xmlns='urn:test'/>", kind: str = "get", to: str = ""
    ) -> Received:
        return await user.iq(kind, to or self.domain, payload)


def condition(stanza: Received) -> str:
    """The condition of a stanza error, "" if it is none."""
    error = next(stanza.element.elements(stanza.element.uri, "error"), None)
    return "" if error is None else next(child.name for child in error.elements())
