"""The one request of a connection: it becomes a WebSocket, or is answered and closed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from ipaddress import IPv4Address, ip_network
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial import unittest

from minimixproxy.c2s.websocket.forwarded import Address
from minimixproxy.c2s.websocket.handshake import MAX_REQUEST, Handshake, Outcome, Site

# The example of RFC 6455 §1.3.
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
GOOD = {
    "Host": "example.org",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "foo, xmpp",
    "Origin": "https://chat.example.org",
}
DOMAINS = ("example.org", "bücher.example")


def request(line: str = "GET /ws HTTP/1.1", more: Sequence[tuple[str, str]] = (), **changed: str | None) -> bytes:
    """A request; `changed` replaces headers of `GOOD`, or leaves them out (None)."""
    named = {name.replace("_", "-"): value for name, value in changed.items()}
    headers = [(name, value) for name, value in {**GOOD, **named}.items() if value is not None]
    return "\r\n".join([line, *(f"{name}: {value}" for name, value in [*headers, *more]), "", ""]).encode()


def page(path: str, host: str = "example.org", method: str = "GET", **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


#: What is refused, with which status.
REFUSED = {
    "another path": (request("GET /wss HTTP/1.1"), 404),
    "a path within": (request("GET /ws/x HTTP/1.1"), 404),
    "a path that leads back": (request("GET /x/../ws HTTP/1.1"), 404),
    "a path in other letters": (request("GET /%77s HTTP/1.1"), 404),
    "the root": (page("/"), 404),
    "no path": (request("GET http://example.org/ws HTTP/1.1"), 400),
    "a connection elsewhere": (request("CONNECT example.org:443 HTTP/1.1"), 400),
    "a form": (request("POST /ws HTTP/1.1"), 405),
    "a form to host-meta": (page("/.well-known/host-meta", method="POST"), 405),
    "no upgrade": (request(Upgrade=None), 426),
    "an upgrade to something else": (request(Upgrade="h2c"), 426),
    "no upgrade of the connection": (request(Connection="keep-alive"), 426),
    "an old HTTP": (request("GET /ws HTTP/1.0"), 426),
    "an old version": (request(Sec_WebSocket_Version="8"), 426),
    "no version": (request(Sec_WebSocket_Version=None), 426),
    "no key": (request(Sec_WebSocket_Key=None), 400),
    "a short key": (request(Sec_WebSocket_Key="AAAA"), 400),
    "a key that is none": (request(Sec_WebSocket_Key="!" * 24), 400),
    "two keys": (request(more=[("Sec-WebSocket-Key", KEY)]), 400),
    "no subprotocol": (request(Sec_WebSocket_Protocol=None), 400),
    "another subprotocol": (request(Sec_WebSocket_Protocol="xmpp-framing, mqtt"), 400),
    "another origin": (request(Origin="https://evil.example"), 403),
    "an origin that looks like it": (request(Origin="https://chat.example.org.evil.example"), 403),
    "an origin without TLS": (request(Origin="http://chat.example.org"), 403),
    "no particular origin": (request(Origin="null"), 403),
    "two origins": (request(more=[("Origin", "https://chat.example.org")]), 400),
    "a body": (request(Content_Length="5") + b"hello", 400),
    "a body that is to come": (request(Content_Length="5"), 400),
    "a body in chunks": (request(Transfer_Encoding="chunked") + b"0\r\n\r\n", 400),
    "two lengths": (request(more=[("Content-Length", "0"), ("Content-Length", "5")]), 400),
    "a length that is none": (request(Content_Length="+0"), 400),
    "length and chunks": (request(Content_Length="0", Transfer_Encoding="chunked"), 400),
    "another request behind it": (request() + page("/.well-known/host-meta"), 400),
    "frames before the answer": (request() + b"\x81\x80keys", 400),
    "another request behind host-meta": (page("/.well-known/host-meta") * 2, 400),
    "no host": (request(Host=None), 400),
    "two hosts": (request(more=[("Host", "example.org")]), 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n", 400),
    "an XML stream": (b"<?xml version='1.0'?><stream:stream to='example.org'>\r\n\r\n", 400),
    "a header that is folded": (request(Upgrade="websocket\r\n folded"), 426),
    "a header without a name": (b"GET /ws HTTP/1.1\r\n: x\r\n\r\n", 400),
    "space before the colon": (b"GET /ws HTTP/1.1\r\nHost : example.org\r\n\r\n", 400),
    "a null byte": (request(Origin="a\0b"), 400),
    "endless headers": (b"GET /ws HTTP/1.1\r\n" + b"X: y\r\n" * MAX_REQUEST, 431),
    "an endless header": (b"GET /ws HTTP/1.1\r\nX: " + b"y" * MAX_REQUEST, 431),
    "an endless line": (b"G" * (MAX_REQUEST + 1), 431),
    "host-meta of a domain that is not served": (page("/.well-known/host-meta", "evil.example"), 404),
}

REQUESTS = [request(), page("/.well-known/host-meta"), *(data for data, _ in REFUSED.values())]


class HandshakeTestCase(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.admitted: list[Address | None] = []
        self.full = False
        origins = ("https://chat.example.org",)
        self.site = Site("/ws", origins, DOMAINS, ("wss://{host}/ws",))

    def admits(self, client: Address | None) -> bool:
        self.admitted.append(client)
        return not self.full

    def ask(self, *pieces: bytes, site: Site | None = None) -> Outcome:
        handshake = Handshake(site or self.site, self.admits)
        for number, piece in enumerate(pieces, 1):
            outcome = handshake.feed(piece)
            if outcome is not None:
                self.assertTrue(number == len(pieces) or not outcome.opened)
                return outcome
        raise AssertionError("the request is not whole")

    def status(self, outcome: Outcome) -> int:
        return int(outcome.response.split(b" ", 2)[1])


class WebSocketTests(HandshakeTestCase):
    def test_control_characters_are_found_before_a_line_is_read(self) -> None:
        for character in (b"\0", b"\x0b", b"\x0c", b"\x1f", b"\x7f", b"\r"):
            line = b"X: " + b" " * 300 + character + b"\r\n"
            whole = request().replace(b"Host:", line + b"Host:", 1)
            for pieces in ([whole], [whole[at : at + 1] for at in range(len(whole))]):
                outcome = self.ask(*pieces)
                self.assertEqual((self.status(outcome), outcome.refusal), (400, "a control character"), character)
        self.assertTrue(self.ask(request().replace(b"Host:", b"X: a\t\xff b\r\nHost:", 1)).opened)

    def test_opened(self) -> None:
        outcome = self.ask(request())
        self.assertTrue(outcome.opened)
        head, _, rest = outcome.response.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.assertEqual(lines[0], "HTTP/1.1 101 Switching Protocols")
        expected = {"Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {ACCEPT}"}
        self.assertEqual(set(lines[1:]), {*expected, "Sec-WebSocket-Protocol: xmpp"})
        self.assertEqual((rest, outcome.refusal, self.admitted), (b"", "", [None]))

    def test_extensions_are_not_taken(self) -> None:
        outcome = self.ask(request(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"))
        self.assertTrue(outcome.opened)
        self.assertNotIn(b"Extensions", outcome.response)

    def test_who_is_no_browser_says_no_origin(self) -> None:
        self.assertTrue(self.ask(request(Origin=None)).opened)

    def test_any_origin(self) -> None:
        anybody = Site("/ws", ("*",), DOMAINS, ())
        for origin in ("https://evil.example", "null"):
            self.assertTrue(self.ask(request(Origin=origin), site=anybody).opened)

    def test_a_query_does_not_matter(self) -> None:
        self.assertTrue(self.ask(request("GET /ws?x=/y HTTP/1.1")).opened)

    def test_an_address_that_has_too_many(self) -> None:
        self.full = True
        outcome = self.ask(request())
        self.assertEqual((outcome.opened, self.status(outcome)), (False, 429))

    def test_refused(self) -> None:
        for name, (data, status) in REFUSED.items():
            outcome = self.ask(data)
            self.assertEqual((outcome.opened, self.status(outcome)), (False, status), name)
            self.assertIn(b"\r\nConnection: close\r\n", outcome.response)
            self.assertIn(
                b"\r\nCache-Control: no-store\r\n", outcome.response, "or a cache may keep some (RFC 9110 §15.1)"
            )
            self.assertEqual(self.admitted, [], name)

    @given(st.sampled_from(REQUESTS), st.data())
    def test_any_cutting_gives_the_same(self, data: bytes, draw: st.DataObject) -> None:
        """But for what stands behind a request: if it comes later, the request has been answered."""
        whole = data.find(b"\r\n\r\n") + 4
        at = draw.draw(st.integers(1, whole - 1 if whole > 4 else len(data) - 1))
        self.assertEqual(self.ask(data[:at], data[at:]).response, self.ask(data).response)

    @given(st.binary(max_size=80))
    def test_any_bytes(self, data: bytes) -> None:
        outcome = Handshake(self.site, self.admits).feed(data)
        self.assertFalse(outcome is not None and outcome.opened)


class BehindProxyTests(HandshakeTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.site = Site("/ws", ("*",), DOMAINS, ("wss://{domain}/ws",), [ip_network("127.0.0.1")])

    def test_forwarded_client(self) -> None:
        outcome = self.ask(request(X_Forwarded_For="203.0.113.9, 192.0.2.1", X_Forwarded_Proto="https"))
        self.assertTrue(outcome.opened)
        self.assertEqual((outcome.client, self.admitted), (IPv4Address("192.0.2.1"), [IPv4Address("192.0.2.1")]))

    def test_client_without_tls(self) -> None:
        by_x = request(X_Forwarded_For="192.0.2.1", X_Forwarded_Proto="http")
        for plain in (by_x, request(Forwarded="for=192.0.2.1;proto=http")):
            outcome = self.ask(plain)
            self.assertEqual(outcome.client, IPv4Address("192.0.2.1"), "for the log")
            self.assertEqual(self.status(outcome), 403)
            self.assertIn("without TLS", outcome.refusal)

    def test_forged_client(self) -> None:
        outcome = self.ask(request(X_Forwarded_For="192.0.2.1", Forwarded="for=203.0.113.9"))
        self.assertEqual(self.status(outcome), 400)

    def test_nobody_forwards_to_own_tls(self) -> None:
        own = Site("/ws", ("*",), DOMAINS, ())
        outcome = self.ask(request(X_Forwarded_For="192.0.2.1", X_Forwarded_Proto="http"), site=own)
        self.assertEqual((outcome.opened, outcome.client, self.admitted), (True, None, [None]))

    def test_host_that_is_forwarded(self) -> None:
        data = page("/.well-known/host-meta.json", "127.0.0.1:5280", **{"X-Forwarded-Host": "example.org"})
        self.assertIn(b"wss://example.org/ws", self.ask(data).response)

    def test_host_that_is_not_served(self) -> None:
        """Whoever names it: it is one of the domains, or nothing is known of it."""
        for header, value in (("X-Forwarded-Host", "evil.example"), ("Forwarded", "host=evil.example")):
            outcome = self.ask(page("/.well-known/host-meta", **{header: value}))
            self.assertEqual(self.status(outcome), 404, header)

    def test_two_hosts_that_are_forwarded(self) -> None:
        """One of them is the client's. It is of no interest to a WebSocket."""
        forged = {"X-Forwarded-Host": "example.org", "Forwarded": "host=xn--bcher-kva.example"}
        outcome = self.ask(page("/.well-known/host-meta", **forged))
        self.assertEqual(
            (self.status(outcome), outcome.refusal), (400, "X-Forwarded-Host and Forwarded name two hosts")
        )
        self.assertTrue(self.ask(request(more=list(forged.items()))).opened)

    def test_what_caches_may_keep(self) -> None:
        """What follows from a header that clients can write, too, is for who has asked, and for nobody else."""
        for headers, kept in (
            ({}, "max-age=3600"),
            ({"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}, "max-age=3600"),
            ({"X-Forwarded-Host": "example.org:666"}, "private, max-age=3600"),
            ({"Forwarded": "host=example.org"}, "private, max-age=3600"),
            ({"X-Forwarded-Host": "evil.example"}, "no-store"),
            ({"X-Forwarded-Proto": "http"}, "no-store"),
        ):
            self.assertEqual(self.header(page("/.well-known/host-meta", **headers), "Cache-Control"), [kept], headers)

    def test_caches_that_do_not_tell_hosts_apart(self) -> None:
        """As nginx, by default."""
        for headers in ({}, {"X-Forwarded-Host": "example.org"}):
            varies = self.header(page("/.well-known/host-meta", **headers), "Vary")
            self.assertEqual(varies, ["Host, X-Forwarded-Host, Forwarded"])

    def header(self, data: bytes, name: str) -> list[str]:
        """The values of a header of the answer."""
        head = self.ask(data).response.partition(b"\r\n\r\n")[0].decode()
        pairs = [line.split(": ", 1) for line in head.split("\r\n")[1:]]
        return [value for key, value in pairs if key == name]


class DiscoveryTests(HandshakeTestCase):
    def body(self, path: str, host: str = "example.org", site: Site | None = None) -> bytes:
        outcome = self.ask(page(path, host), site=site)
        head, _, body = outcome.response.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"), head)
        self.assertIn(b"\r\nAccess-Control-Allow-Origin: *\r\n", head)
        self.assertIn(b"\r\nContent-Length: %d" % len(body), head)
        self.assertFalse(outcome.opened)
        return body

    def test_xml(self) -> None:
        root = ElementTree.fromstring(self.body("/.well-known/host-meta"))
        self.assertEqual(root.tag, "{http://docs.oasis-open.org/ns/xri/xrd-1.0}XRD")
        (link,) = root
        self.assertEqual(link.tag, "{http://docs.oasis-open.org/ns/xri/xrd-1.0}Link")
        expected = {"rel": "urn:xmpp:alt-connections:websocket", "href": "wss://example.org/ws"}
        self.assertEqual(link.attrib, expected)

    def test_json(self) -> None:
        found = json.loads(self.body("/.well-known/host-meta.json"))
        link = {"rel": "urn:xmpp:alt-connections:websocket", "href": "wss://example.org/ws"}
        self.assertEqual(found, {"links": [link]})

    def test_each_domain_has_its_own(self) -> None:
        site = Site("/ws", (), DOMAINS, ("wss://chat.{domain}/ws", "wss://other.example/ws"))
        for host, first in (("EXAMPLE.org:5281", "example.org"), ("xn--bcher-kva.example.", "bücher.example")):
            links = json.loads(self.body("/.well-known/host-meta.json", host, site))["links"]
            self.assertEqual(links[0]["href"], f"wss://chat.{first.encode('idna').decode()}/ws")
            self.assertEqual(links[1]["href"], "wss://other.example/ws")

    def test_port_that_was_asked(self) -> None:
        self.assertIn(b"wss://example.org:5281/ws", self.body("/.well-known/host-meta", "example.org:5281"))

    def test_own_tls_has_one_answer_for_each_host(self) -> None:
        answer = self.ask(page("/.well-known/host-meta", **{"X-Forwarded-Host": "evil.example"})).response
        self.assertIn(b"\r\nCache-Control: max-age=3600\r\n", answer)
        self.assertNotIn(b"\r\nVary:", answer)

    def test_head(self) -> None:
        whole = self.ask(page("/.well-known/host-meta")).response
        head = self.ask(page("/.well-known/host-meta", method="HEAD")).response
        self.assertEqual(head, whole[: whole.index(b"\r\n\r\n") + 4])

    def test_nothing_is_known(self) -> None:
        outcome = self.ask(page("/.well-known/host-meta"), site=Site("/ws", (), DOMAINS, (), []))
        self.assertEqual(self.status(outcome), 404)

    def test_hosts_that_are_no_names(self) -> None:
        names = ("", "[::1]:80", "<script>", "example.org'/>", "example.org\u00e4", "a" * 300)
        ports = (
            ":80",
            "example.org:x",
            "example.org:'>",
            "example.org:0",
            "example.org:65536",
            "example.org:" + "9" * 5000,
        )
        for host in (*names, *ports):
            self.assertIn(self.status(self.ask(page("/.well-known/host-meta", host))), (400, 404), host)
