"""Who says what to whom, written down independently of the product, and held against it."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, cast
from xml.etree import ElementTree

from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from minimixproxy.safety_net import NET
from minimixproxy.wire.stanza import Stanza
from tests.log_events import Observer

TOKEN = re.compile(r"tok-\d+-")
CLIENT = "{jabber:client}"
USER = "{http://jabber.org/protocol/muc#user}"
HEADER = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"


class NotWellFormed(AssertionError):
    """What the proxy wrote is no XML with namespaces, or no whole stanza."""


class StrictReader:
    """Reads a stream by expat, namespaces and all."""

    def __init__(self) -> None:
        self._parser: ElementTree.XMLPullParser[ElementTree.Element] = ElementTree.XMLPullParser(("start", "end"))
        self._parser.feed(HEADER)
        self._level = 0
        self.deepest = 0
        self._root: ElementTree.Element | None = None
        list(self._events())

    def _events(self) -> list[ElementTree.Element]:
        found = []
        # an event has other parts only if it is neither of the two that were asked for
        for event, element in cast(Iterator[tuple[str, ElementTree.Element]], self._parser.read_events()):
            if event == "start":
                self._level += 1
                self.deepest = max(self.deepest, self._level - 1)
                if self._level == 1:
                    self._root = element
            else:
                self._level -= 1
                if self._level == 1:
                    found.append(element)
        assert self._root is not None
        self._root.clear()
        return found

    def whole(self, data: bytes) -> list[ElementTree.Element]:
        """Return the stanzas that are written; they have to be whole."""
        self.deepest = 0
        try:
            self._parser.feed(data)
            found = self._events()
        except ElementTree.ParseError as error:
            raise NotWellFormed(f"{error}: {data[:2000]!r}") from error
        if self._level != 1:
            raise NotWellFormed(f"{self._level - 1} elements are open behind {data[:2000]!r}")
        return found


class Promise(NamedTuple):
    """Something that a client waits for a room to say: `join`, `leave` or `nick`."""

    kind: str
    room: str
    id: str | None

    def answers(self, room: str, stanza_id: str | None) -> bool:
        """Tell whether a presence of that room, with that id, is the answer."""
        return (self.room, self.id) == (room, stanza_id)


@dataclass(slots=True)
class Witness:
    """`heard`: which accounts a token was said to, or by whose clients it was said. `complaints`: what went wrong."""

    heard: dict[str, set[str]] = field(default_factory=dict)
    said_by: dict[str, str] = field(default_factory=dict)  # the account whose client made it up
    meant_for: dict[str, str | None] = field(default_factory=dict)  # the `to` of what a client said
    complaints: list[str] = field(default_factory=list)
    damaged: bool = False  # what is on disk: then some of it cannot be shown
    _observer: Observer = field(init=False)

    def __post_init__(self) -> None:
        self._observer = Observer(self._logged)

    def token(self) -> str:
        token = f"tok-{len(self.heard)}-"
        self.heard[token] = set()
        return token

    def complain(self, text: str) -> None:
        self.complaints.append(text[:6000])

    def told(self, bare: str, data: str) -> None:
        """The account is told this by its server or by a room."""
        for token in TOKEN.findall(data):
            self.heard[token].add(bare)

    def said(self, bare: str, data: str, to: str | None) -> None:
        """A client of the account says this."""
        for token in TOKEN.findall(data):
            self.heard[token].add(bare)
            self.said_by.setdefault(token, bare)
            self.meant_for.setdefault(token, to)

    def shown(self, bare: str, data: bytes) -> list[str]:
        """A session of the account is shown this."""
        tokens = TOKEN.findall(data.decode("utf-8"))
        for token in tokens:
            if bare not in self.heard.get(token, ()):
                self.complain(f"{bare} is shown what was never said to it: {token} in {data[:3000]!r}")
        return tokens

    def sent(self, bare: str, data: bytes) -> list[str]:
        """This goes out on the stream of the account."""
        tokens = TOKEN.findall(data.decode("utf-8"))
        for token in tokens:
            if self.said_by.get(token) != bare:
                self.complain(f"{bare} sends what none of its clients said: {token} in {data[:3000]!r}")
        return tokens

    # Faults that the product caught ---------------------------------------------------------------------------------

    def watch(self) -> None:
        """From now on, what is caught is a complaint."""
        globalLogPublisher.addObserver(self._observer)

    def unwatch(self) -> None:
        globalLogPublisher.removeObserver(self._observer)

    def _logged(self, event: LogEvent) -> None:
        failure = event.get("log_failure")
        left_out = "cannot be shown" in str(event.get("log_format")) and not self.damaged
        if failure is not None or left_out or event.get("log_level") is LogLevel.critical:
            trace = failure.getTraceback() if failure is not None else str(event)[:2000]
            self.complain(f"logged: {event.get('log_format')}\n{trace}")


def caught_with_its_text(stanza: Stanza, where: str) -> None:
    """In place of `SafetyNet.caught`, which tells no text."""
    NET.dropped += 1
    raise AssertionError(f"the safety net was needed, {where}: {stanza.raw[:3000]!r}\n{traceback.format_exc()}")
