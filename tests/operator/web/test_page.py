"""The operator's page: what it shows, that nothing of anybody else's is markup in it, and how much one page has."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from urllib.parse import quote, urlencode

from twisted.internet.defer import Deferred
from twisted.logger import Logger as TwistedLogger
from twisted.python.failure import Failure
from twisted.web.template import flattenString

from minimixproxy.accountstream.lifecycle_rules import Fault
from minimixproxy.accountstream.phases import StreamState
from minimixproxy.logs.faults import MAX_LINES, MAX_TEXT, LastFaults
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.endings import Ending, Why
from minimixproxy.minimix.occupancy.phases import State
from minimixproxy.operator.reported import Trouble
from minimixproxy.operator.status_report import StatusReport
from minimixproxy.operator.web import pages
from minimixproxy.operator.web.cluster_view import MOST_SHOWN
from minimixproxy.operator.web.graphs import HEIGHT, graph
from minimixproxy.operator.web.pages import PER_PAGE, Sources, resources
from minimixproxy.operator.web.reactor_lag import ReactorLag
from minimixproxy.operator.web.samples import INTERVAL, KEPT, Sample, Samples
from tests.minimix.fakes import BARE, FakeSession
from tests.minimix.owned import FakeRoom
from tests.operator.test_status import CLUSTER, FakeAccount, FakeStream, ReportCase
from tests.operator.web.pages import Answer, SiteCase

VOID = frozenset({"meta", "link", "input", "br", "img"})
SCRIPT = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
OURS = "minimixproxy.test"
OVERRIDE = "\u202e\u2066moc\u0000\x1b[2J\u200b"


class Document(HTMLParser):
    """A page read as a browser does: elements with their attributes, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.open: list[str] = []
        self.faults: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attributes}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


class PageCase(SiteCase, ReportCase):
    def setUp(self) -> None:
        ReportCase.setUp(self)
        clock = self.clock
        SiteCase.setUp(self)
        self.clock = clock
        self.faults = LastFaults()
        self.lag = ReactorLag(self.clock)
        self.samples = Samples(self.maker.surveys, lambda: self.stanzas, self.lag.worst, self.clock)
        self.stanzas = 0
        for path, resource in resources(Sources(self.maker, self.faults, self.samples)).items():
            self.put(path, resource)

    def page(self, path: str, **query: str) -> Document:
        """Return a page, which is what every page has to be."""
        answer = self.get(f"{path}?{urlencode(query)}" if query else path)
        self.assertEqual(answer.code, 200, path)
        return self.checked(answer)

    def checked(self, answer: Answer) -> Document:
        page = Document(answer.body.decode())
        self.assertEqual((page.faults, page.open), ([], []))
        self.assertTrue(answer.body.startswith(b"<!DOCTYPE html>\n"))
        for tag, attributes in page.elements:
            self.assertFalse(any(name.startswith("on") or name == "style" for name in attributes), (tag, attributes))
        self.assertEqual([script["src"] for script in page.all("script")], ["/live.js"] if page.all("script") else [])
        self.assertEqual(len(page.all("table")), len(page.all("caption")))
        self.assertEqual(len(page.all("h1")), 1)
        self.assertEqual(page.all("html"), [{"lang": "en"}])
        self.assertEqual(len(page.all("input")), len(page.all("label")))
        self.assertTrue(all(cell["scope"] in ("col", "row") for cell in page.all("th")))
        return page


class PagesTests(PageCase):
    def test_overview(self) -> None:
        self.some()
        page = self.page("/")
        for told in ("All is well.", "on disk", "zoe@a.test", "alice@a.test", "proxy.a.test", "/etc/minimixproxy.toml"):
            self.assertIn(told, page.text)
        self.assertNotIn("bob@a.test", page.text, "not in trouble")
        self.assertIn({"href": "/accounts?state=interrupted"}, page.all("a"))

    def test_alone(self) -> None:
        self.assertNotIn("Cluster", self.page("/").text)

    def test_cluster(self) -> None:
        """Of each process what status says; how long a row is good only its own process knows."""
        other = {"name": "node-b", "address": "b:5270", "number": 8, "accounts": 41, "draining": True}
        self.cluster = {**CLUSTER, "others": [other], "all_accounts": 83, "pipes": 4}
        body, page = self.get("/").body.decode(), self.page("/")
        cells = re.findall(r"<td[^>]*>(?:<bdi>)?([^<]*)", body)
        for row in (
            ["10.0.0.1:5270", "7", "42", "yes"],
            ["b:5270", "8", "41", "no, it is drained"],
        ):
            self.assertIn(row, [cells[at : at + 4] for at in range(len(cells))])
        for told in (
            "node-a",
            "node-b",
            "is good for 14 s. Together they have about 83 accounts. ",
            "from here to the others: 4.",
        ):
            self.assertIn(told, page.text)
        self.cluster = {
            **CLUSTER,
            "free": 7,
            "left_by": ["node-c", "node-d"],
            "seen": False,
            "seen_ago": 30.2,
            "all_accounts": 49,
        }
        page = self.page("/")
        for told in (
            "There are about 49 accounts, of these 7 that no process has yet, left by node-c, node-d",
            ", as it was 30 s ago. ",
        ):
            self.assertIn(told, page.text)
        self.assertIn("does not tell how the cluster stands", page.text)

    def test_another_process_has_the_component(self) -> None:
        self.domain.connected, self.domain.standing_by = False, True
        self.assertIn("stands by", self.page("/").text)
        self.domain.holder = "node-b"
        self.assertIn("by node-b", self.page("/").text)

    def test_something_is_wrong(self) -> None:
        self.troubles.append(Trouble("x", "the configuration was not reloaded"))
        assert self.journal is not None
        self.journal.durable, self.journal.error = False, "disk full"
        page = self.page("/")
        for told in ("Something is wrong.", "not reloaded", "NOT ON DISK", "(disk full)"):
            self.assertIn(told, page.text)

    def test_accounts(self) -> None:
        self.some()
        page = self.page("/accounts")
        for told in ("alice@a.test", "bob@a.test", "zoe@a.test", "laptop, phone (asleep)", "next try in 7 s"):
            self.assertIn(told, page.text)
        self.assertNotIn("alice@a.test", self.page("/accounts", account="ZO").text)
        self.assertIn("zoe@a.test", self.page("/accounts", account="ZO").text)
        self.assertNotIn("bob@a.test", self.page("/accounts", state="trouble").text)
        self.assertIn("No account is that.", self.page("/accounts", account="nobody").text)

    def test_why(self) -> None:
        self.some()
        self.endings.note("bob@a.test", "two@muc", Ending(Why.KICKED, "307", "spam", "boss"), 1.0)
        page = self.page("/accounts", account="Bob@A.test", room="TWO@muc")
        self.assertIn("bob@a.test is not in two@muc: the account was kicked, by boss (“spam”)", page.text)
        self.assertIn("kicked", self.page("/account", jid="bob@a.test").text)
        self.assertIn("is in two@muc", self.page("/accounts", account=BARE, room="two@muc").text)
        page = self.page("/accounts", account="nobody@a.test", room="two@muc")
        self.assertIn("the proxy holds no such account", page.text)

    def test_account(self) -> None:
        self.some()
        self.accounts[1][1].fault = Fault("<refused>", self.clock.seconds())
        self.endings.note(BARE, "three@muc", Ending(Why.REFUSED, "conflict", "text", "muc"), 1.0)
        page = self.page("/account", jid=BARE)
        for told in (
            "one@muc",
            "two@muc",
            "interrupted",
            "<refused>, 2023-11-14",
            "three@muc",
            "join-refused",
            "conflict",
        ):
            self.assertIn(told, page.text)
        self.assertIn(f"minimixproxy forget {BARE}", page.text)
        self.assertIn("holds no such account", self.page("/account", jid="nobody@a.test").text)
        self.assertIn("domain of that account", self.page("/account", jid="x@b.test", room="one@muc").text)

    def test_room(self) -> None:
        self.some()
        self.endings.note("bob@a.test", "two@muc", Ending(Why.KICKED), 1.0)
        page = self.page("/room", jid="two@muc")
        for told in ("alice@a.test", "joined", "bob@a.test", "not in it", "kicked"):
            self.assertIn(told, page.text)
        self.assertNotIn("zoe@a.test", page.text)
        for nothing in ("", "nothing@muc"):
            self.assertIn("No account here knows this room.", self.page("/room", jid=nothing).text)

    def test_search_keeps_what_was_asked(self) -> None:
        page = self.page("/accounts", account='al"ice', room="<room>")
        self.assertEqual([given["value"] for given in page.all("input")], ['al"ice', "<room>"])

    def test_head(self) -> None:
        answer = self.get("/", method="HEAD")
        self.assertEqual((answer.code, answer.body), (200, b""))

    def test_files(self) -> None:
        for path, kind in (("/style.css", "text/css"), ("/live.js", "text/javascript"), ("/icon.svg", "image/svg+xml")):
            answer = self.get(path)
            self.assertEqual((answer.code, answer.headers["content-type"]), (200, f"{kind}; charset=utf-8"))
            self.assertGreater(len(answer.body), 100)

    def test_policy(self) -> None:
        policy = self.get("/").headers["content-security-policy"]
        self.assertIn("default-src 'none'", policy)
        self.assertNotIn("unsafe", policy)
        self.assertNotIn("data:", policy)

    def test_refreshes_without_javascript(self) -> None:
        self.assertIn({"http-equiv": "refresh", "content": "30"}, self.page("/accounts", state="open").all("meta"))
        still = self.page("/accounts", state="open", still="1")
        self.assertNotIn("http-equiv", str(still.all("meta")))
        self.assertEqual(still.all("script"), [])
        self.assertIn({"href": "/accounts?state=open"}, still.all("a"))

    def test_other_paths(self) -> None:
        for path in ("/nothing", "/account/x", "/accounts/", "/../", "/%00", "/live.js/x"):
            self.assertIn(self.get(path).code, (200, 404), path)

    def test_absurd_queries(self) -> None:
        self.some()
        for query in (
            "jid", "jid=", "jid=%", "jid=%ff%fe", "jid=%00", "jid=" + "x" * 7000, "from=-1", "from=99999999999999",
            "from=²", "account=%E2%80%AE", "room=@", "state=%00", "a=b&" * 1000, "still=<script>", ";;;", "jid[]=1",
        ):  # fmt: skip
            for path in ("/", "/accounts", "/account", "/room", "/log"):
                self.checked(self.get(f"{path}?{quote(query, safe='%=&;[]')}"))

    def test_a_fault_of_ours(self) -> None:
        self.patch(pages.Overview, "make", lambda *_: 1 / 0)
        self.assertEqual(self.get("/").code, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_who_asks_is_gone(self) -> None:
        """Nothing is made for whom nobody waits."""
        wait: Deferred[None] = Deferred()
        self.patch(pages.Overview, "make", lambda *_: wait)
        channel, _transport = self.connect()
        channel.dataReceived(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        channel.connectionLost(Failure(ConnectionError()))
        self.assertTrue(wait.called)


class HostileNames(PageCase):
    """Accounts, rooms, nicks, resources and what rooms say are anybody's."""

    def test_nowhere_markup(self) -> None:
        self.some()
        plain = {path: [tag for tag, _ in self.page(path).elements] for path in ("/", "/accounts", "/log")}
        for hostile in (SCRIPT, OVERRIDE, "x" * 1023, "a&b;\"'`=<!--", "]]>", "\u05d0\u05d1", "{{7*7}}"):
            self.accounts.clear()
            room = FakeRoom(f"{hostile}@{hostile}", FakeSession(hostile, self.clock), nick=hostile)
            room.attempts = 1
            account = FakeAccount(f"{hostile}@a.test", tuple(room.attached), (room,))
            account.login_refused = True
            stream = FakeStream(StreamState.REFUSED)
            stream.fault = Fault(hostile, 1.0)
            self.accounts.append((account, stream))
            for where in (room.room, f"other{hostile}@muc"):
                self.endings.note(account.bare, where, Ending(Why.REFUSED, hostile, hostile, hostile), 1.0)
            other = {"name": hostile, "address": hostile, "number": 1, "accounts": 1, "draining": True}
            self.cluster = {**CLUSTER, "name": hostile, "others": [other], "left_by": [hostile]}
            queries = [("/", {}), ("/accounts", {}), ("/accounts", {"account": account.bare, "room": room.room})]
            queries += [("/account", {"jid": account.bare, "room": room.room}), ("/room", {"jid": room.room})]
            for path, query in queries:
                page = self.page(path, **query)
                tags = {tag for tag, _ in page.elements}
                self.assertEqual(tags & {"img", "iframe", "object", "style", "base", "embed"}, set())
                self.assertTrue(page.text.replace("\n", "").isprintable(), (path, hostile))
                self.assertLessEqual(len(page.all("script")), 1)
                for attributes in page.all("a"):
                    self.assertRegex(attributes["href"], r"^(/[a-z]*(\?|$)|#main$)")
            self.assertEqual([tag for tag, _ in self.page("/log").elements], plain["/log"])

    def test_names_are_isolated(self) -> None:
        """One that is written from right to left turns nothing around beside it."""
        name = "\u05d0\u05d1\u05d2@a.test"
        self.accounts.append((FakeAccount(name), FakeStream(StreamState.OPEN)))
        body = self.get("/accounts").body.decode()
        self.assertIn(f"<bdi>{name}</bdi>", body)

    def test_a_command_can_be_copied(self) -> None:
        """An address may hold what a shell executes (RFC 6122 has no `$` or `;` among what it forbids)."""
        for local in ("$(reboot)", "`reboot`", "x;reboot;", "x|reboot", "x&reboot", "*"):
            bare = f"{local}@a.test"
            self.accounts.append((FakeAccount(bare), FakeStream(StreamState.OPEN)))
            body = self.get(f"/account?{urlencode({'jid': bare})}").body.decode()
            commands = [unescape(command) for command in re.findall("<code>([^<]*)</code>", body)]
            for name in ("enroll", "block", "forget"):
                self.assertIn(f"minimixproxy {name} '{bare}'", commands)

    def test_a_link_that_is_too_long_is_none(self) -> None:
        name = "\u00df" * 500 + "@" + "\u00df" * 500
        self.accounts.append((FakeAccount(name), FakeStream(StreamState.OPEN)))
        page = self.page("/accounts")
        self.assertTrue(all(len(link["href"]) < 5000 for link in page.all("a")))


class Many(PageCase):
    """A page has few rows, whatever there is."""

    def test_processes(self) -> None:
        other = {"name": "node-b", "address": "b:5270", "number": 8, "accounts": 41, "draining": True}
        self.cluster = {**CLUSTER, "others": [other] * (MOST_SHOWN + 3)}
        page = self.page("/")
        self.assertEqual(page.text.count("node-b"), MOST_SHOWN - 1)
        self.assertIn("And 4 more.", page.text)

    def test_accounts(self) -> None:
        for number in range(3 * PER_PAGE + 1):
            self.accounts.append((FakeAccount(f"{number:04}@a.test"), FakeStream(StreamState.OPEN)))
        first = self.page("/accounts", account="@a.test")
        self.assertEqual(len(first.all("tr")), 1 + PER_PAGE)
        self.assertIn("1 to 50 of 151 found", first.text)
        self.assertIn({"href": f"/accounts?account=%40a.test&from={PER_PAGE}", "rel": "next"}, first.all("a"))
        last = self.page("/accounts", **{"from": str(3 * PER_PAGE)})
        self.assertEqual(len(last.all("tr")), 1 + 1)
        self.assertEqual([link["href"] for link in last.all("a") if "rel" in link], [f"/accounts?from={2 * PER_PAGE}"])
        self.assertIn("No account is that.", self.page("/accounts", **{"from": "900000"}).text)

    def test_rooms(self) -> None:
        rooms = tuple(FakeRoom(f"{number:04}@muc") for number in range(PER_PAGE + 1))
        self.accounts.append((FakeAccount(BARE, (), rooms), FakeStream(StreamState.OPEN)))
        page = self.page("/account", jid=BARE)
        self.assertEqual(len(page.all("tr")), 1 + PER_PAGE)
        self.assertIn("0050@muc", self.page("/account", jid=BARE, **{"from": str(PER_PAGE)}).text)

    def test_devices(self) -> None:
        sessions = tuple(FakeSession(f"device{number:03}", self.clock) for number in range(500))
        self.accounts.append((FakeAccount(BARE, sessions), FakeStream(StreamState.OPEN)))
        page = self.page("/accounts")
        self.assertIn("device019 and 480 more", page.text)
        self.assertNotIn("device020", page.text)

    def test_accounts_with_many_rooms(self) -> None:
        """Lists count them only: whoever joins a thousand must not have each look at the page cost everybody time."""
        rooms = tuple(FakeRoom(f"{number:04}@muc") for number in range(1000))
        rooms[7].state = rooms[8].state = State.REJOINING
        for number in range(PER_PAGE):
            self.accounts.append((FakeAccount(f"{number:04}@a.test", (), rooms), FakeStream(StreamState.OPEN)))
        told = self.count_calls(StatusReport, "_room")
        for path in ("/", "/accounts"):
            channel, transport = self.connect()
            channel.dataReceived(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            self.clock.pump([0.0] * PER_PAGE)
            cells = re.findall(r"<td[^>]*>([^<]*)</td>", transport.value().decode())
            self.assertIn(["1000", "2", "0"], [cells[at : at + 3] for at in range(len(cells))], path)
        self.assertEqual(len(told), 0)

    def count_calls(self, owner: type, name: str) -> list[object]:
        calls: list[object] = []
        called = getattr(owner, name)

        def counted(*arguments: object) -> object:
            calls.append(arguments)
            return called(*arguments)

        self.patch(owner, name, counted)
        return calls

    def test_of_ten_thousand_accounts_no_turn_looks_at_all(self) -> None:
        for number in range(10_000):
            self.accounts.append((FakeAccount(f"{number}@a.test"), FakeStream(StreamState.OPEN)))
        channel, transport = self.connect()
        channel.dataReceived(b"GET /accounts HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertEqual(transport.value(), b"")
        self.clock.advance(0)
        self.assertIn(b"1 to 50 of 10000 found", transport.value())
        self.assertLess(len(transport.value()), 100_000)


class FaultsTests(PageCase):
    def setUp(self) -> None:
        super().setUp()
        self.faults.startService()
        self.addCleanup(self.faults.stopService)

    def test_the_last_first(self) -> None:
        log = Logger(OURS)
        log.info("not this")
        log.warn("{account} is slow", account="<b>alice</b>")
        log.error("state is not durable: {error}", error="\u202edisk")
        page = self.page("/log")
        rows = page.text.partition("Time")[2]
        self.assertLess(rows.index("state is not durable: \\u202edisk"), rows.index("<b>alice</b> is slow"))
        self.assertNotIn("not this", page.text)
        self.assertIn("is slow", self.page("/").text)

    def test_bounded(self) -> None:
        for number in range(MAX_LINES + 5):
            Logger(OURS).warn("{number} {text}", number=number, text="x" * 10_000, account=f"{number}@x")
        lines = self.faults.lines()
        self.assertEqual((len(lines), lines[0].text[:4], lines[-1].text[:2]), (MAX_LINES, "204 ", "5 "))
        self.assertLess(max(len(line.text) for line in lines), MAX_TEXT + 50)

    def test_failures(self) -> None:
        """Of ours there is the line and the kind; of others, who may write anything, the kind only."""
        try:
            raise KeyError("secret")
        except KeyError:
            Logger(OURS).failure("while answering {what}", what="x")
            TwistedLogger("twisted.web").failure("with a secret")
        self.flushLoggedErrors(KeyError)
        self.assertEqual(
            [line.text for line in self.faults.lines()],
            ["a fault in twisted.web: KeyError: see the log", "while answering x: KeyError"],
        )

    def test_stopped(self) -> None:
        self.faults.stopService()
        Logger(OURS).warn("not this")
        self.faults.startService()
        self.assertEqual(self.faults.lines(), [])


class SamplesTests(PageCase):
    def setUp(self) -> None:
        super().setUp()
        self.samples.startService()
        self.addCleanup(self.samples.stopService)

    def test_taken(self) -> None:
        self.some()
        self.lag.startService()
        self.addCleanup(self.lag.stopService)
        self.stanzas = 400
        self.clock.pump([1.0] * 20)
        self.assertEqual(list(self.samples.taken), [Sample(2, 400 / INTERVAL, 0.0)])
        self.clock.advance(3.5)
        self.clock.pump([1.0] * 20)
        self.assertEqual(self.samples.taken[1].lag, 2.5)
        page = self.page("/")
        self.assertIn("Sessions: now 2, highest 2, lowest 2", page.text)
        self.assertEqual(len(page.all("svg")), 3)

    def test_an_hour(self) -> None:
        self.clock.pump([INTERVAL] * (KEPT + 10))
        self.assertEqual(len(self.samples.taken), KEPT)

    def test_stopped(self) -> None:
        self.samples.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.samples.startService()

    def test_nothing_yet(self) -> None:
        self.assertIn("Sessions: not enough was measured yet", self.page("/").text)


class GraphTests(PageCase):
    def test_in_its_frame(self) -> None:
        for values in ([0, 0], [1, 5, 0], [1e9] * KEPT, [0.0, float(2**60)]):
            told = self.successResultOf(flattenString(None, graph("x", values, str))).decode()
            points = re.findall(r"[ \"][\d.]+,(-?[\d.]+)", told)
            heights = [float(point) for point in points]
            self.assertEqual(len(heights), 2 * len(values) + 2)
            self.assertTrue(all(0 <= height <= HEIGHT for height in heights), values)
