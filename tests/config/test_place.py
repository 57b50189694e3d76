"""Where the running proxy is asked, also while its file is being edited, and is broken."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.config.place import place
from minimixproxy.config.settings import ConfigError

TABLES = '[[listen]]\nendpoint = "tcp:5222"\n[domain."example.org"]\n'
STATE = '# mine\nstate = "/elsewhere/state.sqlite"\n'


class PlaceTest(SynchronousTestCase):
    def directory(self, text: str) -> Path:
        file = Path(self.mktemp())
        file.write_text(text)
        return place(file).directory

    def test_broken_below(self) -> None:
        for broken in ("x =", "[rooms]\n[rooms]", "history = 1\nhistory = 2", "“"):
            self.assertEqual(self.directory(STATE + TABLES + broken), Path("/elsewhere"))

    def test_not_known(self) -> None:
        """No other proxy is asked by guessing."""
        for text in (TABLES + "x =", STATE + "x =\n" + TABLES, "state = [\n[1]]\n" + TABLES + "x ="):
            self.assertRaises(ConfigError, self.directory, text)
        self.assertRaises(ConfigError, place, Path(self.mktemp()))
