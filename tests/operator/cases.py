"""A command of the operator's, with a proxy that answers what the test says."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from twisted.trial import unittest

from minimixproxy.operator import commands

CONFIGURATION = """
state = "state.sqlite"
[[listen]]
endpoint = "tcp:0"
[domain."a.test"]
"""


class CommandCase(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp())  # short: a socket's path has 107 bytes at most
        self.addCleanup(shutil.rmtree, self.directory)
        self.file = self.directory / "minimixproxy.toml"
        self.file.write_text(CONFIGURATION)
        self.requests: list[bytes] = []

    def run_command(self, *arguments: str) -> tuple[int, str, str]:
        with redirect_stdout(StringIO()) as output, redirect_stderr(StringIO()) as errors:
            try:
                code = commands.main([*arguments])
            except SystemExit as exit:
                code = int(exit.code or 0)
        return code, output.getvalue(), errors.getvalue()

    def serve(self, *answers: bytes) -> None:
        """Answer the requests of one connection with these bytes."""
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(self.directory / "control"))
        server.listen()

        def work() -> None:
            connection, _address = server.accept()
            with connection, connection.makefile("rb") as lines:
                for answer in answers:
                    self.requests.append(lines.readline())
                    connection.sendall(answer)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.close)
