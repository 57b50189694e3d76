"""What systemd passes to the proxy, as the configuration names it: credentials and sockets."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from twisted.internet import endpoints
from twisted.internet.testing import MemoryReactorClock
from twisted.python.systemd import ListenFDs
from twisted.trial import unittest

from minimixproxy.config import checks
from minimixproxy.config import settings as config
from minimixproxy.config.systemd_sockets import usable_endpoint

CONFIGURATION = """
[[client_proxy]]
domain = "proxy.example.org"
target = "bot@example.org"
server = "tcp:127.0.0.1:5347"
secret_file = "{file}"
"""


class CredentialTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.credentials = self.directory / "credentials"
        self.credentials.mkdir(parents=True)
        (self.credentials / "component").write_text("s3cret\n")
        self.patch(checks, "CREDENTIALS_OF_SERVICE", self.directory / "service")
        self.patch(os, "environ", {"CREDENTIALS_DIRECTORY": str(self.credentials)})

    def load(self, file: str) -> config.Settings:
        path = self.directory / "minimixproxy.toml"
        path.write_text(CONFIGURATION.replace("{file}", file))
        return config.load(path)

    def fault(self, file: str) -> str:
        return str(self.assertRaises(config.ConfigError, self.load, file))

    def test_a_credential(self) -> None:
        (proxy,) = self.load("$CREDENTIALS_DIRECTORY/component").client_proxy
        self.assertEqual(proxy.secret, "s3cret")

    def test_one_that_is_not_there(self) -> None:
        self.assertIn(
            f"{self.credentials}/other cannot be read: No such file", self.fault("$CREDENTIALS_DIRECTORY/other")
        )

    def test_at_a_terminal_those_of_the_running_service(self) -> None:
        os.environ.clear()
        self.assertIn("$CREDENTIALS_DIRECTORY is not set", self.fault("$CREDENTIALS_DIRECTORY/component"))
        self.assertIn("the service does not run", self.fault("$CREDENTIALS_DIRECTORY/component"))
        self.credentials.rename(self.directory / "service")
        (proxy,) = self.load("$CREDENTIALS_DIRECTORY/component").client_proxy
        self.assertEqual(proxy.secret, "s3cret")

    def test_no_other_variable(self) -> None:
        os.environ["HOME"] = str(self.credentials)
        for file in ("$HOME/component", "${CREDENTIALS_DIRECTORY}/component", "x/$CREDENTIALS_DIRECTORY/component"):
            self.assertIn("cannot be read", self.fault(file))


class SocketTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.environment: dict[str, str] = {}
        self.patch(os, "environ", self.environment)
        self.passed: dict[str, int] = {}

    def pass_socket(self, name: str, family: int, kind: int = socket.SOCK_STREAM, *, listens: bool = True) -> None:
        opened = socket.socket(family, kind)
        self.addCleanup(opened.close)
        if listens:
            addresses: dict[int, Any] = {socket.AF_INET: ("127.0.0.1", 0), socket.AF_INET6: ("::1", 0)}
            opened.bind(addresses.get(family, ""))
            opened.listen()
        self.pass_descriptor(name, opened.fileno())

    def pass_descriptor(self, name: str, descriptor: int) -> None:
        self.passed[name] = descriptor
        self.environment["LISTEN_FDNAMES"] = ":".join(self.passed)
        parser: Any = endpoints._SystemdParser
        self.patch(parser, "_sddaemon", ListenFDs(list(self.passed.values()), list(self.passed)))

    def fault(self, description: str) -> str:
        return str(self.assertRaises(ValueError, usable_endpoint, description, MemoryReactorClock()))

    def test_named(self) -> None:
        self.pass_socket("c2s", socket.AF_INET)
        self.pass_socket("local", socket.AF_UNIX)
        for description in (
            "systemd:domain=INET:name=c2s",
            "systemd:domain=INET:index=0",
            "systemd:domain=UNIX:name=local",
        ):
            usable_endpoint(description, MemoryReactorClock())
        usable_endpoint("haproxy:systemd:domain=INET:name=c2s", MemoryReactorClock())

    def test_none_was_passed(self) -> None:
        for description in ("systemd:domain=INET:name=c2s", "haproxy:systemd:domain=INET:index=0"):
            self.assertIn("systemd has passed no socket: a .socket unit has to", self.fault(description))

    def test_another_was_passed(self) -> None:
        self.pass_socket("c2s", socket.AF_INET)
        self.pass_socket("tls", socket.AF_INET)
        for description in ("systemd:domain=INET:name=c2", "systemd:domain=INET:index=2"):
            self.assertIn("FileDescriptorName= has named: c2s, tls", self.fault(description))

    def test_of_another_kind(self) -> None:
        """A socket of IPv6, which systemd makes of a bare port, takes clients of IPv4, too."""
        self.pass_socket("c2s", socket.AF_INET6)
        for description in ("systemd:domain=INET:name=c2s", "haproxy:systemd:domain=UNIX:name=c2s"):
            self.assertIn("say domain=INET6", self.fault(description))

    def test_no_listening_socket(self) -> None:
        self.pass_socket("datagrams", socket.AF_INET, socket.SOCK_DGRAM, listens=False)
        self.pass_socket("client", socket.AF_INET, listens=False)
        for name in ("datagrams", "client"):
            self.assertIn(
                "does not listen: its unit needs ListenStream=", self.fault(f"systemd:domain=INET:name={name}")
            )
        with open(os.devnull, "rb") as file:
            self.pass_descriptor("file", file.fileno())
            self.assertIn("passed no socket there", self.fault("systemd:domain=INET:name=file"))

    def test_absurd(self) -> None:
        self.pass_socket("c2s", socket.AF_INET)
        for rest in (
            "",
            ":domain=INET",
            ":domain=INET:name=c2s:index=0",
            ":domain=INET:index=x",
            ":domain=IPX9:name=c2s",
        ):
            self.assertIn('it must be "systemd:domain=INET6:name=NAME"', self.fault(f"systemd{rest}"))
