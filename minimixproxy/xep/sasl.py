"""SASL towards clients: PLAIN messages and the elements that answer them (RFC 4616, RFC 6120 §6). Pure."""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass, field

from minimixproxy.jids import InvalidJID, parse_jid, prepare_local
from minimixproxy.namespaces import NS_SASL
from minimixproxy.wire.stanza import escape

_NS = NS_SASL.encode()
_MAX_BASE64 = 8192
_MAX_FIELD = 1024  # bytes; RFC 4616 speaks of 255

CHALLENGE = b"<challenge xmlns='%b'/>" % _NS
SUCCESS = b"<success xmlns='%b'/>" % _NS
MECHANISMS = b"<mechanisms xmlns='%b'><mechanism>PLAIN</mechanism></mechanisms>" % _NS


class SaslFailure(Exception):
    """The login fails. `condition`: of RFC 6120 §6.5."""

    def __init__(self, condition: str, text: str = "") -> None:
        super().__init__(condition)
        self.condition = condition
        self.text = text


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


def parse_plain(text: str) -> PlainMessage:
    """Read the base64 text of a PLAIN message. Raises `SaslFailure`."""
    if len(text) > _MAX_BASE64:
        raise SaslFailure("malformed-request", "too long")
    try:
        data = b"" if text == "=" else b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise SaslFailure("incorrect-encoding") from error
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
        return f"{username.lower()}@{domain}"


def check_authzid(message: PlainMessage, domain: str) -> None:
    """Refuse to act for any other account than the one that logs in. Raises `SaslFailure`."""
    if not message.authzid:
        return
    try:
        wanted = parse_jid(message.authzid)
    except InvalidJID as error:
        raise SaslFailure("invalid-authzid") from error
    if wanted.resource is not None or wanted.bare != account_key(message.username, domain):
        raise SaslFailure("invalid-authzid")
