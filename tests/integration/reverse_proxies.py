"""HAProxy and nginx before `[[websocket]]`, as docs/websocket.md says: they end TLS, and say who the client is.

What is run are the page's own blocks, with the ports and files of the test.
"""

from __future__ import annotations

import re
import socket
import textwrap
import tomllib
from pathlib import Path
from typing import Any, ClassVar

from tests.certificates import make_certificate
from tests.integration.ports import free_port
from tests.integration.processes import LoggedProcess, temporary_directory
from tests.integration.servers import authority, in_path

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "websocket.md").read_text("utf-8")
SECTION = PAGE.partition("\n## Behind a reverse proxy\n")[2].partition("\n## ")[0]
TRUSTED = "127.0.0.1"  # from where a reverse proxy on the same machine connects
CLIENT = "127.0.0.3"  # another one, so that the log tells them apart


def block(introduction: str = "") -> str:
    """The section's indented block behind the text that ends with this; the first one if it is empty."""
    found = re.search(rf"{re.escape(introduction)}\n\n((?:    .*\n|\n)+)", f"\n{SECTION}")
    assert found is not None, introduction
    return textwrap.dedent(found[1])


def replaced(text: str, old: str, new: str) -> str:
    """The text with its port or file of the page replaced, which has to be there."""
    assert old in text, (old, text)
    return text.replace(old, new)


def websocket_table(port: int) -> dict[str, Any]:
    """The page's table for the proxy, on this port."""
    (table,) = tomllib.loads(replaced(block(), "tcp:5280", f"tcp:{port}"))["websocket"]
    assert table["trusted_proxies"] == [TRUSTED]
    return {**table, "url": replaced(table["url"], "example.org", "{domain}")}


class ReverseProxy:
    """One that runs. Who connects to `port` may have to wait until it is there, and is not refused."""

    title: ClassVar[str]  # on the page

    def __init__(self, domain: str, backend: int) -> None:
        self.directory = temporary_directory(self.program())
        self.certificate, self.key = make_certificate(authority(), domain).write(self.directory, domain)
        self.backend = backend
        self.port = free_port()
        self.process = self.start()

    @classmethod
    def program(cls) -> str:
        return cls.title.lower()

    def start(self) -> LoggedProcess:
        raise NotImplementedError

    def run(self, configuration: str, *options: str, pass_fds: tuple[int, ...] = ()) -> LoggedProcess:
        file = self.directory / "configuration"
        file.write_text(configuration)
        program = in_path(self.program())
        assert program is not None
        return LoggedProcess(self.program(), [program, *options, str(file)], pass_fds=pass_fds)

    def recipe(self) -> str:
        """The page's block for it, leading to our port."""
        return replaced(block(f"{self.title}:"), "127.0.0.1:5280", f"127.0.0.1:{self.backend}")


class HAProxy(ReverseProxy):
    title = "HAProxy"

    def start(self) -> LoggedProcess:
        both = self.directory / "both.pem"
        both.write_bytes(self.certificate.read_bytes() + self.key.read_bytes())
        defaults = "defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 60s\n"
        with socket.create_server(("127.0.0.1", self.port)) as listening:
            recipe = replaced(self.recipe(), "bind :443", f"bind fd@{listening.fileno()}")
            recipe = replaced(recipe, "/etc/haproxy/example.org.pem", str(both))
            text = f"global\n  maxconn 100\n{defaults}{recipe}"
            return self.run(text, "-db", "-V", "-f", pass_fds=(listening.fileno(),))


class Nginx(ReverseProxy):
    """Its `short` port ends what says nothing for a tenth of a second, its `port` what says nothing for 8 seconds."""

    title = "nginx"
    PATIENCE = 8.0  # seconds: `proxy_read_timeout`; a busy machine may be so late with a ping

    def start(self) -> LoggedProcess:
        self.short = free_port()
        temporary = "".join(
            f"{kind}_temp_path {self.directory / kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        servers = self.server(self.port, f"{self.PATIENCE:.0f}s") + self.server(self.short, "100ms")
        process = self.run(
            # without a master it is one process, of the user who runs the test, that ends when it is told to
            f"daemon off; master_process off; pid {self.directory / 'pid'}; error_log stderr notice;\n"
            f"events {{}}\nhttp {{ access_log off;\n{temporary}{servers}}}\n",
            "-c",
        )
        process.wait_for("using the .* event method")  # it listens by then
        return process

    def server(self, port: int, timeout: str) -> str:
        tls = f"ssl_certificate {self.certificate}; ssl_certificate_key {self.key};"
        return (
            f"server {{ listen 127.0.0.1:{port} ssl; {tls} proxy_read_timeout {timeout};\n"
            f"{textwrap.indent(self.recipe(), '  ')}}}\n"
        )


class CachingNginx(Nginx):
    """One that keeps answers, by its own key, which has no host in it, and lets pass what clients say of hosts."""

    def server(self, port: int, timeout: str) -> str:
        zone = f"cache{port}"
        cache = f"proxy_cache {zone}; proxy_cache_valid any 1h; add_header X-Cache $upstream_cache_status always;\n"
        text = super().server(port, timeout)
        for name in ("X-Forwarded-Host", "Forwarded"):
            text = replaced(text, f'proxy_set_header {name} "";\n', "")
        text = replaced(text, "proxy_set_header Host $host;", f"proxy_set_header Host $http_host;\n{cache}")
        place = self.directory / zone
        return f"proxy_cache_path {place} keys_zone={zone}:1m use_temp_path=off;\n{text}"
