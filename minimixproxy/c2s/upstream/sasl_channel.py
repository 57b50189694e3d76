"""The SASL elements of one stream to a server that is secured and not logged in yet (RFC 6120 §6.4)."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from minimixproxy.c2s.errors import UpstreamProtocolError, UpstreamRefused
from minimixproxy.c2s.upstream.offer import ServerOffer
from minimixproxy.namespaces import NS_SASL
from minimixproxy.sasl.downgrade import Offered
from minimixproxy.wire.stanza import Stanza

LARGEST = 8192  # characters of base64; SCRAM's longest messages have some hundreds

_NS = NS_SASL.encode()
_NOTHING = ServerOffer(Offered(()))


class Answer(NamedTuple):
    """What a server says to an element of SASL: a challenge, or that the client is logged in, and the data with it."""

    success: bool
    text: str

    @property
    def data(self) -> bytes:
        """What is in it. Raises `UpstreamProtocolError`."""
        if len(self.text) > LARGEST:
            raise UpstreamProtocolError("the server's part of SASL is too long")
        try:
            return b"" if self.text == "=" else b64decode(self.text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise UpstreamProtocolError("the server sent malformed base64") from error


class SaslChannel:
    """`offer`: what the server offers, `mechanisms`: the names of its mechanisms."""

    def __init__(
        self,
        send: Callable[[bytes], object],
        hear: Callable[[], Awaitable[Stanza]],
        offer: ServerOffer = _NOTHING,
    ) -> None:
        """`send` sends an element to the server, `hear` returns the next one that it says."""
        self._send = send
        self._hear = hear
        self.offer = offer
        self.mechanisms = offer.mechanisms

    def auth(self, mechanism: str, data: bytes) -> None:
        """Begin an exchange with an initial response."""
        text = b64encode(data) or b"="
        self._send(b"<auth xmlns='%b' mechanism='%b'>%b</auth>" % (_NS, mechanism.encode(), text))

    def respond(self, data: bytes) -> None:
        """Respond to a challenge."""
        self._send(b"<response xmlns='%b'>%b</response>" % (_NS, b64encode(data)))

    async def answer(self) -> Answer:
        """Return the next thing that the server says. Raises `UpstreamRefused` for a failure, or `UpstreamError`."""
        element = await self._hear()
        if element.uri != NS_SASL or element.name not in ("challenge", "success", "failure"):
            raise UpstreamProtocolError("the server answered SASL with something else")
        if element.name == "failure":
            raise _refusal(element)
        return Answer(element.name == "success", str(element.element).strip())

    async def challenge(self) -> bytes:
        """Return the data of the next challenge. Raises `UpstreamError`, also for a success."""
        answer = await self.answer()
        if answer.success:
            raise UpstreamProtocolError("the server sent SASL success instead of challenge")
        return answer.data

    async def success(self) -> bytes:
        """Return the data of the success, which is next. Raises `UpstreamError`, also for another challenge."""
        answer = await self.answer()
        if not answer.success:
            raise UpstreamProtocolError("the server sent SASL challenge instead of success")
        return answer.data

    async def abort(self) -> None:
        """Break an exchange off; another may begin then. Raises `UpstreamError`, also if the server does not agree."""
        self._send(b"<abort xmlns='%b'/>" % _NS)
        try:
            await self.answer()
        except UpstreamRefused:
            return
        raise UpstreamProtocolError("the server does not let an exchange be aborted")


def _refusal(failure: Stanza) -> UpstreamRefused:
    names = [name for _uri, name in failure.payloads if name != "text"]
    text = failure.payload(NS_SASL, "text")
    return UpstreamRefused(names[0] if names else "not-authorized", str(text) if text is not None else "")
