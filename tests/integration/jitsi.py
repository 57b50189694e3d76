"""Stand-ins for the two ends of Jitsi Meet's conference requests: jicofo, and the web client in a browser.

Written from the public protocol (namespace `http://jitsi.org/protocol/focus`). What they insist on is what the real
ones were seen to insist on in their sources of August 2026; docs/client-proxy.md says what that is.
"""

from twisted.words.xish import domish

from tests.integration.client import Client
from tests.integration.inbox import quoted
from tests.integration.proxied import condition
from tests.integration.xmlcut import Received

NS_FOCUS = "http://jitsi.org/protocol/focus"
NS_DISCO = "http://jabber.org/protocol/disco#info"
NS_PING = "urn:xmpp:ping"
NS_STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
FEATURE = "https://jitsi.org/meet/jicofo/terminate-restart"
CAPS = "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://jitsi.org/jicofo' ver='{}'/>"


class Jicofo:
    """A jicofo on one connection. It trusts `component` to say in its resource who asks, and nobody else.

    `rooms`: those that it was asked to join, each with who asked for it. `domain`: whose users may open rooms; "" for
    everybody. `ready`: whether it has joined when it answers. Its library refuses whoever wants to subscribe.
    """

    def __init__(self, client: Client, component: str, domain: str = "", *, ready: bool = True) -> None:
        self.client = client
        self.component = component
        self.domain = domain
        self.ready = ready
        self.silent = False
        self.rooms: dict[str, list[str]] = {}
        self.asked: list[Received] = []
        self.subscribers: list[str] = []
        self.sessions: dict[str, tuple[str, str]] = {}  # id -> machine, who
        client.ignore = self._take

    def come(self) -> None:
        """Presence with capabilities; the library sends them when it has logged in."""
        self.client.send(f"<presence>{CAPS.format('YWJj')}</presence>")

    async def known(self) -> None:
        """Wait until the proxy has noticed this jicofo: it asks for its features then."""
        await self.client.until(
            lambda: any(stanza.get("from") == self.component for stanza in self.asked), "the proxy's question"
        )

    # What comes

    def _take(self, stanza: Received) -> bool:
        element, kind = stanza.element, stanza.get("type")
        if element.name == "presence" and kind == "subscribe":
            self.subscribers.append(str(stanza.get("from")))
            self.client.send(f"<presence type='unsubscribed' to={quoted(str(stanza.get('from')))}/>")
            return True
        if element.name != "iq" or kind not in ("get", "set"):
            return element.name == "presence" and stanza.get("from") == self.client.jid  # its echo
        self.asked.append(stanza)
        if not self.silent:
            self.answer(stanza)
        return True

    def answer(self, stanza: Received) -> None:
        payload = next(stanza.element.elements())
        known = {
            (NS_FOCUS, "conference", "set"): self._conference,
            (NS_FOCUS, "login-url", "get"): self._login_url,
            (NS_FOCUS, "logout", "set"): self._logout,
            (NS_DISCO, "query", "get"): self._info,
            (NS_PING, "ping", "get"): lambda _payload, _asker: "",
        }
        handler = known.get((payload.uri, payload.name, str(stanza.get("type"))))
        content = handler(payload, self.original(stanza)) if handler else _error("cancel", "feature-not-implemented")
        kind = "error" if content.startswith("<error") else "result"
        to, identity = quoted(str(stanza.get("from"))), quoted(str(stanza.get("id")))
        self.client.send(f"<iq type='{kind}' id={identity} to={to} from={quoted(self.client.jid)}>{content}</iq>")

    def original(self, stanza: Received) -> str:
        """Who has asked: what stands in the resource if the request came from the component."""
        sender = str(stanza.get("from"))
        domain, _, resource = sender.partition("/")
        return resource if domain == self.component and resource else sender

    # Conference requests

    def _conference(self, request: domish.Element, asker: str) -> str:
        room, machine = request.getAttribute("room"), request.getAttribute("machine-uid")
        if not room:
            return _error("modify", "bad-request")
        session = request.getAttribute("session-id")
        if self.domain:
            if session and session not in self.sessions:
                return _error("modify", "not-acceptable", f"<session-invalid xmlns='{NS_FOCUS}'/>")
            if not session and asker.partition("/")[0].partition("@")[2] == self.domain and machine:
                session = f"session-{len(self.sessions) + 1}"
                self.sessions[session] = (machine, asker)
            if not session and room not in self.rooms:
                return _error("auth", "not-authorized")
        self.rooms.setdefault(room, []).append(asker)
        return (
            f"<conference xmlns='{NS_FOCUS}' room={quoted(room)} ready='{str(self.ready).lower()}'"
            f" focusjid={quoted(self.client.bare)}{f' session-id={quoted(session)}' if session else ''}>"
            f"<property name='authentication' value='{str(bool(self.domain)).lower()}'/></conference>"
        )

    def _login_url(self, request: domish.Element, _asker: str) -> str:
        room = str(request.getAttribute("room"))
        return f"<login-url xmlns='{NS_FOCUS}' url={quoted('./' + room.partition('@')[0] + '?login=true')}/>"

    def _logout(self, request: domish.Element, asker: str) -> str:
        self.sessions.pop(str(request.getAttribute("session-id")), None)
        return f"<logout xmlns='{NS_FOCUS}'/>"

    def _info(self, _query: domish.Element, _asker: str) -> str:
        return (
            f"<query xmlns='{NS_DISCO}'><identity category='client' type='pc' name='Smack'/>"
            f"<feature var='{FEATURE}'/><feature var='{NS_DISCO}'/><feature var='{NS_PING}'/></query>"
        )


def _error(kind: str, name: str, more: str = "") -> str:
    return f"<error type='{kind}'><{name} xmlns='{NS_STANZAS}'/>{more}</error>"


class Browser:
    """The web client of one participant. `focus`: addresses that it takes for jicofo's since an answer said so."""

    def __init__(self, client: Client, component: str) -> None:
        self.client = client
        self.component = component
        self.focus: set[str] = set()
        self.session = ""

    async def enter(self, room: str) -> str:
        """Ask for a conference as before joining it; returns "ready", "wait", or why this client gives up."""
        session = f" session-id={quoted(self.session)}" if self.session else ""
        reply = await self.client.iq(
            "set",
            self.component,
            f"<conference xmlns='{NS_FOCUS}' room={quoted(room)} machine-uid='d00d1e'{session}>"
            "<property name='startVideoMuted' value='9'/><property name='rtcstatsEnabled' value='false'/>"
            "<property name='visitors-version' value='1'/></conference>",
        )
        if str(reply.get("from")) != self.component:
            raise AssertionError(f"an answer from somebody else: {reply}")
        if reply.get("type") == "error":
            return condition(reply)
        (conference,) = reply.element.elements(NS_FOCUS, "conference")
        self.focus.add(str(conference.getAttribute("focusjid")))
        self.session = conference.getAttribute("session-id") or self.session
        return "ready" if conference.getAttribute("ready") == "true" else "wait"

    async def login_url(self, room: str) -> str:
        reply = await self.client.iq(
            "get", self.component, f"<login-url xmlns='{NS_FOCUS}' room={quoted(room)} machine-uid='d00d1e'/>"
        )
        (element,) = reply.element.elements(NS_FOCUS, "login-url")
        return str(element.getAttribute("url"))

    async def log_out(self) -> None:
        await self.client.iq("set", self.component, f"<logout xmlns='{NS_FOCUS}' session-id={quoted(self.session)}/>")
        self.session = ""
