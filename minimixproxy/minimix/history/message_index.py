"""What kept messages of one room are found by: who gave them which id, and what they say. Pure.

No message is parsed for it when it is searched for, whatever it looks like. What is searched for is not kept, but its
hash, which is keyed by the interpreter; so an id may be as long as it likes.
"""

from __future__ import annotations

from collections.abc import Iterable

from minimixproxy.minimix.interfaces.journal import KeptMessage
from minimixproxy.wire.children import sole_attributes, sole_text, top_attribute

OCCUPANT = "id:"  # begins a sender that is an occupant-id; no address begins so
_SAME = 8  # messages that say the same in the same words: so many of the last are remembered
_OPTIONAL = ((b"&gt;", b">"), (b"&apos;", b"'"), (b"&quot;", b'"'))  # escapes that a text may do without


class SaidIndex:
    """Sequences of messages, by their sender and an id that it gave them: the last one counts."""

    __slots__ = ("_sequences",)

    def __init__(self) -> None:
        self._sequences: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._sequences)

    def add(self, sender: str, ids: Iterable[str], sequence: int) -> None:
        """A message came."""
        for one in ids:
            self._sequences[hash((sender, one))] = sequence

    def add_earlier(self, sender: str, ids: Iterable[str], sequence: int) -> None:
        """A message came before all that came through `add`."""
        for one in ids:
            key = hash((sender, one))
            self._sequences[key] = max(sequence, self._sequences.get(key, 0))

    def find(self, sender: str, sent_id: str) -> int | None:
        """Return the sequence of the last one, which may be gone."""
        return self._sequences.get(hash((sender, sent_id)))

    def trim(self, first: int, count: int) -> None:
        """`count` messages are left, beginning with that of sequence `first`. Now and then the others go here too."""
        if len(self._sequences) > 2 * count + 64:
            self._sequences = {key: sequence for key, sequence in self._sequences.items() if sequence >= first}


class IdentityIndex:
    """Sequences of messages by sender, the id that it gave, and text. Built when first asked for: few rooms need it."""

    __slots__ = ("_known", "_sequences")

    def __init__(self) -> None:
        self._sequences: dict[int, tuple[int, ...]] = {}
        self._known = 0  # sequence up to which messages are in

    def find(self, key: int, messages: Iterable[KeptMessage]) -> tuple[int, ...]:
        """Return the sequences of the last messages with that key. `messages`: all there are, the newest first."""
        self.learn(messages)
        return self._sequences.get(key, ())

    def learn(self, messages: Iterable[KeptMessage]) -> None:
        """Take in what came since the last time: before a message changes, for one."""
        news = []
        for message in messages:
            if message.sequence <= self._known:
                break
            news.append(message)
        for message in reversed(news):
            self._known = message.sequence
            key = _identity_of(message.raw)
            if key is not None:
                self._sequences[key] = (*self._sequences.get(key, ()), message.sequence)[-_SAME:]

    @property
    def used(self) -> bool:
        """Whether it was ever asked for."""
        return bool(self._known)

    def trim(self, first: int, count: int) -> None:
        """See `SaidIndex.trim`."""
        if len(self._sequences) > 2 * count + 64:
            self._sequences = {key: sequences for key, sequences in self._sequences.items() if sequences[-1] >= first}


def identity(raw: bytes, sender: str | None, sent_id: str | None) -> int | None:
    """Return what a message is recognized by when it comes again without an id of the room; None if by nothing."""
    text = _text(raw)
    return hash((sender, sent_id, text)) if sent_id or text else None


def _identity_of(raw: bytes) -> int | None:
    try:
        return identity(raw, top_attribute(raw, "from"), top_attribute(raw, "id"))
    except ValueError:
        return None  # kept by an earlier version that it was a fault of; found out when it is replayed


def _text(raw: bytes) -> bytes:
    """Return the text of the only body as it is written, but for needless escapes; b"" if it takes a parser to tell.

    The same message comes from the same server, which writes it in the same way.
    """
    text = sole_text(raw, b"body") or b""
    for escaped, plain in _OPTIONAL:
        text = text.replace(escaped, plain)
    return text


def occupant_of_bytes(raw: bytes) -> str | None:
    """Return the only occupant-id in a message, without parsing it; None if there is no such one."""
    attributes = sole_attributes(raw, b"occupant-id")
    return attributes.get("id") if attributes is not None else None


def ids_of_bytes(raw: bytes) -> set[str]:
    """Return the ids that a message's sender gave it, as far as they can be read without parsing it."""
    origin = sole_attributes(raw, b"origin-id") or {}
    return {one for one in (top_attribute(raw, "id"), origin.get("id")) if one}
