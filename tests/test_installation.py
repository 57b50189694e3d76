"""The resource of account streams: random per installation, the same after a restart."""

from pathlib import Path

from twisted.trial import unittest

from minimixproxy.installation import Installation


class InstallationTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def test_form(self) -> None:
        self.assertRegex(Installation(self.directory).resource, "^minimix\\.[0-9a-f]{16}$")

    def test_kept(self) -> None:
        self.assertEqual(Installation(self.directory).resource, Installation(self.directory).resource)

    def test_differs_between_installations(self) -> None:
        other = self.directory / "other"
        other.mkdir()
        self.assertNotEqual(Installation(self.directory).resource, Installation(other).resource)

    def test_nothing_is_written_before_use(self) -> None:
        Installation(self.directory)
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_damaged_file_is_replaced(self) -> None:
        for damage in (b"", b"x" * 16, b"\xff\xfe"):
            (self.directory / "installation").write_bytes(damage)
            resource = Installation(self.directory).resource
            self.assertRegex(resource, "^minimix\\.[0-9a-f]{16}$")
            self.assertEqual(resource, Installation(self.directory).resource)

    def test_unwritable_directory(self) -> None:
        installation = Installation(self.directory / "absent")
        self.assertRegex(installation.resource, "^minimix\\.[0-9a-f]{16}$")
        self.assertEqual(installation.resource, installation.resource)
