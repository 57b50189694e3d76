"""A program on a screen of its own: tmux in control mode, whose notifications are the events to wait for.

The control client owns the session (destroy-unattached), and its input ends with this process: nothing outlives a test
run, however it ends.
"""

import itertools
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from twisted.internet import reactor

from tests.integration.processes import LoggedProcess, ProcessFailed
from tests.integration.servers import in_path
from tests.patience import patiently

TIMEOUT = 20.0  # seconds for a program to show something


def missing() -> str | None:
    """The Debian package to install first, if the program is not there."""
    return None if in_path("tmux") else "tmux"


class Terminal:
    """One program and its screen."""

    _serial = itertools.count(1)

    def __init__(
        self, arguments: Sequence[str], directory: Path, environment: Mapping[str, str], columns: int, lines: int
    ) -> None:
        self.socket = directory / f"tmux{next(self._serial)}"  # a server for each
        session = ["new-session", f"-x{columns}", f"-y{lines}", shlex.join(arguments)]
        options = [";", "set-option", "destroy-unattached", "on", ";", "refresh-client", f"-C{columns}x{lines}"]
        self.process = LoggedProcess(
            arguments[0],
            ["tmux", "-S", str(self.socket), "-f", os.devnull, "-u", "-C", *session, *options],
            environment={"TERM": "screen", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "DISPLAY": "", **environment},
            obeys=True,
        )

    async def _ask(self, command: str) -> list[str]:
        """What tmux answers: the lines of the block (%begin, %end) before the one with our mark."""
        mark = f"answered {next(self._serial)}"
        start = len(self.process.lines)
        self.process.tell(f"{command}\ndisplay-message -p '{mark}'")
        await self.process.says(f"^{mark}$", TIMEOUT, start=start)
        blocks: list[list[str]] = []
        inside = False
        for line in self.process.lines[start:]:
            if line.startswith(("%begin ", "%end ", "%error ")):
                inside = line.startswith("%begin ")
                blocks += [[]] if inside else []
            elif line == mark:
                break
            elif inside:
                blocks[-1].append(line)
        return blocks[-2]

    async def screen(self) -> str:
        """The text on it, without trailing blanks."""
        return "\n".join(line.rstrip() for line in await self._ask("capture-pane -p")).rstrip()

    async def pid(self) -> int:
        """Of the program."""
        return int((await self._ask("display-message -p '#{pane_pid}'"))[0])

    def type(self, text: str) -> None:
        """Type a line."""
        quoted = text.replace("'", "'\\''")
        self.process.tell(f"send-keys -l '{quoted}'\nsend-keys Enter")

    async def shows(self, pattern: str) -> str:
        """Wait until the screen, or a part of it, matches; returns the whole screen."""
        end = reactor.seconds() + patiently(TIMEOUT)
        while True:
            seen = len(self.process.lines)
            screen = await self.screen()
            if re.search(pattern, screen, re.MULTILINE):
                return screen
            try:
                await self.process.says("^%output ", TIMEOUT, start=seen)
            except ProcessFailed as failure:
                raise ProcessFailed(f"{failure}\n{pattern!r} is not on the screen:\n{screen}") from None
            if reactor.seconds() > end:
                raise ProcessFailed(f"{self.process.name} did not show {pattern!r} in time:\n{screen}")

    async def ends(self) -> None:
        """Wait for the program's end; the session, and with it tmux, ends then."""
        await self.process.ends()

    async def close(self) -> None:
        """End the program, if it still runs, and tmux."""
        if self.process.process.poll() is None:
            self.process.tell("kill-server")
            await self.ends()
