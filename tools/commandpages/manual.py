"""docs/man/minimixproxy.1, in mdoc: what is said of commands, put into the rest of the page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from minimixproxy.operator.commands.command import COMMON, Argument, Command


def page(template: str, commands: Sequence[Command]) -> str:
    """Return the manual page. In the template, lines `@SYNOPSIS@` and so on stand for what is put in."""
    parts = {
        "@SYNOPSIS@": [line for command in commands for line in _synopsis(command)],
        "@COMMANDS@": [line for command in commands for line in _command(command)],
        "@COMMON@": [".Bl -tag -width Ds", *(line for one in COMMON for line in _item(one)), ".El"],
        "@STATUS@": [line for command in commands for line in _statuses(command)],
        "@EXAMPLES@": [_escaped(example) for command in commands for example in command.examples],
    }
    lines: list[str] = []
    for line in template.splitlines():
        lines += parts.get(line, [line])
    return "\n".join(lines) + "\n"


def _synopsis(command: Command) -> Iterator[str]:
    yield from (".Nm minimixproxy", f".Cm {command.name}", ".Op Fl \\-config Ar file", ".Op Fl \\-json")
    groups: dict[str, list[str]] = {}
    for argument in command.arguments:
        macro = _flag(argument) if argument.is_option else f"Ar {argument.value.lower()}"
        if argument.one_of:
            groups.setdefault(argument.one_of, []).append(macro)
        else:
            yield f".Op {macro}" if argument.may_be_left_out else f".{macro}"
    for macros in groups.values():
        yield "." + " | ".join(macros)


def _flag(argument: Argument) -> str:
    value = f" Ar {argument.value.lower()}" if argument.value else ""
    return f"Fl \\-{argument.name.removeprefix('--')}{value}"


def _command(command: Command) -> Iterator[str]:
    yield f".Ss minimixproxy {command.name}"
    for number, paragraph in enumerate(command.about):
        if number:
            yield ".Pp"
        yield from _text(paragraph)
    if command.arguments:
        yield ".Bl -tag -width Ds"
        for argument in command.arguments:
            yield from _item(argument)
        yield ".El"


def _item(argument: Argument) -> Iterator[str]:
    if not argument.is_option:
        yield f".It Ar {argument.value.lower()}"
    elif argument.short:
        value = f" Ar {argument.value.lower()}" if argument.value else ""
        yield f".It Fl {argument.short.removeprefix('-')}{value} , {_flag(argument)}"
    else:
        yield f".It {_flag(argument)}"
    yield from _text(argument.about)


def _statuses(command: Command) -> Iterator[str]:
    yield f".It Cm {command.name}"
    for status, meaning in sorted(command.statuses.items()):
        yield from _text(f"{status}: {meaning}")


def _text(text: str) -> Iterator[str]:
    """Yield a text as lines, a sentence on each."""
    for sentence in re.split(r"(?<=[.:]) (?=[A-Z0-9])", text):
        yield _escaped(sentence)


def _escaped(text: str) -> str:
    safe = text.replace("\\", "\\e").replace("-", "\\-").replace("“", "\\(lq").replace("”", "\\(rq").replace("…", "...")
    safe = safe.replace("—", "\\(em").replace("'", "\\(aq")
    return f"\\&{safe}" if safe[:1] in (".", "'") else safe
