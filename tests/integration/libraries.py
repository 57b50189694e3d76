"""slixmpp and aioxmpp as clients: real libraries that know nothing of the proxy.

Both need the asyncio reactor: trial --reactor=asyncio, as tools/run_trial.py has it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import Deferred

from tests.integration.servers import Account, authority_file
from tests.patience import patiently

try:
    import aioxmpp as aioxmpp  # also for who imports it from here
    import aioxmpp.muc
except ImportError:  # needs lxml 4, hence Python 3.12 or older
    aioxmpp = None

import slixmpp

TIMEOUT = 20.0
Result = TypeVar("Result")


def unusable(library: Any) -> str | None:
    """Why tests with this library cannot run here, if they cannot."""
    from twisted.internet import reactor

    if library is None:
        return "not installable on this Python"
    return None if isinstance(reactor, AsyncioSelectorReactor) else "needs trial --reactor=asyncio"


def waiting(coroutine: Awaitable[Result]) -> "Deferred[Result]":
    """An asyncio coroutine as Deferred."""
    return Deferred.fromFuture(asyncio.ensure_future(asyncio.wait_for(coroutine, patiently(TIMEOUT))))


class Inbox:
    """What a library's callbacks were given, and waiting for more."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._news = asyncio.Event()

    def add(self, item: Any) -> None:
        self.items.append(item)
        self._news.set()

    async def get(self, fits: Callable[[Any], bool]) -> Any:
        """The first item that fits, taken out."""
        while True:
            for item in self.items:
                if fits(item):
                    self.items.remove(item)
                    return item
            self._news.clear()
            await self._news.wait()


class Slixmpp:
    """A slixmpp client with its usual plugins for groupchat."""

    def __init__(self, account: Account, resource: str) -> None:
        self.xmpp = slixmpp.ClientXMPP(f"{account.jid}/{resource}", account.password)
        for plugin in ("xep_0030", "xep_0045", "xep_0199", "xep_0280", "xep_0203"):
            self.xmpp.register_plugin(plugin)
        self.xmpp.ca_certs = authority_file()
        self.messages = Inbox()
        self.xmpp.add_event_handler("groupchat_message", self.messages.add)
        self.xmpp.add_event_handler("message", lambda stanza: self._unless_groupchat(stanza))
        self.xmpp.add_event_handler("carbon_received", self.messages.add)

    def _unless_groupchat(self, stanza: Any) -> None:
        if stanza["type"] != "groupchat":
            self.messages.add(stanza)

    @property
    def jid(self) -> str:
        return str(self.xmpp.boundjid.full)

    def login(self, port: int) -> "Deferred[None]":
        """Connect to loopback, log in and send initial presence."""

        async def run() -> None:
            outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

            def tell(what: str) -> Callable[[Any], None]:
                def heard(_event: object) -> None:
                    if not outcome.done():
                        outcome.set_result(what)

                return heard

            for event in ("session_start", "failed_all_auth", "ssl_invalid_chain", "disconnected"):
                self.xmpp.add_event_handler(event, tell(event))
            self.xmpp.connect("127.0.0.1", port)
            if await outcome != "session_start":
                raise AssertionError(f"slixmpp could not log in: {outcome.result()}")
            self.xmpp.send_presence()
            await self.xmpp.get_roster()

        return waiting(run())

    def join(self, room: str, nick: str) -> "Deferred[Any]":
        """Join and wait for the subject."""
        return waiting(self.xmpp["xep_0045"].join_muc_wait(slixmpp.JID(room), nick, timeout=patiently(TIMEOUT)))

    def occupants(self, room: str) -> list[str]:
        return sorted(self.xmpp["xep_0045"].get_roster(slixmpp.JID(room)))

    def say(self, room: str, text: str) -> None:
        self.xmpp.send_message(mto=slixmpp.JID(room), mbody=text, mtype="groupchat")

    def hears(self, text: str) -> "Deferred[Any]":
        """Wait for a message with this body."""
        return waiting(self.messages.get(lambda stanza: stanza["body"] == text))

    def logout(self) -> "Deferred[None]":
        async def run() -> None:
            filters = self.xmpp._run_out_filters
            await self.xmpp.disconnect(wait=2.0)
            if filters is not None:  # slixmpp does not wait for the end of this task
                filters.cancel()
                await asyncio.wait([filters])

        return waiting(run())

    def cut(self) -> "Deferred[Any]":
        """The network, or the process, is gone: no closing of the stream, nothing."""
        filters, transport = self.xmpp._run_out_filters, self.xmpp.transport
        assert filters is not None and transport is not None
        transport.abort()
        filters.cancel()  # slixmpp would keep this task for a reconnection
        return waiting(asyncio.wait([filters]))


class Aioxmpp:
    """An aioxmpp client with its groupchat service."""

    def __init__(self, account: Account, resource: str) -> None:
        self._account, self._resource = account, resource
        self.messages = Inbox()
        self._rooms: dict[str, Any] = {}

    @property
    def jid(self) -> str:
        return str(self.client.local_jid)

    def login(self, port: int) -> "Deferred[None]":
        async def run() -> None:
            jid = aioxmpp.JID.fromstr(f"{self._account.jid}/{self._resource}")
            security = aioxmpp.make_security_layer(self._account.password)._replace(
                certificate_verifier_factory=_ChainVerifier
            )
            self.client = aioxmpp.PresenceManagedClient(
                jid,
                security,
                override_peer=[("127.0.0.1", port, aioxmpp.connector.STARTTLSConnector())],
                max_initial_attempts=1,
            )
            self.muc = self.client.summon(aioxmpp.MUCClient)
            self.prepare()
            self._context = self.client.connected()
            await self._context.__aenter__()

        return waiting(run())

    def prepare(self) -> None:
        """For subclasses: summon services before the first connection."""

    def join(self, room: str, nick: str) -> "Deferred[None]":
        async def run() -> None:
            joined, done = self.muc.join(aioxmpp.JID.fromstr(room), nick)
            joined.on_message.connect(lambda message, *_arguments, **_more: self.messages.add(message))
            self._rooms[room] = joined
            await done

        return waiting(run())

    def occupants(self, room: str) -> list[str]:
        return sorted(member.nick for member in self._rooms[room].members)

    def say(self, room: str, text: str) -> None:
        message = aioxmpp.Message(aioxmpp.MessageType.GROUPCHAT, to=aioxmpp.JID.fromstr(room))
        message.body[None] = text
        self.client.enqueue(message)

    def hears(self, text: str) -> "Deferred[Any]":
        return waiting(self.messages.get(lambda stanza: stanza.body.any() == text))

    def leave(self, room: str) -> "Deferred[None]":
        return waiting(self._rooms[room].leave())

    def logout(self) -> "Deferred[None]":
        async def run() -> None:
            await self._context.__aexit__(None, None, None)

        return waiting(run())


if aioxmpp is not None:

    class _ChainVerifier(aioxmpp.security_layer.CertificateVerifier):  # type: ignore[misc]
        """What OpenSSL says of the chain. aioxmpp's own verifier calls functions that pyOpenSSL no longer has."""

        def setup_context(self, context: Any, transport: Any) -> None:
            super().setup_context(context, transport)
            context.load_verify_locations(str(authority_file()))

        def verify_callback(self, _connection: Any, _x509: Any, _error: int, _depth: int, preverified: int) -> bool:
            return bool(preverified)

        async def post_handshake(self, transport: Any) -> None:
            pass


LIBRARIES: dict[str, tuple[type[Slixmpp] | type[Aioxmpp], Any]] = {
    "slixmpp": (Slixmpp, slixmpp),
    "aioxmpp": (Aioxmpp, aioxmpp),
}
