"""The key that seals credentials, and what it seals."""

import os
import stat
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial import unittest

from minimixproxy.storage.errors import SealKeyError
from minimixproxy.storage.sealing import Sealer, Unsealable, load_sealer

PLACES = st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20), max_size=4)


class SealerTests(unittest.TestCase):
    sealer = Sealer(b"k" * 32)

    @given(st.binary(), PLACES, PLACES)
    def test_opens_in_its_place_only(self, value: bytes, place: list[str], other: list[str]) -> None:
        sealed = self.sealer.seal(value, *place)
        self.assertEqual(self.sealer.open(sealed, *place), value)
        if "\0".join(place) != "\0".join(other):
            self.assertRaises(Unsealable, self.sealer.open, sealed, *other)

    def test_nothing(self) -> None:
        """That is not the same as no value."""
        self.assertEqual(self.sealer.open(self.sealer.seal(b"", "a"), "a"), b"")

    def test_never_the_same_twice(self) -> None:
        self.assertNotEqual(self.sealer.seal(b"x", "a"), self.sealer.seal(b"x", "a"))

    def test_spoilt(self) -> None:
        sealed = self.sealer.seal(b"secret", "a")
        for spoilt in (
            b"",
            b"\x01",
            *(sealed[:end] for end in range(len(sealed))),
            sealed + b"x",
            b"\x02" + sealed[1:],
            sealed[:-1] + bytes([sealed[-1] ^ 1]),
            None,
            "text",
            5,
        ):
            self.assertRaises(Unsealable, self.sealer.open, spoilt, "a")

    def test_another_key(self) -> None:
        self.assertRaises(Unsealable, Sealer(b"K" * 32).open, self.sealer.seal(b"secret", "a"), "a")


class KeyFileTests(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.patch(os, "environ", {})

    def test_made_at_first_use(self) -> None:
        sealed = load_sealer(None, self.directory).seal(b"secret", "a")
        (file,) = self.directory.iterdir()
        self.assertEqual((file.name, stat.S_IMODE(file.stat().st_mode)), ("seal.key", 0o600))
        self.assertEqual(len(bytes.fromhex(file.read_text())), 32)
        self.assertEqual(load_sealer(None, self.directory).open(sealed, "a"), b"secret")

    def test_configured(self) -> None:
        file = self.directory / "elsewhere"
        sealed = load_sealer(file, self.directory).seal(b"secret", "a")
        self.assertEqual([path.name for path in self.directory.iterdir()], ["elsewhere"])
        self.assertEqual(load_sealer(file, self.directory).open(sealed, "a"), b"secret")

    def test_others_may_read_it(self) -> None:
        load_sealer(None, self.directory)
        file = self.directory / "seal.key"
        for mode in (0o640, 0o604, 0o620):
            file.chmod(mode)
            error = self.assertRaises(SealKeyError, load_sealer, None, self.directory)
            self.assertEqual(str(error), f"{file}: others may read it (mode {mode:04o}): chmod 600 {file}")

    def test_no_key(self) -> None:
        file = self.directory / "seal.key"
        for content in (b"", b"short\n", b" " * 100):
            file.write_bytes(content)
            file.chmod(0o600)
            error = self.assertRaises(SealKeyError, load_sealer, None, self.directory)
            self.assertIn(f"{file}: is no key: it must hold at least 32 random bytes", str(error))
            self.assertEqual(file.read_bytes(), content)

    def test_cannot_be_made(self) -> None:
        error = self.assertRaises(SealKeyError, load_sealer, None, self.directory / "missing")
        self.assertEqual(str(error), f"{self.directory}/missing/seal.key: cannot be made: No such file or directory")

    def test_credential_of_systemd(self) -> None:
        credentials = self.directory / "credentials"
        credentials.mkdir()
        os.environ["CREDENTIALS_DIRECTORY"] = str(credentials)
        (credentials / "minimixproxy.key").write_bytes(b"k" * 32 + b"\n")
        sealed = load_sealer(None, self.directory).seal(b"secret", "a")
        self.assertEqual(Sealer(b"k" * 32).open(sealed, "a"), b"secret")
        self.assertEqual([path.name for path in self.directory.iterdir()], ["credentials"])

    def test_credentials_of_something_else(self) -> None:
        os.environ["CREDENTIALS_DIRECTORY"] = str(self.directory)
        load_sealer(None, self.directory)
        self.assertEqual([path.name for path in self.directory.iterdir()], ["seal.key"])

    def test_a_configured_credential_has_a_mode_of_its_own(self) -> None:
        """Where systemd gives the service access by an ACL, the mode shows the ACL's mask."""
        file = self.directory / "sealing"
        file.write_bytes(b"k" * 32)
        file.chmod(0o440)
        self.assertRaises(SealKeyError, load_sealer, file, self.directory)
        os.environ["CREDENTIALS_DIRECTORY"] = str(self.directory / "others")
        self.assertRaises(SealKeyError, load_sealer, file, self.directory)
        os.environ["CREDENTIALS_DIRECTORY"] = str(self.directory)
        load_sealer(file, self.directory)

    def test_what_is_configured_comes_first(self) -> None:
        """Whatever systemd passes: it may be the key of another installation."""
        credentials, file = self.directory / "credentials", self.directory / "configured"
        credentials.mkdir()
        os.environ["CREDENTIALS_DIRECTORY"] = str(credentials)
        (credentials / "minimixproxy.key").write_bytes(b"k" * 32)
        file.write_bytes(b"c" * 32)
        file.chmod(0o600)
        sealed = load_sealer(file, self.directory).seal(b"secret", "a")
        self.assertEqual(Sealer(b"c" * 32).open(sealed, "a"), b"secret")

    def test_cannot_be_read(self) -> None:
        file = self.directory / "seal.key"
        file.mkdir(mode=0o700)
        error = self.assertRaises(SealKeyError, load_sealer, None, self.directory)
        self.assertIn(f"{file}: is a directory: seal_key must name a file of its own", str(error))

    def test_made_by_another_meanwhile(self) -> None:
        """Two that start at once: both use the key that was there first."""
        file, real = self.directory / "seal.key", os.link

        def link(source: Path, target: Path) -> None:
            file.write_bytes(b"o" * 32)
            file.chmod(0o600)
            real(source, target)

        self.patch(os, "link", link)
        sealed = load_sealer(None, self.directory).seal(b"secret", "a")
        self.assertEqual(Sealer(b"o" * 32).open(sealed, "a"), b"secret")
        self.assertEqual(list(self.directory.iterdir()), [file])

    def test_the_shortest_key(self) -> None:
        file = self.directory / "seal.key"
        for size, good in ((31, False), (32, True)):
            file.write_bytes(b"k" * size)
            file.chmod(0o600)
            if good:
                load_sealer(None, self.directory)
            else:
                self.assertRaises(SealKeyError, load_sealer, None, self.directory)
