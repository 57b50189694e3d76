"""Which sessions can be resumed: nothing is kept of those that are over."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.session.resumable import ResumableSessions
from minimixproxy.config.settings import Sessions

ACCOUNT = "a@example.org"


class Session:
    """`ended` says how it was closed."""

    account, handled, device = ACCOUNT, 5, ""

    def __init__(self, resource: str) -> None:
        self.jid = f"{ACCOUNT}/{resource}"
        self.ended: list[str] = []

    def close(self, condition: str, text: str = "") -> None:
        self.ended.append(condition)


class ResumableSessionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.sessions = ResumableSessions(Sessions(sleeping_per_account=2))

    def add(self) -> tuple[Any, str]:
        name = f"id{len(self.sessions)}"
        session: Any = Session(name)
        self.sessions.restore(name, session)
        return session, name

    def test_nobody_guesses_an_id(self) -> None:
        """It is all that a client has to know who resumes, beside what its login says: 128 bits."""
        ids = {self.sessions.add(Session(f"r{number}")) for number in range(3)}  # type: ignore[arg-type]
        self.assertEqual([len(urlsafe_b64decode(f"{one}==")) for one in ids], [16] * 3)

    def test_too_many_sleep(self) -> None:
        """The one that does so for longest ends; one that has woken is not counted."""
        first, second, third, fourth = (self.add() for _ in range(4))
        for _session, name in (first, second):
            self.sessions.falls_asleep(name)
        self.sessions.wakes(first[1], ACCOUNT)
        self.sessions.falls_asleep(third[1])
        self.assertEqual(self.sessions.sleeping, 2)
        self.sessions.falls_asleep(fourth[1])
        ended = [session.ended for session, _name in (first, second, third, fourth)]
        self.assertEqual(ended, [[], ["resource-constraint"], [], []])

    def test_nothing_is_kept_of_an_account_of_which_none_sleeps(self) -> None:
        """There may be a million accounts in the life of a process."""
        _session, name = self.add()
        _other, other = self.add()
        for end in (lambda: self.sessions.wakes(name, ACCOUNT), lambda: self.sessions.remove(name)):
            for one in (name, other):
                self.sessions.falls_asleep(one)
            end()
            self.assertEqual(list(self.sessions._asleep), [ACCOUNT])
            self.sessions.wakes(other, ACCOUNT)
            self.assertEqual((self.sessions._asleep, self.sessions.sleeping), ({}, 0))
        self.assertEqual(self.sessions.handled_of_ended(name, ACCOUNT), 5)
        self.assertFalse(self.sessions.remove(name), "that is known already")
        self.assertEqual(len(self.sessions), 1)

    def test_of_a_domain_that_is_not_served_any_more(self) -> None:
        """What waits to be resumed ends too: nobody could log in to it."""
        sessions = [self.add()[0] for _ in range(2)]
        sessions[1].account = "a@example.net"
        self.sessions.end_domains({"example.net", "example.com"}, "not served here any more")
        self.assertEqual([session.ended for session in sessions], [[], ["host-gone"]])
