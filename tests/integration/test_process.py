"""minimixproxy as an operating system sees it: signals, files, users, sockets that somebody else opened."""

import contextlib
import os
import pwd
import select
import signal
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL
from twisted.internet.threads import deferToThread
from twisted.trial import unittest

import minimixproxy
from tests.certificates import make_certificate
from tests.integration import client as raw
from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client
from tests.integration.ports import free_port
from tests.integration.processes import LoggedProcess, temporary_directory
from tests.integration.proxy import TWISTD, Proxy
from tests.integration.servers import authority, in_path
from tests.patience import patiently

NOBODY = "nobody"


@on_both_servers
class StopTests(IntegrationTestCase):
    async def test_sigterm_closes_streams_of_every_kind(self) -> None:
        """Clients are told system-shutdown, whether they joined a room, only logged in, or not even that."""
        proxy = self.own_proxy()
        bound = await self.client(proxy=proxy)
        occupant = await self.client(proxy=proxy)
        room = self.room()
        occupant.send(f"<presence to='{room}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        await occupant.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        early = await self.connect(proxy=proxy)
        await early.open()
        silent = await self.connect(proxy=proxy)

        proxy.process.signal(signal.SIGTERM)
        for client in (bound, occupant, early):
            await client.expect_close("system-shutdown")
            self.assertTrue(client.stream_closed, client.transcript())
        await silent.until_lost()
        # twistd takes the signal for itself again once everything is closed
        self.assertIn(await proxy.process.ends(), (0, -signal.SIGTERM))
        self.assertIn("Server Shut Down.", proxy.process.tail())

    async def test_restart_on_the_same_ports(self) -> None:
        proxy = self.own_proxy()
        account = await self.account()
        await self.client(account, proxy=proxy)
        await deferToThread(proxy.stop)
        await deferToThread(proxy.start)
        await (await self.client(account, proxy=proxy)).barrier()


class TwistdTests(IntegrationTestCase):
    """What twistd itself offers. One server is enough."""

    def proxy_not_started(self, *arguments: str, **settings: Any) -> Proxy:
        """A proxy with its file written; `run_twistd` runs it."""
        return Proxy(self.server, start=False, twistd=arguments, **settings)

    async def run_twistd(self, proxy: Proxy, *arguments: str) -> LoggedProcess:
        process = LoggedProcess(
            "twistd",
            [TWISTD, *arguments, "minimixproxy", "--config", str(proxy.configuration)],
            directory=proxy.directory,
        )
        proxy.process = process
        self.addCleanup(self._stop, proxy)
        self._watch(proxy, 0)
        return process

    async def use(self, proxy: Proxy) -> Client:
        """Log in through a proxy and talk to the server."""
        client = await self.connect(proxy=proxy)
        await client.login(await self.account())
        await client.barrier()
        return client

    async def test_pidfile_and_logfile_in_the_background(self) -> None:
        proxy = self.proxy_not_started()
        pidfile, logfile = proxy.directory / "proxy.pid", proxy.directory / "proxy.log"
        process = await self.run_twistd(proxy, f"--pidfile={pidfile}", f"--logfile={logfile}")
        self.assertEqual(await process.ends(), 0, process.tail())
        pid = int(pidfile.read_text())
        self.addCleanup(_kill, pid)
        # once twistd's first process has ended, the ports are open
        await self.use(proxy)
        self.assertIn(f"starting on {proxy.port}", logfile.read_text())

        os.kill(pid, signal.SIGTERM)
        await deferToThread(_wait_for_end, pid)
        self.assertFalse(pidfile.exists())
        self.assertIn("Server Shut Down.", logfile.read_text())
        self.assertNotIn("Traceback", logfile.read_text())

    async def test_port_in_use(self) -> None:
        """twistd must not go on without a listener."""
        proxy = self.proxy_not_started()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", proxy.port))
            taken.listen()
            process = await self.run_twistd(proxy, "-n", "--pidfile=")
            self.assertNotEqual(await process.ends(), 0, process.tail())
        del self._proxies[proxy]  # it logged an error, as it should
        self.assertIn("Address already in use", process.tail())

    async def test_missing_key(self) -> None:
        proxy = self.proxy_not_started()
        Path(proxy.directory, f"{self.server.domain}.key").unlink()
        process = await self.run_twistd(proxy, "-n", "--pidfile=")
        self.assertEqual(await process.ends(), 1)
        self.assertIn(f'[domain."{self.server.domain}"] private_key: ', process.tail())
        self.assertNotIn("Traceback", process.tail())

    async def test_uid(self) -> None:
        """The certificate's key is root's; sockets and state belong to the user that twistd changes to."""
        user = _other_user()
        proxy = self.proxy_not_started()
        # the user needs a way to its state, as in /var/lib
        (proxy.directory / f"{self.server.domain}.key").chmod(0o600)
        proxy.directory.chmod(0o755)
        process = await self.run_twistd(proxy, "-n", "--pidfile=", f"--uid={user.pw_uid}", f"--gid={user.pw_gid}")
        await process.says(f"starting on {proxy.port}")
        await process.says("set uid/gid")
        client = await self.use(proxy)
        status = Path(f"/proc/{process.pid}/status").read_text()
        self.assertRegex(status, rf"(?m)^Uid:\t{user.pw_uid}\t{user.pw_uid}\t")
        state = (proxy.directory / "state").stat()
        self.assertEqual((state.st_uid, stat.S_IMODE(state.st_mode)), (user.pw_uid, 0o700))

        # the account stream needs its resource, kept beside state
        room = self.room()
        client.send(f"<presence to='{room}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        await client.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        self.assertEqual((proxy.directory / "state" / "installation").stat().st_uid, user.pw_uid)
        self.assertNotIn("Traceback", process.tail(1000))

    async def test_uid_with_a_certificate_of_its_own(self) -> None:
        user = _other_user()
        proxy = self.proxy_not_started(domain={"certificate": None, "private_key": None})
        proxy.directory.chmod(0o755)
        process = await self.run_twistd(proxy, "-n", "--pidfile=", f"--uid={user.pw_uid}", f"--gid={user.pw_gid}")
        await process.says(f"starting on {proxy.port}")
        line = await process.says("fingerprint|SHA-256")
        certificate = await deferToThread(_certificate_at, proxy.direct_tls_port, self.server.domain)
        self.assertIn(_fingerprint(certificate), line)
        keys = [path.stat() for path in (proxy.directory / "state").glob(f"*{self.server.domain}*.key")]
        self.assertEqual([(key.st_uid, stat.S_IMODE(key.st_mode)) for key in keys], [(user.pw_uid, 0o600)])


class EndpointTests(IntegrationTestCase):
    """Endpoint strings other than tcp:."""

    async def check(self, proxy: Proxy, port: int, *, direct_tls: bool = False) -> None:
        client = await raw.connect(port, self.server.domain, direct_tls=direct_tls)
        self._clients.append(client)
        await client.login(await self.account())
        await client.barrier()
        client.nothing()

    async def test_ssl(self) -> None:
        directory = temporary_directory("ssl")
        pair = make_certificate(authority(), self.server.domain)
        certificate, key = pair.write(directory, "endpoint")
        port = free_port()
        endpoint = f"ssl:{port}:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
        proxy = self.own_proxy(listen=[{"endpoint": endpoint, "tls": "direct"}])
        await proxy.process.says(rf"starting on {port}\b")
        client = await raw.connect(port, self.server.domain, direct_tls=True)
        self._clients.append(client)
        await client.login(await self.account())
        await client.barrier()

    async def test_systemd(self) -> None:
        """A socket that was opened before the program, as systemd does it."""
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            port = listening.getsockname()[1]
            proxy = Proxy(self.server, start=False, listen=[{"endpoint": "systemd:domain=INET:index=0"}])
            # the variables name the process itself, and the first descriptor is 3
            program = (
                "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ.update(LISTEN_PID=str(os.getpid()),"
                "LISTEN_FDS='1', LISTEN_FDNAMES='xmpp'); os.execv(sys.argv[2], sys.argv[2:])"
            )
            descriptor = listening.fileno()
            twistd = [TWISTD, "-n", "--pidfile=", "minimixproxy", "--config", str(proxy.configuration)]
            process = LoggedProcess(
                "twistd",
                [sys.executable, "-c", program, str(descriptor), *twistd],
                pass_fds=(descriptor,),
                directory=proxy.directory,
            )
            self.addCleanup(process.stop)
            await process.says(rf"starting on .*{port}")
        await self.check(proxy, port)

    async def test_systemd_without_systemd(self) -> None:
        proxy = Proxy(self.server, start=False, listen=[{"endpoint": "systemd:domain=INET:index=0"}])
        arguments = [TWISTD, "-n", "--pidfile=", "minimixproxy", "--config", str(proxy.configuration)]
        process = LoggedProcess("twistd", arguments, directory=proxy.directory)
        self.addCleanup(process.stop)
        self.assertEqual(await process.ends(), 1)
        self.assertIn('[[listen]] endpoint "systemd:domain=INET:index=0" cannot be used here', process.tail())
        self.assertNotIn("Traceback", process.tail())

    async def test_haproxy_header(self) -> None:
        """The PROXY protocol names the client's real address, which limits are counted by."""
        port = free_port()
        proxy = self.own_proxy(
            listen=[{"endpoint": f"haproxy:tcp:{port}:interface=127.0.0.1"}], limits={"connections_per_address": 2}
        )
        await proxy.process.says(rf"starting on {port}\b")
        clients = []
        for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
            client = await raw.connect(port, self.server.domain)
            self._clients.append(client)
            client.send(f"PROXY TCP4 {address} 127.0.0.1 56324 {port}\r\n")
            await client.login(await self.account())
            clients.append(client)
        for client in clients:
            await client.barrier()

    async def test_behind_haproxy(self) -> None:
        program = in_path("haproxy")
        if program is None:
            message = "haproxy is not installed: make system"
            if os.environ.get("CI"):
                self.fail(message)
            raise unittest.SkipTest(message)
        port = free_port()
        proxy = self.own_proxy(listen=[{"endpoint": f"haproxy:tcp:{port}:interface=127.0.0.1"}])
        await proxy.process.says(rf"starting on {port}\b")
        # haproxy does not say when it is ready: on a socket opened before, connections wait for it
        with socket.socket() as front:
            front.bind(("127.0.0.1", 0))
            front.listen()
            configuration = proxy.directory / "haproxy.cfg"
            configuration.write_text(
                "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n"
                f"listen xmpp\n  bind fd@{front.fileno()}\n  server proxy 127.0.0.1:{port} send-proxy\n"
            )
            arguments = [program, "-db", "-f", str(configuration)]
            haproxy = LoggedProcess("haproxy", arguments, pass_fds=(front.fileno(),))
            self.addCleanup(haproxy.stop)
            await self.check(proxy, front.getsockname()[1])


class EarlyClientTests(IntegrationTestCase):
    async def test_before_the_database_is_there(self) -> None:
        """The ports are bound already, privileges being dropped later: who connects is hung up on, with no fuss."""
        tcp, relayed, direct, websocket = (free_port() for _ in range(4))
        at = "interface=127.0.0.1"
        proxy = self.own_proxy(
            start=False,
            listen=[
                {"endpoint": f"tcp:{tcp}:{at}"},
                {"endpoint": f"haproxy:tcp:{relayed}:{at}"},
                {"endpoint": f"tcp:{direct}:{at}", "tls": "direct"},
            ],
            websocket=[{"endpoint": f"haproxy:tcp:{websocket}:{at}", "tls": "direct"}],
        )
        absent = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
        _state, *lines = proxy.configuration.read_text().splitlines()
        places = [f'state = "{absent}"', f'state_directory = "{proxy.directory / "state"}"']
        proxy.configuration.write_text("\n".join([*places, *lines]))
        await deferToThread(proxy.start)
        await proxy.process.says("no client can log in before it is there")
        for port in (tcp, relayed, direct, websocket):
            self.assertEqual(await deferToThread(_read_to_the_end, port), b"")
        self.assertEqual([line for line in proxy.process.lines if "Traceback" in line or "Error" in line], [])


class CertificateTests(IntegrationTestCase):
    async def test_a_new_certificate_is_used_for_new_connections(self) -> None:
        proxy = self.own_proxy()
        before = await self.client(proxy=proxy)
        first = await deferToThread(_certificate_at, proxy.direct_tls_port, self.server.domain)
        replacement = make_certificate(authority(), self.server.domain)
        replacement.write(proxy.directory, self.server.domain)
        second = await deferToThread(_certificate_at, proxy.direct_tls_port, self.server.domain)
        self.assertNotEqual(first.serial_number, second.serial_number)
        self.assertEqual(second.serial_number, replacement.certificate.serial_number)
        await (await self.client(proxy=proxy)).barrier()
        await before.barrier()

    async def test_a_broken_certificate_changes_nothing(self) -> None:
        proxy = self.own_proxy()
        first = await deferToThread(_certificate_at, proxy.direct_tls_port, self.server.domain)
        (proxy.directory / f"{self.server.domain}.pem").write_text("nonsense")
        again = await deferToThread(_certificate_at, proxy.direct_tls_port, self.server.domain)
        self.assertEqual(first.serial_number, again.serial_number)

    async def test_self_signed_is_kept_over_a_restart(self) -> None:
        proxy = self.own_proxy(domain={"certificate": None, "private_key": None})
        first = await deferToThread(_certificate_at, proxy.direct_tls_port, self.server.domain)
        await deferToThread(proxy.stop)
        await deferToThread(proxy.start)
        again = await deferToThread(_certificate_at, proxy.direct_tls_port, self.server.domain)
        self.assertEqual(first.serial_number, again.serial_number)
        await proxy.process.says(_fingerprint(first))


def _read_to_the_end(port: int) -> bytes:
    """What a connection says that says nothing itself, until it is closed, or reset."""
    with socket.create_connection(("127.0.0.1", port), timeout=patiently(10)) as connection:
        try:
            return connection.recv(1000)
        except ConnectionResetError:
            return b""


def _other_user() -> pwd.struct_passwd:
    """A user to change to. Skips the test if that cannot be, or if our modules are closed to that user."""
    if os.getuid() != 0:
        raise unittest.SkipTest("only root can change to another user")
    user = pwd.getpwnam(NOBODY)
    directories = {*Path(twisted.__file__).parents, *Path(minimixproxy.__file__).parents}
    closed = sorted(str(path) for path in directories if not path.stat().st_mode & stat.S_IXOTH)
    if closed:
        raise unittest.SkipTest(f"{NOBODY} cannot import later what is not imported yet: {closed[0]} is closed")
    return user


def _certificate_at(port: int, name: str) -> x509.Certificate:
    """The certificate that a TLS server shows. Blocks."""
    with socket.create_connection(("127.0.0.1", port), timeout=patiently(10)) as plain:
        plain.settimeout(None)
        connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), plain)
        connection.set_tlsext_host_name(name.encode())
        connection.set_connect_state()
        connection.do_handshake()
        certificate = connection.get_peer_certificate(as_cryptography=True)
        connection.shutdown()
    assert certificate is not None
    return certificate


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _wait_for_end(pid: int) -> None:
    """Block until a process that is not our child has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([descriptor], [], [], patiently(15))
        if not ready:
            raise AssertionError(f"process {pid} does not end")
    finally:
        os.close(descriptor)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
