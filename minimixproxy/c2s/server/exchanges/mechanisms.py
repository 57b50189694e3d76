"""Which mechanisms a client is offered, and which exchange belongs to each (RFC 4422 §3.1)."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from minimixproxy.c2s.server.exchanges import plain
from minimixproxy.c2s.server.exchanges.local_scram import ScramExchange
from minimixproxy.c2s.server.exchanges.login_exchange import Client, Exchange, ExchangeContext
from minimixproxy.c2s.server.exchanges.relayed_scram import RelayedScram
from minimixproxy.c2s.server.exchanges.token import TokenExchange
from minimixproxy.config.settings import Domain
from minimixproxy.sasl.channel_binding import TYPES, Bindings
from minimixproxy.sasl.downgrade import Offered
from minimixproxy.sasl.scram import MECHANISMS, PLUS, hash_of
from minimixproxy.xep.sasl import SaslFailure

SCRAM = "SCRAM-"
#: Where the server offers nothing that may be used: every server of today does.
_LEAST = "SCRAM-SHA-1"


def offered_mechanisms(domain: Domain, hashes: Collection[str], server: Collection[str], bindings: Bindings) -> Offered:
    """Return what to offer to a client, the strongest first.

    `hashes`: of the account that it names, those for which its keys are known: then the proxy ends the exchange itself,
    on its own TLS. `server`: what the account's server offers, nothing if that is not known: without keys a login is
    relayed to it, and can be bound to no TLS connection.
    """
    names: list[str] = []
    types: list[str] | None = None
    offered = {hash_of(name) for name in server}
    usable = [name for name, hash_name in MECHANISMS.items() if hash_name in hashes]
    if offered - {None}:  # keys for a hash that the server has given up log nobody in
        usable = [name for name in usable if MECHANISMS[name] in offered]
    if "SCRAM" in domain.logins and usable:
        names = usable
        types = [type_ for type_ in TYPES if type_ in bindings] or None
        names = [name + PLUS for name in names if types] + names
    elif "SCRAM" in domain.logins:
        # Not PLAIN alone: a phone that remembers SCRAM takes that for an attack. What the server turns out not to have
        # is refused for the time being.
        names = relayed_mechanisms(server) if server else list(MECHANISMS)
    if "PLAIN" in domain.logins:
        names.append(plain.MECHANISM)
    return Offered(names or [_LEAST], types)


def relayed_mechanisms(server: Iterable[str]) -> list[str]:
    """Return those of a server's mechanisms that can be relayed to it, the strongest that we know first."""
    order = {name: number for number, name in enumerate(MECHANISMS)}
    found = [name for name in server if name.startswith(SCRAM) and not name.endswith(PLUS)]
    return sorted(found, key=lambda name: order.get(name, len(order)))


def exchange_by(mechanism: str | None, client: Client, context: ExchangeContext) -> Exchange:
    """Return the exchange of a mechanism for a client. Raises `SaslFailure` if it is not offered one."""
    if client.token_use is not None and mechanism is not None and mechanism in client.token_mechanisms:
        return TokenExchange(mechanism, client, context)
    if mechanism is None or mechanism not in client.offered.mechanisms:
        raise SaslFailure("invalid-mechanism")
    if mechanism == plain.MECHANISM:
        return plain.PlainExchange(client, context)
    if hash_of(mechanism) is None:
        return RelayedScram(mechanism, client, context)
    return ScramExchange(mechanism, client, context)
