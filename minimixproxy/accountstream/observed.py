"""What handlers of an account stream have as their `xmlstream`: one for as long as the stream is open, or resumed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.words.xish.utility import EventDispatcher
from twisted.words.xish.xpath import XPathQuery

from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.subprotocols.subprotocol import ByName
from minimixproxy.wire.stanza import Stanza

_Observer = Callable[[Stanza], None]


class Observed(EventDispatcher):
    """Dispatches stanzas to observers as an `XmlStream` does; its connections come and go. `send` is the stream's.

    A stanza of which one observer alone can want to know goes straight there: so do all messages, mostly.
    """

    log = Logger()

    def __init__(self, send: Callable[[object], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.send = send
        self._by_name: dict[str, list[_Observer]] = {}
        self._others = False  # somebody observes, or has observed, what has not only a certain name

    def addObserver(
        self, event: str | XPathQuery, observerfn: _Observer, priority: int = 0, *args: Any, **kwargs: Any
    ) -> None:
        super().addObserver(event, observerfn, priority, *args, **kwargs)  # type: ignore[no-untyped-call]
        if isinstance(event, ByName) and not (args or kwargs):
            self._by_name.setdefault(event.name, []).append(observerfn)
        else:
            self._others = True

    def addOnetimeObserver(self, *args: Any, **kwargs: Any) -> None:
        super().addOnetimeObserver(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._others = True

    def removeObserver(self, event: str | XPathQuery, observerfn: _Observer) -> None:
        super().removeObserver(event, observerfn)  # type: ignore[no-untyped-call]
        if isinstance(event, ByName) and observerfn in self._by_name.get(event.name, ()):
            self._by_name[event.name].remove(observerfn)

    def dispatch(self, obj: Stanza, event: str | None = None) -> None:
        observers = self._by_name.get(obj.name, ()) if event is None and not self._others else ()
        if len(observers) != 1:
            super().dispatch(obj, event)  # type: ignore[no-untyped-call]
            return
        try:
            observers[0](obj)
        except Exception:  # noqa: BLE001 (as Twisted does: whoever observes costs nobody else anything)
            self.log.failure("a fault while {name} was taken", name=obj.name)
