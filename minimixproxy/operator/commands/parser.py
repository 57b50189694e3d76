"""The parser of the command line, made from the commands' own descriptions."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from minimixproxy import __version__
from minimixproxy.operator.commands.command import Argument, Command

ABOUT = "Checks, asks and changes a minimixproxy. To run one: twistd -n minimixproxy --config FILE"


def parser(commands: Iterable[Command]) -> argparse.ArgumentParser:
    """Return the parser; what it parses has the `command` in it."""
    whole = argparse.ArgumentParser(prog="minimixproxy", description=ABOUT, allow_abbrev=False)
    whole.add_argument("--version", action="version", version=f"minimixproxy {__version__}")
    parsers = whole.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in commands:
        one = parsers.add_parser(
            command.name,
            help=command.summary,
            description=command.about[0],
            epilog=_epilog(command),
            allow_abbrev=False,
        )
        _add(one, command)
        one.set_defaults(command=command)
    return whole


def _add(parser: argparse.ArgumentParser, command: Command) -> None:
    groups: dict[str, Any] = {}
    for argument in command.all_arguments:
        place: Any = parser
        if argument.one_of:
            if argument.one_of not in groups:
                groups[argument.one_of] = parser.add_mutually_exclusive_group(required=True)
            place = groups[argument.one_of]
        names = [argument.name, *filter(None, [argument.short])]
        place.add_argument(*names, **_ways(argument))


def _ways(argument: Argument) -> dict[str, Any]:
    about = argument.about.replace("%", "%%")
    if argument.is_option and not argument.value:
        return {"action": "store_true", "help": about}
    ways = {"help": about, "metavar": argument.value, "type": argument.kind, "default": argument.default}
    if argument.is_option:
        ways["required"] = argument.required
    elif argument.may_be_left_out:
        ways["nargs"] = "?"
    return ways


def _epilog(command: Command) -> str:
    told = " ".join(f"{status}: {meaning}" for status, meaning in sorted(command.statuses.items()))
    return f"Exit status: {told}".replace("%", "%%")
