"""What `make run` has for whoever has no client: Converse.js on a page of this machine, for two people."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.threads import deferToThread

from demo.converse import NotFetched, fetch
from demo.narrator import Narrator
from demo.stage import Stage
from demo.website import Settings, settings, site, write
from tests.integration.processes import temporary_directory
from tests.integration.servers import Account

PORT = 5280
PEOPLE = ("juliet", "romeo")


class InBrowsers:
    """The website. It listens before the proxy does, which is told whose pages may connect to it."""

    def __init__(self, converse: Path) -> None:
        """`converse`: where its files are."""
        self._pages = temporary_directory("pages")
        answers = site(converse, self._pages)
        try:
            port: Any = reactor.listenTCP(PORT, answers, interface="127.0.0.1")  # type: ignore[arg-type]
        except CannotListenError:
            port = reactor.listenTCP(0, answers, interface="127.0.0.1")  # type: ignore[arg-type]
        self._port = port.getHost().port

    @property
    def address(self) -> str:
        """Where to go."""
        return f"http://127.0.0.1:{self._port}/"

    @property
    def origins(self) -> list[str]:
        """Of its pages."""
        return [f"http://{name}:{self._port}" for name in ("127.0.0.1", "localhost")]

    async def open_to(self, stage: Stage, room: str) -> None:
        """Make the accounts, and their pages."""
        people = [await stage.account(username) for username in PEOPLE]
        await gatherResults([Deferred.fromCoroutine(stage.enroll(account)) for account in people])
        for account in people:
            write(self._pages, account.username, self._settings(account, stage.websocket, room))

    @staticmethod
    def _settings(account: Account, url: str, room: str) -> Settings:
        return settings(account.jid, account.password, url, {room: account.username})


async def in_browsers(narrator: Narrator, converse: Callable[[], Path] = fetch) -> InBrowsers | None:
    """The website; None if Converse.js is not to be had, and why is told. `converse` fetches it, and blocks."""
    try:
        return InBrowsers(await deferToThread(converse))
    except NotFetched as failure:
        narrator.remark(f"Nothing for a browser this time; all else is there. {failure}")
        return None
