"""Sessions that lost their server together log in again at a pace, varied, and those with a client first."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.errors import UpstreamRefused, UpstreamUnreachable
from minimixproxy.c2s.session.login_lines import LOGINS_AT_ONCE, LOGINS_PER_SECOND, LoginLines
from minimixproxy.c2s.session.reconnecting import LONGEST, Reconnecting, Resumption
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.c2s.upstream.credentials import Credential, KeyCache
from minimixproxy.config.settings import Domain
from minimixproxy.stream_management.handled import Handled
from minimixproxy.wire.xmlstream import FramedXmlStream


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
        reconnecting.start(Resumption("id", keeps, Handled()), self.lines.pace(domain), "", urgent=urgent)
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

    def test_one_begins_at_once(self) -> None:
        self.lose("phone")
        self.assertEqual(self.names(), ["phone"])

    def test_so_many_in_a_second(self) -> None:
        self.lose_many(3 * LOGINS_PER_SECOND)
        for second in range(3):
            expected = [f"session{second * LOGINS_PER_SECOND + number}" for number in range(LOGINS_PER_SECOND)]
            self.assertEqual(self.names(), expected)
            self.fails(*(attempt for _name, attempt in self.attempts[-LOGINS_PER_SECOND:]))
            self.assertEqual(self.names(), [])
            self.clock.pump([1 / LOGINS_PER_SECOND] * LOGINS_PER_SECOND)
        self.assertEqual(len(self.failed), 3 * LOGINS_PER_SECOND)

    def test_so_many_under_way(self) -> None:
        self.lose_many(LOGINS_AT_ONCE + 3)
        self.clock.advance(10)
        self.assertEqual(len(self.names()), LOGINS_AT_ONCE)
        self.fails(self.attempts[7][1])
        self.assertEqual(self.names(), [f"session{LOGINS_AT_ONCE}"])

    def test_domains_do_not_wait_for_each_other(self) -> None:
        self.lose_many(LOGINS_AT_ONCE + 1)
        self.names()
        self.lose("other", domain="example.net")
        self.assertEqual(self.names(), ["other"])

    def test_clients_that_are_there_go_first(self) -> None:
        self.lose_many(LOGINS_AT_ONCE, urgent=False)
        asleep = [self.lose(f"asleep{number}", urgent=False) for number in range(3)]
        self.lose("awake")
        self.names()
        self.clock.advance(10)
        self.fails(self.attempts[0][1])
        self.assertEqual(self.names(), ["awake"])
        asleep[2].hurry()  # its client has resumed it
        self.fails(self.attempts[1][1], self.attempts[2][1], self.attempts[3][1])
        self.assertEqual(self.names(), ["asleep2", "asleep0", "asleep1"])

    def test_who_ends_in_line_or_under_way_is_in_nobody_s_way(self) -> None:
        sessions = self.lose_many(LOGINS_AT_ONCE + 2)
        self.names()
        self.clock.advance(10)
        sessions[LOGINS_AT_ONCE].stop()
        sessions[0].stop()
        self.assertEqual(self.names(), [f"session{LOGINS_AT_ONCE + 1}"])
        self.assertEqual(self.failed, [])

    def test_who_waits_in_line_for_as_long_as_the_server_keeps_its_stream(self) -> None:
        self.lose_many(LOGINS_AT_ONCE)
        self.lose("short", keeps=30)
        self.lose("long")
        self.clock.advance(29)
        self.assertEqual(self.failed, [])
        self.clock.advance(1)
        self.clock.advance(8)
        self.assertEqual(self.failed, ["short"])
        self.clock.advance(LONGEST)
        self.clock.advance(8)
        self.assertEqual(self.failed, ["short", "long"])

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
        for session in self.lose_many(LOGINS_AT_ONCE + 2):
            session.stop()
        self.lines.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
