"""Who is given a token of FAST (XEP-0484), when it is another one, and whose login is void since it was withdrawn."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from minimixproxy.c2s.server.exchanges.known_keys import KnownKeys
from minimixproxy.c2s.server.exchanges.login_exchange import LoggedIn
from minimixproxy.c2s.server.exchanges.token import usable_keys
from minimixproxy.config.settings import Sessions
from minimixproxy.sasl import hashed_token
from minimixproxy.sasl.channel_binding import Bindings
from minimixproxy.sasl.keys import Keys
from minimixproxy.sasl.tokens import Device, Tokens, new_token, with_next
from minimixproxy.timing.clock import Clock, wall_time
from minimixproxy.xep import sasl2
from minimixproxy.xep.fast import token

RENEWED_AFTER = 0.1  # of its lifetime: a device that was away for long is to have most of it left


class Grant(NamedTuple):
    """What one login is good for. `offered`: the mechanisms of tokens that its client was offered."""

    giver: TokenGiver
    request: sasl2.Request
    logged_in: LoggedIn
    offered: Collection[str]

    def given(self, *, bound: bool) -> bytes:
        """Return a token for the client, or nothing. `bound`: its server has bound a JID of the account."""
        return self.giver.given(self.request, self.logged_in, self.offered, bound=bound)

    def is_void(self) -> bool:
        """Tell whether the token that it was made by has been withdrawn since."""
        return self.giver.is_void(self.request, self.logged_in)


class TokenGiver:
    """One per service."""

    def __init__(self, tokens: Tokens, known_keys: KnownKeys, sessions: Sessions, clock: Clock) -> None:
        """`sessions`: with `token_lifetime`; 0: nobody is given one, and none is good."""
        self._tokens = tokens
        self._known_keys = known_keys
        self._settings = sessions
        self._clock = clock

    def offered(self, bindings: Bindings) -> tuple[str, ...]:
        """Return the mechanisms for which there are tokens, on a connection with these bindings."""
        return hashed_token.mechanisms(bindings) if self._settings.token_lifetime else ()

    def is_void(self, request: sasl2.Request, logged_in: LoggedIn) -> bool:
        """Tell whether the token of a login has been withdrawn since it was shown: the server takes its time."""
        used, use = logged_in.token, request.token_use
        if used is None or use is None or use.invalidate:
            return False
        held = self._tokens.of(logged_in.login.own.bare, request.device)
        return all(one.secret != used.secret for one in held)

    def given(self, request: sasl2.Request, logged_in: LoggedIn, offered: Collection[str], *, bound: bool) -> bytes:
        """Return what a client that has logged in is given: a token, or nothing.

        `offered`: the mechanisms of tokens that it was offered. `bound`: its server has bound a JID of the account.
        """
        mechanism = self._wanted(request, logged_in)
        if mechanism is None or mechanism not in offered or not request.device or self.is_void(request, logged_in):
            return b""
        account = logged_in.login.own.bare
        keys = self._keys(logged_in, bound=bound)
        if keys is None:
            return b""
        now = wall_time(self._clock)
        new = new_token(mechanism, keys, now, self._settings.token_lifetime)
        known = self._tokens.of(account, request.device)
        self._tokens.put(account, Device(request.device, request.software, now), with_next(known, new))
        return token(new.secret, new.expires)

    def _keys(self, logged_in: LoggedIn, *, bound: bool) -> Keys | None:
        """Return the keys with which a new token stands and falls; None: there is to be none.

        Without any nobody could log in upstream for who has it. And it has to be certain that they are this login's
        account's: what is one name here may be two at the server.
        """
        known = list(usable_keys(self._known_keys, logged_in.login.own.bare))
        learned = logged_in.login.credential.learned
        shown = Keys.from_scram(*learned) if learned is not None else None
        if not known or not (bound or (shown is not None and any(map(shown.agrees, known)))):
            return None
        return shown or known[0]  # the known ones may be of a former password

    def _wanted(self, request: sasl2.Request, logged_in: LoggedIn) -> str | None:
        """Return the mechanism of a token that is due. Who gives one up is given none, whatever it asks for."""
        used, use = logged_in.token, request.token_use
        if use is not None and use.invalidate:
            return None
        if request.token_for is not None or used is None:
            return request.token_for
        age = wall_time(self._clock) - used.issued
        return used.mechanism if age > RENEWED_AFTER * self._settings.token_lifetime else None
