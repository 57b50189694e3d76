"""The resource of account streams: random, kept, private."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.storage.installation import account_resource


class AccountResource(SynchronousTestCase):
    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.state = directory / "state.sqlite"

    def test_kept(self) -> None:
        first = account_resource(self.state)
        self.assertRegex(first, r"^minimix\.[0-9a-f]{16}$")
        self.assertEqual(account_resource(self.state), first)
        self.assertEqual(self.state.with_name("resource").stat().st_mode & 0o777, 0o600)

    def test_each_installation_has_its_own(self) -> None:
        first = account_resource(self.state)
        self.state.with_name("resource").unlink()
        self.assertNotEqual(account_resource(self.state), first)

    def test_a_spoilt_file_is_made_anew(self) -> None:
        self.state.with_name("resource").write_text("minimix./../\n")
        self.assertRegex(account_resource(self.state), r"^minimix\.[0-9a-f]{16}$")
