"""The operator's commands: `minimixproxy status`, `forget` and the others."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from minimixproxy.config.settings import ConfigError
from minimixproxy.jids import InvalidJID
from minimixproxy.logs.logger import printable
from minimixproxy.operator.asking import NoStatus
from minimixproxy.operator.commands.command import CommandError, Outcome
from minimixproxy.operator.commands.every import COMMANDS
from minimixproxy.operator.commands.parser import parser
from minimixproxy.server_stores.records import BadRecord, StoreError
from minimixproxy.storage.errors import StateError

#: What a command raises that cannot do what it was asked for. Each says why in a sentence.
FAILURES = (CommandError, ConfigError, NoStatus, InvalidJID, BadRecord, StoreError, StateError)

_MAX_LINE = 4000  # characters of a fault


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: of a failure 1 or what it names, with one line on standard error."""
    options = parser(COMMANDS).parse_args(arguments)
    try:
        outcome: Outcome = options.command.run(options)
    except FAILURES as error:
        print(f"minimixproxy: {_shown(str(error))}", file=sys.stderr)
        outcome = Outcome("", {"error": str(error)}, getattr(error, "status", 1))
    except KeyboardInterrupt:
        print("minimixproxy: interrupted", file=sys.stderr)
        return 130
    return _print(json.dumps(outcome.report, indent=2) + "\n" if options.json else outcome.text) or outcome.status


def _shown(error: str) -> str:
    """Return lines as a terminal may show them: the proxy and databases repeat what others have said."""
    return "\n".join(printable(line, _MAX_LINE) for line in error.splitlines())


def _print(text: str) -> int:
    """Print, perhaps to a pager that has read enough: that is no fault of anybody's."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0
