"""What must not go out on a stream that many depend on, for the server would end it: what becomes of it instead. Pure.

A stanza grows on its way through the proxy: prefixes and the language that its sender's stream declared are written on
it, addresses get longer. So it is judged as it goes out. It is answered as the server might have done: whoever handles
such an answer finds the sender.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from minimixproxy.namespaces import NS_CLIENT, NS_MUC
from minimixproxy.wire.stanza import Stanza, optional_attribute, parse_stanza
from minimixproxy.wire.trees import LEVEL, is_deeper, read_start_tag
from minimixproxy.xep.iq import iq
from minimixproxy.xep.stanza_errors import error_payload

CONDITION = "policy-violation"
_COUNTED_ALONG = 16 * 1024  # bytes
_JOIN = b"<x xmlns='%b'/>" % NS_MUC.encode()  # what shows an error to be that of a join (XEP-0045 §7.2)


@dataclass(frozen=True, slots=True)
class Sendable:
    """What a server takes of one stanza: bytes, and levels of nesting."""

    size: int = 262144
    depth: int = 1000

    @property
    def largest(self) -> int:
        """Bytes that it takes in any case: ejabberd counts what comes in the same read, some 16 KiB, with a stanza."""
        return self.size - min(_COUNTED_ALONG, self.size // 4)

    @property
    def sure(self) -> int:
        """Bytes of a stanza that it takes whatever is in them."""
        return min(self.largest, LEVEL * self.depth - 1)

    def fault(self, data: bytes) -> str:
        """Return what is wrong with a stanza, or ""."""
        if len(data) > self.size - _COUNTED_ALONG and len(data) > self.largest:
            return f"{len(data)} bytes are more than the {self.largest} that are sure to be taken"
        return f"nested more than {self.depth} levels deep" if is_deeper(data, self.depth) else ""

    def refused(self, data: bytes, text: str, namespace: str = NS_CLIENT) -> Refused:
        """Return what becomes of a stanza that is not sent (see `refused`), and can be sent in its place.

        Whoever asks chooses the id that an answer bears: an error may be as large as the answer, and is not sent
        either.
        """
        answer, instead = refused(data, text, namespace)
        return Refused(answer, instead if instead is not None and not self.fault(instead) else None)


ORDINARY = Sendable()


class Refused(NamedTuple):
    """`answer`: for the sender; `instead`: what the server gets. Either may be None."""

    answer: Stanza | None
    instead: bytes | None


def refused(data: bytes, text: str, namespace: str = NS_CLIENT) -> Refused:
    """Return what becomes of a stanza that is not sent; `namespace` is the default one of its stream.

    Whoever asked for an IQ that answers gets an error. What leaves a room leaves it without its text. For all else see
    `error_for`.
    """
    _uri, name, attributes = read_start_tag(data, {"": namespace})
    kind = attributes.get("type")
    addresses = b"".join(optional_attribute(key, attributes.get(key)) for key in ("from", "to"))
    if name == "iq" and kind in ("result", "error"):
        return Refused(None, _iq_error(attributes, "the answer was too large"))
    if name == "presence" and kind == "unavailable":
        return Refused(None, b"<presence type='unavailable'%b/>" % addresses)
    return Refused(error_for(name, attributes, text, namespace), None)


def error_for(name: str, attributes: Mapping[str, str], text: str, namespace: str = NS_CLIENT) -> Stanza | None:
    """Return the error that answers a stanza with these attributes; None for what is not to be answered by one.

    See RFC 6120 §8.3.1. A presence of a client is taken for a join.
    """
    if attributes.get("type") in ("error", "result") or name not in ("iq", "message", "presence"):
        return None
    pairs = (("from", "to"), ("to", "from"), ("id", "id"))
    addresses = b"".join(optional_attribute(written, attributes.get(read)) for written, read in pairs)
    join = _JOIN if name == "presence" and namespace == NS_CLIENT else b""
    tag = name.encode()
    error = error_payload("modify", CONDITION, text)
    return parse_stanza(b"<%b type='error'%b>%b%b</%b>" % (tag, addresses, join, error, tag), namespace)


def lost_answer(attributes: Mapping[str, str], text: str, namespace: str = NS_CLIENT) -> Stanza:
    """Return the error that stands for an IQ result which came and cannot be used: whoever asked waits for no more."""
    return parse_stanza(_iq_error(attributes, text), namespace)


def _iq_error(attributes: Mapping[str, str], text: str) -> bytes:
    error = error_payload("modify", CONDITION, text)
    return iq("error", error, id=attributes.get("id"), sender=attributes.get("from"), to=attributes.get("to"))
