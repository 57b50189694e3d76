"""In-band registration through the proxy: which servers offer it, and what clients ask before their login.

A client that is not logged in has no stream upstream. It is given one, secured but not authenticated, with its first
request, and its requests and their answers are all that passes (see `registration`). The server sees the proxy's
address only, unless it is told (`upstream_proxy_protocol`), so how many accounts one address may make is counted here.
"""

from __future__ import annotations

from collections.abc import Coroutine
from secrets import token_hex
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.words.xish.xmlstream import STREAM_END_EVENT

from minimixproxy.bounds.shares import Shares
from minimixproxy.c2s.errors import UpstreamError, UpstreamProtocolError, UpstreamUnreachable
from minimixproxy.c2s.server.limits import RegistrationGuard
from minimixproxy.c2s.server.offers import Contact, Offers
from minimixproxy.c2s.transport.peers import Peer
from minimixproxy.c2s.upstream.connecting import stanza_error_condition
from minimixproxy.c2s.upstream.conversation import Conversation
from minimixproxy.config.settings import Domain, Limits
from minimixproxy.logs.logger import Logger
from minimixproxy.timing.clock import Clock
from minimixproxy.wire.stanza import Stanza, UnusableStanza
from minimixproxy.wire.xmlstream import FramedXmlStream
from minimixproxy.xep.registration import Request, is_answer

T = TypeVar("T")

ANSWER_TIMEOUT = 30.0  # seconds that a server has for opening a stream, and for an answer
STREAMS_PER_ADDRESS = 5
STREAMS_PER_DOMAIN = 100
FEWEST_REQUESTS = 20  # that any client may make before its login ...
REQUESTS_PER_ACCOUNT = 4  # ... or so many for each account that its address may make, if that is more
_ASIDE = 20  # stanzas of a server that answer nothing, before one that does


class TooMuch(Exception):
    """A client asked more often than anybody needs to."""


class _Refused(Exception):
    """A request is not for the server to answer. The arguments: type, condition and text of the stanza error."""


class Registrar:
    """One per service."""

    def __init__(self, contact: Contact, offers: Offers, limits: Limits, clock: Clock) -> None:
        self.contact = contact
        self.clock = clock
        self._limits = limits
        self._guard = RegistrationGuard(clock.seconds, limits.registrations_per_address)
        self.offers = offers
        self._open: Shares[str] = Shares()  # by address, and by domain

    def is_offered(self, domain: Domain) -> bool:
        """Tell whether clients may register at a domain, as far as is known."""
        offer = self.offers.known(domain)
        return domain.registration and (offer is None or bool(offer.registration))

    @property
    def requests_per_client(self) -> int:
        """How many requests a client may make before its login."""
        return max(FEWEST_REQUESTS, REQUESTS_PER_ACCOUNT * self._limits.registrations_per_address)

    @property
    def guard(self) -> RegistrationGuard:
        """What counts the accounts that addresses make."""
        self._guard.most = self._limits.registrations_per_address
        return self._guard

    def take_place(self, domain: str, address: str) -> bool:
        """Count one more stream, if there may be one."""
        if self._open[address] >= STREAMS_PER_ADDRESS or self._open[f"@{domain}"] >= STREAMS_PER_DOMAIN:
            return False
        self._open.take((address, f"@{domain}"))
        return True

    def give_place(self, domain: str, address: str) -> None:
        """Count one stream less."""
        self._open.give_back((address, f"@{domain}"))

    @property
    def open_streams(self) -> int:
        """How many streams there are."""
        return self._open.total() // 2  # each is counted for its address and for its domain


class Registration:
    """What one client that is not logged in asks of its server, one request at a time."""

    log = Logger()

    def __init__(self, registrar: Registrar, domain: Domain, client: Peer) -> None:
        self._registrar = registrar
        self._domain = domain
        self._client = client
        self._address = client.key
        self._asked = 0
        self._conversation: Conversation | None = None
        self._xs: FramedXmlStream | None = None
        self._has_place = False

    async def ask(self, request: Request) -> bytes:
        """Return the answer for the client: the server's, or an error. Raises `TooMuch`."""
        self._asked += 1
        if self._asked > self._registrar.requests_per_client:
            raise TooMuch("too many requests before login")
        fault = request.fault()
        if fault is not None:
            self.log.info("registration request from {address} is not passed on", address=self._address)
            return fault
        try:
            return await self._ask(request)
        except _Refused as refusal:
            self._told(request, refusal.args[1])
            return request.refused(*refusal.args)
        except (UpstreamError, UnusableStanza) as error:
            self.close()
            self.log.warn(
                "registration at {domain} for {address} failed: {error}",
                domain=self._domain.name,
                address=self._address,
                error=str(error),
            )
            return request.refused("wait", "remote-server-timeout", "the server cannot be used now")

    async def _ask(self, request: Request) -> bytes:
        self._check_offer()
        if self._xs is None:
            await self._in_time(self._open())
        guard = self._registrar.guard
        if request.is_try and not guard.tries(self._address, makes=request.makes):
            raise _Refused("wait", "resource-constraint", "too many registrations from your address, try again later")
        # If this ends before there is an answer, the server may have made the account all the same: so it counts.
        answer = await self._in_time(self._exchange(request))
        condition = stanza_error_condition(answer) if answer.get("type") == "error" else ""
        if request.makes and condition:
            guard.made_nothing(self._address)
        self._told(request, condition)
        return request.answered(answer)

    def _check_offer(self) -> None:
        """XEP-0077 §3.1: a host that supports no registration says `service-unavailable`."""
        if not self._registrar.is_offered(self._domain):
            raise _Refused("cancel", "service-unavailable")

    def _told(self, request: Request, condition: str) -> None:
        if request.is_try:
            self.log.info(
                "registration of {username} at {domain} from {address}: {outcome}",
                username=request.username,
                domain=self._domain.name,
                address=self._address,
                outcome=condition or ("made" if request.makes else "the invitation is good"),
            )

    async def _in_time(self, work: Coroutine[Any, Any, T]) -> T:
        running = Deferred.fromCoroutine(work)
        return await running.addTimeout(ANSWER_TIMEOUT, self._registrar.clock, onTimeoutCancel=_timed_out)  # type: ignore[arg-type]

    async def _exchange(self, request: Request) -> Stanza:
        if self._xs is None or self._conversation is None:
            raise UpstreamUnreachable("the connection was lost")
        request_id = token_hex(8)
        self._xs.send(request.for_server(request_id, self._domain.name))
        for _ in range(_ASIDE):
            stanza = await self._conversation.element()
            if is_answer(stanza, request_id, self._domain.name):
                return stanza
        raise UpstreamProtocolError("the server sent much, but no answer")

    async def _open(self) -> None:
        registrar, domain = self._registrar, self._domain
        self.close()
        if not registrar.guard.tries(self._address, makes=False):
            raise _Refused("wait", "resource-constraint", "too many tries from your address, try again later")
        if not registrar.take_place(domain.name, self._address):
            raise _Refused("wait", "resource-constraint", "too many register at this moment, try again later")
        self._has_place = True
        xs, features = await registrar.contact(domain, self._client)
        self._xs, self._conversation = xs, Conversation(xs).__enter__()
        xs.addObserver(STREAM_END_EVENT, self._lost)
        if not registrar.offers.learned(domain, features).registration:
            self.close()
            raise _Refused("cancel", "service-unavailable")

    def _lost(self, _reason: object) -> None:
        """The server has hung up: the next request opens another stream."""
        xs, self._xs = self._xs, None
        if xs is not None:
            self._give_place()

    def _give_place(self) -> None:
        if self._has_place:
            self._has_place = False
            self._registrar.give_place(self._domain.name, self._address)

    def close(self) -> None:
        """The client logs in, or is gone: its stream to the server ends."""
        xs, self._xs = self._xs, None
        self._give_place()
        if xs is not None:
            xs.removeObserver(STREAM_END_EVENT, self._lost)
            xs.transport.abortConnection()


def _timed_out(_result: object, timeout: float) -> None:
    raise UpstreamUnreachable(f"no answer within {timeout:g} seconds")
