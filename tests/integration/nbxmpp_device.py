"""A device with Gajim's library, nbxmpp: drives nbxmpp_client.py, which Debian's own Python runs."""

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from tests.integration.processes import LoggedProcess
from tests.integration.servers import Account, authority_file

PYTHON = "/usr/bin/python3"
PROGRAM = Path(__file__).with_name("nbxmpp_client.py")
Event = dict[str, Any]


class Nbxmpp:
    """One device. Each event is given to one wait only, in the order in which they came."""

    def __init__(self, account: Account, resource: str) -> None:
        self.jid = f"{account.jid}/{resource}"
        self._password = account.password
        self._inbox: list[Event] = []
        self._read = 0  # lines
        self._nicks: dict[str, str] = {}
        self.process: LoggedProcess

    @staticmethod
    @cache
    def missing() -> str | None:
        """The Debian package to install first, if it is not there."""
        try:
            subprocess.run([PYTHON, "-I", "-c", "import nbxmpp.client"], capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return "python3-nbxmpp"
        return None

    async def login(self, port: int) -> None:
        """Connect to loopback, log in, enable carbons and send initial presence."""
        arguments = [str(authority_file()), str(port), self.jid, self._password]
        self.process = LoggedProcess("nbxmpp", [PYTHON, "-I", str(PROGRAM), *arguments], obeys=True)
        self.jid = (await self.sees("connected"))["jid"]

    async def logout(self) -> None:
        self.do("quit")
        await self.process.ends()

    def do(self, order: str, **arguments: Any) -> None:
        """Call a method of nbxmpp_client.Device."""
        self.process.tell(json.dumps({"do": order, **arguments}))

    async def sees(self, event: str, **facts: Any) -> Event:
        """Wait for an event with these facts, and take it."""
        while True:
            found = self.seen(event, **facts)
            if found:
                self._inbox.remove(found[0])
                return found[0]
            await self.process.says("", start=self._read)

    def seen(self, event: str, **facts: Any) -> list[Event]:
        """The events with these facts that nobody took."""
        lines = self.process.lines[self._read :]
        self._read += len(lines)
        for line in lines:
            # What is no JSON is a traceback: such a line is a complaint, too.
            came = json.loads(line) if line[:1] == "{" else {"event": "complaint", "text": line}
            self._inbox.append(came)
            if came["event"] == "started":
                self._inbox.clear()  # nbxmpp complains while it is loaded if there is no python3-gssapi
        wanted = {"event": event, **facts}
        return [found for found in self._inbox if wanted.items() <= found.items()]

    async def join(self, room: str, nick: str) -> None:
        """Join and wait for the subject."""
        self._nicks[room] = nick
        self.do("join", room=room, nick=nick)
        await self.sees("joined", room=room)

    async def leave(self, room: str) -> None:
        self.do("leave", room=room, nick=self._nicks[room])
        await self.sees("presence", room=room, mine=True, available=False)

    def say(self, room: str, text: str) -> None:
        self.do("say", to=room, body=text)

    async def hears(self, text: str, **facts: Any) -> Event:
        """Wait for a message with this body."""
        return await self.sees("message", body=text, **facts)

    async def barrier(self, room: str) -> None:
        """When this returns, all that the server, and then the room, had sent before has arrived."""
        for jid in (self.jid.partition("@")[2].partition("/")[0], room):
            self.do("ping", to=jid)
            await self.sees("pong")  # an error is an answer, too

    async def takes_itself_for_joined(self, room: str) -> bool:
        """Whether it believes that it is in the room."""
        self.do("state", room=room)
        return bool((await self.sees("state", room=room))["state"] == "joined")
