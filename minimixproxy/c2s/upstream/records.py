"""What is written to a server at once: whole stanzas, as far as TLS takes them whole. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

RECORD = 16 * 1024  # bytes, at most, that TLS makes one record of (RFC 8446 §5.1)


def in_records(stanzas: Iterable[bytes]) -> Iterator[bytes]:
    """Join stanzas so that none is in two records which could be in one.

    What comes of a record is all of it, or nothing: so a connection that is cut is cut between stanzas. That matters at
    Prosody 0.12, which takes half a stanza for the beginning of what it reads when the stream is resumed.
    """
    parts: list[bytes] = []
    size = 0
    for stanza in stanzas:
        if parts and size + len(stanza) > RECORD:
            yield b"".join(parts)
            parts, size = [], 0
        parts.append(stanza)
        size += len(stanza)
    if parts:
        yield b"".join(parts)
