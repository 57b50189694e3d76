"""What a server offers to log in with, and the best of it: SCRAM bound to the connection, SCRAM, PLAIN."""

from __future__ import annotations

from collections.abc import Collection
from types import MappingProxyType
from typing import NamedTuple

from minimixproxy.c2s.errors import UpstreamProtocolError, UpstreamUnfit
from minimixproxy.c2s.transport.channel_bindings import bindings_as_client
from minimixproxy.c2s.upstream.credentials import Credential
from minimixproxy.config.settings import Domain
from minimixproxy.namespaces import NS_SASL
from minimixproxy.sasl.channel_binding import UNBOUND, Binding, Bindings, Gs2Header, best_type
from minimixproxy.sasl.downgrade import Offered
from minimixproxy.sasl.scram import MECHANISMS, PLUS
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.xmlstream import FramedXmlStream
from minimixproxy.xep.channel_binding import announced_types

PLAIN = "PLAIN"


class ServerOffer(NamedTuple):
    """What a server has offered on one stream, and what of our end of it a login can be bound to."""

    offered: Offered
    bindings: Bindings = MappingProxyType({})

    @property
    def mechanisms(self) -> frozenset[str]:
        """The names of the mechanisms."""
        return frozenset(self.offered.mechanisms)


class Choice(NamedTuple):
    """A mechanism; with SCRAM, what its exchange is bound to."""

    mechanism: str
    binding: Binding = UNBOUND


def read_offer(features: Stanza, bindings: Bindings) -> ServerOffer:
    """Read stream features. `bindings`: of our end of the connection; empty if no login is to be bound."""
    element = features.payload(NS_SASL, "mechanisms")
    names = element.elements(NS_SASL, "mechanism") if element is not None else ()
    return ServerOffer(Offered(tuple(map(str, names)), announced_types(features)), bindings)


def offer_on(xs: FramedXmlStream, features: Stanza, domain: Domain) -> ServerOffer:
    """Return what a server offers on a stream that is secured."""
    return read_offer(features, bindings_as_client(xs.transport) if domain.upstream_channel_binding else {})


def choose(offer: ServerOffer, credential: Credential) -> Choice:
    """Return the best mechanism that the server offers and the credential can do.

    Raises `UpstreamUnfit` if a password could do what kept keys cannot, else `UpstreamProtocolError`.
    """
    choice = choose_scram(offer, [hash_name for hash_name in MECHANISMS.values() if credential.can_scram(hash_name)])
    if choice is not None:
        return choice
    if PLAIN in offer.mechanisms and credential.password is not None:
        return Choice(PLAIN)
    if offer.mechanisms.intersection((*MECHANISMS, PLAIN)):
        raise UpstreamUnfit("the server offers no mechanism that the kept keys are for")
    raise UpstreamProtocolError("the server offers no mechanism to log in with")


def choose_scram(offer: ServerOffer, hashes: Collection[str]) -> Choice | None:
    """Return the best SCRAM mechanism with one of these hashes, None if the server offers none.

    Channel binding counts for more than the hash: nobody can stand in between then, while no hash of these is broken
    for what SCRAM does with it.
    """
    type_ = best_type(offer.bindings, offer.offered.bindings or ())
    if type_ is not None:
        bound = Binding(Gs2Header("p", type_), offer.bindings[type_])
        for name, hash_name in MECHANISMS.items():
            if name + PLUS in offer.mechanisms and hash_name in hashes:
                return Choice(name + PLUS, bound)
    for name, hash_name in MECHANISMS.items():
        if name in offer.mechanisms and hash_name in hashes:
            return Choice(name, _unbound(offer))
    return None


def _unbound(offer: ServerOffer) -> Binding:
    """Say "y" if we could and the server seems unable to: one that is able then knows that its offer was tampered with.

    A server that offers -PLUS and no type that we know gets "n" (XEP-0440 §3). One that does not say which types it
    knows has an old one, `tls-unique`, which TLS 1.3 has not: Prosody 0.12 and ejabberd 23.01 are such.
    """
    if offer.bindings and not any(name.endswith(PLUS) for name in offer.mechanisms):
        return Binding(Gs2Header("y"))
    return UNBOUND
