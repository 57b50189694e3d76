"""In-band registration on the wire: what may pass between client and server before a login. Pure.

XEP-0077 §3.1 makes an account; XEP-0445 shows an invitation's token first. Nothing else passes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from twisted.words.xish.domish import Element

from minimixproxy.jids import InvalidJID, parse_jid, prepare_local
from minimixproxy.namespaces import (
    NS_CLIENT,
    NS_DATA,
    NS_IBR_TOKEN,
    NS_INVITE,
    NS_PREAUTH,
    NS_REGISTER,
    NS_REGISTER_FEATURE,
)
from minimixproxy.wire.stanza import Stanza, serialize
from minimixproxy.xep.data_forms import fields_of
from minimixproxy.xep.iq import iq
from minimixproxy.xep.stanza_errors import error_reply

LARGEST_REQUEST = 16 * 1024  # bytes; a form with everything that XEP-0077 §14.3 knows takes 2 KiB
MOST_TAGS = 500  # start and end tags; that form has some 100. A tree costs by its tags, and anybody may ask
DEEPEST_REQUEST = 32  # levels; the value of an option in a form stands on the sixth

#: The stream features of XEP-0077 §8, XEP-0445 §3 and its predecessor: a server's, and then the proxy's own.
FEATURES = (NS_REGISTER_FEATURE, NS_IBR_TOKEN, NS_INVITE)


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks before its login."""

    iq: Stanza

    @property
    def payload(self) -> Element:
        """The one child; makes a tree, so look for a `fault` first."""
        payload: Element = next(self.iq.element.elements())
        return payload

    @property
    def makes(self) -> bool:
        """Whether it asks for an account to be made (or, with an invitation, for a new password)."""
        return self.payload.uri == NS_REGISTER and self.iq.get("type") == "set"

    @property
    def is_try(self) -> bool:
        """Whether it is worth guessing with: names that are taken, tokens."""
        return self.iq.get("type") == "set"

    @property
    def username(self) -> str:
        """The name that is wished for, "" if it has none. Nobody has checked it."""
        return submitted(self.payload, "username") or ""

    def for_server(self, request_id: str, domain: str) -> bytes:
        """Return it as the proxy sends it, under an id of its own."""
        return iq(self.iq["type"], serialize(self.payload), id=request_id, to=domain)

    def answered(self, answer: Stanza) -> bytes:
        """Return a server's answer as the client gets it."""
        content = b"".join(map(serialize, answer.element.elements()))
        return iq(answer["type"], content, id=self.iq.get("id"), sender=self.iq.get("to"))

    def refused(self, error_type: str, condition: str, text: str = "") -> bytes:
        """Return an error of the proxy's own."""
        return error_reply(self.iq, error_type, condition, text)

    def fault(self) -> bytes | None:
        """Return the answer to a request that must not reach a server, or None."""
        if len(self.iq.raw) > LARGEST_REQUEST:
            return self.refused("modify", "policy-violation", f"more than {LARGEST_REQUEST} bytes")
        if self.iq.raw.count(b"<") > MOST_TAGS:
            return self.refused("modify", "policy-violation", f"more than {MOST_TAGS} tags")
        if _depth(self.payload) > DEEPEST_REQUEST:
            return self.refused("modify", "policy-violation", f"nested deeper than {DEEPEST_REQUEST} levels")
        if is_removal(self.payload):  # ejabberd would take it with a password: a way to guess those
            return self.refused("auth", "registration-required", "log in to remove an account")
        return None


def request_of(stanza: Stanza, domain: str) -> Request | None:
    """Return what a client that is not logged in asks of its server; None for all that it may not ask."""
    if (stanza.uri, stanza.name) != (NS_CLIENT, "iq") or not stanza.get("id") or len(stanza.payloads) != 1:
        return None
    wanted = {"get": [(NS_REGISTER, "query")], "set": [(NS_REGISTER, "query"), (NS_PREAUTH, "preauth")]}
    if stanza.payloads[0] not in wanted.get(stanza.get("type") or "", []) or not _is_for(stanza.get("to"), domain):
        return None
    return Request(stanza)


def _is_for(to: str | None, domain: str) -> bool:
    try:
        return to is None or parse_jid(to).full == domain
    except InvalidJID:
        return False


def is_answer(stanza: Stanza, request_id: str, domain: str) -> bool:
    """Tell whether a stanza of the server answers the request sent under this id."""
    if (stanza.uri, stanza.name) != (NS_CLIENT, "iq") or stanza.get("id") != request_id:
        return False
    return stanza.get("type") in ("result", "error") and _is_for(stanza.get("from"), domain)


def offered(features: Stanza) -> frozenset[str]:
    """Return which of `FEATURES` a server offers."""
    return frozenset(uri for uri, name in features.payloads if name == "register" and uri in FEATURES)


def shown(offers: Iterable[str]) -> bytes:
    """Return the features that tell a client of them."""
    offers = set(offers)
    return b"".join(b"<register xmlns='%b'/>" % uri.encode() for uri in FEATURES if uri in offers)


# The query of jabber:iq:register, which logged-in clients send too


def submitted(query: Element, name: str) -> str | None:
    """Return what a query says for a field, itself (XEP-0077 §3) or in a data form (§5). None: nothing, or two things.

    Which of two a server takes is not to be known.
    """
    fields = [field for form in query.elements(NS_DATA, "x") for field in fields_of(form)]
    values = {value for var, given in fields if var == name for value in given}
    values.update(str(value) for value in query.elements(NS_REGISTER, name))
    return values.pop() if len(values) == 1 else None


def is_removal(query: Element) -> bool:
    """Tell whether a server may take a query for a wish to remove an account (XEP-0077 §3.2)."""
    return any(child.name == "remove" for child in query.elements())


def is_plain_removal(query: Element) -> bool:
    """Tell whether a query asks to remove the account that sends it, and nothing else."""
    return [(child.uri, child.name) for child in query.elements()] == [(NS_REGISTER, "remove")]


def _depth(element: Element) -> int:
    """Return how deep the elements in one are nested, itself included."""
    depth, level = 0, [element]
    while level:
        depth += 1
        level = [child for one in level for child in one.elements()]
    return depth


def is_name_of(username: str, bare: str) -> bool:
    """Tell whether a user name is the local part of a bare JID."""
    try:
        return prepare_local(username) == bare.partition("@")[0]
    except InvalidJID:
        return False
