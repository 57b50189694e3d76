"""Who may read and change what the proxy goes by; and state."""

from __future__ import annotations

import os
import pwd
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.checking import files, state, users
from minimixproxy.checking.files import check_files, check_readable
from minimixproxy.checking.finding import Finding, Level
from minimixproxy.checking.state import check_state
from minimixproxy.config.settings import load
from minimixproxy.storage.database import Database
from tests.certificates import make_authority, make_certificate

CLIENTS = """
state = "state/state.sqlite"
[[listen]]
endpoint = "tcp:0"
[domain."example.org"]
"""
COMPONENT = """
[[client_proxy]]
domain = "proxy.example.org"
target = "bot@example.org"
server = "tcp:127.0.0.1:5347"
"""


class FilesCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp())  # short, for the path of a socket
        self.addCleanup(shutil.rmtree, self.directory)
        self.file = self.directory / "minimixproxy.toml"

    def settings(self, text: str) -> Any:
        self.file.write_text(text)
        self.file.chmod(0o640)
        return load(self.file)

    def only(self, found: list[Finding], level: Level, *texts: str) -> None:
        self.assertEqual([one.level for one in found], [level] if texts else [], found)
        for text in texts:
            self.assertIn(text, found[0].sentence)


class FilesTest(FilesCase):
    def check(self, text: str, mode: int) -> list[Finding]:
        settings = self.settings(text)
        self.file.chmod(mode)
        return list(check_files(self.file, settings))

    def test_configuration_with_a_secret(self) -> None:
        secret = f'{COMPONENT}secret = "s3cret"\n'
        in_url = CLIENTS.replace("state/state.sqlite", "postgresql://proxy:s3cret@localhost/state")
        for text in (secret, in_url):
            for mode in (0o600, 0o640):
                self.only(self.check(text, mode), Level.WARNING)
            found = self.check(text, 0o644)
            self.only(found, Level.WARNING, "holds a secret, and everybody", "mode 0644", "chmod o-r")
            self.assertNotIn("s3cret", found[0].sentence)

    def test_configuration_without(self) -> None:
        in_url = CLIENTS.replace("state/state.sqlite", "postgresql://proxy@localhost/state")
        for text in (CLIENTS, in_url):
            self.only(self.check(text, 0o644), Level.WARNING)
            self.only(self.check(text, 0o646), Level.ERROR, "everybody on this machine may change", "chmod o-w")

    def test_secret_file(self) -> None:
        secret = self.directory / "secret"
        secret.write_text("s3cret")
        for mode in (0o600, 0o644):
            secret.chmod(mode)
            found = self.check(f'{COMPONENT}secret_file = "secret"\n', 0o644)
            self.only(found, Level.WARNING, *([] if mode == 0o600 else ["is a secret, and everybody"]))

    def test_private_key(self) -> None:
        _certificate, key = make_certificate(make_authority(), "example.org").write(self.directory, "this")
        pair = 'certificate = "this.pem"\nprivate_key = "this.key"\n'
        for mode in (0o640, 0o644):
            key.chmod(mode)
            found = self.check(CLIENTS + pair, 0o644)
            self.only(found, Level.WARNING, *([] if mode == 0o640 else ["this.key is a private key, and everybody"]))


class ProxysUserTest(FilesCase):
    """Root checks, and may read all; the proxy runs as another user."""

    def setUp(self) -> None:
        if os.geteuid() != 0:
            self.skipTest("only root may read what others may not")
        super().setUp()
        self.user = pwd.getpwnam("nobody")
        self.directory.chmod(0o755)
        self.certificate, self.key = make_certificate(make_authority(), "example.org").write(self.directory, "this")
        self.patch(users, "_service", lambda: self.user)

    def check(self) -> list[Finding]:
        pair = 'certificate = "this.pem"\nprivate_key = "this.key"\nupstream_trust = "this.pem"\n'
        settings = self.settings(CLIENTS + pair)
        os.chown(self.file, 0, self.user.pw_gid)
        return list(check_readable(self.file, settings))

    def test_owner_of_state(self) -> None:
        (self.directory / "state").mkdir(mode=0o700)
        os.chown(self.directory / "state", self.user.pw_uid, self.user.pw_gid)
        self.patch(users, "_service", lambda: None)
        self.key.chmod(0o600)
        self.only(self.check(), Level.ERROR, "this.key cannot be read by nobody, as whom the proxy runs: chgrp nobody")
        os.chown(self.key, 0, self.user.pw_gid)
        self.key.chmod(0o640)
        self.only(self.check(), Level.ERROR)

    def test_directory_that_is_closed(self) -> None:
        self.key.chmod(0o644)
        self.directory.chmod(0o700)
        said = [one.sentence for one in self.check()]
        self.assertEqual(len(said), 4, said)  # the configuration, the pair, and what is trusted

    def test_nobody_is_known(self) -> None:
        self.patch(users, "_service", lambda: None)
        self.key.chmod(0o600)
        self.assertEqual(self.check(), [])

    def test_credentials(self) -> None:
        self.key.chmod(0o600)
        self.patch(files, "CREDENTIALS", str(self.directory))
        self.assertEqual(self.check(), [])

    def test_state_that_is_roots(self) -> None:
        (self.directory / "state").mkdir(mode=0o700)
        found = list(check_state(self.settings(CLIENTS)))
        self.only(found, Level.ERROR, "belongs to root, and nobody, as whom the service runs, may not write in it")


class StateTest(FilesCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(users, "_service", lambda: None)  # whoever has the package here has such a user

    def check(self, more: str = "") -> list[Finding]:
        return list(check_state(self.settings(more + CLIENTS)))

    def sentences(self, more: str = "") -> str:
        return "\n".join(f"{one.level.name} {one.sentence}" for one in self.check(more))

    def test_nothing_yet(self) -> None:
        said = self.sentences()
        self.assertIn("is not there yet: it is made at the start", said)
        self.assertNotIn("ERROR", said)
        self.assertEqual([path.name for path in self.directory.iterdir()], ["minimixproxy.toml"], "nothing is made")

    def made(self) -> Database:
        (self.directory / "state").mkdir(mode=0o700)
        database = Database(self.directory / "state" / "state.sqlite")
        with database.prepared():
            pass
        return database

    def test_good(self) -> None:
        version, newest = self.made().version()
        self.assertEqual(version, newest)
        said = self.sentences()
        self.assertIn(f"belongs to {pwd.getpwuid(os.getuid()).pw_name}", said)
        self.assertIn(f"is of version {newest}, as it should be", said)

    def test_older_and_newer(self) -> None:
        self.made()
        file = self.directory / "state" / "state.sqlite"
        for version, text in (("0001", "GOOD state: "), ("9999", "ERROR state: ")):
            with closing(sqlite3.connect(file)) as connection, connection:
                connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
            self.assertIn(f"{text}{file}", self.sentences())

    def test_damaged(self) -> None:
        (self.directory / "state").mkdir()
        (self.directory / "state" / "state.sqlite").write_text("a shopping list\n" * 100)
        self.assertIn("is damaged, or no SQLite database", self.sentences())

    def test_no_directory(self) -> None:
        (self.directory / "state").write_text("")
        self.assertIn("ERROR state: ", self.sentences())
        self.assertIn("is no directory", self.sentences())

    def test_not_to_be_made_nor_written(self) -> None:
        self.patch(os, "access", lambda *_arguments, **_options: False)
        self.assertIn("may not make it in", self.sentences())
        (self.directory / "state").mkdir()
        self.assertIn("may not write in it", self.sentences())

    def test_open_to_everybody(self) -> None:
        self.made()
        (self.directory / "state").chmod(0o777)
        self.assertIn("ERROR state: everybody on this machine may write in", self.sentences())

    def test_another_owner(self) -> None:
        self.made()
        self.patch(state, "user_name", str)
        stat = Path.stat

        def of_root(path: Path, **options: Any) -> Any:
            found = stat(path, **options)
            return os.stat_result((*found[:4], 12345, *found[5:])) if path.name == "state.sqlite" else found

        self.patch(Path, "stat", of_root)
        self.assertIn("belongs to 12345, its directory to", self.sentences())

    def test_path_of_the_control_socket(self) -> None:
        self.assertIn("107 are possible", self.sentences(f'state_directory = "{"x" * 100}"\n'))

    def test_seal_key(self) -> None:
        self.made()
        (self.directory / "key").mkdir()
        self.assertIn("is a directory: seal_key must name a file", self.sentences('seal_key = "key"\n'))
        (self.directory / "key").rmdir()
        (self.directory / "key").write_text("x" * 64)
        (self.directory / "key").chmod(0o644)
        self.assertIn("others may read it (mode 0644)", self.sentences('seal_key = "key"\n'))
        (self.directory / "key").chmod(0o600)
        self.assertNotIn("ERROR", self.sentences('seal_key = "key"\n'))
