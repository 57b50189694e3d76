"""What all sessions of clients share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minimixproxy.c2s.session.account_interface import AccountsPort
from minimixproxy.c2s.session.login_lines import LoginLines
from minimixproxy.c2s.session.reconnecting import Connect
from minimixproxy.c2s.session.resumable import ResumableSessions
from minimixproxy.config.settings import Limits
from minimixproxy.timing.clock import Clock
from minimixproxy.timing.turn_end import TurnEnd


@dataclass(frozen=True, slots=True)
class SessionContext:
    """One per service. `turn_end`: when sessions write, and what each may take of a turn of the reactor.

    `connect`: logs in at the server of a login; `lines`: at which pace sessions do so again. `client_state`: whether
    clients may say whether they are active, whatever their server offers (XEP-0352).
    """

    accounts: AccountsPort
    limits: Limits
    clock: Clock
    turn_end: TurnEnd
    resumable: ResumableSessions
    connect: Connect
    lines: LoginLines
    client_state: Callable[[], bool] = lambda: True
