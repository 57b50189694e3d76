"""Dino, a graphical client, on a desktop of its own. It is read from its database and its log, and typed into."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.integration.desktop import Desktop, DesktopClient
from tests.integration.ejabberd import Ejabberd
from tests.integration.kept import Kept
from tests.integration.prosody import Prosody
from tests.integration.servers import Account, in_path

# Its table; all others it makes itself.
ACCOUNTS = """CREATE TABLE account (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, bare_jid TEXT UNIQUE NOT NULL, resourcepart TEXT, password TEXT,
    alias TEXT, enabled INTEGER, roster_version TEXT, mam_earliest_synced INTEGER
)"""
ACCOUNT = "INSERT INTO account (bare_jid, resourcepart, password, alias, enabled) VALUES (?, ?, ?, '', 1)"
MESSAGES = """SELECT jid.bare_jid, message.body, message.counterpart_resource, message.direction
    FROM message JOIN jid ON jid.id = message.counterpart_id ORDER BY message.id"""
CONVERSATION = "SELECT c.id FROM conversation c JOIN jid ON jid.id = c.jid_id WHERE jid.bare_jid = ?"
SERVICE, PATH = "im.dino.Dino", "/im/dino/Dino"


class OnionProsody(Prosody):
    """Dino takes no certificate authority for good but the system's: except for these domains."""

    domain = "prosody.onion"


class OnionEjabberd(Ejabberd):
    domain = "ejabberd.onion"
    scram_hash = "sha"  # ejabberd's default, and the only one that Dino 0.4 knows


class Dino(DesktopClient):
    """One device; it is at a server whose domain ends in .onion, through a relay that speaks SOCKS."""

    NAME = "dino"
    RESUMED = "<{urn:xmpp:sm:3}:resumed "

    def __init__(self, account: Account, resource: str) -> None:
        super().__init__(account, resource)
        self._database: Path = self.desktop.home / "data" / "dino" / "dino.db"
        self.messages = Kept(self._database, MESSAGES)

    @staticmethod
    def missing() -> str | None:
        """The Debian package to install first, if it is not there."""
        return (None if in_path("dino-im") else "dino-im") or Desktop.missing()

    async def login(self, port: int) -> None:
        """Start it, and wait until it is online."""
        await self.desktop.begin()
        self._database.parent.mkdir(parents=True)
        with closing(sqlite3.connect(self._database)) as database:
            database.execute(ACCOUNTS)
            database.execute(ACCOUNT, (self.account.jid, self.resource, self.account.password))
            database.commit()
        # It looks for DNS records first, which there are not, and then goes to port 5222 of the domain: through SOCKS
        # it has the relay look that up.
        proxy = f"socks5://127.0.0.1:{port}"
        self.process = self.desktop.run(
            "dino-im",
            "--print-xmpp=all",
            GIO_USE_PROXY_RESOLVER="libproxy",
            all_proxy=proxy,
            http_proxy=proxy,
            RES_OPTIONS="attempts:1 timeout:1",
            GSK_RENDERER="cairo",
            G_MESSAGES_DEBUG="libdino xmpp-vala",
        )
        await self.process.says(r"^<\{urn:xmpp:sm:3\}:enabled ", 60)

    async def select(self, jid: str) -> None:
        """Show a conversation that it has."""
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as database:
            ((number,),) = database.execute(CONVERSATION, (jid,)).fetchall()
        arguments = f"('open-conversation', [<int32 {number}>], {{}})"
        await self.desktop.call(SERVICE, PATH, "org.freedesktop.Application.ActivateAction", "(sava{sv})", arguments)

    async def write(self, jid: str, text: str, *, room: bool) -> None:
        """Say something in a conversation that it has; in small letters, which need no other keys."""
        del room  # it knows
        await self.select(jid)
        await self.desktop.xdotool("search", "--sync", "--onlyvisible", "--class", "dino", "windowfocus", "--sync")
        await self.desktop.xdotool("type", text)
        await self.desktop.xdotool("key", "Return")
        # Keys wait in a queue of their own: else the next conversation may be shown before they are taken.
        await self.messages.until(lambda rows: (jid, text) in [row[:2] for row in rows], f"{text!r}, typed")
