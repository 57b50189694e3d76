"""Converse.js in a browser: what begins with its page, and what that shows of a room."""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from demo import website
from demo.converse import NotFetched, fetch
from tests.integration.browser import Browser, Window, browser
from tests.integration.cases import IntegrationTestCase
from tests.integration.ports import free_port
from tests.integration.processes import LoggedProcess, temporary_directory
from tests.integration.proxy import Proxy
from tests.integration.servers import Account, Server

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = Path(os.environ.get("MINIMIXPROXY_SCREENSHOTS") or ROOT / "_screenshots")

# In the page, `arguments[0]` is the room.
BOX = """\
const box = document.querySelector(`converse-muc[jid='${arguments[0]}']`);
const all = css => [...(box?.querySelectorAll(css) ?? [])];
const of = one => one.textContent.trim();
const nicks = () => all(".occupant-nick").map(of).sort();
const lines = () => all(".chat-msg").map(one => [
    one.dataset.from.slice(one.dataset.from.indexOf("/") + 1), of(one.querySelector(".chat-msg__text"))]);
"""
Said = tuple[str, str]  # nick and text
LOGGED = 1000  # lines of the browser's log that are kept with each picture
SLEEPING = 2  # sessions of an account that may sleep


class Site:
    """The demo's website, with pages for the accounts of tests. Blocks until it listens."""

    def __init__(self) -> None:
        self.port = free_port()
        self._pages = temporary_directory("pages")
        command = [sys.executable, "-m", "demo.website", str(self.port), str(self._pages)]
        self.process = LoggedProcess("website", command, directory=ROOT)
        self.process.wait_for("Starting factory")

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def page(self, name: str, wanted: website.Settings) -> str:
        """The address of a page that starts Converse.js with these settings."""
        website.write(self._pages, name, wanted)
        return f"{self.origin}/{name}"


@cache
def site() -> Site:
    """The site of this process."""
    return Site()


class Converse:
    """A window in which Converse.js runs, and what it shows of one room."""

    def __init__(self, window: Window, room: str, nick: str) -> None:
        self.window = window
        self.room = room
        self.nick = nick

    async def _until(self, test: str, *arguments: Any) -> Any:
        return await self.window.until(BOX + "return " + test, self.room, *arguments)

    async def _now(self, expression: str) -> Any:
        return await self.window.run(BOX + "return " + expression, self.room)

    async def entered(self) -> None:
        """Wait until it is in the room, as its user sees it: there is something to write into."""
        await self._until("all('.chat-textarea').length && nicks().includes(arguments[1])", self.nick)

    async def hears(self, *texts: str) -> list[Said]:
        """Wait for these messages; return all that are shown, in their order."""
        found = await self._until(
            "arguments[1].every(text => lines().some(line => line[1] === text)) && lines()", texts
        )
        return [(nick, text) for nick, text in found]

    async def until_there(self, *nicks: str) -> None:
        """Wait until these, and no others, are shown as being in the room."""
        await self._until("JSON.stringify(nicks()) === JSON.stringify(arguments[1])", sorted(nicks))

    async def until_put_out(self) -> list[str]:
        """Wait until it shows that it is not in the room any more; return what it says about that."""
        found: list[str] = await self._until("all('.disconnect-msg').length && all('.disconnect-msg').map(of)")
        return found

    async def says(self, text: str) -> None:
        """Type something and press Enter."""
        await self.window.type(f"converse-muc[jid='{self.room}'] .chat-textarea", text + "\n")

    async def reload(self) -> None:
        """Load the page anew, and wait until it is in the room again."""
        await self.window.reload()
        await self.entered()

    async def leave(self) -> None:
        """Leave by the room's menu, and wait until it is not shown any more."""
        await self.window.click(f"converse-muc[jid='{self.room}'] .close-chatbox-button")
        await self.window.click("converse-confirm-modal button[type=submit]")
        await self._until("!box")


@cache
def browsed_proxy(server: Server) -> Proxy:
    """A proxy that pages connect to in plain, as a reverse proxy on this machine would. Blocks while it starts."""
    table = {"tls": "proxy", "trusted_proxies": ["127.0.0.1"], "origins": [site().origin]}
    proxy = Proxy(server, sessions={"sleeping_per_account": SLEEPING}, websocket=[table])
    return proxy


class ConverseCase(IntegrationTestCase):
    """Windows of Converse.js by the proxy, and one who listens and speaks at the server itself."""

    timeout = 120

    def setUp(self) -> None:
        self.need(Browser.missing())
        try:
            fetch()
        except NotFetched as missing:
            self.need(f"{missing}; it")
        super().setUp()
        self._windows: list[Window] = []

    @property
    def proxy(self) -> Proxy:
        """The one that these tests share, which pages may connect to."""
        return self._watch(browsed_proxy(self.server))

    async def converse(self, account: Account, room: str, nick: str = "", *, port: int = 0) -> Converse:
        """A window of Converse.js that has logged in and joined."""
        found = await self.window(account, room, nick, port=port)
        await found.entered()
        return found

    async def window(self, account: Account, room: str, nick: str = "", *, port: int = 0) -> Converse:
        """A window in which it is about to do so."""
        nick = nick or account.username
        place = await deferToThread(site)
        url = f"ws://127.0.0.1:{port or self.proxy.websocket_port}/xmpp-websocket"
        wanted = website.settings(account.jid, account.password, url, {room: nick}, loglevel="debug")
        chromium = await deferToThread(browser)
        window = await chromium.window(place.page(account.username, wanted))
        self._windows.append(window)
        self.addCleanup(self._put_away, window)
        return Converse(window, room, nick)

    async def _put_away(self, window: Window) -> None:
        """Keep how it looks at the end, and what the browser has logged; close it."""
        if not window.closed:
            name = re.sub(r"\W+", "-", self.id().removeprefix("tests.integration."))
            kept = SCREENSHOTS / f"{name}-{self._windows.index(window) + 1}.png"
            await window.picture(kept)
            kept.with_suffix(".log").write_text("\n".join((await window.log())[-LOGGED:]))
        await window.close()
