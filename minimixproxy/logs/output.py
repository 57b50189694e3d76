"""What the process writes to its log: which lines, and whether as text or as JSON. docs/log.md describes both.

Twistd asks for an observer by the name of a function, as with its option --logger, and would else make one of its own
from --logfile, --syslog and --prefix. Here the same is made from these, and obeys the configuration, too.
"""

from __future__ import annotations

import json
import signal
import sys
import syslog
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from twisted.logger import ILogObserver, LegacyLogObserverWrapper, LogEvent, LogLevel, eventAsText, textFileLogObserver
from twisted.python.logfile import LogFile
from twisted.python.syslog import SyslogObserver
from zope.interface import implementer

from minimixproxy.logs.times import rfc3339

LEVELS = (LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error, LogLevel.critical)
#: By the level of the configuration, those that are written.
_WRITTEN = {level.name: frozenset(LEVELS[number:]) for number, level in enumerate(LEVELS)}
_PRIORITIES = dict(
    zip(LEVELS, (syslog.LOG_DEBUG, syslog.LOG_INFO, syslog.LOG_WARNING, syslog.LOG_ERR, syslog.LOG_CRIT), strict=True)
)
_PACKAGE = "minimixproxy"
MAX_TEXT = 64 * 1024  # characters of a message or a traceback, whoever wrote it

#: Twisted's own fields of events that come by its older way of logging.
_OLD = frozenset({"message", "time", "system", "isError", "failure", "why", "format", "printed", "logLevel"})

Write = Callable[[LogEvent], object]


class LogSettings(Protocol):
    """What is written; `config.settings.Log` is it."""

    @property
    def level(self) -> str:
        """The name of the lowest level that is written."""

    @property
    def format(self) -> str:
        """`text` or `json`."""


class _All(NamedTuple):
    level: str = "debug"
    format: str = "text"


@lru_cache(maxsize=4096)
def room_of(namespace: str) -> str:
    """Return in which room of the house (docs/house.md) a line was logged; of other packages, the namespace itself."""
    if not namespace.startswith(f"{_PACKAGE}."):
        return namespace
    module = namespace
    while module not in sys.modules:
        module = module.rpartition(".")[0]
    package = getattr(sys.modules[module], "__package__", None) or module
    return (module if package == _PACKAGE else package).removeprefix(f"{_PACKAGE}.")


def json_line(event: LogEvent) -> str:
    """Return an event as one line of JSON in ASCII, without its end: the same members in the same order each time."""
    line = {
        "time": rfc3339(event.get("log_time", 0.0)),
        "level": getattr(event.get("log_level"), "name", "info"),
        "room": room_of(event.get("log_namespace", "-")),
        "message": eventAsText(event, includeTraceback=False, includeTimestamp=False, includeSystem=False)[:MAX_TEXT],
        "fields": {key: _plain(value) for key, value in event.items() if not (key.startswith("log_") or key in _OLD)},
    }
    failure = event.get("log_failure")
    if failure is not None:
        line["traceback"] = failure.getTraceback()[:MAX_TEXT]
    return json.dumps(line)


def _plain(value: object) -> object:
    """The value of a field: a number, or text, which a name has here without its quotation marks."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(getattr(value, "plain", value))[:MAX_TEXT]


def _system(event: LogEvent) -> str:
    """What a file has in the brackets; Twisted leaves it out for syslog."""
    return f"{event.get('log_namespace', '-')}#{getattr(event.get('log_level'), 'name', 'info')}"


@implementer(ILogObserver)
class LogOutput:
    """One per process. Until `settings` is there, all is written, as text."""

    def __init__(self) -> None:
        self.settings: LogSettings = _All()
        self._text: Write = lambda _event: None
        self._line: Callable[[LogEvent, str], object] = lambda _event, _line: None

    def __call__(self, event: LogEvent) -> None:
        """Write an event, if its level is to be written."""
        if event.get("log_level", LogLevel.info) not in _WRITTEN[self.settings.level]:
            return
        if self.settings.format == "json":
            self._line(event, json_line(event))
        else:
            self._text(event)

    def to_file(self, file: Any) -> None:
        """Write to a file of text, from now on."""
        self._text = textFileLogObserver(file)

        def line(_event: LogEvent, line: str) -> None:
            file.write(f"{line}\n")
            file.flush()

        self._line = line

    def to_syslog(self, prefix: str) -> None:
        """Write to syslog, from now on."""
        legacy = LegacyLogObserverWrapper(SyslogObserver(prefix).emit)  # type: ignore[arg-type]
        self._text = lambda event: legacy({"log_system": _system(event), **event})
        self._line = lambda event, line: syslog.syslog(_PRIORITIES[event.get("log_level", LogLevel.info)], line)


OUTPUT = LogOutput()  # of this process
_twistd: Mapping[str, Any] = {}


def follow(twistd: Any, settings: LogSettings) -> None:
    """Write as these settings say, and where twistd's options do. A `--logger` of the operator's is left alone."""
    global _twistd
    OUTPUT.settings = settings
    if twistd is not None and twistd.get("logger") is None:
        _twistd = twistd
        twistd["logger"] = f"{__name__}.observer"


def observer() -> LogOutput:
    """Return the observer that twistd asks for, opened where its options say."""
    name = _twistd.get("logfile")
    if _twistd.get("syslog"):
        OUTPUT.to_syslog(_twistd.get("prefix") or "")
    elif _twistd.get("nodaemon") and name in (None, "", "-"):
        OUTPUT.to_file(sys.stdout)
    elif name == "-":
        raise SystemExit("Daemons cannot log to stdout, exiting!")
    else:
        OUTPUT.to_file(_log_file(name or "twistd.log"))
    return OUTPUT


def _log_file(name: str) -> LogFile:
    """A file that SIGUSR1 rotates, and that rotates by itself, as twistd has it."""
    file: LogFile = LogFile.fromFullPath(name)

    def rotate(*_: object) -> None:
        from twisted.internet import reactor  # not at import: that would choose the reactor

        reactor.callFromThread(file.rotate)  # type: ignore[attr-defined]

    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, rotate)
    return file
