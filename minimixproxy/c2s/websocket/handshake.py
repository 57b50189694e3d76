"""The one HTTP request of a connection (RFC 6455 §4.2): it becomes a WebSocket, or is answered and closed. Pure.

What comes behind the request is never read as another one, and no request has a body: a reverse proxy that takes it
for something else has nothing to smuggle through.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

import h11
from wsproto.utilities import generate_accept_token

from minimixproxy.c2s.transport.certificates import ascii_domain
from minimixproxy.c2s.websocket import discovery
from minimixproxy.c2s.websocket.forwarded import Address, ForgedHeaders, Forwarded, Headers, Networks, forwarded

MAX_REQUEST = 16_384  # bytes of the request line and all headers
_SUBPROTOCOL = "xmpp"
_VERSION = "13"
_KEY = 16  # bytes
# What no line may have (RFC 9110 §5.5): h11 finds it, too, but behind many spaces that takes it their square.
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r[^\n]")
_NOBODY = Forwarded(None, False, frozenset())
# What host-meta behind a reverse proxy depends on. `Host` goes without saying, but not to each cache: nginx's, by
# default, tells hosts apart by this only.
_VARY = ("Vary", "Host, X-Forwarded-Host, Forwarded")


@dataclass(frozen=True, slots=True)
class Site:
    """What is served, and to whom. `trusted`: networks of the reverse proxies; None: TLS is our own, nobody forwards.

    `origins`: of pages that may connect, "*" among them for all. `urls`: where clients find the WebSocket; with
    `{domain}` and `{host}` in them for the domain, and the host and port that the client knows.
    """

    path: str
    origins: Collection[str]
    domains: Collection[str]
    urls: Collection[str]
    trusted: Networks | None = None


class Outcome(NamedTuple):
    """`response`: to be written. `opened`: it is a WebSocket now, else the connection is closed.

    `client`: whom a reverse proxy forwards. `refusal`: for the log; "" if there is nothing to say.
    """

    response: bytes
    opened: bool
    client: Address | None
    refusal: str = ""


class Refused(Exception):
    """The request is not served. `status`: of HTTP; `headers`: that belong to it."""

    def __init__(self, status: int, text: str, *headers: tuple[str, str]) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers


class Handshake:
    """Reads one request."""

    def __init__(
        self, site: Site, admits: Callable[[Address | None], bool], forwards: Callable[[], bool] = lambda: True
    ) -> None:
        """`admits`: told whose request it is (None: who connected), says whether the client may have a WebSocket.

        `forwards`: whether who connected is one of the trusted proxies, and says in headers who the client is.
        """
        self._site = site
        self._admits = admits
        self._forwards = forwards
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_REQUEST)
        self._size = 0
        self._last = b""  # byte that came
        self._forwarded: Address | None = None

    def feed(self, data: bytes) -> Outcome | None:
        """Take what came, however cut; return what follows from the request once it is whole."""
        self._size += len(data)
        try:
            if _CONTROL.search(self._last + data):
                raise Refused(400, "a control character")
            self._last = data[-1:]
            self._http.receive_data(data)
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._size > MAX_REQUEST:
                    raise Refused(431, "the request is too large")
                return None
            if not isinstance(event, h11.Request):
                raise Refused(400, "no request")
            return self._answered(event)
        except h11.RemoteProtocolError as error:
            return self._refused(Refused(error.error_status_hint, str(error)))
        except Refused as refusal:
            return self._refused(refusal)

    def _refused(self, refusal: Refused) -> Outcome:
        return Outcome(answer(refusal.status, *refusal.headers), False, self._forwarded, str(refusal))

    def _answered(self, request: h11.Request) -> Outcome:
        headers = [(bytes(name), bytes(value)) for name, value in request.headers]
        path = _path(request)
        self._check_nothing_follows(headers)
        client = self._client(headers)
        if path in (discovery.XML_PATH, discovery.JSON_PATH):
            return self._discovery(request, path, _one(headers, b"host") or "", client.hosts)
        if path != self._site.path:
            raise Refused(404, f"nothing is at {path!r}")
        _check_method(request, "GET")
        key = _accept_key(headers, request.http_version)
        self._check_origin(headers)
        if not self._admits(client.address):
            raise Refused(429, "")
        return Outcome(_switching(generate_accept_token(key)), True, client.address)

    def _check_nothing_follows(self, headers: Headers) -> None:
        """Refuse a body, and whatever else was sent ahead: a client waits for the answer (RFC 6455 §4.1)."""
        length = _one(headers, b"content-length")
        if length not in (None, "0") or any(name == b"transfer-encoding" for name, _ in headers):
            raise Refused(400, "a request with a body")
        if self._http.trailing_data[0]:
            raise Refused(400, "something behind the request")

    def _client(self, headers: Headers) -> Forwarded:
        """Return whom a reverse proxy forwards, if one stands before us; it has to be by TLS."""
        trusted = self._site.trusted
        if trusted is None or not self._forwards():
            return _NOBODY
        try:
            client = forwarded(headers, trusted)
        except ForgedHeaders as error:
            raise Refused(400, str(error)) from error
        self._forwarded = client.address
        if client.plain:
            raise Refused(403, "the client came to the reverse proxy without TLS")
        return client

    def _discovery(self, request: h11.Request, path: str, host: str, forwarded_hosts: Collection[str]) -> Outcome:
        _check_method(request, "GET", "HEAD")
        if len(forwarded_hosts) > 1:
            raise Refused(400, "X-Forwarded-Host and Forwarded name two hosts")
        host = next(iter(forwarded_hosts), host)
        domain = discovery.domain_of(host, self._site.domains)
        places = {"{domain}": ascii_domain(domain or ""), "{host}": host}
        urls = [_filled(url, places) for url in self._site.urls] if domain else []
        if not urls:
            raise Refused(404, f"no host-meta for {host!r}")
        if path == discovery.XML_PATH:
            body, kind = discovery.xml(urls), "application/xrd+xml"
        else:
            body, kind = discovery.json_text(urls), "application/json"
        response = _answer(200, body, ("Content-Type", kind), *self._caching(bool(forwarded_hosts)))
        return Outcome(response[: len(response) - len(body)] if request.method == b"HEAD" else response, False, None)

    def _caching(self, host_is_forwarded: bool) -> list[tuple[str, str]]:
        """Return who may keep host-meta: caches for all only if nobody but the reverse proxy can have said the host.

        A reverse proxy that writes no `X-Forwarded-Host` passes the client's, and many caches heed no `Vary`.
        """
        kept = "private, max-age=3600" if host_is_forwarded else "max-age=3600"
        return [("Cache-Control", kept), *([] if self._site.trusted is None else [_VARY])]

    def _check_origin(self, headers: Headers) -> None:
        """Refuse pages of strangers (RFC 6455 §10.2). Who is no browser says no origin, or any."""
        origin = _one(headers, b"origin")
        origins = self._site.origins
        if origin is not None and "*" not in origins and origin not in origins:
            raise Refused(403, f"origin {origin!r} is not among origins")


def _answer(status: int, body: bytes, *headers: tuple[str, str]) -> bytes:
    """Return an answer behind which the connection is closed; pages from anywhere may read it."""
    always = [("Access-Control-Allow-Origin", "*"), ("X-Content-Type-Options", "nosniff"), ("Connection", "close")]
    return _head(status, [*headers, *always, ("Content-Length", str(len(body)))]) + body


def _switching(accept: bytes) -> bytes:
    headers = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept.decode())]
    return _head(101, [*headers, ("Sec-WebSocket-Protocol", _SUBPROTOCOL)])


def _head(status: int, headers: Sequence[tuple[str, str]]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def answer(status: int, *headers: tuple[str, str]) -> bytes:
    """Return an answer that says no more than its status."""
    body = b"%d %b\n" % (status, HTTPStatus(status).phrase.encode())
    return _answer(status, body, ("Content-Type", "text/plain"), ("Cache-Control", "no-store"), *headers)


def _filled(url: str, places: Mapping[str, str]) -> str:
    for place, value in places.items():
        url = url.replace(place, value)
    return url


def _path(request: h11.Request) -> str:
    target = bytes(request.target).decode("ascii", "replace")
    if not target.startswith("/"):
        raise Refused(400, f"not a path: {target[:200]!r}")
    return target.partition("?")[0]


def _check_method(request: h11.Request, *allowed: str) -> None:
    if bytes(request.method).decode("ascii", "replace") not in allowed:
        raise Refused(405, "", ("Allow", ", ".join(allowed)))


def _one(headers: Headers, name: bytes) -> str | None:
    """Return the value of a header that may be there once."""
    values = [value.decode("ascii", "replace") for key, value in headers if key == name]
    if len(values) > 1:
        raise Refused(400, f"several {name.decode()}")
    return values[0] if values else None


def _tokens(headers: Headers, name: bytes) -> list[str]:
    """Return the members of a header that is a list."""
    joined = b",".join(value for key, value in headers if key == name)
    return [token.strip() for token in joined.decode("ascii", "replace").split(",")]


def _accept_key(headers: Headers, version: bytes) -> bytes:
    """Return the key of a request that wants a WebSocket of ours, and nothing else (RFC 6455 §4.2.1)."""
    upgrades = [token.lower() for token in _tokens(headers, b"upgrade")]
    connection = [token.lower() for token in _tokens(headers, b"connection")]
    if version < b"1.1" or "websocket" not in upgrades or "upgrade" not in connection:
        raise Refused(426, "", ("Upgrade", "websocket"), ("Connection", "Upgrade"))
    if _one(headers, b"sec-websocket-version") != _VERSION:
        raise Refused(426, "another version of WebSocket", ("Sec-WebSocket-Version", _VERSION))
    key = _one(headers, b"sec-websocket-key") or ""
    try:
        whole = len(b64decode(key, validate=True)) == _KEY
    except (binascii.Error, ValueError):
        whole = False
    if not whole:
        raise Refused(400, "no Sec-WebSocket-Key")
    if _SUBPROTOCOL not in _tokens(headers, b"sec-websocket-protocol"):
        raise Refused(400, "the subprotocol xmpp is not asked for")
    return key.encode("ascii")
