"""Message proxying: both ways, with the same translation as IQs. Pure.

What one user writes goes to one resource while that is there; the resource that wrote to a user last gets the answer.
"""

from __future__ import annotations

from minimixproxy.clientproxy.domain import ProxiedDomain
from minimixproxy.clientproxy.exchanges import CONVERSATION, exchange_of
from minimixproxy.jids import Address
from minimixproxy.wire.stanza import Stanza, rewrite


class MessageProxying:
    """Takes every message that the component stream delivers."""

    def __init__(self, domain: ProxiedDomain) -> None:
        self._domain = domain

    def receive(self, message: Stanza) -> None:
        """Take one message in."""
        sender = self._domain.sender(message)
        if sender is None or (recipient := self._domain.recipient(message)) is None:
            return
        kind = message.get("type")
        if sender.bare in self._domain.targets:
            self._target_writes(message, sender, recipient)
        elif kind == "error":
            self._user_bounces(message, sender)
        elif self._domain.admit(message, sender):
            self._user_writes(message, sender, kind)

    def _user_writes(self, message: Stanza, sender: Address, kind: str | None) -> None:
        domain = self._domain
        known, resource = self._holder(message, sender)
        if known and resource is None:
            domain.bounce(message, "wait", "recipient-unavailable", "whoever took part in this is gone")
            return
        resource = resource or (domain.new_partner(sender) if kind != "groupchat" else None)
        if resource is not None:
            self._forward(message, sender, resource)
        elif kind == "headline":  # never answered: RFC 6121 §8.5.2.1.1
            domain.drop(message, "headline for nobody")
        else:
            domain.bounce(message, "cancel", "service-unavailable")

    def _holder(self, message: Stanza, sender: Address) -> tuple[bool, str | None]:
        """Return whether the exchange of a message is known, and the resource that holds it (None if that is gone).

        Data of an in-band bytestream come so (XEP-0047 §4).
        """
        exchange = exchange_of(message)
        return self._domain.sessions.holder(sender.full, exchange) if exchange else (False, None)

    def _user_bounces(self, message: Stanza, sender: Address) -> None:
        resource = self._domain.partner(sender)
        if resource is None or not self._domain.access.permits(sender) or not self._domain.rate.admits(sender.bare):
            self._domain.drop(message, "error message for nobody")
        else:
            self._forward(message, sender, resource)

    def _forward(self, message: Stanza, sender: Address, resource: str) -> None:
        addressed = {"from": self._domain.translator.address_of(sender.full), "to": resource}
        self._domain.send(rewrite(message.self_contained(), addressed))

    def _target_writes(self, message: Stanza, sender: Address, recipient: Address) -> None:
        domain = self._domain
        if recipient.full == domain.name:
            domain.bounce(message, "modify", "bad-request", "the target cannot write to itself")
            return
        destination = domain.destination(message, recipient)
        if destination is not None:
            if message.get("type") != "error":
                domain.sessions.bind(destination.bare, CONVERSATION, sender.full)
            domain.send(rewrite(message.self_contained(), {"from": domain.name, "to": destination.full}))
