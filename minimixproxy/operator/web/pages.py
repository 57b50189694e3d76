"""The pages as Twisted resources: what is asked for, and what is looked up for it. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.template import flattenString, tags

from minimixproxy.jids import InvalidJID, parse_jid
from minimixproxy.logs.faults import LastFaults
from minimixproxy.logs.logger import printable
from minimixproxy.operator.status_report import StatusReport
from minimixproxy.operator.survey import TROUBLE, Wanted
from minimixproxy.operator.web import views
from minimixproxy.operator.web.layout import Asked, Node, Page, address, document, name
from minimixproxy.operator.web.samples import Samples

PER_PAGE = 50  # accounts, or rooms
LONGEST = 3071  # bytes of a JID

HEADERS = {
    b"Content-Security-Policy": b"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    b"Content-Type": b"text/html; charset=utf-8",
    b"X-Frame-Options": b"DENY",
}
#: What stands beside the pages, with its type.
FILES = {b"style.css": b"text/css", b"live.js": b"text/javascript", b"icon.svg": b"image/svg+xml"}


class Sources:
    """What the pages are made of."""

    def __init__(self, report: StatusReport, faults: LastFaults, samples: Samples) -> None:
        self.report = report
        self.faults = faults
        self.samples = samples


class PageResource(Resource):
    """One kind of page."""

    isLeaf = True
    path = "/"

    def __init__(self, sources: Sources) -> None:
        super().__init__()
        self.sources = sources

    def render(self, request: Any) -> int:
        for header, value in HEADERS.items():
            request.setHeader(header, value)
        query = {name: _given(request, name) for name in ("jid", "account", "room", "state", "from", "still")}
        later: int = request.send_when_made(Deferred.fromCoroutine(self._body(query)))
        return later

    async def _body(self, query: Mapping[str, str]) -> bytes:
        page = await self.make(query)
        account = query["account"] or (query["jid"] if self.path == "/account" else "")
        room = query["room"] or (query["jid"] if self.path == "/room" else "")
        asked = Asked(account, room, query["state"], bool(query["still"]))
        return b"<!DOCTYPE html>\n" + await flattenString(None, document(page, asked))

    async def make(self, query: Mapping[str, str]) -> Page:
        """Return the page for a query."""
        raise NotImplementedError

    def page(self, title: str, main: Node, query: Mapping[str, str], jid: str = "") -> Page:
        """Return a page of this kind; `jid`: about whom, or which room."""
        heading = [title, " ", name(jid, LONGEST)] if jid else title
        given = {key: value for key, value in query.items() if value}
        return Page(f"{title} {printable(jid, 60)}".rstrip(), heading, main, self.path, given)


class Overview(PageResource):
    """The first page."""

    async def make(self, query: Mapping[str, str]) -> Page:
        found = await self.sources.report.survey(Wanted(state=TROUBLE))
        report, sources = self.sources.report, self.sources
        trouble = report.accounts(found.wanted[: views.FEW])
        graphs = views.graphs(list(sources.samples.taken))
        return self.page(
            "Overview", views.overview(report.whole(found), trouble, sources.faults.lines(), graphs), query
        )


class AccountList(PageResource):
    """Accounts, searched by account, room and state; and why an account is not in a room."""

    path = "/accounts"

    async def make(self, query: Mapping[str, str]) -> Page:
        report = self.sources.report
        account, room = _bare(query["account"]), _bare(query["room"])
        found = await report.survey(Wanted(account.casefold(), room, query["state"]))
        why = views.answer(report.explain(account, room)) if room and "@" in account else ""
        begin = _number(query["from"])
        shown = report.accounts(found.wanted[begin : begin + PER_PAGE], room)
        number = len(found.wanted)
        caption = f"{number} found" if number <= PER_PAGE else f"{begin + 1} to {begin + len(shown)} of {number} found"
        listed = (
            views.room_accounts(room, shown) if room else views.accounts_table(caption, shown, "No account is that.")
        )
        return self.page("Accounts", [why, listed, _ways(self.path, query, begin, number)], query)


class AccountPage(PageResource):
    """One account; with `room`, why it is in that or is not."""

    path = "/account"

    async def make(self, query: Mapping[str, str]) -> Page:
        report = self.sources.report
        bare, room, begin = _bare(query["jid"]), _bare(query["room"]), _number(query["from"])
        told = report.account(bare, begin=begin, most=PER_PAGE)
        main: list[Node] = [views.answer(report.explain(bare, room))] if room else []
        if told is None:
            known = report.explain(bare, room) if room else None
            main.append(
                [] if known else tags.p("The proxy holds no such account. Give a room, too, to see what that means.")
            )
        else:
            rooms = begin + len(told["rooms"]) + told["rooms_left_out"]
            main.append(views.account(told, _ways(self.path, query, begin, rooms)))
        return self.page("Account", main, query, bare)


class RoomPage(PageResource):
    """One room: which accounts are in it."""

    path = "/room"

    async def make(self, query: Mapping[str, str]) -> Page:
        room = _bare(query["jid"])
        found = await self.sources.report.survey(Wanted(room=room or "\0"))
        begin = _number(query["from"])
        shown = self.sources.report.accounts(found.wanted[begin : begin + PER_PAGE], room)
        main = [views.room_accounts(room, shown), _ways(self.path, query, begin, len(found.wanted))]
        return self.page("Room", main, query, room)


class FaultList(PageResource):
    """The last warnings and errors of the log."""

    path = "/log"

    async def make(self, query: Mapping[str, str]) -> Page:
        lines = self.sources.faults.lines()
        return self.page("Last faults", views.faults("Warnings and errors, the last first", lines), query)


class File(Resource):
    """A file of the package."""

    isLeaf = True

    def __init__(self, file: str, kind: bytes) -> None:
        super().__init__()
        self._data = files(__package__).joinpath(file).read_bytes()
        self._kind = kind

    def render(self, request: Any) -> bytes:
        request.setHeader(b"Content-Type", self._kind + b"; charset=utf-8")
        return self._data


def resources(sources: Sources) -> dict[bytes, Resource]:
    """Return all that is at the first level of the site, by name."""
    pages = {
        b"": Overview(sources),
        b"accounts": AccountList(sources),
        b"account": AccountPage(sources),
        b"room": RoomPage(sources),
        b"log": FaultList(sources),
    }
    return {**pages, **{file: File(file.decode(), kind) for file, kind in FILES.items()}}


def _given(request: Any, key: str) -> str:
    """Return what was given in the query, "" for nothing, as far as it can be shown."""
    values = request.args.get(key.encode(), [b""])
    text: str = values[0].decode("utf-8", "replace")
    return "".join(character for character in text if character.isprintable()).strip()[:LONGEST]


def _bare(text: str) -> str:
    """Return a bare JID as it is spelled here; what is none, as it was given."""
    try:
        return parse_jid(text).bare
    except InvalidJID:
        return text


def _number(text: str) -> int:
    return int(text[:6]) if text.isascii() and text.isdigit() else 0


def _ways(path: str, query: Mapping[str, str], begin: int, number: int) -> Node:
    """Links to what comes before and after, if there is more than one page shows."""
    ways = []
    if begin > 0:
        before = max(0, begin - PER_PAGE)
        ways.append(tags.a("Before", href=address(path, **{**query, "from": str(before or "")}), rel="prev"))
    if begin + PER_PAGE < number:
        ways.append(tags.a("After", href=address(path, **{**query, "from": str(begin + PER_PAGE)}), rel="next"))
    return tags.nav([[way, " "] for way in ways], **{"aria-label": "More"}) if ways else []
