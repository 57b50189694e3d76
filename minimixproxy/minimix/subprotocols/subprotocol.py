"""What the subprotocols of the account stream have in common: Wokkel handlers that take one kind of stanza."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from twisted.words.xish.xpath import XPathQuery
from wokkel.subprotocols import XMPPHandler

from minimixproxy.minimix.interfaces.streams import StreamPort
from minimixproxy.safety_net import NET
from minimixproxy.wire.stanza import Stanza, UnusableStanza


class ByName(XPathQuery):
    """Matches as the query `/name` does, in any namespace, for a fraction of its work."""

    def __init__(self, name: str) -> None:
        super().__init__(f"/{name}")  # type: ignore[no-untyped-call]
        self.name = name

    def matches(self, stanza: Stanza) -> bool:
        """Tell whether the element has that name."""
        return stanza.name == self.name


class Subprotocol(XMPPHandler):  # type: ignore[misc]
    """A handler of the account stream that takes the stanzas of one name, `query`, for the account `bare`.

    Any Wokkel handler may be a child of the account stream. This one is told of more than others are: `unreachable`,
    `not_sent` and `left_out`. It sees a stanza when those of ordinary `priority` have, and leaves alone
    what one of them says it has `handled`.
    """

    parent: StreamPort
    xmlstream: Any
    query: ClassVar[XPathQuery]
    priority: ClassVar[int] = -1

    def __init__(self, bare: str) -> None:
        super().__init__()
        self.bare = bare

    def connectionInitialized(self) -> None:
        """The stream is open: observe it from now on."""
        self.xmlstream.addObserver(self.query, self.take, self.priority)

    def take(self, stanza: Stanza) -> None:
        """Take a stanza; one that cannot be read is left out, and a fault of ours costs that stanza only."""
        try:
            if not stanza.handled:
                self._receive(stanza)
        except Exception:  # noqa: BLE001 (the edge: logged and counted)
            NET.caught(stanza, self._where)
        self.taken()

    def _receive(self, stanza: Stanza) -> None:
        try:
            self.received(stanza)
        except UnusableStanza as error:
            self.cannot_read(stanza, str(error))
            self.left_out(stanza.name, stanza.attributes, "too large")

    def take_instead(self, answer: Stanza) -> None:
        """Take the error that stands for an answer which was not sent, or came and cannot be used."""
        if not answer.handled:
            self.not_sent(answer)
        self.taken()

    def disownHandlerParent(self, parent: StreamPort) -> None:
        """Take nothing any more, even if the stream is open."""
        if self.xmlstream is not None:
            self.xmlstream.removeObserver(self.query, self.take)
        super().disownHandlerParent(parent)

    def cannot_read(self, stanza: Stanza, reason: str) -> None:
        """Count and log that a stanza, or what is in it, is not used."""
        NET.unusable(stanza, self._where, reason)

    @property
    def _where(self) -> str:
        return f"account stream of {self.bare}"

    # What it does

    def received(self, stanza: Stanza) -> None:
        """A stanza has come on the account stream."""
        raise NotImplementedError

    def taken(self) -> None:
        """That stanza is done with, whoever has handled it."""

    def unreachable(self, *, refused: bool) -> None:
        """There is no stream: it was lost, after `connectionLost`, or could not be opened.

        `refused`: the server does not take the login any more, so there will be none until a client logs in.
        """

    def not_sent(self, answer: Stanza) -> None:
        """What was sent, or the answer to it, was too large: this error is the answer, as if the addressee gave it."""

    def left_out(self, name: str, attributes: Mapping[str, str], reason: str) -> None:
        """A stanza has come, of those that it takes, and is not used: no more is known of it than its start tag."""
