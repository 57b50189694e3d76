"""The site's bounds: what is asked, how, how long, and by how many."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.logger import formatEvent
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from minimixproxy.operator.web import channel, site
from tests.log_events import log_events
from tests.operator.web.pages import SiteCase, answer_in
from tests.wires import Wire

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Refusal(RuntimeError):
    """What a page of the test raises."""


class Broken(Resource):
    isLeaf = True

    def render(self, request: Any) -> bytes:
        raise Refusal("private words")


class Slow(Resource):
    isLeaf = True

    def render(self, request: Any) -> int:
        self.request = request
        return NOT_DONE_YET


class AnswersTests(SiteCase):
    def test_healthz(self) -> None:
        answer = self.get("/healthz")
        self.assertEqual((answer.code, answer.body, answer.behind), (200, b"ok\n", b""))

    def test_headers(self) -> None:
        """Nobody keeps, frames, runs or guesses; nobody learns what the site is made of."""
        for path in ("/healthz", "/nothing", "/readyz"):
            headers = self.get(path).headers
            for name, value in {
                "cache-control": "no-store",
                "content-security-policy": (
                    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
                ),
                "content-type": "text/plain; charset=utf-8",
                "cross-origin-resource-policy": "same-origin",
                "referrer-policy": "no-referrer",
                "server": "minimixproxy",
                "x-content-type-options": "nosniff",
            }.items():
                self.assertEqual(headers[name], value, path)

    def test_head(self) -> None:
        answer = self.get("/healthz", method="HEAD")
        self.assertEqual((answer.code, answer.headers["content-length"], answer.behind), (200, "3", b""))

    def test_readyz(self) -> None:
        self.assertEqual((self.get("/readyz").code, self.get("/readyz").body), (200, b"ready\n"))
        self.reasons += ["one", "two"]
        answer = self.get("/readyz")
        self.assertEqual((answer.code, answer.body), (503, b"not ready: one\nnot ready: two\n"))
        self.reasons.clear()
        self.assertEqual(self.get("/readyz").code, 200)

    def test_what_is_not_there(self) -> None:
        for path in (
            "/",
            "/nothing",
            "/healthz/x/y",
            "/../../etc/passwd",
            "/%2e%2e/",
            "/<script>",
            "//healthz",
        ):
            answer = self.get(path)
            if path.startswith("/healthz"):
                self.assertEqual(answer.code, 200)  # a leaf
            else:
                self.assertEqual((answer.code, answer.body), (404, b"not found\n"), path)

    def test_methods(self) -> None:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "PRI", "SCRIPT"):
            answer = self.get("/healthz", method=method)
            self.assertEqual((answer.code, answer.headers["allow"]), (405, "GET, HEAD"), method)
            self.assertNotIn(b"SCRIPT", answer.body)

    def test_hosts(self) -> None:
        for host, code in (("proxy.example.org", 200), ("127.0.0.1:5290", 200), ("evil.test", 421), ("", 421)):
            self.assertEqual(self.get("/healthz", host=host).code, code, host)

    def test_no_host_or_two(self) -> None:
        for request, code in (
            (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
            (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
            (b"GET /healthz HTTP/1.0\r\n\r\n", 200),  # HAProxy's check, unless told otherwise
            (b"GET /healthz HTTP/1.0\r\nHost: evil.test\r\n\r\n", 421),
        ):
            self.assertEqual(answer_in(self.said(request)[0]).code, code, request)

    def test_our_own_fault(self) -> None:
        self.put(b"broken", Broken())
        answer = self.get("/broken")
        self.assertEqual((answer.code, answer.body), (500, b"internal error: see the log\n"))
        self.assertEqual(len(self.flushLoggedErrors(Refusal)), 1)


class BoundsTests(SiteCase):
    def test_no_bodies(self) -> None:
        for header in (b"Content-Length: 5", b"Content-Length: 99999999999999", b"Transfer-Encoding: chunked"):
            request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + header + b"\r\n\r\n"
            data, transport = self.said(request, b"hello", GET)
            self.assertEqual(answer_in(data).code, 413, header)
            self.assertEqual((answer_in(data).behind, transport.disconnecting), (b"", True), header)

    def test_two_lengths(self) -> None:
        """Smuggling: what could be read in two ways is not read."""
        for headers in (
            b"Content-Length: 0\r\nContent-Length: 5",
            b"Content-Length: 5\r\nTransfer-Encoding: chunked",
            b"Content-Length: +0",
            b"Transfer-Encoding: gzip",
            b"Transfer-Encoding : chunked",
            b"X: y\x00",
        ):
            request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n\r\n"
            data, transport = self.said(request, GET)
            self.assertTrue(data.startswith(b"HTTP/1.1 400 "), headers)
            self.assertEqual((data.count(b"HTTP/1.1"), transport.disconnecting), (1, True), headers)

    def test_too_large(self) -> None:
        line = b"GET /" + b"x" * channel.MAX_LINE + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
        many = b"".join(b"X-%d: y\r\n" % number for number in range(channel.MAX_HEADERS))
        much = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 4000) for number in range(5))
        for request, code in (
            (line, b"431"),
            (line.partition(b"\r\n")[0], b"431"),  # no end of the line yet
            (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + many + b"\r\n", b"400"),
            (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + much + b"\r\n", b"400"),
        ):
            data, transport = self.said(request, GET)
            self.assertTrue(data.startswith(b"HTTP/1.1 " + code), data[:40])
            self.assertEqual((data.count(b"HTTP/1.1"), transport.disconnecting), (1, True))

    def test_no_request_at_all(self) -> None:
        for request in (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
            b"<?xml version='1.0'?>\r\n\r\n",
            b"GET\r\n\r\n",
        ):
            data, transport = self.said(request, GET)
            self.assertEqual((data[:12], data.count(b"HTTP/1.1")), (b"HTTP/1.1 400", 1), request)
            self.assertTrue(transport.disconnecting, request)

    def test_several_on_one_connection(self) -> None:
        connection, transport = self.connect()
        for _ in range(channel.MAX_REQUESTS - 1):
            connection.dataReceived(GET)
        self.assertEqual(
            (transport.value().count(b"200 OK"), transport.disconnecting), (channel.MAX_REQUESTS - 1, False)
        )
        transport.clear()
        connection.dataReceived(GET)
        self.assertEqual(answer_in(transport.value()).headers["connection"], "close")
        self.assertTrue(transport.disconnecting)

    def test_pipelined(self) -> None:
        """One is answered, so that nobody has more than one of a turn; the others are not."""
        data, transport = self.said(GET * 1000)
        self.assertEqual((data.count(b"HTTP/1.1 200"), transport.disconnecting), (1, True))
        self.assertEqual(answer_in(data).headers["connection"], "close")

    def test_pipelined_behind_one_that_takes_time(self) -> None:
        slow = Slow()
        self.put(b"slow", slow)
        connection, transport = self.connect()
        connection.dataReceived(GET.replace(b"healthz", b"slow"))
        for _ in range(1000):
            connection.dataReceived(GET)
        self.assertEqual((transport.value(), transport.producerState), (b"", "paused"))
        slow.request.finish()
        self.assertEqual(transport.value().count(b"HTTP/1.1"), 2)

    def test_byte_by_byte(self) -> None:
        """Time counts from the beginning, not from the last byte."""
        connection, transport = self.connect()
        for byte in GET[:-1]:
            self.clock.advance(channel.REQUEST_WITHIN / len(GET))
            connection.dataReceived(bytes([byte]))
        self.assertFalse(transport.aborted)
        self.clock.advance(2 * channel.REQUEST_WITHIN / len(GET))
        self.assertTrue(transport.aborted)

    def test_times(self) -> None:
        slow = Slow()
        self.put(b"slow", slow)
        connection, transport = self.connect()
        connection.dataReceived(GET)
        self.clock.advance(channel.REQUEST_WITHIN - 1)
        connection.dataReceived(GET.replace(b"healthz", b"slow"))
        self.clock.advance(channel.ANSWER_WITHIN - 1)
        self.assertFalse(transport.aborted)
        self.clock.advance(1)
        self.assertTrue(transport.aborted)
        connection.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_does_not_take_the_answer(self) -> None:
        connection, transport = self.connect()
        connection.dataReceived(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        self.assertEqual((transport.disconnecting, transport.aborted), (True, False))
        self.clock.advance(channel.REQUEST_WITHIN)
        self.assertTrue(transport.aborted)


class ConnectionsTests(SiteCase):
    def test_what_tls_may_negotiate(self) -> None:
        """Not HTTP/2: one connection of it has many requests at once, and none of these bounds."""
        self.assertEqual(self.site.acceptableProtocols(), [b"http/1.1"])

    def test_idle_ones_make_room(self) -> None:
        connections = [self.connect() for _ in range(site.MAX_CONNECTIONS)]
        connections[0][0].dataReceived(GET)  # who has just asked is not idle
        self.assertIn(b"200 OK", self.said(GET)[0])
        self.assertEqual([transport.aborted for _connection, transport in connections[:3]], [False, True, False])
        self.assertEqual(len(self.site.channels), site.MAX_CONNECTIONS)

    def test_all_wait_for_answers(self) -> None:
        """One more is ended at once. That is told once, until there was a place again."""
        self.patch(site, "MAX_CONNECTIONS", 3)
        events, slow = log_events(self), Slow()
        self.put(b"slow", slow)
        for told in (1, 2):
            while len(self.site.channels) < 3:
                self.said(GET.replace(b"healthz", b"slow"))
            for _ in range(2):
                self.refused()
                said = [event for event in events if "all 3 connections are waiting for answers" in formatEvent(event)]
                self.assertEqual(len(said), told, "at the first that is ended")
            last = list(self.site.channels)[-1]
            slow.request.finish()
            last.connectionLost()

    def refused(self) -> None:
        """Connect, and be ended."""
        before, wire = list(self.site.channels), Wire()
        one_more = self.site.buildProtocol(None)
        one_more.makeConnection(wire)
        self.assertEqual((wire.aborted, wire.value()), (True, b""))
        one_more.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((list(self.site.channels), len(self.clock.getDelayedCalls())), (before, len(before)))

    def test_gone(self) -> None:
        connection, _transport = self.connect()
        connection.connectionLost()
        self.assertEqual((len(self.site.channels), self.clock.getDelayedCalls()), (0, []))
