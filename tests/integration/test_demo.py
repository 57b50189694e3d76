"""`make demo` tells its story to the end."""

import os
import re
import sys
from pathlib import Path

from twisted.trial import unittest

from tests.integration.processes import LoggedProcess
from tests.integration.prosody import Prosody

ROOT = Path(__file__).resolve().parents[2]


class DemoTests(unittest.TestCase):
    timeout = 180

    async def test_demo(self) -> None:
        if Prosody.missing():
            message = f"{Prosody.missing()} is not installed: make system"
            if os.environ.get("CI"):
                self.fail(message)
            raise unittest.SkipTest(message)
        demo = LoggedProcess("demo", [sys.executable, "-m", "demo"], directory=ROOT)
        self.addCleanup(demo.stop)
        status = await demo.ends(150)
        self.assertEqual(status, 0, demo.tail())
        self.assertTrue(any(re.match(r"All \d+ steps went as told", line) for line in demo.lines), demo.tail())
