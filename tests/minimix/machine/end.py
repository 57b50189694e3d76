"""What has to hold of the accounts of the machine: after each step, and when all is over."""

from __future__ import annotations

import types
from collections import deque
from typing import Any

from minimixproxy.bounds.byte_budget import OBJECT
from minimixproxy.minimix.account import Account
from minimixproxy.minimix.bookmarks.follower import BookmarkFollower
from minimixproxy.minimix.commands.disco_items import DiscoItems
from minimixproxy.minimix.commands.executions import Commands
from minimixproxy.minimix.commands.user_commands import UserCommands
from minimixproxy.minimix.commands.user_requests import UserRequests
from minimixproxy.minimix.occupancy.occupancies import Occupancies
from minimixproxy.minimix.occupancy.occupancy import Occupancy
from minimixproxy.minimix.occupancy.parts import Parts
from minimixproxy.minimix.room.session_presences import SessionPresences
from minimixproxy.minimix.room.sessions import Sessions
from minimixproxy.minimix.room.snapshot import RESERVED, Snapshot
from minimixproxy.minimix.stream_release import StreamRelease
from minimixproxy.minimix.subprotocols.iq_proxying import IQProxyHandler
from minimixproxy.minimix.subprotocols.message_forking import MessageForkHandler
from minimixproxy.minimix.subprotocols.open_iqs import OpenIQs, PendingIQ
from minimixproxy.minimix.subprotocols.open_queries import OpenQueries
from minimixproxy.minimix.subprotocols.own_requests import OwnRequests
from minimixproxy.minimix.subprotocols.parts import AccountParts
from minimixproxy.minimix.subprotocols.presence_interception import MUCPresenceHandler
from minimixproxy.minimix.subprotocols.sent_copies import SentCopies
from minimixproxy.wire.stanza import Stanza
from tests.minimix.machine.world import World

LONG = 600  # seconds in which everybody is to be answered by who is there, if rooms say nothing
LEFT = 64 * 1024  # bytes that may be left of an account with nothing in it


def check_sizes(world: World) -> None:
    """What is kept stays within the budgets, counted anew."""
    for account, _stream in world.accounts.with_streams():
        for budget in (
            account.occupancies.outlet.budgets._shown,
            account.occupancies.outlet.budgets._said,
            account.occupancies.outlet.budgets._waiting,
            account.sessions.budget,
        ):
            assert 0 <= budget.used <= budget.limit, (
                account.bare,
                budget.used,
                budget.limit,
            )
        said = 0
        for occupancy in account.rooms.values():
            _check_view(occupancy._attendance.view, world.settings.rooms.room_memory)
            said += sum(len(message.raw) for message in occupancy.history.entries)
            assert len(occupancy.history) <= world.settings.rooms.history
            assert len(occupancy.outbox) <= 100
            for raw in (
                *occupancy._attendance.view.occupants.values(),
                *(one.raw for one in occupancy.history.entries),
            ):
                assert raw in world.accounts.shared.told._kept, raw
        assert said <= account.occupancies.outlet.budgets._said.limit + 64 * 1024 * len(account.rooms), said
        assert len(account.rooms) <= world.settings.rooms.max_rooms


def _check_view(view: Snapshot, limit: int) -> None:
    """What the budget says is what there is: occupants, and three stanzas of which two have bytes of their own."""
    occupants = sum(len(raw) + OBJECT for raw in view.occupants.values())
    single = [one for one in (view._own, view._subject, view._of_room) if one is not None]
    most = occupants + 2 * RESERVED + sum(len(one.raw) + OBJECT for one in single)
    assert occupants <= view._budget.used <= min(limit, most), (
        occupants,
        view._budget.used,
        most,
    )


def end(world: World) -> None:
    """Everybody waits long enough, then all is closed. Raises AssertionError."""
    _nobody_waits(world)
    _nothing_is_left(world)
    assert not world.witness.complaints, "\n".join(world.witness.complaints)


def _nobody_waits(world: World) -> None:
    world.disk.late, world.disk.faults, world.prompt = False, 0, False
    world.disk.work()
    for client in list(world.clients.values()):
        client.slow = False
        client.looks(away=False)
        client.drain()
    for talks in (True, False):  # the rooms are silent, then the servers too, which ends the streams
        for _ in range(LONG // 15):
            world.clock.advance(15)
            world.servers_answer(talks=talks)
        _check_answered(world)


def _check_answered(world: World) -> None:
    waiting = [f"{client.jid}: {one}" for client in world.clients.values() for one in client.still_waits()]
    assert not waiting, f"not answered: {waiting}"


def _nothing_is_left(world: World) -> None:
    """Accounts without rooms and clients keep nothing; without accounts no timer runs."""
    accounts = [account for account, _stream in world.accounts.with_streams()]
    for account in accounts:
        _leaves_everything(world, account)
    check_sizes(world)
    for account in accounts:
        budgets = (
            account.occupancies.outlet.budgets._shown,
            account.occupancies.outlet.budgets._said,
            account.occupancies.outlet.budgets._waiting,
            account.sessions.budget,
        )
        assert [budget.used for budget in budgets] == [0, 0, 0, 0], [budget.used for budget in budgets]
        size = reachable_bytes(account)
        assert size < LEFT, f"{account.bare} keeps {size} bytes of nothing"
    told = world.accounts.shared.told
    assert not len(told), f"{len(told)} things are kept that rooms told to nobody"
    world.accounts.stopService()
    world.journal.stop()
    world.clock.advance(6)
    left = [str(call)[:300] for call in world.clock.getDelayedCalls()]
    assert not left, f"timers are left: {left}"


def _leaves_everything(world: World, account: Account) -> None:
    world.accounts.forget(account.bare)
    for _ in range(4):
        world.clock.advance(15)


def reachable_bytes(root: Any) -> int:
    """Count the bytes of text that can be reached from an object, without modules, classes and the clock."""
    seen: set[int] = set()
    waiting: deque[Any] = deque([root])
    total = 0
    while waiting:
        one = waiting.popleft()
        if id(one) in seen or isinstance(one, type | types.ModuleType | int | float):
            continue
        seen.add(id(one))
        if isinstance(one, str | bytes | bytearray):
            total += len(one)
        elif isinstance(one, dict):
            waiting.extend(one)
            waiting.extend(one.values())
        elif isinstance(one, list | tuple | set | frozenset | deque):
            waiting.extend(one)
        elif isinstance(one, _OF_AN_ACCOUNT):
            waiting.extend(_fields(one))
    return total


#: Of ours, these are looked into; by reference, so that none is missed when it gets another name.
_OF_AN_ACCOUNT: tuple[type, ...] = (
    Account,
    IQProxyHandler,
    OpenIQs,
    PendingIQ,
    OpenQueries,
    MessageForkHandler,
    MUCPresenceHandler,
    OwnRequests,
    Occupancies,
    Sessions,
    AccountParts,
    StreamRelease,
    SentCopies,
    SessionPresences,
    UserRequests,
    UserCommands,
    Commands,
    DiscoItems,
    BookmarkFollower,
    Occupancy,
    Parts,
    Stanza,
)


def _fields(one: Any) -> list[Any]:
    found = list(getattr(one, "__dict__", {}).values())
    for kind in type(one).__mro__:
        found += [getattr(one, name) for name in getattr(kind, "__slots__", ()) if hasattr(one, name)]
    return found
