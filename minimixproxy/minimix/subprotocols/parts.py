"""What the subprotocols of one account are handed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minimixproxy.minimix.occupancy.occupancies import Occupancies
from minimixproxy.minimix.room.context import AccountContext
from minimixproxy.minimix.room.sessions import Sessions
from minimixproxy.wire.stanza import Stanza


@dataclass(frozen=True, slots=True)
class AccountParts:
    """The account `bare` and what it has. `address` returns the full JID that its stream has, or will ask for."""

    bare: str
    sessions: Sessions
    occupancies: Occupancies
    context: AccountContext
    address: Callable[[], str]
    # Answers an address that asked on the account stream (None: the server), unless it was answered too much lately.
    answer: Callable[[str | None, bytes], None]
    # Takes a message of the account's own server that tells how far it has read; False: it is none.
    displayed: Callable[[Stanza], bool]
