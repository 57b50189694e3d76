"""Every script in scripts/, on both servers, through the proxy."""

from collections.abc import Awaitable, Callable

from twisted.trial import unittest

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.scripts import DIRECTORY, Performance, Script, read

SCRIPTS = [read(path) for path in sorted(DIRECTORY.glob("*.scs"))]


class ScriptedCase(IntegrationTestCase):
    """A test method for each script."""


def _method(script: Script) -> Callable[[IntegrationTestCase], Awaitable[None]]:
    async def test(self: IntegrationTestCase) -> None:
        if self.kind.name not in script.servers:
            raise unittest.SkipTest(f"only on {', '.join(script.servers)}")
        await Performance(self, script).run()

    test.__doc__ = script.title
    return test


for _script in SCRIPTS:
    setattr(ScriptedCase, f"test_{_script.path.stem}", _method(_script))

ScriptTests = on_both_servers(ScriptedCase)
del ScriptedCase  # else trial would run it once more, by itself
