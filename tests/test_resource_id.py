"""The resources of account streams: random per installation and account, the same after a restart."""

from pathlib import Path

from twisted.trial import unittest

from minimixproxy.resource_id import Installation

BARE = "a@example.org"


class InstallationTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def test_form(self) -> None:
        self.assertRegex(Installation(self.directory).resource(BARE), "^minimix\\.[0-9a-f]{16}$")

    def test_kept(self) -> None:
        self.assertEqual(Installation(self.directory).resource(BARE), Installation(self.directory).resource(BARE))

    def test_differs_between_accounts(self) -> None:
        installation = Installation(self.directory)
        names = {installation.name, installation.resource(BARE), installation.resource("b@example.org")}
        self.assertEqual(len(names), 3)
        self.assertEqual(installation.name, Installation(self.directory).name)

    def test_differs_between_installations(self) -> None:
        other = self.directory / "other"
        other.mkdir()
        self.assertNotEqual(Installation(self.directory).resource(BARE), Installation(other).resource(BARE))

    def test_nothing_is_written_before_use(self) -> None:
        Installation(self.directory)
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_damaged_file_is_replaced(self) -> None:
        for damage in (b"", b"x" * 32, b"\xff\xfe", b"0123456789abcdef\n"):
            (self.directory / "installation").write_bytes(damage)
            resource = Installation(self.directory).resource(BARE)
            self.assertRegex(resource, "^minimix\\.[0-9a-f]{16}$")
            self.assertEqual(resource, Installation(self.directory).resource(BARE))

    def test_a_secret_that_is_known(self) -> None:
        """Earlier versions bound what stands in the file."""
        (self.directory / "installation").write_text("0123456789abcdef\n")
        Installation(self.directory).resource(BARE)
        made = (self.directory / "installation").read_text()
        self.assertNotIn("0123456789abcdef", made)
        self.assertEqual((self.directory / "installation").stat().st_mode & 0o777, 0o600)

    def test_what_is_left_of_an_attempt(self) -> None:
        """Others could read it, or it leads elsewhere: nothing is written to it."""
        left, elsewhere = self.directory / "installation.new", self.directory / "elsewhere"
        elsewhere.touch()
        for leave in (lambda: left.touch(0o644), lambda: left.symlink_to("elsewhere")):
            leave()
            Installation(self.directory).resource(BARE)
            made = self.directory / "installation"
            self.assertEqual((made.stat().st_mode & 0o777, made.is_symlink()), (0o600, False))
            self.assertFalse(left.exists())
            made.unlink()
        self.assertEqual(elsewhere.read_bytes(), b"")

    def test_unwritable_directory(self) -> None:
        installation = Installation(self.directory / "absent")
        self.assertRegex(installation.resource(BARE), "^minimix\\.[0-9a-f]{16}$")
        self.assertEqual(installation.resource(BARE), installation.resource(BARE))
