"""What is written from the commands' descriptions is current, and shells understand it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from minimixproxy.operator.commands.every import COMMANDS
from tests.tools.scripts import load

ROOT = Path(__file__).resolve().parents[2]


class CurrentTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.tool: Any = load("draw_commands")

    def test_all(self) -> None:
        pages = self.tool.pages()
        self.assertEqual(len(pages), 5)
        for path, text in pages.items():
            self.assertEqual(path.read_text("utf-8"), text, f"run tools/draw_commands.py: {path.relative_to(ROOT)}")

    def test_everything_is_in_each(self) -> None:
        for path, text in self.tool.pages().items():
            plain = text.replace("\\-", "-")
            for command in COMMANDS:
                self.assertIn(command.name, plain, path)
                for argument in command.all_arguments:
                    if argument.is_option:
                        self.assertIn(argument.name.removeprefix("--"), plain, (path, command.name))


class ShellsTest(SynchronousTestCase):
    """The files are what a shell can read; bash's is used."""

    needs_programs = True

    def run_in(self, shell: str, *arguments: str) -> str:
        if shutil.which(shell) is None:
            raise SkipTest(f"{shell} is not installed")
        done = subprocess.run([shell, *arguments], capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def test_syntax(self) -> None:
        for shell, name in (("zsh", "_minimixproxy"), ("fish", "minimixproxy.fish")):
            if shutil.which(shell) is not None:
                self.run_in(shell, "-n", str(ROOT / "completion" / name))

    def complete(self, *words: str) -> list[str]:
        script = (
            f'source {ROOT}/completion/minimixproxy.bash; COMP_WORDS=(minimixproxy "$@"); '
            "COMP_CWORD=$((${#COMP_WORDS[@]}-1)); compopt() { :; }; _minimixproxy; printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        return self.run_in("bash", "-c", script, "bash", *words).split()

    def test_bash(self) -> None:
        self.assertEqual(self.complete("st"), ["status"])
        self.assertLessEqual({command.name for command in COMMANDS}, set(self.complete("")))
        self.assertEqual(self.complete("status", "--acc"), ["--account"])
        self.assertEqual(set(self.complete("block", "--")), {"--config", "--json", "--reason", "--help"})
        self.assertEqual(self.complete("status", "--config", f"{ROOT}/setup.c"), [f"{ROOT}/setup.cfg"])
        self.assertEqual(self.complete("backup", f"{ROOT}/setup.c"), [f"{ROOT}/setup.cfg"])
        self.assertEqual(self.complete("nonsense", "-"), [])
