"""Opening account streams: connected, logged in and bound; and what of the things that can go wrong is final."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minimixproxy.accountstream.attempt import Opened, Resumable
from minimixproxy.accountstream.errors import CannotOpen, CredentialRefused
from minimixproxy.accountstream.kept_login import KeptLogins
from minimixproxy.c2s.errors import UpstreamError, UpstreamProtocolError, UpstreamRefused, UpstreamUnfit
from minimixproxy.c2s.upstream import managing
from minimixproxy.c2s.upstream.connecting import Login, bind_resource, connect_upstream, open_stream
from minimixproxy.config.settings import Domain, Limits
from minimixproxy.logs.logger import Logger
from minimixproxy.stream_management.unacknowledged import NotSent
from minimixproxy.wire.xmlstream import FramedXmlStream, Turn
from minimixproxy.xep.stream_features import announced_limit
from minimixproxy.xep.stream_management import is_offered

log = Logger()


async def open_account_stream(
    reactor: Any, login: Login, limits: Limits, resource: str, turn: Turn, resumable: Resumable | None = None
) -> Opened:
    """Return the stream: `resumable` resumed, or with a JID of the login's own and managed where the server does that.

    `turn`: what a read of it begins and ends. What has come already is held until the stream is released (see
    `FramedXmlStream.keep`). Raises `CannotOpen`, or `CredentialRefused` when only a client's login can help.
    """
    stream = await _logged_in(reactor, login, limits)
    try:
        features = await open_stream(stream)
        stream.read_in_slices(turn)
        stream.recognize_presences()
        limit = announced_limit(features)
        if resumable is not None and await _resumes(stream, resumable):
            return Opened(stream, resumable.jid, resumed=True, limit=limit)
        if resumable is not None and not resumable.is_wanted:
            raise UpstreamProtocolError("nothing is left to be closed")
        jid = await bind_resource(stream, login.own, resource)
        enabled = await managing.enable(stream, jid) if is_offered(features) else None
        return Opened(stream, jid, enabled, limit=limit)
    except UpstreamError as error:
        stream.transport.abortConnection()
        raise CannotOpen(str(error)) from error
    except BaseException:
        stream.transport.abortConnection()
        raise


async def _resumes(stream: FramedXmlStream, resumable: Resumable) -> bool:
    """Have the server go on with a stream; False: it will not. Raises `UpstreamError`."""
    wish = resumable.resuming()
    try:
        resumable.resumed(await managing.resume(stream, *wish))
    except managing.NotResumed as error:
        log.info("{jid}: {error}", jid=resumable.jid, error=str(error))
        resumable.not_resumed(error.h)
        return False
    except NotSent as error:
        resumable.not_resumed(None)
        raise UpstreamProtocolError(f"the server resumes the stream with a wrong number: {error}") from error
    return True


async def prove_login(reactor: Any, login: Login, limits: Limits) -> None:
    """Log in and hang up: the login's credential learns from it. Raises as `open_account_stream` does."""
    stream = await _logged_in(reactor, login, limits)
    stream.transport.abortConnection()


async def _logged_in(reactor: Any, login: Login, limits: Limits) -> FramedXmlStream:
    try:
        return await connect_upstream(reactor, login, limits)
    except UpstreamUnfit as error:
        raise CredentialRefused(str(error)) from error
    except UpstreamRefused as error:
        kind = CredentialRefused if error.final else CannotOpen
        raise kind(f"login refused: {error.condition}") from error
    except UpstreamError as error:
        raise CannotOpen(str(error)) from error


class UpstreamLogins(KeptLogins):
    """Logins to the servers of the configuration (`account_login.Logins`).

    `turn`: what one read of an account stream begins and ends.
    """

    def __init__(self, domains: Mapping[str, Domain], limits: Limits, reactor: Any, turn: Turn) -> None:
        super().__init__(domains)
        self._limits = limits
        self._reactor = reactor
        self._turn = turn

    async def open(self, login: Login, resource: str, resumable: Resumable | None = None) -> Opened:
        """Do as `open_account_stream`."""
        return await open_account_stream(self._reactor, login, self._limits, resource, self._turn, resumable)

    async def prove(self, login: Login) -> None:
        """Do as `prove_login`."""
        await prove_login(self._reactor, login, self._limits)
