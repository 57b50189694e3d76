"""What is on disk of the account's being in a room: that it is, with what, and nothing once it is not."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.interfaces.journal import KeptMembership
from minimixproxy.minimix.occupancy.membership import MAX_PASSWORD, Membership
from tests.minimix.history.test_room_history import Recorder
from tests.minimix.outlets import appearance


class Journal(Recorder):
    """What is on disk: `on_disk`, None for nothing; and how often it was written."""

    on_disk: KeptMembership | None = None
    written = 0

    def membership(self, membership: KeptMembership) -> None:
        self.on_disk = membership
        self.written += 1

    def forgotten(self) -> None:
        self.on_disk = None
        self.written += 1


class MembershipTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.journal = Journal()
        self.appearance = appearance()
        self.appearance.named("alice_", wished="alice")
        self.membership = Membership(self.appearance, self.journal, 5.0)

    def test_nothing_before_it_is_in(self) -> None:
        """Nor after it is out."""
        for _ in range(2):
            self.membership.note_bookmark(not self.membership.bookmarked)
            self.membership.learn_password("secret")
            self.membership.changed()
            self.assertIsNone(self.journal.on_disk)
            self.membership.keep()
            self.assertIsNotNone(self.journal.on_disk)
            self.membership.forget()
            self.assertIsNone(self.journal.on_disk)

    def test_what_is_kept(self) -> None:
        self.membership.learn_password("secret")
        self.membership.keep()
        self.assertEqual(self.journal.on_disk, KeptMembership("alice_", "alice", "secret", False, 5.0))
        self.membership.note_bookmark(True)
        self.assertEqual(self.journal.on_disk, KeptMembership("alice_", "alice", "secret", True, 5.0))
        self.appearance.nick = "alice"
        self.membership.changed()
        self.assertEqual(self.journal.on_disk, KeptMembership("alice", "alice", "secret", True, 5.0))
        self.membership.note_bookmark(True)
        self.assertEqual(self.journal.written, 3, "nothing new")
        self.assertIs(self.membership.bookmarked, True)

    def test_restored(self) -> None:
        kept = KeptMembership("liz_", "liz", "secret", True, 3.0)
        self.membership.restore(kept)
        self.assertEqual((self.membership.kept, self.appearance.nick), (kept, "liz_"))
        self.assertEqual(self.journal.written, 0, "the disk has it")
        self.membership.note_bookmark(False)
        self.assertEqual(self.journal.on_disk, KeptMembership("liz_", "liz", "secret", False, 3.0))

    def test_passwords(self) -> None:
        longest = "x" * MAX_PASSWORD
        for password, kept in ((None, None), (longest, longest), (longest + "x", None)):
            self.membership.learn_password("former")
            self.membership.learn_password(password)
            self.assertEqual(self.membership.password, kept)
