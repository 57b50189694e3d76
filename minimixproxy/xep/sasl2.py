"""SASL2 towards clients (XEP-0388): what a client asks for with its login, and the elements that answer. Pure."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from typing import NamedTuple

from twisted.words.xish import domish

from minimixproxy.namespaces import NS_FAST, NS_SASL, NS_SASL2, NS_SM3
from minimixproxy.wire.stanza import Stanza, escape
from minimixproxy.wire.trees import child
from minimixproxy.xep import bind2, fast
from minimixproxy.xep.sasl import SaslFailure
from minimixproxy.xep.stream_management import FEATURE

_NS = NS_SASL2.encode()
_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MAX_NAME = 60  # characters
#: What can be done along with a login, whatever the server can (§2.1): bind a resource, resume a stream (XEP-0198).
INLINE = bind2.FEATURE + FEATURE


class Request(NamedTuple):
    """What `<authenticate/>` asks for. `text`: the initial response as it came, None if there is none.

    `device`: the id of the client's installation, a UUID in lower case; "" if it names none. `bind`: None if it does
    not ask for that. `resume`: the element of XEP-0198, None if there is none. `software`: as the client calls itself.
    `token_for`: the mechanism for which it wants a token (XEP-0484). `token_use`: it logs in by one.
    """

    mechanism: str | None
    text: str | None
    device: str = ""
    bind: bind2.Wishes | None = None
    resume: Stanza | None = None
    software: str = ""
    token_for: str | None = None
    token_use: fast.Use | None = None


# Built --------------------------------------------------------------------------------------------------------------


def feature(mechanisms: Iterable[str], tokens: Iterable[str] = ()) -> bytes:
    """Return the stream feature that offers mechanisms, what can be done along with a login, and those for tokens."""
    inline = INLINE + fast.feature(tokens)
    names = b"".join(b"<mechanism>%b</mechanism>" % name.encode() for name in mechanisms)
    return b"<authentication xmlns='%b'>%b<inline>%b</inline></authentication>" % (_NS, names, inline)


def challenge(data: bytes) -> bytes:
    """Return a `<challenge/>` element."""
    return b"<challenge xmlns='%b'>%b</challenge>" % (_NS, b64encode(data))


def success(jid: str, data: bytes, inline: bytes) -> bytes:
    """Return a `<success/>` element: for whom, bare, or full with a resource; and what was done along with the login.

    `data`: additional data of the exchange; there is none if it is empty.
    """
    additional = b"<additional-data>%b</additional-data>" % b64encode(data) if data else b""
    identifier = b"<authorization-identifier>%b</authorization-identifier>" % escape(jid)
    return b"<success xmlns='%b'>%b%b%b</success>" % (_NS, additional, identifier, inline)


def failure(condition: str, text: str = "") -> bytes:
    """Return a `<failure/>` element; the condition is one of RFC 6120 §6.5."""
    explanation = b"<text xml:lang='en'>%b</text>" % escape(text) if text else b""
    return b"<failure xmlns='%b'><%b xmlns='%b'/>%b</failure>" % (
        _NS,
        condition.encode(),
        NS_SASL.encode(),
        explanation,
    )


# Read ---------------------------------------------------------------------------------------------------------------


def request_of(authenticate: Stanza) -> Request:
    """Read `<authenticate/>`. What it has that is not known here is passed over. Raises `SaslFailure`."""
    if not authenticate.readable:
        raise SaslFailure("malformed-request", "too much in it")
    initial = _only(authenticate, NS_SASL2, "initial-response")
    agent = _only(authenticate, NS_SASL2, "user-agent")
    bind = _only(authenticate, bind2.NS, "bind")
    resume = _only(authenticate, NS_SM3, "resume")
    wanted, used = _only(authenticate, NS_FAST, "request-token"), _only(authenticate, NS_FAST, "fast")
    return Request(
        authenticate.get("mechanism"),
        None if initial is None else str(initial).strip(),
        _device(agent),
        None if bind is None else bind2.wishes_of(bind),
        None if resume is None else bind2.as_stanza(resume),
        _software(agent),
        None if wanted is None else str(wanted.getAttribute("mechanism", "")),
        None if used is None else fast.use_of(used),
    )


def _only(stanza: Stanza, uri: str, name: str) -> domish.Element | None:
    """Return the child of that name. What is there twice is for nobody to choose from."""
    if stanza.payloads.count((uri, name)) > 1:
        raise SaslFailure("malformed-request", f"{name} is there twice")
    return stanza.payload(uri, name)


def _software(agent: domish.Element | None) -> str:
    """Return what a client calls itself and its device, for its user to know it again."""
    named = (child(agent, NS_SASL2, name) for name in ("software", "device"))
    return ", ".join(text for text in (str(one).strip()[:_MAX_NAME] for one in named if one is not None) if text)


def _device(agent: domish.Element | None) -> str:
    """Return the id of a user agent (§2.3). One that is no UUID could be that of many devices: it is as none."""
    text = str(agent.getAttribute("id", "")) if agent is not None else ""
    lower = text.strip().lower() if len(text) < 100 else ""
    return lower if _UUID.fullmatch(lower) else ""
