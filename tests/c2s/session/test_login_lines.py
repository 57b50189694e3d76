"""Sessions that lost their server together log in again as it answers, varied, and those with a client first."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.errors import UpstreamRefused, UpstreamUnreachable
from minimixproxy.c2s.session.login_lines import LOGINS, LOGINS_BURST, LOGINS_PER_SECOND, LoginLines
from minimixproxy.c2s.session.reconnecting import LONGEST, REFUSALS, Reconnecting, Resumption
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.c2s.upstream.credentials import Credential, KeyCache
from minimixproxy.config.settings import Domain
from minimixproxy.stream_management.handled import Handled
from minimixproxy.timing.answer_window import LATELY, LEAST
from minimixproxy.timing.backoff import SOON
from minimixproxy.wire.xmlstream import FramedXmlStream

FIRST = LOGINS.first


class Session:
    """One that notes what becomes of it (`Reconnectable`)."""

    login = Login(Domain(name="example.org"), "a", Credential.from_password("secret"), KeyCache())

    def __init__(self, case: LoginLinesTests, name: str) -> None:
        self.case, self.name = case, name

    def connect(self, login: Login) -> Deferred[FramedXmlStream]:
        attempt: Deferred[FramedXmlStream] = Deferred()
        self.case.attempts.append((self.name, attempt))
        return attempt

    def server_back(self, stream: FramedXmlStream, h: int) -> None:
        raise AssertionError("not in these tests")

    def server_gone(self, handled: int | None) -> None:
        self.case.failed.append(self.name)

    def server_refuses(self) -> None:
        self.case.failed.append(self.name)


class LoginLinesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.chance = 0.5
        self.lines = LoginLines(self.clock, lambda: self.chance)
        self.attempts: list[tuple[str, Deferred[FramedXmlStream]]] = []
        self.failed: list[str] = []

    def lose(self, name: str, *, urgent: bool = True, keeps: int = 600, domain: str = "example.org") -> Reconnecting:
        """A session has lost its server, which keeps the stream for so many seconds."""
        reconnecting = Reconnecting(name, Session(self, name))
        reconnecting.start(
            Resumption("id", keeps, Handled()), self.lines.pace(domain, f"{name}@{domain}"), "", urgent=urgent
        )
        return reconnecting

    def lose_many(self, count: int, *, urgent: bool = True) -> list[Reconnecting]:
        return [self.lose(f"session{number}", urgent=urgent) for number in range(count)]

    def names(self) -> list[str]:
        """Who has tried, in order, since this was asked last."""
        names = [name for name, _attempt in self.attempts[self.asked :]]
        self.asked = len(self.attempts)
        return names

    asked = 0

    def fails(self, *attempts: Deferred[FramedXmlStream]) -> None:
        """It fails for good, and so there are no waits for the next one."""
        for attempt in attempts:
            attempt.errback(UpstreamRefused("not-authorized"))

    def test_one_that_was_resumed_just_now_waits(self) -> None:
        """But not for longer than half of the time for which its server keeps the stream."""
        for keeps, wait in ((600, SOON), (2, 1.0)):
            pace = self.lines.pace("example.org", "phone@example.org")
            self.assertEqual([pace.waits.next() for _ in range(3)], [0.5, 1.0, 2.0])
            reconnecting = Reconnecting("phone", Session(self, "phone"))
            reconnecting.start(Resumption("id", keeps, Handled()), pace, "", urgent=True, waits=True)
            self.clock.advance(wait - 0.01)
            self.assertEqual(self.names(), [])
            self.clock.advance(0.02)
            self.assertEqual(self.names(), ["phone"])

    def test_one_begins_at_once(self) -> None:
        self.lose("phone")
        self.assertEqual(self.names(), ["phone"])

    def test_as_many_at_once_as_the_server_answers_soon(self) -> None:
        self.lose_many(300)
        self.assertEqual(len(self.names()), FIRST)
        for under_way in range(FIRST, FIRST + 10):
            self.clock.advance(0.5)
            began = [attempt for _name, attempt in self.attempts if not attempt.called]
            # one more for each round, and one that begins in any case
            self.assertIn(len(began), (under_way, under_way + 1))
            self.fails(*began)

    def test_no_more_in_a_second_however_soon(self) -> None:
        self.lose_many(3 * LOGINS_PER_SECOND)
        for _ in range(100):
            self.fails(*(attempt for _name, attempt in self.attempts if not attempt.called))
            self.clock.advance(0.01)
        self.assertLessEqual(len(self.names()), LOGINS_PER_SECOND + LOGINS_BURST)
        self.assertGreater(len(self.failed), 0.8 * LOGINS_PER_SECOND)

    def test_a_server_in_trouble_has_fewer(self) -> None:
        self.lose_many(50)
        for _ in range(20):
            for _name, attempt in self.attempts:
                if not attempt.called:
                    attempt.errback(UpstreamUnreachable("no answer within 15 seconds"))
            self.clock.advance(0.1)
        self.assertEqual(len([attempt for _name, attempt in self.attempts if not attempt.called]), LEAST)

    def test_a_server_that_is_down_teaches_nothing(self) -> None:
        """It refuses at once, which costs it nothing: each session tries a few times, and the last ends soon."""
        self.lose_many(100)
        refused = UpstreamUnreachable("not there")
        refused.__cause__ = ConnectionRefusedError()
        for _ in range(100):
            for _name, attempt in self.attempts:
                if not attempt.called:
                    attempt.errback(refused)
            self.clock.advance(0.1)
        self.assertEqual((len(self.failed), len(self.attempts)), (100, 100 * REFUSALS))

    def test_a_server_that_is_down_and_slow_to_say_so(self) -> None:
        """One far away: its sessions are told soon, a thousand within two minutes."""
        self.lose_many(200)
        refused = UpstreamUnreachable("not there")
        refused.__cause__ = ConnectionRefusedError()
        while len(self.failed) < 200:
            began = [attempt for _name, attempt in self.attempts if not attempt.called]
            self.clock.advance(0.2)
            for attempt in began:
                attempt.errback(refused)
            self.attempts = [one for one in self.attempts if not one[1].called]
        self.assertLess(self.clock.seconds(), 24)

    def test_domains_do_not_wait_for_each_other(self) -> None:
        self.lose_many(50)
        self.names()
        self.lose("other", domain="example.net")
        self.assertEqual(self.names(), ["other"])

    def test_clients_that_are_there_go_first(self) -> None:
        asleep = [self.lose(f"asleep{number}", urgent=False) for number in range(FIRST + 3)]
        self.lose("awake")
        self.names()
        self.fails(self.attempts[0][1])
        self.assertEqual(self.names(), ["awake"])
        asleep[FIRST + 2].hurry()  # its client has resumed it
        self.fails(*(attempt for _name, attempt in self.attempts[1:4]))
        self.assertEqual(self.names(), [f"asleep{FIRST + number}" for number in (2, 0, 1)])

    def test_who_ends_in_line_or_under_way_is_in_nobody_s_way(self) -> None:
        sessions = self.lose_many(FIRST + 2)
        self.names()
        sessions[FIRST].stop()
        sessions[0].stop()
        self.assertEqual(self.names(), [f"session{FIRST + 1}"])
        self.assertEqual(self.failed, [])

    def test_who_waits_in_line_for_as_long_as_the_server_keeps_its_stream(self) -> None:
        """But for no longer than `LONGEST`. Before it are many in a hurry, whom the server does not answer."""
        self.lose_many(50, urgent=True)
        self.lose("short", keeps=30, urgent=False)
        self.lose("long", urgent=False)
        self.clock.advance(29)
        self.assertEqual(self.failed, [])
        self.clock.advance(1)
        self.clock.advance(8)
        self.assertEqual(self.failed, ["short"])
        self.clock.advance(LONGEST - 39)
        self.assertEqual(self.failed, ["short"])
        self.clock.advance(1)
        self.clock.advance(8)
        self.assertIn("long", self.failed)
        self.assertNotIn("long", self.names())

    def test_a_server_that_says_nothing(self) -> None:
        """So many begin in any case: it may have come to itself. More of those whose clients are there."""
        for urgent, per_second in ((True, LOGINS.urgent_per_second), (False, LOGINS.least_per_second)):
            sessions = self.lose_many(200, urgent=urgent)
            self.clock.pump([0.01] * 1000)
            begun = len(self.names()) - FIRST
            self.assertTrue(0.8 * 10 * per_second <= begun <= 10 * per_second, begun)
            for session in sessions:
                session.stop()
            self.names()
            self.clock.advance(LATELY)  # all is forgotten

    def test_waits_behind_failures_are_varied(self) -> None:
        for self.chance, seconds in ((0.0, 0.25), (1.0, 0.75)):
            self.lose(f"{self.chance}")
            self.names()
            self.attempts[-1][1].errback(UpstreamUnreachable("not there"))
            self.clock.advance(seconds - 0.01)
            self.assertEqual(self.names(), [])
            self.clock.advance(0.01)
            self.assertEqual(self.names(), [f"{self.chance}"])

    def test_the_service_ends(self) -> None:
        for session in self.lose_many(FIRST + 2):
            session.stop()
        self.lines.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
