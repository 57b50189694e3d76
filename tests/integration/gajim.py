"""Gajim, a graphical client, on a desktop of its own. It is read from its database and its log, and told by D-Bus."""

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.integration.desktop import PYTHON, Desktop, DesktopClient
from tests.integration.kept import Kept
from tests.integration.servers import Account, in_path

SETTINGS = """CREATE TABLE settings (name TEXT UNIQUE, settings TEXT);
CREATE TABLE account_settings (account TEXT UNIQUE, settings TEXT);
PRAGMA user_version=5"""
PREFERENCES = {
    "use_keyring": False,
    "check_for_update": False,
    "remote_control": True,
    "show_in_systray": False,
    "autoaway": False,
    "autoxa": False,
}
WORKSPACE = {"name": "", "color": "", "avatar_sha": "", "open_chats": [], "filter": {"type": "all", "unread": True}}
MESSAGES = """SELECT jids.jid, logs.message, logs.contact_name, logs.kind FROM logs JOIN jids USING (jid_id)
    WHERE logs.message IS NOT NULL ORDER BY logs.log_line_id"""
SERVICE, PATH = "org.gajim.Gajim", "/org/gajim/dbus/RemoteObject"
INTERFACE = "org.gajim.dbus.RemoteInterface"
LABEL = "account"
# It refuses to be started by root, which in a container everybody is.
UNASKED = "import os, sys; os.geteuid = lambda: 1; from gajim.gajim import main; sys.exit(main())"


class Gajim(DesktopClient):
    """One device. `certificate` is the one that it has accepted: it has no other authorities than the system's."""

    NAME = "gajim"
    RESUMED = "<resumed "

    def __init__(self, account: Account, resource: str, certificate: Path) -> None:
        super().__init__(account, resource)
        self._profile = self.desktop.directory / "profile"
        self._certificate = certificate
        self.messages = Kept(self._profile / "logs.db", MESSAGES)

    @staticmethod
    def missing() -> str | None:
        """The Debian package to install first, if it is not there."""
        return (None if in_path("gajim") else "gajim") or Desktop.missing()

    def _prepare(self, port: int) -> None:
        accepted = self._profile / "cert_store"
        accepted.mkdir(parents=True)
        shutil.copy(self._certificate, accepted)
        account = {
            "name": self.account.username,
            "account_label": LABEL,
            "hostname": self.account.domain,
            "password": self.account.password,
            "savepass": True,
            "resource": self.resource,
            "active": True,
            "autoconnect": True,
            "use_custom_host": True,
            "custom_host": "127.0.0.1",
            "custom_port": port,
            "custom_type": "START TLS",
            "last_status": "online",
            "restore_last_status": True,
        }
        tables: dict[str, Any] = {
            "app": PREFERENCES,
            "soundevents": {},
            "status_presets": {},
            "proxies": {},
            "plugins": {},
        }
        tables["workspaces"] = {"0f8e5a5e-0000-4000-8000-000000000000": WORKSPACE}
        with closing(sqlite3.connect(self._profile / "settings.sqlite")) as database:
            database.executescript(SETTINGS)
            database.executemany(
                "INSERT INTO settings VALUES (?, ?)", [(name, json.dumps(table)) for name, table in tables.items()]
            )
            settings = json.dumps({"account": account, "contact": {}, "group_chat": {}})
            database.execute("INSERT INTO account_settings VALUES (?, ?)", (LABEL, settings))
            database.commit()

    async def login(self, port: int) -> None:
        """Start it, and wait until it is online."""
        await self.desktop.begin()
        self._prepare(port)
        program = [PYTHON, "-c", UNASKED] if os.geteuid() == 0 else ["gajim"]
        self.process = self.desktop.run(*program, "-s", "-v", "-l", "nbxmpp=INFO,gajim=INFO", "-c", str(self._profile))
        await self.process.says("<enabled ", 60)
        await self.desktop.until_it_has(SERVICE, PATH, INTERFACE)  # five seconds from its start

    async def write(self, jid: str, text: str, *, room: bool) -> None:
        """Say something to somebody or in a room."""
        method = f"{INTERFACE}.send_{'groupchat' if room else 'chat'}_message"
        arguments = repr((jid, text, LABEL))
        answer = await self.desktop.call(SERVICE, PATH, method, "(sss)", arguments)
        if answer != [True]:
            raise AssertionError(f"Gajim did not say {text!r} to {jid}: {answer}")
