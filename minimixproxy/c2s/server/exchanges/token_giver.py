"""Who is given a token of FAST (XEP-0484), and when it is another one."""

from __future__ import annotations

import time

from minimixproxy.c2s.server.exchanges.known_keys import KnownKeys
from minimixproxy.c2s.server.exchanges.login_exchange import LoggedIn
from minimixproxy.c2s.server.exchanges.token import usable_keys
from minimixproxy.sasl import hashed_token
from minimixproxy.sasl.channel_binding import Bindings
from minimixproxy.sasl.tokens import Device, Token, Tokens, new_token, with_next
from minimixproxy.xep import sasl2
from minimixproxy.xep.fast import token

RENEWED_AFTER = 0.1  # of its lifetime: a device that was away for long is to have most of it left


class TokenGiver:
    """One per service."""

    def __init__(self, tokens: Tokens, known_keys: KnownKeys, lifetime: float) -> None:
        """`lifetime`: in seconds; 0: nobody is given one."""
        self._tokens = tokens
        self._known_keys = known_keys
        self._lifetime = lifetime

    def offered(self, bindings: Bindings) -> tuple[str, ...]:
        """Return the mechanisms for which there are tokens, on a connection with these bindings."""
        return hashed_token.mechanisms(bindings) if self._lifetime else ()

    def given(self, request: sasl2.Request, logged_in: LoggedIn, bindings: Bindings) -> bytes:
        """Return what a client that has logged in is given: a token, or nothing."""
        mechanism = self._wanted(request, logged_in.token)
        if mechanism is None or mechanism not in self.offered(bindings) or not request.device:
            return b""
        account = logged_in.login.own.bare
        keys = next(usable_keys(self._known_keys, account), None)
        if keys is None:  # without them nobody could log in upstream for who has a token
            return b""
        now = time.time()
        new = new_token(mechanism, keys, now, self._lifetime)
        known = self._tokens.of(account, request.device)
        self._tokens.put(account, Device(request.device, request.software, now), with_next(known, new))
        return token(new.secret, new.expires)

    def _wanted(self, request: sasl2.Request, used: Token | None) -> str | None:
        if request.token_for is not None:
            return request.token_for
        if used is None or request.token_use is None or request.token_use.invalidate:
            return None
        age = time.time() - used.issued
        return used.mechanism if age > RENEWED_AFTER * self._lifetime else None
