"""systemd's own tools, for tests of the units that are shipped."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from twisted.trial import unittest

from tests.integration.servers import in_path
from tests.patience import patiently

UNITS = Path(__file__).resolve().parent.parent.parent / "systemd"


def tool(name: str) -> str:
    """Return one of systemd's programs. Skips the test where it is not installed, if this is not CI."""
    program = in_path(name)
    if program is None:
        message = f"{name} is not installed: make system"
        if os.environ.get("CI"):
            raise AssertionError(message)
        raise unittest.SkipTest(message)
    return program


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    command = [tool("systemd-analyze"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=patiently(60))
