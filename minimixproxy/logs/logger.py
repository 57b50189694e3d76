"""The log that every module writes to. What a peer names is quoted, so that no name looks like anything else.

A terminal obeys what a name holds, a bidirectional override turns a line around, and a name with a line's end in it,
or with ` from 192.0.2.1 refused`, reads as another line or as another address to whoever counts refusals. So all values
of an event go through `quoted` here, in one place; the format itself is ours (see `tests/logs/test_logger.py`).
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import Any

from twisted import logger
from twisted.python.failure import Failure

from minimixproxy.logs.flood import LogFlood

MAX_VALUE = 300  # characters of one value; a JID has up to 3071 bytes
MAX_VALUES = 20  # of a list
MAX_TRACE = 64 * 1024  # characters of a traceback
MAX_TRACE_LINE = 2000

#: Values that are sentences and not names: they stand at the end of a line, and need no quotation marks.
TEXTS = frozenset({"error", "explanation", "outcome", "reason", "statement", "text", "what", "where"})
TRACE = "trace"  # the field that holds lines of a traceback


def printable(text: str, maximum: int = MAX_VALUE) -> str:
    """Return a peer's text in one line that a terminal shows as it is: all else is escaped as Python would, or cut off.

    That is control characters, line separators, what has no width or turns the direction, spaces that are no space, and
    what is not assigned.
    """
    shown = text[:maximum]
    if not shown.isprintable():
        shown = "".join(character if character.isprintable() else _escaped(character) for character in shown)
    rest = len(text) - maximum
    return shown if rest <= 0 else f"{shown}... ({rest} more)"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


class Quoted(str):
    """A name in quotation marks; `plain` is without them, for where it has a place of its own."""

    __slots__ = ("plain",)
    plain: str


def name(text: str) -> str:
    """Return a name as `printable` does, in quotation marks if one could not tell where it ends."""
    shown = printable(text)
    if shown and " " not in shown and '"' not in shown:
        return shown
    quoted = Quoted('"' + shown.replace('"', '\\"') + '"')
    quoted.plain = shown
    return quoted


def quoted(key: str, value: object) -> object:
    """Return the value of an event's field as it may be shown; numbers stay what they are."""
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return _listed(key, value)
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    if key == TRACE:
        return _lines(text)
    return printable(text) if key in TEXTS else name(text)


def _listed(key: str, values: Collection[object]) -> str:
    shown = [str(quoted(key, value)) for value in islice(values, MAX_VALUES)]
    more = [f"... ({len(values) - MAX_VALUES} more)"] if len(values) > MAX_VALUES else []
    return ", ".join(shown + more) or "-"


def _lines(trace: str) -> str:
    return "\n".join(printable(line, MAX_TRACE_LINE) for line in trace[:MAX_TRACE].split("\n"))


FLOOD = LogFlood()  # of this process


class Logger(logger.Logger):
    """Twisted's logger, whose events hold nothing of a peer that is not quoted, and are not too many."""

    def emit(self, level: Any, format: str | None = None, **kwargs: object) -> None:
        """Log an event. `format` names values only, not what is in them; keys that begin with `log_` are Twisted's."""
        if level is not logger.LogLevel.debug and not FLOOD.admits(format or "", kwargs):
            return
        values = {key: value if key.startswith("log_") else quoted(key, value) for key, value in kwargs.items()}
        failure = values.get("log_failure")
        if isinstance(failure, Failure):
            _quote_traceback(failure)
        super().emit(level, format, **values)


_log = Logger()


def tell_left_out() -> None:
    """Log what was left out since the last time, because it was too much."""
    for kind, name, number in FLOOD.told():
        whose = name or "several"
        _log.warn("{count} lines were left out, for {name}, like: {text}", count=number, name=whose, text=kind)


def _quote_traceback(failure: Failure) -> None:
    """An exception's text may hold a peer's; observers write the lines of a traceback indented."""
    trace = failure.getTraceback

    def quoted_traceback(*arguments: object, **options: object) -> str:
        return _lines(trace(*arguments, **options))  # type: ignore[arg-type]

    failure.getTraceback = quoted_traceback  # type: ignore[method-assign]
