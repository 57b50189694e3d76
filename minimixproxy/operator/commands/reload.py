"""`minimixproxy reload`: the configuration file, read again by the running proxy."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from minimixproxy.operator.commands import proxy
from minimixproxy.operator.commands.command import Command, Outcome

TIMEOUT = 60.0  # seconds; what takes time is another reload that is under way


def run(options: Namespace) -> Outcome:
    """Have it read, and tell what has changed."""
    with proxy.connect(options, TIMEOUT) as connection:
        answer = connection.ask({"request": "reload"}, "changed")
    return Outcome(_text(answer), {"changed": answer["changed"], "restart": answer["restart"]})


def _text(answer: Mapping[str, Any]) -> str:
    lines = [f"{change}\n" for change in answer["changed"]]
    lines += [f"after a restart: {change}\n" for change in answer["restart"]]
    return "".join(lines) or "nothing has changed\n"


RELOAD = Command(
    "reload",
    "read the configuration file again",
    (
        "Has the running proxy read its configuration file again, as SIGHUP does, and says what has changed. No client "
        "is dropped, but those of a domain that was removed.",
        "All of the file takes effect, or nothing: whatever of it cannot be used, such as a port that is taken, leaves "
        "everything as it was, and is said. What needs a restart is named, and stays as it is until then.",
    ),
    run,
    (),
    {
        0: "The file has taken effect.",
        1: "Nothing has changed: the lines say why; or the proxy is not running.",
    },
)
