"""Prosody's directory of accounts: what is good in it is found, whatever else is there."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial import unittest

from minimixproxy.sasl.keys import Keys
from minimixproxy.server_stores.prosody_files import MAX_FILE, read_directory
from minimixproxy.server_stores.records import Record, StoreError, Unusable

STORED, SERVER = b"\x01" * 20, b"\x02" * 20
FIELDS = {
    "salt": '"6ba7b810-9dad"',
    "iteration_count": "10000",
    "stored_key": f'"{STORED.hex()}"',
    "server_key": f'"{SERVER.hex()}"',
}
KEYS = Keys("sha1", b"6ba7b810-9dad", 10_000, STORED, SERVER)


def account(**changes: str | None) -> str:
    """What Prosody writes of one account; None leaves a field out."""
    fields = {**FIELDS, **changes}
    return "return {\n" + "".join(f'\t["{name}"] = {fields[name]};\n' for name in fields if fields[name]) + "};\n"


class ProsodyFilesTest(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.accounts = self.directory / "example%2eorg" / "accounts"
        self.accounts.mkdir(parents=True)

    def read(self) -> tuple[list[Record], dict[str, str]]:
        """Return what is found, and what is wrong by file."""
        found = list(read_directory(self.directory))
        faults = {Path(one.what).name: one.why for one in found if isinstance(one, Unusable)}
        return sorted(one for one in found if isinstance(one, Record)), faults

    def test_accounts(self) -> None:
        long = f'"{"ab" * 32}"'
        (self.accounts / "alice.dat").write_text(account())
        (self.accounts / "bob.dat").write_text(account(stored_key=long, server_key=long, iteration_count="4096.0"))
        (self.accounts / "carol.dat").write_text('return { ["password"] = "p\\195\\164ss\\"";\n};\n')
        sha256 = Keys("sha256", KEYS.salt, 4096, b"\xab" * 32, b"\xab" * 32)
        expected = [
            Record("alice", "example.org", (KEYS,)),
            Record("bob", "example.org", (sha256,)),
            Record("carol", "example.org", password='päss"'),
        ]
        self.assertEqual(self.read(), (expected, {}))

    def test_keys_come_before_a_password(self) -> None:
        (self.accounts / "alice.dat").write_text(account(password='""'))
        (self.accounts / "bob.dat").write_text(account(password='"pencil"'))
        self.assertEqual([one.password for one in self.read()[0]], [None, None])

    def test_names(self) -> None:
        """Prosody writes all but letters and digits as `%xx`."""
        other = self.directory / "xn%2d%2dmnchen%2d3ya%2eexample" / "accounts"
        other.mkdir(parents=True)
        (other / "a%5fb%2ec%c3%bc.dat").write_text(account())
        (self.accounts / "%ff.dat").write_text(account())
        found, faults = self.read()
        self.assertEqual([(one.local, one.domain) for one in found], [("a_b.cü", "xn--mnchen-3ya.example")])
        self.assertEqual(faults, {"%ff.dat": "its name is not UTF-8"})

    def test_one_host(self) -> None:
        (self.accounts / "alice.dat").write_text(account())
        for directory in (self.accounts.parent, Path(os.path.relpath(self.accounts.parent))):
            self.assertEqual(list(read_directory(directory)), [Record("alice", "example.org", (KEYS,))])

    def test_no_directory_of_prosody_s(self) -> None:
        for directory in (self.directory / "nowhere", self.accounts, Path("/dev/null")):
            error = self.assertRaises(StoreError, lambda directory=directory: list(read_directory(directory)))
            self.assertIn(str(directory), str(error))

    def test_other_files(self) -> None:
        for name in ("alice.dat~", "alice.list", ".dat.swp", "README"):
            (self.accounts / name).write_text(account())
        (self.directory / "example%2eorg" / "roster").mkdir()
        (self.directory / "prosody.pid").write_text("5")
        self.assertEqual(self.read(), ([], {}))

    def test_damaged(self) -> None:
        """Each costs itself, and says nothing of what is in it."""
        faults = {
            "cut": (account()[:60], "a string without an end"),
            "empty": ("", "return is missing, at byte 0"),
            "nothing": ("return {};", "there are neither keys nor a password in it"),
            "code": ("os.execute('touch /tmp/hacked')", "return is missing, at byte 0"),
            "huge": (account() + " " * MAX_FILE, f"it has more than {MAX_FILE} bytes"),
            "salt": (account(salt=None), "its keys are of a hash that is not known here, or without a salt"),
            "emptysalt": (account(salt='""'), "its salt is empty, or too long"),
            "longsalt": (account(salt=f'"{"x" * 1025}"'), "its salt is empty, or too long"),
            "few": (account(iteration_count="4095"), "its iteration count is not within 4096 and 10000000"),
            "many": (account(iteration_count="1e9"), "its iteration count is not within 4096 and 10000000"),
            "half": (account(iteration_count="5000.5"), "its iteration count is not within 4096 and 10000000"),
            "text": (account(iteration_count="'5000'"), "its iteration count is not within 4096 and 10000000"),
            "true": (account(iteration_count="true"), "its iteration count is not within 4096 and 10000000"),
            "server": (account(server_key=None), "its keys have not the length of their hash"),
            "short": (account(server_key='"ab"'), "its keys have not the length of their hash"),
            "hex": (account(stored_key=f'"{"x" * 40}"'), "its keys are no hexadecimal numbers"),
            "unicode": (account(stored_key=f'"{"ü" * 40}"'), "its keys are no hexadecimal numbers"),
            "hash": (account(stored_key='"abcd"'), "its keys are of a hash that is not known here, or without a salt"),
            "table": (account(stored_key="{}"), "its keys are of a hash that is not known here, or without a salt"),
            "nopassword": ("return { password = '' };", "its password is empty, or too long"),
            "number": ("return { password = 5 };", "its password is empty, or too long"),
            "long": (f"return {{ password = '{'x' * 1024}' }};", "its password is empty, or too long"),
        }
        for name, (content, _) in faults.items():
            (self.accounts / f"{name}.dat").write_text(content)
        (self.accounts / "zoe.dat").write_text(account())
        found, told = self.read()
        self.assertEqual([one.local for one in found], ["zoe"])
        del told["cut.dat"], faults["cut"]
        self.assertEqual(told, {f"{name}.dat": why for name, (_, why) in faults.items()})

    def test_no_files(self) -> None:
        """What would have us wait, or leads elsewhere."""
        (self.accounts / "elsewhere").write_text(account())
        (self.accounts / "link.dat").symlink_to(self.accounts / "elsewhere")
        (self.accounts / "directory.dat").mkdir()
        os.mkfifo(self.accounts / "fifo.dat")
        found, faults = self.read()
        self.assertEqual((found, set(faults)), ([], {"link.dat", "directory.dat", "fifo.dat"}))
