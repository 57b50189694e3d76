"""Who is believed about what an account's server says of the account itself, and which JID it may bind. Pure."""

from __future__ import annotations

from typing import NamedTuple

from minimixproxy.jids import InvalidJID, parse_jid, whose
from minimixproxy.namespaces import NS_BIND
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.trees import child


class BadBinding(Exception):
    """A server bound what it should not have. `str()` says what, for the operator."""


class Own(NamedTuple):
    """A login's own account, both prepared: its bare JID, and the domain that is its server's address."""

    bare: str
    domain: str

    def is_server(self, address: str | None) -> bool:
        """Tell whether an address is that of the account's server where it acts for the account (see `jids.whose`)."""
        return whose(address, self.bare).is_server

    def is_at_server(self, address: str | None) -> bool:
        """Tell whether an address is the server's (`is_server`), or a resource at its domain."""
        if self.is_server(address):
            return True
        assert address is not None
        try:
            return parse_jid(address).bare == self.domain
        except InvalidJID:
            return False

    def bound_jid(self, result: Stanza) -> str:
        """Return the full JID in the result of a bind (RFC 6120 §7), as the server spells it.

        Raises `BadBinding` if there is none, or if it is not one of this account: a server may spell a name otherwise
        than its user (`ALICE` logs in as alice@…), but a login is never for somebody else.
        """
        bind = result.payload(NS_BIND, "bind")
        element = child(bind, NS_BIND, "jid")
        text = str(element) if element is not None else ""
        try:
            address = parse_jid(text)
        except InvalidJID as error:
            raise BadBinding("the server bound no JID") from error
        if address.resource is None:
            raise BadBinding("the server bound a JID without a resource")
        if address.bare != self.bare:
            raise BadBinding(f"the server bound {address.bare} to a login of {self.bare}")
        return text
