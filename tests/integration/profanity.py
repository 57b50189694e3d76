"""profanity, a client for the terminal, with a profile of its own for each device."""

import os
import re
import signal
from pathlib import Path

from tests.integration import terminal
from tests.integration.processes import temporary_directory
from tests.integration.servers import Account, authority_file, in_path
from tests.integration.terminal import Terminal

COLUMNS, LINES = 200, 50
# No certificates but those of SSL_CERT_FILE; no ping whose answer is late on a busy machine; no notifications.
PREFERENCES = """\
[ui]
beep=false
splash=false
occupants=true
wrap=true
[connection]
tls.certpath=none
autoping=0
reconnect=1
[chatstates]
enabled=false
outgoing=false
[notifications]
message=false
room=false
invite=false
"""
ACCOUNT = """\
[{jid}]
enabled=true
resource={resource}
password={password}
server=127.0.0.1
port={port}
tls.policy=force
muc.nick={nick}
presence.last=online
presence.login=online
"""


class Profanity:
    """One device; `terminal` is its screen, while it is logged in. Its profile stays between two logins."""

    def __init__(self, account: Account, resource: str) -> None:
        self.account = account
        self.resource = resource
        self.home: Path = temporary_directory("profanity")
        self.terminal: Terminal

    @staticmethod
    def missing() -> str | None:
        """The Debian package to install first, if it is not there."""
        return terminal.missing() or (None if in_path("profanity") else "profanity")

    def _prepare(self, port: int) -> None:
        for directory, name, text in (
            ("config", "profrc", PREFERENCES),
            (
                "data",
                "accounts",
                ACCOUNT.format(
                    jid=self.account.jid,
                    resource=self.resource,
                    password=self.account.password,
                    port=port,
                    nick=self.account.username,
                ),
            ),
        ):
            path = self.home / directory / "profanity" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_text(text)

    async def login(self, port: int) -> None:
        """Start it, and wait until it is logged in on loopback."""
        self._prepare(port)
        environment = {
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_DATA_HOME": str(self.home / "data"),
            "SSL_CERT_FILE": str(authority_file()),
        }
        arguments = ["profanity", "-a", self.account.jid]
        self.terminal = Terminal(arguments, self.home, environment, COLUMNS, LINES)
        await self.terminal.shows(rf"{re.escape(self.account.jid)}/{self.resource} logged in successfully")

    async def logout(self) -> None:
        await self.terminal.close()

    async def kill(self) -> None:
        """End it as kill -9 does."""
        os.kill(await self.terminal.pid(), signal.SIGKILL)
        await self.terminal.ends()

    def type(self, text: str) -> None:
        """Type a line: a command, or something to say in the room that is shown."""
        self.terminal.type(text)

    async def shows(self, pattern: str) -> str:
        """Wait until the screen matches; returns it."""
        return await self.terminal.shows(pattern)

    async def join(self, room: str) -> str:
        """Join as the account's user, and wait for the subject; returns the screen, which shows the room."""
        self.type(f"/join {room}")
        screen = await self.shows(rf"! Room subject|-> Autojoined {re.escape(room)}")
        if "-> Autojoined" in screen:  # for its bookmark; asked amid that, it does not show the room
            self.type(f"/join {room}")
        return await self.shows(r"! Room subject")
