"""An epoll reactor that does nothing around what it calls: Twisted puts a log context around each event.

That context gives lines of Twisted's old log a prefix, which ours do not have, and costs ten calls for each read.
"""

from __future__ import annotations

from typing import Any

from minimixproxy.logs.logger import Logger

_LOG = Logger()
_KIND = ("twisted.internet.epollreactor", "EPollReactor")
_NEEDED = ("_doReadOrWrite", "_poller", "_selectables")


def poll_plainly(reactor: Any) -> None:
    """Have a reactor call what is ready straight, if it is Twisted's for epoll, as we know it. Once done, it stays."""
    kind = type(reactor)  # not imported: elsewhere than on Linux that cannot be
    if (kind.__module__, kind.__name__) != _KIND or not all(hasattr(reactor, name) for name in _NEEDED):
        return
    poll, selectables, handle = reactor._poller.poll, reactor._selectables, reactor._doReadOrWrite

    def iterate(timeout: float | None) -> None:
        try:
            ready = poll(-1 if timeout is None else timeout, len(selectables))
        except InterruptedError:
            return
        for number, event in ready:
            selectable = selectables.get(number)  # gone, if one before it has closed it
            if selectable is None:
                continue
            try:
                handle(selectable, number, event)
            except Exception:  # noqa: BLE001 (the edge: logged, and the others have their turn)
                _LOG.failure("a fault while something was read or written")

    reactor.doIteration = reactor.doPoll = iterate
