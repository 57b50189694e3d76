"""Completion for bash, zsh and fish."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from minimixproxy.operator.commands.command import Argument, Command

HEAD = "# Completion of minimixproxy's commands. Written by tools/draw_commands.py: do not edit.\n"


def bash(commands: Sequence[Command]) -> str:
    """Return the file for bash."""
    cases = "".join(_bash_case(command) for command in commands)
    names = " ".join(command.name for command in commands)
    return f"""{HEAD}
_minimixproxy() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} options= files=
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{names} --help --version" -- "$word"))
        return
    fi
    case ${{COMP_WORDS[1]}} in
{cases}        *) return ;;
    esac
    case " $files " in
        *" $before "*) compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    esac
    case $word in
        -*) COMPREPLY=($(compgen -W "$options --help" -- "$word")) ;;
        *) case " $files " in *" operand "*) compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")) ;; esac ;;
    esac
}}
complete -F _minimixproxy minimixproxy
"""


def _bash_case(command: Command) -> str:
    options = [name for one in command.all_arguments if one.is_option for name in _names(one)]
    files = [name for one in command.all_arguments if one.completes for name in _names(one)]
    return f'        {command.name}) options="{" ".join(options)}" files="{" ".join(files)}" ;;\n'


def _names(argument: Argument) -> list[str]:
    return [argument.name, *filter(None, [argument.short])] if argument.is_option else ["operand"]


def zsh(commands: Sequence[Command]) -> str:
    """Return the file for zsh, `_minimixproxy`."""
    listed = "".join(f"        {_quoted(f'{one.name}:{one.summary}')}\n" for one in commands)
    cases = "".join(_zsh_case(command) for command in commands)
    return f"""#compdef minimixproxy
{HEAD}
_minimixproxy() {{
    local -a commands
    commands=(
{listed}    )
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    local command=$words[2]
    shift words
    (( CURRENT-- ))
    case $command in
{cases}    esac
}}
_minimixproxy "$@"
"""


def _zsh_case(command: Command) -> str:
    arguments = " ".join(_quoted(_zsh_argument(one)) for one in command.all_arguments)
    return f"        {command.name}) _arguments {arguments} ;;\n"


def _zsh_argument(argument: Argument) -> str:
    about = argument.about.replace("[", r"\[").replace("]", r"\]").replace(":", r"\:").rstrip(".")
    action = {"": " ", "files": "_files", "directories": "_files -/"}[argument.completes]
    if not argument.is_option:
        return f":{argument.value}:{action}"
    return f"{argument.name}[{about}]" + (f":{argument.value}:{action}" if argument.value else "")


def fish(commands: Sequence[Command]) -> str:
    """Return the file for fish."""
    lines = [HEAD, "complete -c minimixproxy -f"]
    for command in commands:
        lines.append(
            f"complete -c minimixproxy -n __fish_use_subcommand -a {command.name} -d {_quoted(command.summary)}"
        )
    for command in commands:
        lines += [_fish_argument(command, one) for one in command.all_arguments if one.is_option or one.completes]
    return "\n".join(lines) + "\n"


def _fish_argument(command: Command, argument: Argument) -> str:
    line = f"complete -c minimixproxy -n '__fish_seen_subcommand_from {command.name}'"
    if argument.is_option:
        line += f" -l {argument.name.removeprefix('--')}"
    if argument.short:
        line += f" -s {argument.short.removeprefix('-')}"
    if argument.is_option and argument.value:
        line += " -r"
    if argument.completes:
        line += " -F"
    return f"{line} -d {_quoted(argument.about.rstrip('.'))}"


def _quoted(text: str) -> str:
    return shlex.quote(text)
