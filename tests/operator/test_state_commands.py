"""`backup`, `migrate`, `reload` and `check --offline`, as the operator sees them."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from minimixproxy import state_lock
from tests.operator.cases import CommandCase
from tests.storage.cases import BARE, MEMBERSHIP, ROOM, Lab, give_tables


class StateCase(CommandCase):
    """There is an account in a room, of which nothing runs."""

    def setUp(self) -> None:
        super().setUp()
        self.state = self.directory / "state.sqlite"
        give_tables(self.state)
        lab = Lab(self.state, self.directory)
        lab.journal.room(BARE, ROOM).membership(MEMBERSHIP)
        lab.turn()
        lab.crash()

    def command(self, name: str, *arguments: object) -> tuple[int, str, str]:
        return self.run_command(name, "--config", str(self.file), *map(str, arguments))

    def rooms(self, file: Path) -> list[str]:
        with closing(sqlite3.connect(file)) as connection:
            return [room for (room,) in connection.execute("SELECT room FROM rooms")]


class BackupTests(StateCase):
    def setUp(self) -> None:
        super().setUp()
        self.copy = self.directory / "copy.sqlite"

    def test_text(self) -> None:
        code, output, errors = self.command("backup", self.copy)
        size = self.copy.stat().st_size
        first, second, *others = output.split("\n")
        self.assertRegex(first, rf"^{self.copy}: 1 accounts in 1 rooms, {size} bytes, schema \d+$")
        self.assertIn(f"the key {self.directory / 'seal.key'}, without which no login", second)
        self.assertIn(f"And {self.directory / 'installation'}, by which", second)
        self.assertEqual((code, errors, others), (0, "", [""]))
        self.assertEqual(self.rooms(self.copy), [ROOM])

    def test_report(self) -> None:
        self.file.write_text(f'seal_key = "{self.directory / "seal.key"}"\n' + self.file.read_text())
        shutil.copy(self.directory / "seal.key", self.directory / "other.key")
        self.file.write_text(self.file.read_text().replace("seal.key", "other.key"))
        code, output, _errors = self.command("backup", "--json", self.copy)
        report = json.loads(output)
        self.assertEqual((code, report["accounts"], report["rooms"]), (0, 1, 1))
        found = {name: report[name] for name in ("file", "seal_key", "installation")}
        expected = {"file": "copy.sqlite", "seal_key": "other.key", "installation": "installation"}
        self.assertEqual(found, {name: str(self.directory / file) for name, file in expected.items()})

    def test_what_is_there_stays_unless_it_is_to_go(self) -> None:
        self.copy.write_text("mine")
        code, output, errors = self.command("backup", self.copy)
        self.assertEqual((code, output, self.copy.read_text()), (1, "", "mine"))
        self.assertIn("is there already", errors)
        self.assertEqual(self.command("backup", "--force", self.copy)[0], 0)
        self.assertEqual(self.rooms(self.copy), [ROOM])

    def test_postgresql(self) -> None:
        self.file.write_text(
            f'state_directory = "{self.directory}"\n'
            + self.file.read_text().replace("state.sqlite", "postgresql://me@db.test/it")
        )
        code, _output, errors = self.command("backup", "a b")
        self.assertEqual(code, 1)
        self.assertIn("state is in PostgreSQL, whose own program makes the backup: pg_dump --format=custom ", errors)
        self.assertIn("--file='a b' postgresql://me@db.test/it\n", errors)


class MigrateTests(StateCase):
    def setUp(self) -> None:
        super().setUp()
        self.target = self.directory / "other.sqlite"

    def test_to_another_file(self) -> None:
        code, output, errors = self.command("migrate", "--to", self.target)
        self.assertEqual((code, errors), (0, ""))
        rows, *lines = output.split("\n")
        self.assertRegex(rows, rf"^\d+ rows are in {self.target}; {self.state} is left as it is\. To use the former, ")
        self.assertEqual(
            lines, [f'state = "{self.target}"', f'state_directory = "{self.directory}"', ""], "nothing is secret in it"
        )
        self.assertEqual((self.rooms(self.target), self.rooms(self.state)), ([ROOM], [ROOM]))

    def test_report(self) -> None:
        code, output, _errors = self.command("migrate", "--json", "--to", self.target)
        report = json.loads(output)
        found = {name: report[name] for name in ("from", "to", "state_directory")}
        expected = {"from": str(self.state), "to": str(self.target), "state_directory": str(self.directory)}
        self.assertEqual((code, found, report["rows"]["rooms"]), (0, expected, 1))

    def test_while_the_proxy_runs(self) -> None:
        with state_lock.held(self.directory):
            code, output, errors = self.command("migrate", "--to", self.target)
        self.assertEqual((code, output), (1, ""))
        self.assertTrue(errors.endswith(": end the proxy first\n"), errors)
        self.assertFalse(self.target.exists())

    def test_nowhere(self) -> None:
        for to in ("mysql://a/b", ""):
            code, _output, errors = self.command("migrate", "--to", to)
            self.assertEqual(code, 1)
            self.assertIn(f"--to {to}: must be a file name or a URL, postgresql://user@host/database", errors)

    def test_no_directory(self) -> None:
        self.file.write_text(self.file.read_text().replace("state.sqlite", "none/state.sqlite"))
        code, _output, errors = self.command("migrate", "--to", self.target)
        self.assertEqual(code, 1)
        self.assertIn(f"{self.directory / 'none'}: ", errors)


class ReloadTests(CommandCase):
    def test_what_has_changed(self) -> None:
        for changed, restart, text in (
            (["a"], ["b", "c"], "a\nafter a restart: b\nafter a restart: c\n"),
            ([], [], "nothing has changed\n"),
        ):
            for arguments in ((), ("--json",)):
                self.setUp()
                answer = {"changed": changed, "restart": restart}
                self.serve(json.dumps({**answer, "more": 1}).encode() + b"\n")
                code, output, _errors = self.run_command("reload", *arguments, "--config", str(self.file))
                self.assertEqual((code, self.requests), (0, [b'{"request": "reload"}\n']))
                if arguments:
                    self.assertEqual(json.loads(output), answer)
                else:
                    self.assertEqual(output, text)


class CheckTests(StateCase):
    def check(self, *arguments: str) -> tuple[int, list[str]]:
        code, output, errors = self.command("check", "--offline", *arguments)
        self.assertEqual(errors, "")
        return code, output.split("\n")

    def test_a_configuration_that_cannot_be_used(self) -> None:
        self.file.write_text("nonsense = 1\n")
        code, lines = self.check()
        self.assertEqual(code, 1)
        self.assertTrue(lines[0].startswith("ERROR      configuration: "), lines[0])

    def test_nothing_runs(self) -> None:
        code, lines = self.check()
        self.assertIn(f"configuration: {self.file}: can be read", lines[0])
        self.assertIn(f"running proxy: not running: there is no {self.directory / 'control'}", lines[1])
        self.assertTrue(any("network: neither DNS nor servers are asked: leave out --offline" in one for one in lines))
        self.assertEqual(self.check("--strict")[0], 1, "something could not be asked")
        self.assertEqual(code, int(any(one.startswith("ERROR") for one in lines)))

    def test_one_runs(self) -> None:
        self.serve(b'{"pid": 42}\n')
        self.assertIn("running proxy: process 42", self.check()[1][1])
        self.assertEqual(json.loads(self.requests[0]), {"request": "own_stream", "id": ""})

    def test_one_that_answers_otherwise(self) -> None:
        self.serve(b'{"else": 42}\n')
        self.assertRegex(self.check()[1][1], "^not asked  running proxy: .* the answer lacks pid")

    def test_a_login_of_another_domain(self) -> None:
        code, output, errors = self.command("check", "--offline", "--login", "a@b.test")
        self.assertEqual((code, output), (1, ""))
        self.assertIn("--login a@b.test: its domain is not served by this proxy", errors)

    def test_report(self) -> None:
        code, output, _errors = self.command("check", "--offline", "--json")
        report = json.loads(output)
        first = report["findings"][0]
        says = f"{self.file}: can be read"
        self.assertEqual(first, {"level": "good", "subject": "configuration", "says": says, "advice": ""})
        levels = [finding["level"] for finding in report["findings"]]
        self.assertEqual(set(report["counts"]), {"good", "unknown", "warning", "error"})
        self.assertEqual({level: levels.count(level) for level in report["counts"]}, report["counts"])
        self.assertEqual(code, int("error" in levels))
