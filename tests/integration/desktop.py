"""A desktop of its own for one graphical client: a screen (Xvfb), a message bus, and nothing else that could answer.

No session of the machine is touched: the bus has no services to start, settings are in memory, files in a directory of
the test's own.
"""

import json
import re
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.integration.kept import Kept
from tests.integration.processes import LoggedProcess, temporary_directory
from tests.integration.servers import Account, in_path
from tests.patience import patiently

PYTHON = "/usr/bin/python3"
SESSION = Path(__file__).with_name("desktop_session.py")
BUS = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


class Desktop:
    """Start it with begin(), and programs with run(); end() stops all."""

    def __init__(self, name: str) -> None:
        self.directory: Path = temporary_directory(name)
        self.home = self.directory / "home"
        self.home.mkdir()
        self._running: list[LoggedProcess] = []
        self._screen = ""
        self._session: LoggedProcess

    @staticmethod
    @cache
    def missing() -> str | None:
        """The Debian package to install first, if it is not there."""
        for program, package in (("Xvfb", "xvfb"), ("dbus-daemon", "dbus-daemon"), ("xdotool", "xdotool")):
            if in_path(program) is None:
                return package
        try:
            subprocess.run([PYTHON, "-I", "-c", "import gi"], capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return "python3-gi"
        return None

    async def begin(self) -> None:
        """Start the screen and the bus, and wait until programs can be started."""
        screen = self._start("Xvfb", "-displayfd", "1", "-screen", "0", "1200x700x24", "-nolisten", "tcp")
        socket = self.directory / "bus"
        configuration = self.directory / "bus.conf"
        configuration.write_text(BUS.format(socket=socket))
        bus = self._start("dbus-daemon", f"--config-file={configuration}", "--nofork", "--print-address=1")
        self._screen = (await screen.says(r"^\d+$")).strip()
        await bus.says("^unix:")
        self._session = self._start(PYTHON, "-I", str(SESSION), obeys=True)
        await self._session.says('"ready"')

    def _start(self, *arguments: str, more: Mapping[str, str] | None = None, obeys: bool = False) -> LoggedProcess:
        process = LoggedProcess(
            Path(arguments[0]).name,
            arguments,
            environment={**self.environment, **(more or {})},
            directory=self.directory,
            obeys=obeys,
        )
        self._running.append(process)
        return process

    @property
    def environment(self) -> Mapping[str, str]:
        """For every program on it."""
        address = f"unix:path={self.directory / 'bus'}"
        directories = {name: str(self.home / name.lower()) for name in ("DATA", "CONFIG", "CACHE", "STATE", "RUNTIME")}
        return {
            "HOME": str(self.home),
            **{f"XDG_{name}_{'DIR' if name == 'RUNTIME' else 'HOME'}": path for name, path in directories.items()},
            "DISPLAY": f":{self._screen}",
            "DBUS_SESSION_BUS_ADDRESS": address,
            "DBUS_SYSTEM_BUS_ADDRESS": address,
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "GDK_BACKEND": "x11",
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "GSETTINGS_BACKEND": "memory",
            "GIO_USE_NETWORK_MONITOR": "base",  # loopback is network enough
            "NO_AT_BRIDGE": "1",
            "GTK_A11Y": "none",
        }

    def run(self, *arguments: str, **environment: str) -> LoggedProcess:
        """Start a program on it."""
        return self._start(*arguments, more=environment)

    async def _order(self, order: str, **arguments: str) -> Any:
        start = len(self._session.lines)
        self._session.tell(json.dumps({"do": order, **arguments}))
        answer = json.loads(await self._session.says("^{", start=start))
        if "error" in answer:
            raise AssertionError(f"{order} {arguments}: {answer['error']}")
        return answer["answer"]

    async def call(self, name: str, path: str, method: str, signature: str, arguments: str) -> Any:
        """Call a method of a program by D-Bus; see desktop_session.Session.call."""
        return await self._order("call", name=name, path=path, method=method, signature=signature, arguments=arguments)

    async def until_it_has(self, name: str, path: str, interface: str, timeout: float = 20.0) -> None:
        """Wait for an object of a program that is on the bus; nothing tells when it comes."""
        end = reactor.seconds() + patiently(timeout)
        while not await self._order("has", name=name, path=path, interface=interface):
            if reactor.seconds() > end:
                raise AssertionError(f"{name} has no {interface}")
            await deferLater(reactor, 0.25)

    async def wake(self) -> None:
        """Tell the programs that the machine has been asleep."""
        await self._order("wake")

    async def xdotool(self, *arguments: str) -> str:
        """Do something with keyboard, mouse or windows; returns what it printed."""
        process = self._start("xdotool", *arguments)
        status = await process.ends()
        if status:
            raise AssertionError(f"xdotool {' '.join(arguments)}: status {status}\n{process.tail()}")
        return "\n".join(process.lines)

    async def end(self) -> None:
        """Stop all programs, the last started first."""
        for process in reversed(self._running):
            await deferToThread(process.stop)


class DesktopClient:
    """A graphical client on a desktop of its own: one device of an account. Its log is its output."""

    NAME: ClassVar[str]
    RESUMED: ClassVar[str]  # how a line of its log begins when a stream is resumed
    messages: Kept  # where, text, and more, in its order
    process: LoggedProcess

    def __init__(self, account: Account, resource: str) -> None:
        self.account = account
        self.resource = resource
        self.jid = f"{account.jid}/{resource}"
        self.desktop = Desktop(self.NAME)

    async def logout(self) -> None:
        """End it, and its desktop."""
        await self.desktop.end()

    def mechanisms(self) -> list[str]:
        """What it has logged in by until now, as its log has it."""
        return re.findall(r"""^<\S*auth\b[^>]*mechanism=["']([^"']+)""", "\n".join(self.process.lines), re.MULTILINE)

    def _resumed(self) -> list[int]:
        """The numbers of those lines."""
        return [number for number, line in enumerate(self.process.lines) if line.startswith(self.RESUMED)]

    def resumptions(self) -> int:
        """How often it has resumed its stream by now."""
        return len(self._resumed())

    async def resumed(self, count: int) -> None:
        """Wait until it has resumed its stream so often."""
        while len(lines := self._resumed()) < count:
            await self.process.says(f"^{re.escape(self.RESUMED)}", 60, start=(lines or [-1])[-1] + 1)
