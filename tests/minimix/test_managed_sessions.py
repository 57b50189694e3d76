"""How far devices have acknowledged, as it goes to disk: how often, and when at once."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.managed_sessions import INTERVAL, ManagedSessions
from tests.minimix.fakes import BARE, ROOM, FakeSession, World, kinds
from tests.minimix.null_journal import NullJournal


class Recorder(NullJournal):
    """A journal that remembers what it was told of devices."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, int | None]] = []
        self.given = 0

    def acknowledged(self, bare: str, resource: str, sequence: int) -> None:
        assert bare == BARE
        self.said.append((resource, sequence))

    def not_managed(self, bare: str, resource: str) -> None:
        assert bare == BARE
        self.said.append((resource, None))

    def given_out(self) -> int:
        return self.given

    def take(self) -> list[tuple[str, int | None]]:
        said, self.said = self.said, []
        return said


class ManagedSessionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.25)
        self.journal = Recorder()
        self.told: list[str] = []
        self.managed = ManagedSessions(BARE, self.journal, self.clock, lambda session: self.told.append(session.jid))
        self.phone = self.session("phone")

    def session(self, resource: str, reached: float = 3) -> FakeSession:
        self.journal.given = 100
        session = FakeSession(resource, self.clock)
        session.reached = reached
        self.managed.add(session)
        self.assertEqual(self.journal.take(), [(resource, min(reached, 100))])
        return session

    def acknowledges(self, reached: float, session: FakeSession | None = None) -> None:
        session = session or self.phone
        session.reached = reached
        self.managed.acknowledged(session)

    def test_what_is_acknowledged_goes_to_disk_a_little_later(self) -> None:
        for number in range(4, 20):
            self.acknowledges(number)
        self.assertEqual(self.journal.take(), [])
        self.clock.advance(INTERVAL)
        self.assertEqual(self.journal.take(), [("phone", 19)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_once_in_a_while_at_most(self) -> None:
        for number in range(100):
            self.acknowledges(4 + number)
            self.clock.advance(0.1)
        self.assertLessEqual(len(self.journal.take()), 10 / INTERVAL + 1)

    def test_what_is_no_news_is_not_written(self) -> None:
        self.acknowledges(3)
        self.clock.advance(INTERVAL)
        self.acknowledges(2)
        self.clock.advance(INTERVAL)
        self.assertEqual(self.journal.take(), [])

    def test_who_has_everything_has_what_was_given_out(self) -> None:
        self.acknowledges(float("inf"))
        self.journal.given = 7
        self.clock.advance(INTERVAL)
        self.assertEqual(self.journal.take(), [("phone", 7)])
        self.acknowledges(9)  # not written to it yet, and so it cannot be
        self.clock.advance(INTERVAL)
        self.assertEqual(self.journal.take(), [])

    def test_all_accounts_at_the_same_time(self) -> None:
        """What they write makes one batch."""
        others = [ManagedSessions(BARE, self.journal, self.clock, lambda _: None) for _ in range(10)]
        for number, other in enumerate(others):
            session = FakeSession(f"s{number}", self.clock)
            session.reached = 1
            other.add(session)
            session.reached = 2
            self.clock.advance(0.17)
            other.acknowledged(session)
        times = {round(call.getTime(), 6) for call in self.clock.getDelayedCalls()}
        self.assertEqual(times, {1002.0})

    def test_several_sessions(self) -> None:
        desk = self.session("desk")
        self.acknowledges(5)
        self.acknowledges(6, desk)
        self.clock.advance(INTERVAL)
        self.assertEqual(sorted(self.journal.take()), [("desk", 6), ("phone", 5)])

    def test_one_that_falls_asleep(self) -> None:
        self.acknowledges(5)
        self.managed.sleeps(self.phone)
        self.assertEqual(self.journal.take(), [("phone", 5)])
        self.managed.sleeps(self.phone)
        self.clock.advance(INTERVAL)
        self.assertEqual(self.journal.take(), [])

    def test_one_that_is_over(self) -> None:
        self.acknowledges(5)
        self.managed.remove(self.phone)
        self.assertEqual(self.journal.take(), [("phone", None)])
        self.assertEqual((self.clock.getDelayedCalls(), len(self.managed)), ([], 0))
        self.acknowledges(6)
        self.managed.sleeps(self.phone)
        self.managed.remove(self.phone)
        self.assertEqual((self.journal.take(), self.clock.getDelayedCalls()), ([], []))

    def test_the_other_goes_on(self) -> None:
        desk = self.session("desk")
        self.acknowledges(5)
        self.acknowledges(6, desk)
        self.managed.remove(self.phone)
        self.journal.take()
        self.clock.advance(INTERVAL)
        self.assertEqual(self.journal.take(), [("desk", 6)])

    def test_the_proxy_ends(self) -> None:
        self.acknowledges(5)
        self.managed.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class RecordingWorld(World):
    new_journal = Recorder


class AccountTests(SynchronousTestCase):
    """An account has its sessions acknowledge, and ends that with them."""

    def setUp(self) -> None:
        self.world = RecordingWorld()
        assert isinstance(self.world.journal, Recorder)
        self.journal = self.world.journal
        (self.phone,) = self.world.joined("phone")
        self.phone.managed = True
        self.phone.reached = 4
        self.journal.given = 100

    def test_of_a_session(self) -> None:
        account = self.world.account
        account.session_managed(self.phone)
        self.phone.reached = 5
        account.acknowledged(self.phone)
        self.world.clock.advance(INTERVAL)
        self.phone.reached = 6
        account.session_sleeps(self.phone)
        account.session_closed(self.phone)
        self.assertEqual(self.journal.take(), [("phone", 4), ("phone", 5), ("phone", 6), ("phone", None)])

    def test_of_none_of_its_sessions(self) -> None:
        """One that is over, and says it late."""
        account = self.world.account
        account.session_closed(self.phone)
        account.session_managed(self.phone)
        account.acknowledged(self.phone)
        account.session_sleeps(self.phone)
        self.assertEqual(self.journal.take(), [])

    def test_the_account_is_no_more(self) -> None:
        self.world.account.session_managed(self.phone)
        self.world.account.acknowledged(self.phone)
        self.world.account.end()
        self.assertEqual(self.journal.take(), [("phone", 4), ("phone", None)])
        self.assertEqual([call for call in self.world.clock.getDelayedCalls() if "_write" in str(call)], [])

    def test_another_session_takes_the_resource(self) -> None:
        """The former one is over before that is known of: what it has got is settled before the other one begins."""
        self.world.account.session_managed(self.phone)
        again = self.world.session("phone")
        self.assertEqual((self.phone.closed, again.closed), ("conflict", None))
        self.assertEqual(self.journal.take(), [("phone", 4), ("phone", None)])
        self.assertEqual(list(self.world.account.sessions), [again])
        self.assertEqual(self.world.said, [])  # the account was not without sessions
        self.assertEqual(self.world.account.client_in(ROOM), None)

    def test_what_the_former_one_has_not_acknowledged(self) -> None:
        self.world.account.rooms[ROOM].history.at_least = 0
        self.world.says("bob", "got")
        self.world.says("bob", "not got", stanza_id="m2")
        self.phone.reached = self.world.account.rooms[ROOM].history.entries[0].sequence
        again = self.world.session("phone")
        self.world.asks_to_join(again)
        said = [kind for kind in kinds(again.take()) if kind.startswith("bob: ")]
        self.assertEqual(said, ["bob: not got"])
        self.world.account.session_closed(self.phone)  # it says so late
        self.world.says("bob", "more")
        self.assertEqual(kinds(again.take()), ["bob: more"])

    def test_a_join_repeated_while_it_is_there(self) -> None:
        """What it had got before stays so: its session may end before it has got that once more."""
        room = self.world.account.rooms[ROOM]
        room.history.at_least = 0
        self.world.says("bob", "got")
        self.journal.given = self.phone.reached = room.history.entries[-1].sequence
        self.world.asks_to_join(self.phone)
        self.world.account.session_closed(self.phone)
        again = self.world.session("phone")
        self.world.asks_to_join(again)
        self.assertNotIn("bob: got", kinds(again.take()))


class HeldBackTests(SynchronousTestCase):
    """Messages wait for an inactive client (XEP-0352): if the proxy is killed, it has not seen them."""

    def setUp(self) -> None:
        self.world = World()
        self.phone = self.world.session("phone")
        self.journal = Recorder()
        self.journal.given = 100
        self.world.account._managed._journal = self.journal

    def test_while_they_wait(self) -> None:
        self.phone.reached = 3
        self.world.account.held_back(self.phone, True)
        self.assertEqual(self.journal.take(), [("phone", 3)])
        self.world.account.held_back(self.phone, False)
        self.assertEqual(self.journal.take(), [("phone", None)])

    def test_a_client_that_acknowledges(self) -> None:
        """What it has not acknowledged it has not seen, whatever waits."""
        self.phone.managed = True
        self.phone.reached = 3
        self.world.account.session_managed(self.phone)
        self.journal.take()
        for waits in (True, False):
            self.world.account.held_back(self.phone, waits)
        self.assertEqual(self.journal.take(), [])

    def test_after_its_end(self) -> None:
        self.world.account.held_back(self.phone, True)
        self.world.account.session_closed(self.phone)
        self.world.account.held_back(self.phone, True)
        self.assertEqual([sequence for _phone, sequence in self.journal.take()], [100, None])
