"""The sessions in a room, and the bytes that what they show it takes."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.bounds.byte_budget import ByteBudget
from minimixproxy.minimix.room.attached_sessions import AttachedSessions
from minimixproxy.wire.stanza import parse_stanza
from tests.minimix.fakes import FakeSession
from tests.minimix.outlets import FakeOutlet

LARGE = parse_stanza(f"<presence><show>away</show><status>{'x' * 600}</status></presence>")


class DirectedTest(SynchronousTestCase):
    """There is room for one large presence, and not for two."""

    def setUp(self) -> None:
        self.budget = ByteBudget(1000)
        self.attached = AttachedSessions(FakeOutlet(client_budget=self.budget), b"")
        self.phone = FakeSession("phone", Clock())

    def shown(self) -> list[bool]:
        """Of each session that directs one, whether its presence is kept whole."""
        return [b"xxx" in payload for _session, payload in self.attached.directed() if payload is not None]

    def test_what_is_shown_no_more_takes_no_bytes(self) -> None:
        """However it went: the next one is kept whole."""
        for goes in (
            lambda: self.attached.show(self.phone, None),
            lambda: self.attached.show(self.phone, LARGE),
            lambda: self.attached.remove(self.phone),
            self.attached.clear,
        ):
            self.attached.show(self.phone, LARGE)
            self.assertEqual(self.shown(), [True])
            goes()
            self.assertEqual(self.budget.used > 0, any(self.shown()))
        self.assertEqual(self.budget.used, 0)

    def test_what_has_no_place_is_how_available_one_is(self) -> None:
        self.attached.show(self.phone, LARGE)
        self.attached.show(FakeSession("laptop", Clock()), LARGE)
        self.assertEqual(self.shown(), [True, False])
        self.assertIn(b"<show>away</show>", [payload for _session, payload in self.attached.directed()][1] or b"")
