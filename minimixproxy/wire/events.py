"""What framing makes of a stream: its header and end, stanzas, and what is wrong with it (RFC 6120 §4)."""

from __future__ import annotations

from dataclasses import dataclass, field

from minimixproxy.namespaces import NS_STREAM
from minimixproxy.wire.stanza import Stanza


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The stream header. `namespaces`: its declarations, prefix to URI, "" for the default."""

    uri: str
    name: str
    attributes: dict[str, str]
    namespaces: dict[str, str]
    raw: bytes


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """`</stream:stream>` came; nothing follows."""


@dataclass(frozen=True, slots=True)
class Keepalive:
    """White space between stanzas."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class Skipped:
    """A stanza came and was left out: its top element, size in bytes, SHA-256, and why."""

    uri: str
    name: str
    attributes: dict[str, str]
    size: int
    digest: str
    reason: str = "too large"


@dataclass(frozen=True, slots=True)
class Fault:
    """The stream is beyond use. `condition`: a stream error condition (RFC 6120 §4.9.3). Always the last event."""

    condition: str
    text: str = field(default="")


Event = StreamOpened | Stanza | Skipped | StreamClosed | Keepalive | Fault


def is_stream_header(opened: StreamOpened) -> bool:
    """Tell whether a header is `<stream/>` in the streams namespace (RFC 6120 §4.8.1)."""
    return opened.uri == NS_STREAM and opened.name == "stream"
