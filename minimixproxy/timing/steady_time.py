"""A reactor whose time goes on evenly, whoever sets the machine's clock."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.base import ReactorBase


def make_steady(reactor: Any) -> None:
    """Have a reactor's time go on evenly: Twisted's delays lengthen by as much as the machine's clock is set back.

    It begins as the machine's time, so what was to come already comes when it was to. Once done, it stays.
    """
    if isinstance(reactor, ReactorBase) and not hasattr(reactor, "wall_time"):
        beginning = time.time() - time.monotonic()
        reactor.seconds = lambda: beginning + time.monotonic()
        reactor.wall_time = time.time  # type: ignore[attr-defined]
