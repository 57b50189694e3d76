"""What a command of the operator's is: the one source of its parser, man page, completion and documentation. Pure."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

DEFAULT_CONFIGURATION = Path("/etc/minimixproxy/minimixproxy.toml")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a command: lines for a terminal, the same as what JSON has, and the exit status."""

    text: str
    report: Mapping[str, Any]
    status: int = 0


class CommandError(Exception):
    """A command cannot do what it was asked for; `str()` is one sentence for the operator, `status` the exit status."""

    status = 1


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a command. A `name` that begins with a dash is an option's, any other an operand's.

    `value`: what stands for the value in the usage; an option without one is a flag. `one_of`: exactly one of the
    arguments that have the same text there is given. `completes`: what a shell offers for the value.
    """

    name: str
    about: str
    value: str = ""
    short: str = ""
    kind: Callable[[str], Any] = str
    default: Any = None
    one_of: str = ""
    optional: bool = False
    required: bool = False
    completes: Literal["", "files", "directories"] = ""

    @property
    def is_option(self) -> bool:
        """Whether it begins with a dash."""
        return self.name.startswith("-")

    @property
    def may_be_left_out(self) -> bool:
        """Whether the command can do without it."""
        return (self.is_option and not self.required) or self.optional or bool(self.one_of)


#: What every command takes.
COMMON = (
    Argument(
        "--config",
        f"The configuration file of the proxy; without it, {DEFAULT_CONFIGURATION}.",
        value="FILE",
        short="-c",
        kind=Path,
        default=DEFAULT_CONFIGURATION,
        completes="files",
    ),
    Argument("--json", "Print what came of it as JSON; of a failure, an object with the member error."),
)


@dataclass(frozen=True, slots=True)
class Command:
    """A command. `about`: paragraphs of plain text. `statuses`: what each exit status says; 2 is a wrong usage always.

    `run` does it. It raises what `FAILURES` of the package names, each with one sentence as text.
    """

    name: str
    summary: str
    about: tuple[str, ...]
    run: Callable[[argparse.Namespace], Outcome]
    arguments: tuple[Argument, ...] = ()
    statuses: Mapping[int, str] = field(default_factory=lambda: {0: "It is done.", 1: "It is not; one line says why."})
    examples: tuple[str, ...] = ()

    @property
    def all_arguments(self) -> tuple[Argument, ...]:
        """Its own arguments and those that all commands take: operands last."""
        together = (*COMMON, *self.arguments)
        return tuple(sorted(together, key=lambda argument: not argument.is_option))
