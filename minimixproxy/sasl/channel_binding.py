"""Binding a login to the TLS connection that it is made on (RFC 5056): types, and SCRAM's GS2 header. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from minimixproxy.sasl.scram import ScramError

TLS_EXPORTER = "tls-exporter"  # RFC 9266
TLS_SERVER_END_POINT = "tls-server-end-point"  # RFC 5929 §4
#: The types that the proxy knows, the stronger first: only the first is of this very connection.
TYPES = (TLS_EXPORTER, TLS_SERVER_END_POINT)

Bindings = Mapping[str, bytes]
"""The data of one connection by type; empty where TLS is not ours, or there is none."""

_TYPE = re.compile(r"[A-Za-z0-9.-]+")
_ESCAPE = re.compile("=(2C|3D|)")
_ESCAPED = {"2C": ",", "3D": "="}


class Gs2Header(NamedTuple):
    """What a client says of channel binding, and for whom it wants to act."""

    flag: str  # "n": the client can do none; "y": it can, and believes that the server cannot; "p": it does
    type: str = ""  # with "p"
    authzid: str = ""

    def encoded(self) -> bytes:
        """Return the header as it stands in messages; for headers of our own."""
        flag = f"p={self.type}" if self.flag == "p" else self.flag
        authzid = f"a={escaped(self.authzid)}" if self.authzid else ""
        return f"{flag},{authzid},".encode()


class Binding(NamedTuple):
    """What a client binds its login to. `data`: with the flag "p"."""

    header: Gs2Header
    data: bytes = b""

    def __repr__(self) -> str:
        return f"<Binding {self.header.flag} {self.header.type}>"

    @property
    def input(self) -> bytes:
        """What `c=` holds."""
        return self.header.encoded() + self.data


UNBOUND = Binding(Gs2Header("n"))


def read_gs2_header(message: bytes) -> tuple[Gs2Header, int]:
    """Return the header at the beginning of a client-first-message (RFC 5802 §7), and its length in bytes.

    Raises `ScramError`.
    """
    flag, first_comma, rest = message.partition(b",")
    authzid, second_comma, _bare = rest.partition(b",")
    if not first_comma or not second_comma:
        raise ScramError("no GS2 header")
    try:
        header = Gs2Header(*_flag(flag.decode("ascii")), _authzid(authzid.decode("utf-8")))
    except UnicodeDecodeError as error:
        raise ScramError("malformed GS2 header") from error
    return header, len(flag) + len(authzid) + 2


def _flag(text: str) -> tuple[str, str]:
    if text in ("n", "y"):
        return text, ""
    if not (text.startswith("p=") and _TYPE.fullmatch(text, 2)):
        raise ScramError("malformed flag of channel binding")
    return "p", text[2:]


def _authzid(text: str) -> str:
    if not text:
        return ""
    if not text.startswith("a=") or len(text) == 2:
        raise ScramError("malformed authorization identity")
    return unescaped(text[2:])


def escaped(name: str) -> str:
    """Return a name as it stands in messages (`saslname`)."""
    return name.replace("=", "=3D").replace(",", "=2C")


def unescaped(text: str) -> str:
    """Return the name that a `saslname` stands for. Raises `ScramError`."""

    def character(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPED:
            raise ScramError("a name with a malformed escape")
        return _ESCAPED[match[1]]

    return _ESCAPE.sub(character, text)


def best_type(ours: Collection[str], theirs: Collection[str]) -> str | None:
    """Return the strongest type that both ends have."""
    return next((type_ for type_ in TYPES if type_ in ours and type_ in theirs), None)
