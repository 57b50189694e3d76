"""A proxied domain without a server: stanzas in, what it sends kept and read back, the clock in hand."""

from collections.abc import Mapping
from random import Random
from typing import Any

from twisted.internet.task import Clock

from minimixproxy.clientproxy.domain import ProxiedDomain
from minimixproxy.clientproxy.proxy import Proxy
from minimixproxy.config.settings import ClientProxy
from minimixproxy.wire.stanza import Stanza, parse_stanza
from tests.namespaces import repeated_declarations

COMPONENT = "jabber:component:accept"
DOMAIN = "proxy.example.org"
TARGET = "worker@example.org"
ALICE = "alice@example.org/phone"
BOB = "bob@example.net/desk"
QUERY = "<query xmlns='jabber:iq:private'/>"


def settings(**changes: Any) -> ClientProxy:
    table = {"domain": DOMAIN, "target": TARGET, "server": "tcp:127.0.0.1:5347", "secret": "s3cret", **changes}
    return ClientProxy.model_validate(table)


def stanza(xml: str) -> Stanza:
    return parse_stanza(xml, COMPONENT)


def error_condition(reply: Stanza) -> str:
    """The condition of a stanza error, "" if it is none."""
    return next(
        (child.name for error in reply.elements(COMPONENT, "error") for child in error.elements()),
        "",
    )


class Scene:
    """`sent()` returns what the domain has sent since the last call, in which no namespace is said twice.

    Unless it is not to be `strict`: what is passed on stays as it came.
    """

    strict = True

    def __init__(self, connected: bool = True, **changes: Any) -> None:
        self.clock = Clock()
        self._out: list[bytes] = []
        self.proxy = Proxy(settings(**changes), self.clock.seconds, self._out.append, Random(7))
        if connected:
            self.proxy.connected()
            self.sent()

    @property
    def domain(self) -> ProxiedDomain:
        return self.proxy.domain

    def sent(self) -> list[Stanza]:
        for raw in self._out if self.strict else ():
            repeated = repeated_declarations(raw, COMPONENT)
            assert not repeated, (repeated, raw)
        stanzas = [stanza(raw.decode()) for raw in self._out]
        self._out.clear()
        return stanzas

    def one(self) -> Stanza:
        """The only stanza sent."""
        stanzas = self.sent()
        assert len(stanzas) == 1, stanzas
        return stanzas[0]

    def receive(self, xml: str) -> None:
        self.deliver(stanza(xml))

    def deliver(self, arrived: Stanza) -> None:
        receive = {
            "iq": self.proxy.iqs.receive,
            "message": self.proxy.messages.receive,
            "presence": self.proxy.presences.receive,
        }
        receive[arrived.name](arrived)

    def pass_time(self, seconds: float) -> None:
        """Let time go by, second for second."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            self.clock.advance(min(1.0, end - self.clock.seconds()))
            self.proxy.tick()

    # What servers deliver

    def online(self, *names: str, target: str = TARGET, features: bool = True, content: str = "") -> None:
        """Resources of the target become available, and say that they have no features worth mentioning."""
        for name in names:
            self.receive(f"<presence from='{target}/{name}' to='{DOMAIN}'>{content}</presence>")
            for query in self.sent():
                if features and query.name == "iq" and query.get("to") == f"{target}/{name}":
                    self.receive(
                        f"<iq type='result' id='{query['id']}' from='{target}/{name}' to='{DOMAIN}'>"
                        "<query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
                    )
        self.sent()

    def offline(self, name: str, target: str = TARGET) -> None:
        self.receive(f"<presence type='unavailable' from='{target}/{name}' to='{DOMAIN}'/>")

    def ask(
        self, asker: str = ALICE, id: str = "a1", kind: str = "get", payload: str = QUERY, to: str = DOMAIN
    ) -> None:
        self.receive(f"<iq type='{kind}' id='{id}' from='{asker}' to='{to}'>{payload}</iq>")

    def asked(self, **arguments: Any) -> Stanza:
        """Ask, and return the one stanza that this made the domain send."""
        self.ask(**arguments)
        return self.one()

    def answer(
        self, request: Stanza, kind: str = "result", content: str = "", changes: Mapping[str, str] | None = None
    ) -> None:
        """Whoever got the request answers it."""
        addresses = {"from": request["to"], "to": request["from"], "id": request["id"], **(changes or {})}
        attributes = "".join(f" {name}='{value}'" for name, value in addresses.items())
        self.receive(f"<iq type='{kind}'{attributes}>{content}</iq>")
