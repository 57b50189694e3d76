"""What the operator types: `minimixproxy status` and the like."""

import subprocess
import sys
from pathlib import Path

from twisted.internet.threads import deferToThread

from tests.integration import prefork
from tests.integration.proxy import Proxy
from tests.patience import patiently

COMMAND = str(Path(sys.executable).parent / "minimixproxy")
Done = subprocess.CompletedProcess[str]


async def run(proxy: Proxy, command: str, *arguments: str, says: str = "") -> Done:
    """Run a command as the operator of that proxy does, from elsewhere; `says` is what it reads."""
    line = [COMMAND, command, "--config", str(proxy.configuration), *arguments]
    return await deferToThread(_run, line, says)


def _run(line: list[str], says: str) -> Done:
    timeout = patiently(90)
    if prefork.wanted():
        return prefork.forker().run(line, says, Path("/"), timeout)
    return subprocess.run(line, input=says, cwd="/", capture_output=True, text=True, timeout=timeout, check=False)
