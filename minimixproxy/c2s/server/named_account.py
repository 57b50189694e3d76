"""Which account a client wants to log in as, by the first thing that it says in an exchange of SASL. Pure."""

from __future__ import annotations

from minimixproxy.c2s.server.exchanges import plain
from minimixproxy.c2s.server.exchanges.mechanisms import SCRAM
from minimixproxy.jids import InvalidJID, parse_jid
from minimixproxy.sasl import hashed_token
from minimixproxy.sasl.scram import ScramError
from minimixproxy.sasl.scram_server import read_client_first
from minimixproxy.xep import sasl
from minimixproxy.xep.sasl import SaslFailure


def named_account(mechanism: str | None, text: str, domain: str) -> str | None:
    """Return the bare JID of the account, None if the mechanism is not known or the message is none of it.

    `text`: of the element that carries the message. Whether the message is good otherwise, the exchange finds out.
    """
    try:
        username = _username(mechanism or "", sasl.decoded(text))
        if username is None:
            return None
        address = parse_jid(sasl.account_key(username, domain))
    except (SaslFailure, ScramError, hashed_token.HashedTokenError, InvalidJID):
        return None
    return address.bare if address.domain == domain != address.bare and address.resource is None else None


def names_account(mechanism: str | None) -> bool:
    """Tell whether the first thing that is said by a mechanism is a name that can be read."""
    name = mechanism or ""
    return name == plain.MECHANISM or name.startswith(SCRAM) or name in hashed_token.MECHANISMS


def _username(mechanism: str, message: bytes) -> str | None:
    if mechanism == plain.MECHANISM:
        return sasl.parse_plain(message).username
    if mechanism.startswith(SCRAM):
        return read_client_first(message).username
    if mechanism in hashed_token.MECHANISMS:
        return hashed_token.read_initiator(message, mechanism).username
    return None
