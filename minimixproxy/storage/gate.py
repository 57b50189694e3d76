"""The gate: what a client is told waits until everything that was journalled before it is on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minimixproxy.logs.logger import Logger
from minimixproxy.wire.lazy_stanzas import Output

Held = list[tuple[Callable[[Any], None], Any]]


class Gate:
    """Holds output in order. While `holding` is None nothing is held."""

    log = Logger()

    __slots__ = ("holding",)

    def __init__(self) -> None:
        self.holding: Held | None = None

    def gated(self, deliver: Callable[[Output], None]) -> Callable[[Output], None]:
        """Return a function like `deliver` that waits at the gate."""

        def through(data: Output) -> None:
            holding = self.holding
            if holding is None:
                deliver(data)
            else:
                holding.append((deliver, data))

        return through

    def release(self, held: Held) -> None:
        """Deliver what was held, and what is said meanwhile, behind it. One receiver's fault costs only its own."""
        for deliver, data in held:  # a list may grow while it is gone through
            try:
                deliver(data)
            except Exception:  # noqa: BLE001 (the edge: logged, and the others get theirs)
                self.log.failure("while giving a session what was held for it")
        if self.holding is held:
            self.holding = None
        held.clear()
