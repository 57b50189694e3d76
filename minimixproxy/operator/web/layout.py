"""What all pages have in common: head, search, navigation, foot; and how a name of somebody else's is shown. Pure.

Everything goes through `twisted.web.template`, which escapes all text and every attribute: nothing that others wrote
can become markup. There is no inline script or style, so the content security policy can forbid both.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import urlencode

from twisted.web.template import Tag, tags

from minimixproxy import __version__
from minimixproxy.logs.logger import printable

SHOWN = 120  # characters of a name or text in a table
LONGEST_LINK = 4000  # characters; a longer request is not taken (see `channel`)
REFRESH = 30  # seconds, where there is no JavaScript

Node = Any  # what Twisted's templates take: text, a tag, a list of these


class Asked(NamedTuple):
    """What the search form has in it, and whether the page is not to refresh itself."""

    account: str = ""
    room: str = ""
    state: str = ""
    still: bool = False


class Page(NamedTuple):
    """A page to be shown: its title in words and as its heading, what is in it, and its own address."""

    title: str
    heading: Node
    main: Node
    path: str
    query: dict[str, str]


def name(text: str, maximum: int = SHOWN) -> Tag:
    """Return a name that somebody else has chosen: isolated, so that its direction is its own, and cut."""
    return tags.bdi(printable(text, maximum))


def address(path: str, **query: str) -> str:
    """Return the address of one of our pages, without what is empty in the query."""
    given = {key: value for key, value in query.items() if value}
    return f"{path}?{urlencode(given)}" if given else path


def link(text: str, path: str, **query: str) -> Tag:
    """Return a name with a link to one of our pages; one that is too long to be asked for has none."""
    target = address(path, **query)
    return tags.a(name(text), href=target) if len(target) <= LONGEST_LINK else name(text)


def account_link(jid: str, room: str = "") -> Tag:
    """Return a link to an account's page."""
    return link(jid, "/account", jid=jid, room=room)


def room_link(jid: str) -> Tag:
    """Return a link to a room's page."""
    return link(jid, "/room", jid=jid)


def table(caption: str, head: tuple[str, ...], rows: list[list[Node]], empty: str) -> Tag:
    """Return a table with a caption; the first cell of each row is its heading. `empty` stands for no rows."""
    if not rows:
        return tags.p(empty, class_="empty")
    return tags.div(
        tags.table(
            tags.caption(caption),
            tags.thead(tags.tr([tags.th(text, scope="col", role="columnheader") for text in head], role="row")),
            tags.tbody([_row(head, row) for row in rows], role="rowgroup"),
            role="table",  # on a phone its cells are blocks, which says otherwise
        ),
        class_="wide",
        tabindex="0",
        role="region",
        **{"aria-label": caption},
    )


def _row(head: tuple[str, ...], row: list[Node]) -> Tag:
    first, *others = row
    cells = [tags.td(cell, role="cell", **{"data-label": label}) for label, cell in zip(head[1:], others, strict=True)]
    return tags.tr(tags.th(first, scope="row", role="rowheader"), cells, role="row")


def state(text: str, *, well: bool) -> Tag:
    """Return a state: in words, and by colour for who sees it."""
    return tags.span(text, class_="well" if well else "trouble")


def facts(pairs: list[tuple[str, Node]]) -> Tag:
    """Return a list of what is what."""
    return tags.dl([tags.div(tags.dt(term), tags.dd(value)) for term, value in pairs])


def command(text: str) -> Tag:
    """Return a command line to be typed."""
    return tags.code(printable(text, 400))


def document(page: Page, asked: Asked) -> Tag:
    """Return the whole page."""
    still = {**page.query, "still": "" if asked.still else "1"}
    refreshes = [] if asked.still else [tags.noscript(tags.meta(**{"http-equiv": "refresh"}, content=str(REFRESH)))]
    return tags.html(
        tags.head(
            tags.meta(charset="utf-8"),
            tags.meta(name="viewport", content="width=device-width, initial-scale=1"),
            tags.meta(name="color-scheme", content="light dark"),
            tags.title(f"{page.title} - minimixproxy"),
            tags.link(rel="stylesheet", href="/style.css"),
            tags.link(rel="icon", href="/icon.svg", type="image/svg+xml"),
            refreshes,
            [] if asked.still else tags.script("", src="/live.js", defer="defer"),
        ),
        tags.body(
            tags.a("To the contents", href="#main", class_="skip"),
            tags.header(_navigation(page.path), _search(asked)),
            Tag("main", attributes={"id": "main"}, children=[tags.h1(page.heading), page.main]),
            tags.footer(_foot(page, asked, still)),
        ),
        lang="en",
    )


def _navigation(path: str) -> Tag:
    places = (("/", "Overview"), ("/accounts", "Accounts"), ("/log", "Last faults"))
    here = {"aria-current": "page"}
    items = [tags.li(tags.a(text, href=place, **(here if place == path else {}))) for place, text in places]
    return tags.nav(tags.strong("minimixproxy"), tags.ul(items), **{"aria-label": "Pages"})


def _search(asked: Asked) -> Tag:
    return tags.form(
        tags.label("Account ", tags.input(name="account", value=asked.account, maxlength="3071", type="search")),
        tags.label("Room ", tags.input(name="room", value=asked.room, maxlength="2047", type="search")),
        tags.button("Search", type="submit"),
        action="/accounts",
        method="get",
        role="search",
        **{"aria-label": "Search; with both: why is this account not in that room?"},
    )


def _foot(page: Page, asked: Asked, still: dict[str, str]) -> Node:
    how = "It does not refresh itself." if asked.still else tags.span("It refreshes itself.", id="live", role="status")
    return [
        tags.p(how, " ", tags.a("Start" if asked.still else "Stop", href=address(page.path, **still)), " that."),
        tags.p(
            f"minimixproxy {__version__}. This page changes nothing: what can be done is done by the command, ",
            command("minimixproxy --help"),
            ".",
        ),
    ]
