"""Stream management towards a server (XEP-0198): switched on once a resource is bound; resuming after a new login."""

from __future__ import annotations

from minimixproxy.c2s.errors import UpstreamError, UpstreamProtocolError
from minimixproxy.c2s.upstream.conversation import Conversation
from minimixproxy.logs.logger import Logger
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.xmlstream import FramedXmlStream
from minimixproxy.xep import stream_management as sm

log = Logger()

MAX_BEFORE_ENABLED = 100  # stanzas that may come before the answer
_MOST = 10_000  # events in one read: a server that resumes a stream sends at once what it has kept, however small


class NotResumed(UpstreamError):
    """The server does not know the stream any more, or will not go on with it; a resource can be bound on this one.

    `h`: how many stanzas it had handled, modulo 2**32; None if it does not know.
    """

    def __init__(self, condition: str, h: int | None) -> None:
        super().__init__(f"the server does not resume the stream: {condition}")
        self.h = h


async def enable(xs: FramedXmlStream, jid: str) -> sm.Enabled | None:
    """Switch stream management on, resumable if the server likes; None: it will not, and the stream goes on without.

    What comes meanwhile, or behind the answer in the same read, is held (see `FramedXmlStream.keep`), and the answer
    in its place among that: stanzas count from there on, both ways. Raises `UpstreamError`.
    """
    keep = xs.keep()
    with Conversation(xs, keep, _MOST) as conversation:
        xs.send(sm.ENABLE)
        for _number in range(MAX_BEFORE_ENABLED):
            answer = await conversation.element()
            keep([answer])
            if sm.is_of_stream_management(answer) and answer.name in ("enabled", "failed"):
                break
        else:
            raise UpstreamProtocolError("the server did not say whether it switches stream management on")
    if answer.name == "failed":
        condition = _condition(answer)
        log.warn("{jid}: its server offers stream management and refuses it: {condition}", jid=jid, condition=condition)
        return None
    return sm.enabled_of(answer)


async def resume(xs: FramedXmlStream, previd: str, h: int) -> int:
    """Go on with an earlier stream of the account on this one, which has no resource bound.

    `previd` is its id, `h` how many of the server's stanzas are handled. Returns how many of ours are, modulo 2**32;
    what the server sends again is held (see `FramedXmlStream.keep`). Raises `NotResumed`, or another `UpstreamError`.
    """
    with Conversation(xs, xs.keep(), _MOST) as conversation:
        xs.send(sm.resume(previd, h))
        answer = await conversation.element()
    if sm.is_of_stream_management(answer) and answer.name == "failed":
        raise NotResumed(_condition(answer), sm.handled_of_failed(answer))
    if not sm.is_of_stream_management(answer) or answer.name != "resumed":
        raise UpstreamProtocolError("the server did not say whether it resumes the stream")
    try:
        resumed = sm.resume_of(answer)
    except sm.BadElement as error:
        raise UpstreamProtocolError(f"the server's word on resumption cannot be used: {error}") from error
    if resumed.previd != previd:
        raise UpstreamProtocolError("the server resumes another stream")
    return resumed.h


def _condition(failed: Stanza) -> str:
    names = [name for _uri, name in failed.payloads if name != "text"]
    return names[0] if names else "undefined-condition"
