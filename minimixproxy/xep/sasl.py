"""SASL towards clients: PLAIN messages and the elements that answer them (RFC 4616, RFC 6120 §6). Pure."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field

from minimixproxy.jids import InvalidJID, parse_jid, prepare_local
from minimixproxy.namespaces import NS_SASL
from minimixproxy.wire.stanza import escape

_NS = NS_SASL.encode()
_MAX_BASE64 = 8192
_MAX_FIELD = 1024  # bytes; RFC 4616 speaks of 255


#: Why a login fails (RFC 6120 §6.5).
CONDITIONS = frozenset(
    {
        "aborted",
        "account-disabled",
        "credentials-expired",
        "encryption-required",
        "incorrect-encoding",
        "invalid-authzid",
        "invalid-mechanism",
        "malformed-request",
        "mechanism-too-weak",
        "not-authorized",
        "temporary-auth-failure",
    }
)


class SaslFailure(Exception):
    """The login fails. `condition`: of RFC 6120 §6.5."""

    def __init__(self, condition: str, text: str = "") -> None:
        super().__init__(condition)
        self.condition = condition
        self.text = text


def mechanisms(names: Iterable[str]) -> bytes:
    """Return the stream feature that offers mechanisms."""
    offered = b"".join(b"<mechanism>%b</mechanism>" % name.encode() for name in names)
    return b"<mechanisms xmlns='%b'>%b</mechanisms>" % (_NS, offered)


def challenge(data: bytes) -> bytes:
    """Return a `<challenge/>` element."""
    return _with_data(b"challenge", data)


def success(data: bytes = b"") -> bytes:
    """Return a `<success/>` element, with additional data if there is some."""
    return _with_data(b"success", data)


def _with_data(name: bytes, data: bytes) -> bytes:
    if not data:
        return b"<%b xmlns='%b'/>" % (name, _NS)
    return b"<%b xmlns='%b'>%b</%b>" % (name, _NS, b64encode(data), name)


def failure(condition: str, text: str = "") -> bytes:
    """Return a `<failure/>` element."""
    explanation = b"<text xml:lang='en'>%b</text>" % escape(text) if text else b""
    return b"<failure xmlns='%b'><%b/>%b</failure>" % (_NS, condition.encode(), explanation)


@dataclass(frozen=True, slots=True)
class PlainMessage:
    """What a client says who it is."""

    authzid: str
    username: str
    password: str = field(repr=False)


def decoded(text: str) -> bytes:
    """Return the data in the text of an element; "=" stands for none (RFC 6120 §6.4.2). Raises `SaslFailure`."""
    if len(text) > _MAX_BASE64:
        raise SaslFailure("malformed-request", "too long")
    try:
        return b"" if text == "=" else b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise SaslFailure("incorrect-encoding") from error


def parse_plain(data: bytes) -> PlainMessage:
    """Read a PLAIN message. Raises `SaslFailure`."""
    fields = data.split(b"\0")
    if len(fields) != 3 or not fields[1] or not fields[2] or max(map(len, fields)) > _MAX_FIELD:
        raise SaslFailure("malformed-request")
    try:
        return PlainMessage(*(part.decode("utf-8") for part in fields))
    except UnicodeDecodeError as error:
        raise SaslFailure("malformed-request", "not UTF-8") from error


def account_key(username: str, domain: str) -> str:
    """Return what failed logins of a user name count under; whether the name is valid is for the server to say."""
    try:
        return f"{prepare_local(username)}@{domain}"
    except InvalidJID:
        pass
    key = username.lower()
    try:
        prepare_local(key)
    except InvalidJID:
        return f"{key}@{domain}"
    return f"{username}@{domain}"  # what makes it invalid is its capitals: it is not to count as another account


def check_authzid(authzid: str, username: str, domain: str) -> None:
    """Refuse to act for any other account than the one that logs in. Raises `SaslFailure`."""
    if not authzid:
        return
    try:
        wanted = parse_jid(authzid)
    except InvalidJID as error:
        raise SaslFailure("invalid-authzid") from error
    if wanted.resource is not None or wanted.bare != account_key(username, domain):
        raise SaslFailure("invalid-authzid")
