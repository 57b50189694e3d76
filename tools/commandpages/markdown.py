"""docs/commands.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from drawnpage import cell

from minimixproxy.operator.commands.command import COMMON, Argument, Command

INTRODUCTION = """# The command

Written by `tools/draw_commands.py` from the commands' own descriptions: do not edit.

`minimixproxy` checks, asks and changes a proxy. (To run one: `twistd -n minimixproxy --config FILE`.) Most commands
ask the proxy that runs, by a UNIX socket in its directory of state. That socket is for the proxy's user and root
only, so nobody else may do anything; what changes something is in the proxy's log. `check`, `backup` and `migrate` open
the files themselves, and need the same rights.

Exit status: 0 is success, 1 a failure that one line on standard error tells of, 2 a wrong usage, 130 an interruption.
With `--json` a failure is an object with the member `error` on standard output as well.

Completion for bash, zsh and fish is in `completion/`.
"""


def page(commands: Sequence[Command]) -> str:
    """Return the page."""
    return "\n".join(_lines(commands)) + "\n"


def _lines(commands: Sequence[Command]) -> Iterator[str]:
    yield INTRODUCTION
    yield from ("| command | what |", "|---|---|")
    for command in commands:
        yield f"| [`{command.name}`](#{command.name}) | {cell(command.summary)} |"
    yield from ("", "All take:", "", *_arguments(COMMON))
    for command in commands:
        yield from _command(command)


def _command(command: Command) -> Iterator[str]:
    yield from (f"## {command.name}", "", f"    {usage(command)}", "")
    for paragraph in command.about:
        yield from (paragraph, "")
    if command.arguments:
        yield from _arguments(command.arguments)
    yield from ("| exit status | |", "|---|---|")
    for status, meaning in sorted(command.statuses.items()):
        yield f"| {status} | {cell(meaning)} |"
    yield ""
    yield from (f"    {example}" for example in command.examples)
    if command.examples:
        yield ""


def _arguments(arguments: Sequence[Argument]) -> Iterator[str]:
    yield from ("| argument | what |", "|---|---|")
    for argument in arguments:
        yield f"| `{_shown(argument)}` | {cell(argument.about)} |"
    yield ""


def _shown(argument: Argument) -> str:
    if not argument.is_option:
        return argument.value
    names = ", ".join([argument.name, *filter(None, [argument.short])])
    return f"{names} {argument.value}".rstrip()


def usage(command: Command) -> str:
    """Return the command's usage: `--config FILE` and `--json`, which all take, left out."""
    words, chosen = [], dict[str, list[str]]()
    for argument in command.arguments:
        text = f"{argument.name} {argument.value}".rstrip() if argument.is_option else argument.value
        if argument.one_of:
            chosen.setdefault(argument.one_of, []).append(text)
        else:
            words.append(f"[{text}]" if argument.may_be_left_out else text)
    words += [f"({' | '.join(texts)})" for texts in chosen.values()]
    return " ".join(["minimixproxy", command.name, *words])
