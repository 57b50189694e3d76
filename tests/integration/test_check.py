"""`minimixproxy check` before real servers: while the proxy runs, and while it does not."""

import json
from typing import Any

from twisted.internet.threads import deferToThread

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.commands import run
from tests.integration.ports import free_port
from tests.integration.proxy import Proxy
from tests.integration.relay import Relay


class CheckCase(IntegrationTestCase):
    async def findings(self, proxy: Proxy, *arguments: str, status: int = 0, says: str = "") -> list[dict[str, Any]]:
        """Return what check finds, and see to it that `status` is its exit status.

        DNS is left out of both: with a network names of the tests do not exist, without one nobody knows.
        """
        done = await run(proxy, "check", "--json", *arguments, says=says)
        self.assertEqual(done.stderr, "")
        report = json.loads(done.stdout)
        found: list[dict[str, Any]] = report["findings"]
        self.assertEqual(sum(report["counts"].values()), len(found))
        self.assertEqual(done.returncode, int(report["counts"]["error"] > 0), done.stdout)
        found = [one for one in found if not one["subject"].startswith("DNS of ")]
        self.assertEqual(any(one["level"] == "error" for one in found), bool(status), done.stdout)
        return found

    def about(self, found: list[dict[str, Any]], subject: str, level: str, text: str) -> None:
        """There is a finding like that."""
        those = [one for one in found if subject in one["subject"]]
        matching = [one for one in those if one["level"] == level and text in f"{one['says']}: {one['advice']}"]
        self.assertTrue(matching, f"{subject}, {level}, {text}: {those}")


@on_both_servers
class CheckTests(CheckCase):
    async def test_good(self) -> None:
        """The ports are its own; the server is asked as for a login, and nobody else notices."""
        proxy = self.own_proxy()
        client = await self.client(proxy=proxy)
        found = await self.findings(proxy)
        self.about(found, "running proxy", "good", f"process {proxy.process.pid}")
        for port in (proxy.port, proxy.direct_tls_port):
            self.about(found, f"[[listen]] tcp:{port}", "good", f"by the proxy that runs (process {proxy.process.pid})")
        self.about(found, "server of", "good", "answers, by TLS that is verified")
        self.about(found, "server of", "good", "offers ")
        self.about(found, "server of", "good", "SCRAM-SHA-")
        self.about(found, "server of", "unknown", "shown after a login only")
        self.about(found, "state", "good", "as it should be")
        self.about(found, "certificate of", "warning", "holds nothing but itself")
        await client.barrier()
        account = await self.account("carol")
        for password, status, level, said in (
            (account.password, 0, "good", "succeeds; the server offers stream management (XEP-0198)"),
            ("a guess", 1, "error", "comes to nothing: "),
        ):
            found = await self.findings(proxy, "--login", account.jid, status=status, says=f"{password}\n")
            self.about(found, f"login of {account.jid}", level, said)
        text = (await run(proxy, "check")).stdout
        self.assertRegex(text, r"(?m)^ok +server of ")
        self.assertEqual((await run(proxy, "check", "--strict")).returncode, 1)


class WrongTests(CheckCase):
    """One server is enough."""

    async def test_not_running(self) -> None:
        proxy = Proxy(self.server, start=False)
        found = await self.findings(proxy)
        self.about(found, "running proxy", "unknown", "not running")
        self.about(found, f"[[listen]] tcp:{proxy.port}", "good", "can be had")
        self.about(found, "state", "good", "it is made at the start")
        relay = Relay(self.server.port)
        relay.port = proxy.port
        relay.start()
        self.addCleanup(relay.stop)
        found = await self.findings(proxy, "--offline", status=1)
        self.about(found, f"[[listen]] tcp:{proxy.port}", "error", "is in use by another program")
        self.about(found, "network", "unknown", "neither DNS nor servers are asked")

    async def test_tls(self) -> None:
        proxy = Proxy(self.server, start=False, domain={"upstream_trust": "system"})
        self.about(await self.findings(proxy, status=1), "server of", "error", "upstream_trust")
        proxy = Proxy(self.server, start=False, domain={"upstream_trust": "insecure"})
        found = await self.findings(proxy)
        self.about(found, "server of", "warning", "its TLS is not verified")
        self.about(found, "server of", "warning", '"system" would say: ')

    async def test_no_server(self) -> None:
        proxy = Proxy(self.server, start=False, domain={"upstream": f"tcp:127.0.0.1:{free_port()}"})
        self.about(await self.findings(proxy, status=1), "server of", "error", "refused")

    async def test_it_leads_back(self) -> None:
        """By whatever way, if the proxy runs; by its address, if it does not."""
        relay = Relay(0)
        relay.start()
        self.addCleanup(relay.stop)
        proxy = self.own_proxy(domain={"upstream": f"tcp:127.0.0.1:{relay.port}"})
        relay.target = proxy.port
        self.about(await self.findings(proxy, status=1), "server of", "error", "leads back to the proxy that runs")
        await deferToThread(proxy.stop)
        text = proxy.configuration.read_text()
        proxy.configuration.write_text(text.replace(f":{relay.port}", f":{proxy.port}"))
        found = await self.findings(proxy, "--offline", status=1)
        self.about(found, "upstream of", "error", "leads back to the proxy's own [[listen]]")
        done = await proxy.run_in_vain()
        self.assertEqual(done.returncode, 1)
        self.assertIn("leads back to the proxy's own [[listen]]", done.stderr)
        self.assertNotIn("Traceback", done.stderr + done.stdout)

    async def test_component(self) -> None:
        component = {
            "domain": "proxy.example.org",
            "target": "bot@example.org",
            "server": f"tcp:127.0.0.1:{free_port()}",
            "secret": "s3cret",
        }
        proxy = Proxy(self.server, start=False, client_proxy=[component])
        found = await self.findings(proxy, status=1)
        self.about(found, "client_proxy proxy.example.org", "error", "cannot be reached")
        self.about(found, "configuration", "warning", "holds a secret")
        self.assertNotIn("s3cret", json.dumps(found))
