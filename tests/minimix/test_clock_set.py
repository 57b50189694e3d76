"""Somebody sets the clock of the machine: what is stamped follows, what lasts does not."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.accountstream.account_login import LoginContext
from minimixproxy.accountstream.accounts import Accounts
from minimixproxy.config.settings import Rooms, Settings
from minimixproxy.minimix.interfaces.journal import KeptAccount, KeptMembership, KeptRoom
from tests.known_keys import MemoryKeys, Unguarded
from tests.minimix.fakes import BARE, ROOM, World
from tests.minimix.null_journal import NullJournal
from tests.minimix.upstreams import FakeLogins
from tests.timing.set_clock import SetClock

HOUR = 3600.0


class SetWorld(World):
    new_clock = SetClock

    @property
    def set_clock(self) -> SetClock:
        assert isinstance(self.clock, SetClock)
        return self.clock


class ClockSetTests(SynchronousTestCase):
    def test_a_message_is_stamped_with_the_time(self) -> None:
        world = SetWorld()
        clock = world.set_clock
        (phone,) = world.joined("phone")
        clock.set_by = -HOUR
        world.says("bob", "one")
        phone.take()
        tablet = world.session("tablet")
        world.asks_to_join(tablet)
        delays = [d["stamp"] for m in tablet.take() for d in m.elements("urn:xmpp:delay", "delay")]
        self.assertEqual([stamp[:19] for stamp in delays], ["2023-11-14T21:13:20"])

    def restored(self, last_seen: float, stay: float) -> tuple[Clock, Accounts]:
        clock = SetClock()
        clock.advance(1_700_000_000)
        settings = Settings.model_construct(rooms=Rooms(stay=stay, bookmarks="off"), domain={})
        accounts = Accounts(
            LoginContext(settings, clock, NullJournal(), FakeLogins(), lambda _bare: "", MemoryKeys(), Unguarded())
        )
        membership = KeptMembership("alice", "alice", None, False, 0.0)
        accounts.restore([KeptAccount(BARE, None, False, last_seen, [KeptRoom(ROOM, membership)])])
        return clock, accounts

    def test_seen_in_the_future(self) -> None:
        """The clock was ahead when it was written: the account does not stay for so much longer."""
        clock, accounts = self.restored(1_700_000_000 + 1000 * HOUR, HOUR)
        self.assertEqual(len(accounts), 1)
        clock.advance(HOUR + 1)
        self.assertEqual([list(account.rooms) for account, _stream in accounts.with_streams()], [[]] * len(accounts))
        clock.advance(HOUR + 1)
        self.assertEqual(len(accounts), 0)
