"""The proxy as a service of systemd: what it tells, the sockets that it is passed, and the units that are shipped."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path

from twisted.internet.threads import deferToThread
from twisted.trial import unittest

from tests.integration import client as raw
from tests.integration.cases import IntegrationTestCase
from tests.integration.ports import free_port
from tests.integration.processes import LoggedProcess, temporary_directory
from tests.integration.proxy import TWISTD, Proxy
from tests.integration.systemd import UNITS, analyze, tool
from tests.notify_socket import NotifySocket

MOST_EXPOSED = 2.0  # of 10, by systemd's own rules


class NotifyTests(IntegrationTestCase):
    """One server is enough."""

    async def test_ready_lives_and_ends(self) -> None:
        for name in (str(temporary_directory("notify") / "socket"), "@minimixproxy-test-systemd"):
            systemd = NotifySocket(name)
            self.addCleanup(systemd.close)
            proxy = self.own_proxy(environment={"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "1000000"})
            told = await systemd.says("READY=1")
            opening = told.index(f"STATUS=opening the state, {proxy.directory / 'state' / 'state.sqlite'}")
            self.assertLess(opening, told.index("EXTEND_TIMEOUT_USEC=60000000"))
            client = await self.client(proxy=proxy)  # the ports are open: nothing was waited for but this
            await client.barrier()
            await systemd.says("WATCHDOG=1")
            proxy.process.signal(signal.SIGTERM)
            await systemd.says("STOPPING=1")
            await proxy.process.ends()
            self.assertEqual(systemd.heard(), [])
            self.assertEqual(told.count("READY=1"), 1)

    async def test_state_that_cannot_be_opened(self) -> None:
        """It is never told to be ready."""
        name = str(temporary_directory("notify") / "socket")
        systemd = NotifySocket(name)
        self.addCleanup(systemd.close)
        proxy = Proxy(self.server, start=False)
        (proxy.directory / "state").mkdir()
        (proxy.directory / "state" / "state.sqlite").write_text("no database" * 1000)
        process = LoggedProcess(
            "minimixproxy",
            [TWISTD, "-n", "--pidfile=", "minimixproxy", "--config", str(proxy.configuration)],
            environment={"NOTIFY_SOCKET": name},
            directory=proxy.directory,
        )
        self.addCleanup(process.stop)
        self.assertNotEqual(await process.ends(), 0)
        self.assertNotIn("READY=1", systemd.heard())

    async def test_a_hangup_before_it_listens_for_one(self) -> None:
        """systemd takes that for a clean end, unless the unit says otherwise."""
        self.assertIn("\nRestartForceExitStatus=SIGHUP\n", (UNITS / "minimixproxy.service").read_text())


class SocketTests(IntegrationTestCase):
    async def test_sockets_of_systemd(self) -> None:
        """By systemd's own program: it listens, and starts the proxy when somebody connects."""
        program = tool("systemd-socket-activate")
        ports = [free_port(), free_port()]
        listen = [
            {"endpoint": "systemd:domain=INET:name=c2s"},
            {"endpoint": "systemd:domain=INET:name=c2s-tls", "tls": "direct"},
        ]
        proxy = Proxy(self.server, start=False, listen=listen)
        activate = [program, *(f"--listen=127.0.0.1:{port}" for port in ports), "--fdname=c2s:c2s-tls"]
        twistd = [TWISTD, "-n", "--pidfile=", "minimixproxy", "--config", str(proxy.configuration)]
        process = LoggedProcess("systemd-socket-activate", [*activate, *twistd], directory=proxy.directory)
        self.addCleanup(deferToThread, process.stop)
        await process.says(rf"Listening on 127.0.0.1:{ports[1]}")
        for port, direct_tls in zip(ports, (False, True), strict=True):
            client = await raw.connect(port, self.server.domain, direct_tls=direct_tls)
            self._clients.append(client)
            await process.says("ControlFactory starting", 60.0)  # the first connection starts it
            await client.login(await self.account())
            await client.barrier()


class UnitTests(unittest.SynchronousTestCase):
    """What systemd itself says of the units."""

    def setUp(self) -> None:
        """The units with a program that is here: systemd looks whether it is there."""
        self.directory = temporary_directory("units")
        for unit in UNITS.iterdir():
            shutil.copy(unit, self.directory)
        self.service = self.directory / "minimixproxy.service"
        text = self.service.read_text()
        self.assertIn("ExecStart=/usr/lib/minimixproxy/bin/twistd ", text)
        self.service.write_text(text.replace("/usr/lib/minimixproxy/bin", str(Path(TWISTD).parent)))

    def test_verified(self) -> None:
        units = sorted(str(path) for path in self.directory.iterdir())
        self.assertEqual(len(units), 3)
        done = analyze("verify", "--man=no", *units)
        ours = [line for line in (done.stdout + done.stderr).splitlines() if "minimixproxy" in line]
        self.assertEqual((done.returncode, ours), (0, []))

    def test_a_fault_would_be_found(self) -> None:
        self.service.write_text(self.service.read_text().replace("Type=notify\n", "Type=notified\n"))
        self.assertIn("notified", analyze("verify", "--man=no", str(self.service)).stderr)

    def test_exposed(self) -> None:
        exposure = self.exposure(self.service)
        self.assertLess(exposure, MOST_EXPOSED)
        weaker = self.service.with_name("weaker.service")
        weaker.write_text(re.sub(r"(?m)^(CapabilityBoundingSet|ProtectSystem|SystemCallFilter)=.*\n", "", self.text()))
        self.assertGreater(self.exposure(weaker), MOST_EXPOSED)

    def text(self) -> str:
        return self.service.read_text()

    def exposure(self, unit: Path) -> float:
        done = analyze("security", "--offline=true", "--no-pager", str(unit))
        found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
        assert found is not None, done.stdout + done.stderr
        return float(found[1])

    def test_the_ports_of_the_sockets(self) -> None:
        """Names are what the configuration has."""
        for name in ("c2s", "c2s-tls"):
            text = (self.directory / f"minimixproxy-{name}.socket").read_text()
            self.assertIn(f"\nFileDescriptorName={name}\n", text)
            self.assertIn(json.dumps(f"systemd:domain=INET6:name={name}"), text)
