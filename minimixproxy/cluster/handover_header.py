"""What a process that a client has reached tells the one that holds its account, before the client's own bytes. Pure.

It is a header of the PROXY protocol, version 2 (HAProxy's specification), whose TLVs are of the types that are left to
applications. Of a client without an IP address the header is a LOCAL one, as `proxy_header` builds it, with TLVs all
the same: both ends are of this program.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from struct import pack, unpack, unpack_from

from minimixproxy.c2s.transport.peers import Ends, IPEnd, Peer, address_key
from minimixproxy.c2s.upstream.proxy_header import LOCAL, NO_ADDRESS, PROXY, SIGNATURE, TCP, proxy_header
from minimixproxy.jids import InvalidJID, parse_jid
from minimixproxy.sasl.channel_binding import Bindings
from minimixproxy.sasl.downgrade import Offered

VERSION = 1  # of what the TLVs mean; both processes have to have the same one
#: Behind a client's bytes, or among them: the sender stops, and the holder is to end the stream. XML has no such byte.
#: Who sends it as a client has its own stream ended.
EDGE_LEAVES = b"\xff"
MAX_HEADER = 4096  # bytes, all of it
MAX_NUMBER = 2**63 - 1  # of a holder, or an epoch: what the database's sequences give
_FIXED = len(SIGNATURE) + 4  # bytes before the addresses
_LONGEST_ADDRESSES = 36  # bytes: two of IPv6 with their ports
_ADDRESSES: dict[int, tuple[type[IPv4Address | IPv6Address], int]] = {
    TCP[4]: (IPv4Address, 4),
    TCP[6]: (IPv6Address, 16),
}


class BadHeader(Exception):
    """What came is no header, or says what cannot be. `str()` says why, without what came: it may be anything."""


class HeaderTooLong(Exception):
    """What there is to say of a client does not fit into a header."""


class Type(IntEnum):
    """Types of TLVs, of those for applications (§2.2.7). A type that is not known is skipped."""

    VERSION = 0xE0
    ACCOUNT = 0xE1
    NUMBER = 0xE2
    EPOCH = 0xE3
    WEBSOCKET = 0xE4  # its value is empty; without it the client came by TCP
    BINDING = 0xE5  # one for each type of channel binding: its name, a zero byte, the data
    MECHANISM = 0xE6  # one for each that the client has been offered
    BINDING_TYPE = 0xE7  # one for each that was announced to it (XEP-0440)
    TOKEN_MECHANISM = 0xE8  # one for each by which it may use a token
    KEY = 0xE9  # what the client's address counts as, if that is no IP address


_LISTS = (Type.BINDING, Type.MECHANISM, Type.BINDING_TYPE, Type.TOKEN_MECHANISM)


@dataclass(frozen=True, slots=True)
class Handover:
    """A client as it is handed over. `number`, `epoch`: of the holder and the lease, as the sender has read them.

    `bindings`: of the client's TLS. `offered`: what it has been shown already; None: it has seen no features yet, and
    the holder is to show its own. `tokens`: mechanisms of tokens that were offered, too.
    """

    peer: Peer
    account: str
    number: int
    epoch: int
    websocket: bool = False
    bindings: Bindings = field(default_factory=dict)
    offered: Offered | None = None
    tokens: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Handover {self.account} to {self.number}>"  # without the data of its TLS


# Built --------------------------------------------------------------------------------------------------------------


def build(handover: Handover) -> bytes:
    """Return the header. Raises `HeaderTooLong`."""
    tlvs = list(_tlvs(handover))
    size = _FIXED + _LONGEST_ADDRESSES + sum(3 + len(value) for _type, value in tlvs)
    if size > MAX_HEADER:
        raise HeaderTooLong(f"what is to be said of the client takes {size} bytes, and may take {MAX_HEADER}")
    return proxy_header(handover.peer.ends, b"".join(pack("!BH", type_, len(value)) + value for type_, value in tlvs))


def _tlvs(handover: Handover) -> Iterator[tuple[Type, bytes]]:
    yield Type.VERSION, pack("!B", VERSION)
    yield Type.ACCOUNT, handover.account.encode()
    yield Type.NUMBER, pack("!Q", handover.number)
    yield Type.EPOCH, pack("!Q", handover.epoch)
    if handover.websocket:
        yield Type.WEBSOCKET, b""
    for name, data in handover.bindings.items():
        yield Type.BINDING, name.encode() + b"\0" + data
    if handover.offered is not None:
        yield from ((Type.MECHANISM, name.encode()) for name in handover.offered.mechanisms)
        yield from ((Type.BINDING_TYPE, name.encode()) for name in handover.offered.bindings or ())
    yield from ((Type.TOKEN_MECHANISM, name.encode()) for name in handover.tokens)
    if handover.peer.ends.source is None:
        yield Type.KEY, handover.peer.key.encode()


# Read ---------------------------------------------------------------------------------------------------------------


class HeaderReader:
    """Reads the header at the beginning of a connection."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> tuple[Handover, bytes] | None:
        """Take bytes; return what the header says and what stands behind it, or None while it is not whole.

        Raises `BadHeader`, as soon as it is certain that it will be none: so no more than a header is ever kept.
        """
        data = self._data = self._data + data
        begun = min(len(data), len(SIGNATURE))
        if data[:begun] != SIGNATURE[:begun]:
            raise BadHeader("it does not begin as a header of the PROXY protocol does")
        if len(data) < _FIXED:
            return None
        command, family, length = unpack_from("!BBH", data, len(SIGNATURE))
        end = _FIXED + length
        if end > MAX_HEADER:
            raise BadHeader(f"it is to be {end} bytes long, and may be {MAX_HEADER}")
        if len(data) < end:
            return None
        return _read(command, family, data[_FIXED:end]), data[end:]


def _read(command: int, family: int, content: bytes) -> Handover:
    ends, size = _ends(command, family, content)
    found = _Values(content[size:])
    version = found.one(Type.VERSION)
    if version != pack("!B", VERSION):
        said = version[0] if len(version) == 1 else "none"
        raise BadHeader(f"its version is {said}, and this process knows {VERSION} only")
    return Handover(
        _peer(ends, found),
        _account(found.one(Type.ACCOUNT)),
        _number(found.one(Type.NUMBER)),
        _number(found.one(Type.EPOCH)),
        bool(found.lists(Type.WEBSOCKET)),
        _bindings(found.lists(Type.BINDING)),
        _offered(found),
        tuple(map(_text, found.lists(Type.TOKEN_MECHANISM))),
    )


class _Values:
    """The TLVs of a header."""

    def __init__(self, data: bytes) -> None:
        self._found: dict[int, list[bytes]] = {}
        start = 0
        while start < len(data):
            if start + 3 > len(data):
                raise BadHeader("a TLV in it is cut off")
            type_, length = unpack_from("!BH", data, start)
            start += 3 + length
            if start > len(data):
                raise BadHeader("a TLV in it is longer than what is left")
            self._found.setdefault(type_, []).append(data[start - length : start])
        for known in Type:
            if known not in _LISTS and len(self.lists(known)) > 1:
                raise BadHeader(f"it says {known.name} twice")

    def lists(self, type_: Type) -> list[bytes]:
        """Return the values of a type."""
        return self._found.get(type_, [])

    def one(self, type_: Type) -> bytes:
        """Return the value of a type that has to be there."""
        values = self.lists(type_)
        if not values:
            raise BadHeader(f"it does not say {type_.name}")
        return values[0]


def _ends(command: int, family: int, content: bytes) -> tuple[Ends, int]:
    """Return whence the client is and whereto, and how many bytes say so."""
    if command == LOCAL and not family and content.startswith(NO_ADDRESS):
        return Ends(None, None), len(NO_ADDRESS)
    if command != PROXY or family not in _ADDRESSES:
        raise BadHeader("its command or its family of addresses is none that is used here")
    kind, width = _ADDRESSES[family]
    size = 2 * width + 4
    if len(content) < size:
        raise BadHeader("its addresses are cut off")
    source, destination = kind(content[:width]), kind(content[width : 2 * width])
    ports = unpack("!HH", content[2 * width : size])
    unknown = destination.is_unspecified and not ports[1]
    return Ends(IPEnd(source, ports[0]), None if unknown else IPEnd(destination, ports[1])), size


def _peer(ends: Ends, found: _Values) -> Peer:
    if ends.source is not None:
        return Peer(address_key(str(ends.source.address)), ends)
    return Peer(_text(found.one(Type.KEY)), ends)


def _account(value: bytes) -> str:
    text = _text(value)
    try:
        address = parse_jid(text)
    except InvalidJID:
        address = None
    if address is None or address.bare != text or address.local is None:
        raise BadHeader("its account is no prepared bare JID")
    return text


def _number(value: bytes) -> int:
    number = int.from_bytes(value, "big")
    if len(value) != 8 or number > MAX_NUMBER:
        raise BadHeader("a number in it is none")
    return number


def _bindings(values: list[bytes]) -> Bindings:
    bindings: dict[str, bytes] = {}
    for value in values:
        name, _zero, data = value.partition(b"\0")
        if not data or _text(name) in bindings:
            raise BadHeader("a channel binding in it has no data, or is there twice")
        bindings[_text(name)] = data
    return bindings


def _offered(found: _Values) -> Offered | None:
    names = tuple(map(_text, found.lists(Type.MECHANISM)))
    types = tuple(map(_text, found.lists(Type.BINDING_TYPE)))
    return Offered(names, types or None) if names else None


def _text(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise BadHeader("a text in it is not UTF-8") from error
    if not text or min(text) < " ":
        raise BadHeader("a text in it is empty, or holds control characters")
    return text
