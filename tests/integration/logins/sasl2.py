"""SASL2 (XEP-0388) with Bind2 (XEP-0386), inline stream management (XEP-0198) and FAST (XEP-0484), a client's side."""

import hmac
from base64 import b64encode
from collections.abc import Iterator
from typing import NamedTuple

from twisted.words.xish import domish

from tests.integration.inbox import escaped, quoted
from tests.integration.logins.rules import CARBONS, SM, Sasl2
from tests.integration.xmlcut import Received

NS_SASL2 = "urn:xmpp:sasl:2"
NS_BIND2 = "urn:xmpp:bind:0"
NS_FAST = "urn:xmpp:fast:0"
SHORT_NAMES = {"tls-exporter": "EXPR", "tls-unique": "UNIQ", "tls-server-end-point": "ENDP", "": "NONE"}


class Offer(NamedTuple):
    """What <authentication/> offers."""

    mechanisms: tuple[str, ...]
    bind: tuple[str, ...] | None  # features that Bind2 enables; None: no Bind2
    resumption: bool
    tokens: tuple[str, ...]  # mechanisms of FAST


class Token(NamedTuple):
    """A token of FAST and the mechanism that it is for."""

    mechanism: str
    secret: str
    expiry: str

    @property
    def binding(self) -> str:
        return next(kind for kind, short in SHORT_NAMES.items() if self.mechanism.endswith(f"-{short}"))

    def proof(self, who: str, binding: bytes) -> bytes:
        hash_name = "sha512" if self.mechanism.startswith("HT-SHA-512-") else "sha256"
        return hmac.digest(self.secret.encode(), who.encode() + binding, hash_name)

    def first(self, username: str, binding: bytes) -> bytes:
        return username.encode() + b"\0" + self.proof("Initiator", binding)


def child(element: domish.Element | None, name: str, uri: str) -> domish.Element | None:
    if element is None:
        return None
    return next((one for one in element.elements() if (one.name, one.uri) == (name, uri)), None)


def offer(features: Received) -> Offer | None:
    authentication = child(features.element, "authentication", NS_SASL2)
    if authentication is None:
        return None
    inline = child(authentication, "inline", NS_SASL2)
    bind = child(inline, "bind", NS_BIND2)
    enabled = child(bind, "inline", NS_BIND2)
    return Offer(
        tuple(_mechanisms(authentication, NS_SASL2)),
        None if bind is None else tuple(str(one["var"]) for one in (enabled.elements() if enabled is not None else ())),
        child(inline, "sm", SM) is not None,
        tuple(_mechanisms(child(inline, "fast", NS_FAST), NS_FAST)),
    )


def _mechanisms(element: domish.Element | None, uri: str) -> Iterator[str]:
    if element is not None:
        yield from (str(one) for one in element.elements() if (one.name, one.uri) == ("mechanism", uri))


def token_wanted(rules: Sasl2, offered: Offer, bindings: list[str]) -> str | None:
    """The mechanism of FAST that a token is asked for: the best hash, and for it the best binding that there is."""
    allowed = [kind for kind in bindings if kind in rules.token_bindings] if rules.token_bindings else [*bindings, ""]
    names = (f"HT-{name}-{SHORT_NAMES[kind]}" for name in rules.tokens for kind in allowed)
    return next((name for name in names if name in offered.tokens), None)


class Request(NamedTuple):
    """What goes into <authenticate/>."""

    mechanism: str
    first: bytes
    user_agent: str | None = None  # its id
    tag: str | None = None  # of Bind2
    enable: tuple[str, ...] = ()  # with the bind
    resume: tuple[str, int] | None = None  # previd and h
    token_for: str | None = None
    by_token: bool = False

    def element(self) -> str:
        parts = [f"<initial-response>{b64encode(self.first).decode()}</initial-response>"]
        if self.user_agent:
            parts.append(f"<user-agent id='{self.user_agent}'><software>stand-in</software></user-agent>")
        if self.tag:
            parts.append(f"<bind xmlns='{NS_BIND2}'><tag>{escaped(self.tag)}</tag>{''.join(self._enables())}</bind>")
        if self.resume:
            previd, handled = self.resume
            parts.append(f"<resume xmlns='{SM}' previd={quoted(previd)} h='{handled}'/>")
        if self.token_for:
            parts.append(f"<request-token xmlns='{NS_FAST}' mechanism='{self.token_for}'/>")
        if self.by_token:
            parts.append(f"<fast xmlns='{NS_FAST}'/>")
        content = "".join(parts)
        return f"<authenticate xmlns='{NS_SASL2}' mechanism='{self.mechanism}'>{content}</authenticate>"

    def _enables(self) -> Iterator[str]:
        if CARBONS in self.enable:
            yield f"<enable xmlns='{CARBONS}'/>"
        if SM in self.enable:
            yield f"<enable xmlns='{SM}' resume='true'/>"


class Success(NamedTuple):
    """What <success/> says."""

    data: str  # base64
    jid: str
    bound: domish.Element | None
    enabled: domish.Element | None  # stream management, within the bind
    resumed: domish.Element | None
    failed: domish.Element | None  # to resume
    token: tuple[str, str] | None  # and its expiry


def success(stanza: Received) -> Success:
    element = stanza.element
    bound, token = child(element, "bound", NS_BIND2), child(element, "token", NS_FAST)
    return Success(
        str(child(element, "additional-data", NS_SASL2) or ""),
        str(child(element, "authorization-identifier", NS_SASL2) or ""),
        bound,
        child(bound, "enabled", SM),
        child(element, "resumed", SM),
        child(element, "failed", SM),
        None if token is None else (str(token["token"]), str(token.getAttribute("expiry", ""))),
    )
