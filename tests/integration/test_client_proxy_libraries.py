"""Real client libraries on both sides of a proxied domain: they see an entity with commands and a vCard."""

from typing import Any

import slixmpp

from tests.integration import proxied_libraries
from tests.integration.cases import on_both_servers
from tests.integration.libraries import aioxmpp, unusable
from tests.integration.proxied import ProxiedCase
from tests.integration.proxied_libraries import COMMAND, SlixmppUser, SlixmppWorker


class LibraryCase(ProxiedCase):
    def setUp(self) -> None:
        reason = unusable(aioxmpp if "aioxmpp" in self._testMethodName else slixmpp)
        if reason:
            self.skipTest(reason)
        super().setUp()

    async def log_in(self, device: Any) -> Any:
        await device.login(self.server.port)
        self.addCleanup(device.logout)
        return device

    async def known(self, worker: Any) -> None:
        """The proxy knows that the worker is there, and what it can: who can nothing is not asked.

        Behind the answer to the first ping the worker has been asked for that, behind the second it has been heard.
        """
        await self.running.process.says(f"{worker.jid} is there")
        for _ in range(2):
            await worker.ping(self.domain)

    async def use(self, make_worker: Any, make_user: Any, said: str) -> None:
        await self.serve(policy="round-robin")
        workers = [await self.log_in(make_worker(self.target, name)) for name in ("one", "two", "three")]
        onlooker = await self.worker("onlooker")  # a resource of the same account: it sees that the others are there
        onlooker.client.send("<presence><show>dnd</show></presence>")
        await onlooker.client.iq("get", self.domain, "<ping xmlns='urn:xmpp:ping'/>")
        for worker in workers:
            await self.known(worker)
        user = await self.log_in(make_user(await self.account("alice"), "phone"))
        self.assertEqual(await user.commands(self.domain), [(self.domain, COMMAND)])
        names = {await user.full_name(self.domain) for _ in range(3)}
        self.assertEqual(names, {"The one", "The two", "The three"})
        greetings = {await user.greeting(self.domain, "alice") for _ in range(3)}
        self.assertEqual(greetings, {said + name for name in ("one", "two", "three")})
        self.assertEqual({"command", "vcard"}, {kind for worker in workers for kind in worker.served})


@on_both_servers
class LibraryTests(LibraryCase):
    async def test_slixmpp_serves_aioxmpp(self) -> None:
        """A command of two steps: the second stays with the resource that answered the first."""
        await self.use(SlixmppWorker, proxied_libraries.AioxmppUser, "hello alice, says ")

    async def test_aioxmpp_serves_slixmpp(self) -> None:
        await self.use(proxied_libraries.AioxmppWorker, SlixmppUser, "hello, says ")

    async def test_slixmpp_serves_slixmpp(self) -> None:
        await self.use(SlixmppWorker, SlixmppUser, "hello alice, says ")

    async def test_a_bytestream_of_slixmpp(self) -> None:
        """Both ways in one stream: all of it between the user and one of the workers."""
        await self.serve(policy="round-robin")
        workers = [await self.log_in(SlixmppWorker(self.target, name)) for name in ("one", "two", "three")]
        for worker in workers:
            await self.known(worker)
        alice = await self.log_in(SlixmppUser(await self.account("alice"), "phone"))
        words = ["first", "second", "third", "fourth"]
        self.assertEqual(await alice.echo(self.domain, words), [word.upper() for word in words])
        self.assertEqual(sorted(len(worker.served) for worker in workers), [0, 0, 4])
