"""A web server on loopback for a ready Converse.js: a page for each account, and one that leads to them.

`python -m demo.website PORT PAGES` serves it alone, which is what tests do.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.web.http import Request
from twisted.web.resource import NoResource, Resource
from twisted.web.server import Site
from twisted.web.static import File

from demo.converse import fetch

HEAD = """\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width, initial-scale=1">
"""
CHAT = (
    HEAD
    + """\
<link rel="stylesheet" href="converse/converse.min.css">
<script type="module" src="converse/converse.min.js"></script>
<script type="application/json" id="settings" data-run="{run}">{settings}</script>
<script type="module" src="start.js"></script></head>
<body class="converse-fullscreen"></body></html>
"""
)
# The settings are not markup, and nothing in a page is run that does not come as a file from here. What the browser has
# kept of another run is about servers and rooms that are no more.
START = b"""\
const settings = document.getElementById("settings"), run = settings.dataset.run;
for (const kept of [localStorage, sessionStorage]) {
    if (kept.getItem("run") !== run) {
        kept.clear();
        kept.setItem("run", run);
    }
}
converse.initialize(JSON.parse(settings.textContent));
"""
LANDING = (
    HEAD
    + """\
<link rel="stylesheet" href="landing.css"></head>
<body><h1>minimixproxy</h1>
<p>Open both, side by side: {people} meet in the room <em>{room}</em>, behind the proxy. Then reload one of the
pages, open it in a second tab, or close it and come back. The room sees nobody leave, and nothing is missed.</p>
<ul>{links}</ul>
</body></html>
"""
)
LINK = '<li><a href="{name}" target="{name}" id="{name}">{name}</a> logs in as {jid}</li>'
STYLE = b"""\
body { font: 1.1em/1.5 sans-serif; max-width: 40em; margin: 3em auto; padding: 0 1em; color: #222 }
a { display: inline-block; padding: .5em 1.5em; background: #386890; color: #fff; text-decoration: none }
ul { list-style: none; padding: 0 } li { margin: 1em 0 }
"""
# Converse.js sets styles of elements; it is given no other way out, so that it cannot ask anybody but the proxy.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; media-src 'self'; manifest-src 'self'; connect-src 'self' {sockets}; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
#: What this machine is called. A stranger's page may have a name that leads here, too, and would read the passwords.
HOSTS = (b"127.0.0.1", b"localhost")
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}
Settings = Mapping[str, Any]


def settings(jid: str, password: str, url: str, rooms: Mapping[str, str], **more: Any) -> Settings:
    """For Converse.js: log in by itself at a WebSocket's address, and join these rooms by these nicks."""
    return {
        "authentication": "login",
        "auto_login": True,
        "jid": jid,
        "password": password,
        "websocket_url": url,
        "discover_connection_methods": False,
        "auto_join_rooms": [{"jid": room, "nick": nick} for room, nick in rooms.items()],
        "view_mode": "fullscreen",
        "assets_path": "/converse/",
        # Its default, IndexedDB, writes a moment later: what a page has shown just before it is loaded anew, and so
        # acknowledged, would be lost.
        "persistent_store": "localStorage",
        "i18n": "en",
        # it would compile WebAssembly, which the pages do not allow
        "blacklisted_plugins": ["converse-omemo", "converse-omemo-views"],
        **more,
    }


class Page(Resource):
    """Something that is made of a text."""

    isLeaf = True

    def __init__(self, content: bytes, kind: bytes = b"text/html; charset=utf-8", sockets: Iterable[str] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._content, self._kind, self._sockets = content, kind, sockets

    def render_GET(self, request: Request) -> bytes:
        request.setHeader(b"content-type", self._kind)
        for name, value in HEADERS.items():
            request.setHeader(name.encode(), value.encode())
        request.setHeader(b"content-security-policy", POLICY.format(sockets=" ".join(self._sockets)).encode())
        return self._content


class Website(Resource):
    """`/`, and `/NAME` for each file NAME.json with settings for Converse.js in a folder; new ones may come."""

    def __init__(self, converse: Path, pages: Path) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._pages = pages
        self._run = secrets.token_hex(8)
        self.putChild(b"converse", File(str(converse)))
        self.putChild(b"start.js", Page(START, b"text/javascript"))
        self.putChild(b"landing.css", Page(STYLE, b"text/css"))

    def getChildWithDefault(self, path: bytes, request: Request) -> Resource:
        """Nothing is here for who came by another name (DNS rebinding)."""
        name = (request.getHeader(b"host") or b"").partition(b":")[0]
        return super().getChildWithDefault(path, request) if name in HOSTS else NoResource()  # type: ignore[no-untyped-call]

    def getChild(self, path: bytes, request: Request) -> Resource:
        name = path.decode("utf-8", "replace")
        if not name:
            return Page(self._landing())
        if name in self._names():
            return self._chat(name, read(self._pages, name))
        return NoResource()

    def _names(self) -> list[str]:
        return sorted(path.stem for path in self._pages.glob("*.json"))

    def _chat(self, name: str, wanted: Settings) -> Page:
        text = json.dumps(wanted).replace("<", "\\u003c")
        return Page(
            CHAT.format(title=escape(name), run=self._run, settings=text).encode(), sockets=[wanted["websocket_url"]]
        )

    def _landing(self) -> bytes:
        known = {name: read(self._pages, name) for name in self._names()}
        links = "\n".join(LINK.format(name=escape(name), jid=escape(one["jid"])) for name, one in known.items())
        rooms = {room["jid"]: None for one in known.values() for room in one["auto_join_rooms"]}
        return LANDING.format(
            title="minimixproxy", people=escape(" and ".join(known)), room=escape(", ".join(rooms)), links=links
        ).encode()


def write(pages: Path, name: str, wanted: Settings) -> None:
    """Have the page `/name`."""
    (pages / f"{name}.json").write_text(json.dumps(wanted))


def read(pages: Path, name: str) -> Settings:
    """The settings of a page."""
    known: Settings = json.loads((pages / f"{name}.json").read_text())
    return known


def site(converse: Path, pages: Path) -> Site:
    """What a port is to answer with."""
    return Site(Website(converse, pages))


def main(port: str, pages: str) -> None:
    """Serve until the process is ended."""
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)])
    endpoint = serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1")
    endpoint.listen(site(fetch(), Path(pages)))
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
