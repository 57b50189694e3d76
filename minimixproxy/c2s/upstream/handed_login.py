"""Logging in at a server by an exchange that somebody else conducts: between a client and the server, for one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred

from minimixproxy.c2s.errors import UpstreamUnreachable
from minimixproxy.c2s.transport.peers import Peer
from minimixproxy.c2s.upstream.connecting import contact_upstream, server_framing
from minimixproxy.c2s.upstream.conversation import Conversation
from minimixproxy.c2s.upstream.offer import ServerOffer, offer_on
from minimixproxy.c2s.upstream.sasl_channel import SaslChannel
from minimixproxy.config.settings import Domain, Limits
from minimixproxy.wire.xmlstream import FramedXmlStream

#: Is to return once the server has said success.
Authenticate = Callable[[SaslChannel], Awaitable[None]]


async def log_in_upstream(
    reactor: Any, domain: Domain, limits: Limits, client: Peer, authenticate: Authenticate
) -> FramedXmlStream:
    """Return a stream to the server of a domain, secured, and logged in by `authenticate`; `open_stream` is next.

    `authenticate` has the client's `authentication_timeout`. What it raises is raised, and the connection is gone then.
    Raises `UpstreamError`. Until the login a server may send stanzas no larger than clients may.
    """
    xs, features = await contact_upstream(reactor, domain, limits, client)
    try:
        work = Deferred.fromCoroutine(_authenticate(xs, offer_on(xs, features, domain), authenticate))
        await work.addTimeout(limits.authentication_timeout, reactor, onTimeoutCancel=_timed_out)
    except BaseException:
        xs.transport.abortConnection()
        raise
    return xs.with_limits(server_framing(limits))


async def _authenticate(xs: FramedXmlStream, offer: ServerOffer, authenticate: Authenticate) -> None:
    with Conversation(xs) as conversation:
        await authenticate(SaslChannel(xs.send, conversation.element, offer))
        conversation.restart()


def _timed_out(_result: object, timeout: float) -> None:
    raise UpstreamUnreachable(f"no login within {timeout:g} seconds")
