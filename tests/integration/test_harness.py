"""The harness against the bare servers: what the other tests stand on."""

import itertools
import json
import os
import signal
from pathlib import Path
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from tests.integration import cases, commands
from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.managed import NS_SM
from tests.integration.managedcase import ManagedCase, enter, hear, say
from tests.integration.prefork import Forked
from tests.integration.processes import LoggedProcess
from tests.integration.prosody import Prosody
from tests.integration.websocket import ByWebSocket


@on_both_servers
class HarnessTests(IntegrationTestCase):
    async def test_login_by_starttls(self) -> None:
        account = await self.account("alice")
        client = await self.client(account, "phone", direct=True)
        self.assertEqual(client.jid, f"{account.jid}/phone")

    async def test_login_by_direct_tls(self) -> None:
        client = await self.client(direct=True, direct_tls=True)
        await client.barrier()
        client.nothing()

    async def test_room(self) -> None:
        room = self.room()
        client = await self.client(direct=True)
        client.send(f"<presence to='{room}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        await client.expect(
            f"<presence from='{room}/alice'><x xmlns='http://jabber.org/protocol/muc#user'><status code='110'/></x>"
            "</presence>"
        )
        await client.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
        await client.barrier(room)
        # ejabberd tells its capabilities by a presence of the room itself
        client.inbox = [stanza for stanza in client.inbox if stanza.get("from") != room]
        client.nothing()

    async def test_wrong_password(self) -> None:
        account = await self.account("alice")
        client = await self.connect(direct=True)
        await client.open()
        await client.starttls()
        await client.open()
        reply = await client.authenticate(account.username, "wrong")
        self.assertEqual(reply.element.name, "failure")

    async def test_expecting_the_wrong_thing_fails_with_all_that_came(self) -> None:
        client = await self.client(direct=True)
        client.send("<message to='" + client.jid + "'><body>hello</body></message>")
        await client.barrier()
        with self.assertRaises(AssertionError) as caught:
            await client.expect("<message><body>bye</body></message>", timeout=0.01)
        self.assertIn("hello", str(caught.exception))


class NameTests(SynchronousTestCase):
    def test_no_room_is_another_one(self) -> None:
        """Scripts have rooms "room2" and "room3"; one with number 91 was somebody else's room with number 291."""
        server = Prosody.__new__(Prosody)  # which does not start
        server._serial = itertools.count(91)
        first = server.room("room2")
        server._serial = itertools.count(291)
        self.assertNotEqual(server.room("room"), first)


class ProcessTests(SynchronousTestCase):
    def test_it_outlives_the_thread_that_started_it(self) -> None:
        """A server that a test restarts, without blocking the reactor, is there for the tests that follow."""
        started: list[LoggedProcess] = []
        thread = Thread(target=lambda: started.append(LoggedProcess("cat", ["cat"], obeys=True)))
        thread.start()
        thread.join()
        while Path(f"/proc/self/task/{thread.native_id}").exists():  # what is left of it when it has ended
            os.sched_yield()
        (cat,) = started
        self.addCleanup(cat.stop)
        cat.tell("here")
        cat.wait_for("^here$")

    def test_what_is_written_is_read(self) -> None:
        """By whoever has seen by other ways that it was written, as the end of a connection."""
        written = Path(self.mktemp())
        program = LoggedProcess("yes", ["sh", "-c", f"yes | head -n 1000; touch {written}; exec cat"], obeys=True)
        self.addCleanup(program.stop)
        with program._news:  # nobody reads
            while not written.exists():
                os.sched_yield()
        program.catch_up()
        self.assertEqual(len(program.lines), 1000)

    def test_the_last_line_has_no_end(self) -> None:
        program = LoggedProcess("printf", ["printf", r"one\n\ntwo"])
        program.wait()
        self.assertEqual(program.lines, ["one", "", "two"])

    def test_no_such_program(self) -> None:
        self.assertRaises(FileNotFoundError, LoggedProcess, "none", ["/no/such/program"])


class PreforkTests(IntegrationTestCase):
    """Proxies and commands from prefork are as those that were run in the ordinary way."""

    async def test_commands(self) -> None:
        account = await self.account()
        answers = set()
        for value in ("", "1"):
            self.patch(os, "environ", {**os.environ, "MINIMIXPROXY_PREFORK": value})
            report = await commands.run(self.proxy, "status", "--json")
            self.assertEqual(json.loads(report.stdout)["pid"], self.proxy.process.pid)
            refused = await commands.run(self.proxy, "status", "--account", "@")
            enrolled = await commands.run(self.proxy, "enroll", account.jid, says=f"{account.password}\n")
            answers.add(tuple((done.returncode, done.stdout, done.stderr) for done in (refused, enrolled)))
        ((refusal, enrolling),) = answers
        self.assertEqual((refusal[:2], enrolling[0], enrolling[2]), ((2, ""), 0, ""))
        self.assertIn("minimixproxy: ", refusal[2])

    async def test_alike(self) -> None:
        for value in ("", "1"):
            self.patch(os, "environ", {**os.environ, "MINIMIXPROXY_PREFORK": value})
            proxy = self.own_proxy()
            self.assertIs(isinstance(proxy.process.process, Forked), bool(value))
            process = Path(f"/proc/{proxy.process.pid}")
            self.assertEqual(process.joinpath("cwd").readlink(), proxy.directory)
            self.assertIsNone(proxy.process.process.poll())
            await self.client(proxy=proxy)
            await proxy.restart(kill=True)
            self.assertEqual(proxy._past[-1].wait(), -signal.SIGKILL)
            await self.client(proxy=proxy)
            await self._close_clients()
            proxy.process.signal(signal.SIGTERM)
            self.assertEqual(await proxy.process.ends(), -signal.SIGTERM, proxy.tail())
            self.assertIn("Server Shut Down", proxy.process.lines[-1])


@on_both_servers
class ByWebSocketTests(ManagedCase):
    """`MINIMIXPROXY_TEST_CLIENTS=websocket`: who logs in through the proxy comes that way, and is as ever to a test."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(cases, "BY_WEBSOCKET", True)

    async def test_clients(self) -> None:
        room = self.room()
        phone, other = await self.client(language="de"), await self.client(direct=True)
        self.assertEqual([isinstance(client, ByWebSocket) for client in (phone, other)], [True, False])
        await enter(phone, room, "alice")
        say(phone, phone.jid, "one")
        phone.send("".join(f"<message to='{room}' type='groupchat'><body>{n}</body></message>" for n in range(3)))
        for number in range(3):
            await hear(phone, str(number))
        await phone.close()

    async def test_a_stream_error_is_the_end(self) -> None:
        phone = await self.client()
        phone.send("<a></b>")
        await phone.expect_close("not-well-formed")

    async def test_devices(self) -> None:
        device = await self.device()
        self.assertIsInstance(device.line, ByWebSocket)
        device.drop()
        self.assertTrue(await device.resume())
        device.send(f"<r xmlns='{NS_SM}'/>")
        await device.barrier()
