"""The configurations in docs/client-proxy.md work as they are written there, on both servers."""

import re
import textwrap
import tomllib
from pathlib import Path

from tests.integration import ejabberd, prosody
from tests.integration.cases import on_both_servers
from tests.integration.ports import free_port
from tests.integration.proxied import ProxiedCase
from tests.integration.servers import beside, fresh

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "client-proxy.md"
MODULES = {"prosody": prosody, "ejabberd": ejabberd}


def block(language: str) -> str:
    """The fenced block of that language."""
    found = re.search(rf"```{language}\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


@on_both_servers
class DocumentedTests(ProxiedCase):
    def setUp(self) -> None:
        super().setUp()
        self.port = free_port()
        self.patch(MODULES[self.kind.name], "beside", self.with_snippet)
        self.server = fresh(self.kind)
        self.addCleanup(lambda: self.server.process.stop())

    def adapted(self, text: str) -> str:
        return text.replace("example.org", self.kind.domain).replace("5347", str(self.port))

    def with_snippet(self, name: str) -> str:
        """The server's configuration, its own components replaced by the document's."""
        template = beside(name)
        if name == "prosody.cfg.lua":
            template = template.replace(
                "component_ports = { @component_port@ }", f"component_ports = {{ {self.port} }}"
            )
            return template.replace("@components@", self.adapted(block("lua")))
        listener = textwrap.dedent(block("yaml").partition("listen:\n")[2])
        listener = self.adapted(textwrap.indent(listener, "  "))
        return re.sub(r"  -\n    port: @component_port@\n(    .*\n)+", lambda _: listener, template)

    async def test_as_written(self) -> None:
        self.target = await self.account("worker")
        table = tomllib.loads(self.adapted(block("toml")))["client_proxy"][0]
        await self.start_proxy(**{**table, "target": self.target.jid})
        await self.running.process.says(f"{self.domain}: connected")
        await self.worker("one")
        alice = await self.user()
        self.assertIn(">one<", str(await self.ask(alice)))
