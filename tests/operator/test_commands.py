"""What all commands of the operator's have in common."""

from __future__ import annotations

import json
import os
import sys

from twisted.trial import unittest

from minimixproxy.operator.commands import command
from minimixproxy.operator.commands.every import COMMANDS
from tests import other_process
from tests.operator.cases import CommandCase

CLIENT_PROXY = """
[[client_proxy]]
domain = "proxy.a.test"
target = "bot@a.test"
server = "tcp:127.0.0.1:5347"
secret = "x"
"""


class DescriptionTests(unittest.SynchronousTestCase):
    def test_each_is_whole(self) -> None:
        self.assertEqual(len({one.name for one in COMMANDS}), len(COMMANDS))
        for one in COMMANDS:
            names = [name for argument in one.all_arguments for name in (argument.name, argument.short) if name]
            self.assertEqual(len(set(names)), len(names), one.name)
            self.assertLessEqual({0, 1}, set(one.statuses), one.name)
            self.assertTrue(all(text.endswith(".") for text in (*one.about, *one.statuses.values())), one.name)
            self.assertFalse(one.summary.endswith("."), one.name)
            for argument in one.all_arguments:
                self.assertTrue(argument.about.endswith("."), (one.name, argument.name))
                self.assertTrue(argument.is_option or argument.value, (one.name, argument.name))
            for example in one.examples:
                self.assertTrue(example.startswith(f"minimixproxy {one.name}"), example)


class CommonTests(CommandCase):
    def test_help_of_each(self) -> None:
        for one in COMMANDS:
            code, output, _errors = self.run_command(one.name, "--help")
            self.assertEqual(code, 0, one.name)
            for argument in one.all_arguments:
                self.assertIn(argument.name if argument.is_option else argument.value, output)
            self.assertIn("Exit status: 0:", output)

    def test_a_refusal_is_shown_as_it_is(self) -> None:
        """What a server has said may stand in it; a terminal does not obey that. It may have several lines."""
        told = {"error": "no: \x1b]0;x\x07\x9b2J\u202e\nsecond"}
        self.serve(json.dumps(told).encode() + b"\n")
        code, output, errors = self.run_command("forget", "--config", str(self.file), "alice@a.test")
        self.assertEqual((code, output), (1, ""))
        self.assertEqual(errors, "minimixproxy: no: \\x1b]0;x\\x07\\x9b2J\\u202e\nsecond\n")

    def test_only_the_place_of_state_is_read(self) -> None:
        """Whatever else is wrong in the file, the proxy that runs since before can be asked."""
        self.file.write_text('state = "state.sqlite"\nnonsense = 1\n[[listen]]\nendpoint = "nonsense"\n')
        self.serve(b'{"account": "alice@a.test", "known": true}\n')
        code, _output, errors = self.run_command("forget", "--config", str(self.file), "alice@a.test")
        self.assertEqual((code, errors), (0, ""))

    def test_the_place_itself_is_wrong(self) -> None:
        for text, expected in (
            ("state = 3", "state: must be a file name"),
            ('state = "state.sqlite"\nstate_directory = 3', "state_directory: must be a file name"),
            ("state = ", "not valid TOML"),
            ("", "nothing runs by this file"),
            ("client_proxy = 3", "nothing runs by this file"),
            ("[[client_proxy]]\ndomain = 3", "nothing runs by this file"),
        ):
            self.file.write_text(text)
            code, _output, errors = self.run_command("status", "--config", str(self.file))
            self.assertEqual((code, errors.count("\n")), (2, 1), text)
            self.assertIn(f"minimixproxy: {self.file}: ", errors)
            self.assertIn(expected, errors)

    def test_client_proxy_alone(self) -> None:
        """It is asked where no other proxy is."""
        self.file.write_text(CLIENT_PROXY)
        _code, _output, errors = self.run_command("status", "--config", str(self.file))
        self.assertIn("there is no /var/lib/minimixproxy/client_proxy/proxy.a.test/control\n", errors)

    def test_client_proxy_alone_with_a_long_name(self) -> None:
        """A socket's path has 107 bytes at most."""
        self.file.write_text(CLIENT_PROXY.replace("proxy.a.test", ".".join(["x" * 60] * 4)))
        _code, _output, errors = self.run_command("status", "--config", str(self.file))
        self.assertRegex(errors, r"there is no /var/lib/minimixproxy/client_proxy/[0-9a-f]{16}/control\n")

    def test_client_proxy_alone_with_a_directory(self) -> None:
        self.file.write_text(f'state_directory = "."\n{CLIENT_PROXY}')
        _code, _output, errors = self.run_command("status", "--config", str(self.file))
        self.assertIn(f"there is no {self.directory / 'control'}", errors)

    def test_the_usual_place_of_the_configuration(self) -> None:
        _code, _output, errors = self.run_command("forget", "alice@a.test")
        self.assertIn(str(command.DEFAULT_CONFIGURATION), errors)

    def test_failures_as_json(self) -> None:
        code, output, errors = self.run_command("forget", "--json", "--config", str(self.file), "nobody")
        self.assertEqual((code, errors.count("\n")), (1, 1))
        self.assertEqual(errors, f"minimixproxy: {json.loads(output)['error']}\n")

    def test_interrupted(self) -> None:
        self.patch(sys.modules["minimixproxy.operator.forget"], "parse_jid", self.interrupt)
        self.assertEqual(self.run_command("forget", "alice@a.test"), (130, "", "minimixproxy: interrupted\n"))

    def interrupt(self, _text: str) -> None:
        raise KeyboardInterrupt

    def test_who_reads_it_has_enough(self) -> None:
        """A pager that is left early is no reason for a traceback."""
        self.serve(b'{"account": "alice@a.test", "known": true}\n')
        reading, writing = os.pipe()
        os.close(reading)
        arguments = ["-m", "minimixproxy.operator.commands", "forget", "--config", str(self.file.absolute())]
        with os.fdopen(writing, "wb") as output:
            done = other_process.run(*arguments, "alice@a.test", prints=output)
        self.assertEqual((done.returncode, done.stderr), (1, ""))
