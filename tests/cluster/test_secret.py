"""What the processes of a cluster have in common, and what must not follow from it."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.cluster.secret import ClusterSecret, read_secret
from minimixproxy.resource_id import Installation
from minimixproxy.storage.errors import SealKeyError, StateError
from minimixproxy.storage.sealing import Unsealable, load_sealer

BARE = "a@example.org"
#: What follows from 32 times "s".
INSTALLATION = "5c5cd1e9f4a82511c00036a1aeaca3a0e23f638a2b47149a83f940acb1f3fa55"
SEALING = "5f372742c31d77bc9bdc81b774bb19e9962023069a9f1a94ea7ce7c454bedbec"


class SecretTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.patch(os, "environ", {})
        self.file = self.directory / "cluster.key"

    def write(self, content: bytes, mode: int = 0o600) -> None:
        self.file.write_bytes(content)
        self.file.chmod(mode)

    def test_all_bind_the_same_resources(self) -> None:
        self.write(b"s" * 32 + b"\n")
        first, second = (read_secret(self.file).installation for _process in range(2))
        one, other = Installation(self.directory / "one", first), Installation(self.directory / "other", second)
        self.assertEqual(one.resource(BARE), other.resource(BARE))
        self.assertNotEqual(one.resource(BARE), one.resource("b@example.org"))
        self.assertRegex(one.resource(BARE), "^minimix\\.[0-9a-f]{16}$")
        self.assertEqual(os.listdir(self.directory), ["cluster.key"], "nothing else is made")

    def test_all_open_what_one_has_sealed(self) -> None:
        self.write(b"s" * 32)
        sealed = load_sealer(None, self.directory, read_secret(self.file).sealing).seal(b"password", "a")
        opened = load_sealer(None, self.directory / "other", read_secret(self.file).sealing).open(sealed, "a")
        self.assertEqual(opened, b"password")
        self.assertEqual(os.listdir(self.directory), ["cluster.key"], "nothing else is made")

    def test_what_a_proxy_has_sealed_that_was_alone(self) -> None:
        """Its key is where it was, or where it is said to be; what is sealed from now on takes the secret."""
        for place in (None, self.directory / "elsewhere.key"):
            directory = self.directory / f"state {place is None}"
            directory.mkdir()
            before = load_sealer(place, directory).seal(b"password", "a")
            self.write(b"s" * 32)
            shared = read_secret(self.file).sealing
            here = load_sealer(place, directory, shared)
            self.assertEqual(here.open(before, "a"), b"password")
            self.assertRaises(Unsealable, here.open, before, "b")
            now = here.seal(b"password", "a")
            self.assertEqual(load_sealer(None, self.directory / "other", shared).open(now, "a"), b"password")
            self.assertRaises(Unsealable, load_sealer(None, self.directory / "other", shared).open, before, "a")

    def test_a_key_that_is_said_to_be_there(self) -> None:
        place = self.directory / "missing.key"
        error = self.assertRaises(SealKeyError, load_sealer, place, self.directory, b"s" * 32)
        self.assertIn(f"{place}: cannot be read: No such file", str(error))
        self.assertFalse(place.exists(), "it is not made")
        place.write_bytes(b"short")
        place.chmod(0o600)
        self.assertRaises(SealKeyError, load_sealer, place, self.directory, b"s" * 32)

    def test_another_secret(self) -> None:
        one, other = ClusterSecret(b"s" * 32), ClusterSecret(b"t" * 32)
        sealed = load_sealer(None, self.directory, one.sealing).seal(b"password", "a")
        self.assertRaises(Unsealable, load_sealer(None, self.directory, other.sealing).open, sealed, "a")
        self.assertNotEqual(one.installation, other.installation)

    def test_each_use_has_its_own(self) -> None:
        for secret in (b"s" * 32, b"s" * 500):
            made = ClusterSecret(secret)
            self.assertEqual(len({made.installation, made.sealing, made.decoys, secret}), 4)
            self.assertEqual((len(made.installation), len(made.sealing)), (32, 32))

    def test_made_of_the_same_for_ever(self) -> None:
        """What is sealed must open with every later version."""
        made = ClusterSecret(b"s" * 32)
        self.assertEqual((made.installation.hex(), made.sealing.hex()), (INSTALLATION, SEALING))

    def test_files_that_are_refused(self) -> None:
        self.assertIn("cluster.key: cannot be read: No such file or directory", self.refused())
        for content in (b"", b"s" * 31, b" " * 100):
            self.write(content)
            self.assertIn("cluster.key: is no key: it must hold at least 32 random bytes", self.refused())
        for mode in (0o640, 0o604):
            self.write(b"s" * 32, mode)
            self.assertIn(f"others may read it (mode {mode:04o}): chmod 600", self.refused())
        self.file.unlink()
        self.file.mkdir(mode=0o700)
        self.assertIn("is a directory: [cluster] secret must name a file, the same for all processes", self.refused())

    def test_a_credential_of_systemd(self) -> None:
        self.write(b"s" * 32, 0o440)
        os.environ["CREDENTIALS_DIRECTORY"] = str(self.directory)
        self.assertEqual(read_secret(self.file).sealing, ClusterSecret(b"s" * 32).sealing)

    def refused(self) -> str:
        return str(self.assertRaises(StateError, read_secret, self.file))
