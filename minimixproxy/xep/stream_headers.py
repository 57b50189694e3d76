"""Stream headers towards clients, and stream errors (RFC 6120 §4.7 to §4.9). Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import NamedTuple

from minimixproxy.counting.tally import Tally
from minimixproxy.jids import InvalidJID, parse_jid
from minimixproxy.namespaces import NS_CLIENT, NS_STREAM, NS_STREAM_ERRORS, NS_TLS, NS_XML
from minimixproxy.wire.events import StreamOpened, is_stream_header
from minimixproxy.wire.stanza import escape

STREAM_END = b"</stream:stream>"
XML_DECLARATION = b"<?xml version='1.0'?>"
STARTTLS_FEATURE = b"<starttls xmlns='%b'><required/></starttls>" % NS_TLS.encode()
PROCEED = b"<proceed xmlns='%b'/>" % NS_TLS.encode()
LANG = "{" + NS_XML + "}lang"


#: RFC 6120 §4.9.3.
CONDITIONS = frozenset(
    {
        "bad-format",
        "bad-namespace-prefix",
        "conflict",
        "connection-timeout",
        "host-gone",
        "host-unknown",
        "improper-addressing",
        "internal-server-error",
        "invalid-from",
        "invalid-namespace",
        "invalid-xml",
        "not-authorized",
        "not-well-formed",
        "policy-violation",
        "remote-connection-failed",
        "reset",
        "resource-constraint",
        "restricted-xml",
        "see-other-host",
        "system-shutdown",
        "undefined-condition",
        "unsupported-encoding",
        "unsupported-feature",
        "unsupported-stanza-type",
        "unsupported-version",
    }
)
ERRORS = Tally("stream_errors", "Streams of clients that the proxy ended with an error.", condition=CONDITIONS)


class Refusal(NamedTuple):
    """Why a stream cannot go on: a condition of RFC 6120 §4.9.3 and a text."""

    condition: str
    text: str = ""


def stream_error(condition: str, text: str = "") -> bytes:
    """Return a stream error with the end of the stream behind it. It is counted."""
    ERRORS.count(condition)
    namespace = NS_STREAM_ERRORS.encode()
    explanation = b"<text xmlns='%b' xml:lang='en'>%b</text>" % (namespace, escape(text)) if text else b""
    return b"<stream:error><%b xmlns='%b'/>%b</stream:error>%b" % (
        condition.encode(),
        namespace,
        explanation,
        STREAM_END,
    )


def answer_header(domain: str, stream_id: str, lang: str | None = None) -> bytes:
    """Return the header that answers a client before it is logged in."""
    attributes = {"from": domain, "id": stream_id, "version": "1.0", LANG: lang or "en"}
    return XML_DECLARATION + header(attributes)


def passed_header(opened: StreamOpened) -> bytes:
    """Return a peer's header for the other side: as it came, unless it does not call the streams namespace `stream`."""
    if opened.raw.startswith(b"<stream:stream") and opened.namespaces.get("stream") == NS_STREAM:
        return opened.raw
    attributes = {name: value for name, value in opened.attributes.items() if "}" not in name or name == LANG}
    return header(attributes, opened.namespaces)


def header(attributes: Mapping[str, str], namespaces: Mapping[str, str] | None = None) -> bytes:
    """Return a header with these attributes (`LANG` is one), and with these prefixes declared beside its own."""
    named = [("xmlns", NS_CLIENT), ("xmlns:stream", NS_STREAM)]
    named += [("xml:lang" if name == LANG else name, value) for name, value in attributes.items()]
    own = ("", "stream", "xml")
    named += [(f"xmlns:{prefix}", uri) for prefix, uri in (namespaces or {}).items() if prefix not in own]
    tag = b"".join(b" %b='%b'" % (name.encode(), escape(value)) for name, value in named)
    return b"<stream:stream%b>" % tag


def check_header(opened: StreamOpened, domains: Container[str]) -> Refusal | None:
    """Return what is wrong with a client's stream header, or None. `domains`: those served."""
    if not is_stream_header(opened):
        return Refusal("invalid-namespace", "not a stream header of XMPP")
    if opened.namespaces.get("") != NS_CLIENT:
        return Refusal("invalid-namespace", "the default namespace must be jabber:client")
    if not _version_supported(opened.attributes.get("version", "")):
        return Refusal("unsupported-version", "version must be 1.0")
    domain = addressed_domain(opened)
    if domain is None:
        return Refusal("improper-addressing", "the header's 'to' must be a domain")
    return None if domain in domains else Refusal("host-unknown", f"{domain} is not served here")


def _version_supported(version: str) -> bool:
    major, dot, minor = version.partition(".")
    digits = major.isascii() and major.isdigit() and minor.isascii() and minor.isdigit()
    return bool(dot) and digits and len(version) <= 16 and int(major) >= 1


def addressed_domain(opened: StreamOpened) -> str | None:
    """Return the prepared domain in the header's `to`; None if there is none or it is no domain."""
    try:
        address = parse_jid(opened.attributes.get("to", ""))
    except InvalidJID:
        return None
    return address.domain if address.bare == address.domain and address.resource is None else None
