"""Guessing passwords: at once is no faster than one after the other, and the owner still gets in."""

import base64
import re

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import NS_SASL, Client
from tests.integration.logins.rules import SISKIN
from tests.integration.logins.scram import Offered, Scram
from tests.integration.prosody import Prosody
from tests.integration.proxy import Proxy
from tests.integration.servers import Account

GUESSES = 60
FREE = 3
# However long a slow machine takes, no more guesses come to their turn by waiting.
LIMITS = {"failed_logins": FREE, "failed_login_delay": 3600.0, "failed_login_delay_max": 86400.0}
# One more, and one for each time that the server takes so long for an answer that the next is let go.
REACH = 12
REACHED = re.compile(r"failed login from 127.0.0.1 as \S+: (?!too-many)")


@on_both_servers
class GuessingTests(IntegrationTestCase):
    timeout = 120

    async def secured(self, proxy: Proxy, address: str = "127.0.0.1") -> Client:
        """A client at that address which can authenticate now."""
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", proxy.port, bindAddress=(address, 0))
        client: Client = await connectProtocol(endpoint, Client(self.server.domain, f"at {address}"))
        self._clients.append(client)
        await client.open()
        await client.starttls()
        await client.open()
        return client

    async def test_sixty_guesses_at_once(self) -> None:
        proxy = self.own_proxy(limits=LIMITS)
        account = await self.account()
        guessers = [await self.secured(proxy) for _ in range(GUESSES)]
        owner = await self.secured(proxy, "127.0.0.2")
        answers = [guesser.authenticate(account.username, f"guess {n}") for n, guesser in enumerate(guessers)]
        for answer in answers:  # what is sent goes out at once
            answer.send(None)
        failures = [str(await guesser.expect(f"<failure xmlns='{NS_SASL}'/>", timeout=30.0)) for guesser in guessers]
        refused = sum("<not-authorized" in failure for failure in failures)
        self.assertEqual(sum("<temporary-auth-failure" in failure for failure in failures), GUESSES - refused)
        reply = await owner.authenticate(account.username, account.password)
        self.assertEqual(reply.element.name, "success")
        await self.log_is_read(proxy)
        reached = [line for line in proxy.log if REACHED.search(line)]
        self.assertTrue(refused <= len(reached) < REACH, reached)
        for guesser in guessers:
            guesser.drop()
            await guesser.until_lost()
        for answer in answers:
            answer.close()

    async def test_the_right_password_among_devices_at_once(self) -> None:
        """Who has many devices gets all of them in."""
        proxy = self.own_proxy()
        account = await self.account()
        devices = [await self.secured(proxy) for _ in range(8)]
        answers = [device.authenticate(account.username, account.password) for device in devices]
        for answer in answers:
            answer.send(None)
        for device in devices:
            await device.expect(f"<success xmlns='{NS_SASL}'/>", timeout=30.0)
        for answer in answers:
            answer.close()

    async def test_guesses_that_are_broken_off(self) -> None:
        """The guesser does not wait for the answer: what has gone to the server counts, and its outcome too."""
        proxy = self.own_proxy(limits=LIMITS)
        account = await self.account()
        for number in range(20):
            guesser = await self.secured(proxy)
            message = base64.b64encode(f"\0{account.username}\0guess {number}".encode()).decode()
            auth = f"<auth xmlns='{NS_SASL}' mechanism='PLAIN'>{message}</auth>"
            if number % 2:
                guesser.send(f"{auth}<abort xmlns='{NS_SASL}'/>")
                await guesser.expect(f"<failure xmlns='{NS_SASL}'/>")
            else:
                guesser.send(f"{auth}<abort xmlns='{NS_SASL}'/></stream:stream>")
                await guesser.until_lost()
        # How many come to their turn before they are broken off depends on the machine; the first one does.
        await proxy.process.says(REACHED.pattern)
        owner = await self.secured(proxy, "127.0.0.2")
        self.assertEqual((await owner.authenticate(account.username, account.password)).element.name, "success")
        self.assertLess(len([line for line in proxy.log if REACHED.search(line)]), REACH)

    async def proves(self, client: Client, account: Account, leave: str = "") -> str:
        """Log in by SCRAM, up to the challenge if it is to `leave` there. Returns the last answer's name."""
        hash_name = "SCRAM-SHA-1" if self.kind is Prosody else "SCRAM-SHA-256"
        scram = Scram(SISKIN, hash_name, account.username, account.password, Offered((), None))
        first = base64.b64encode(scram.first()).decode()
        client.send(f"<auth xmlns='{NS_SASL}' mechanism='{hash_name}'>{first}</auth>")
        answer = await client.expect(lambda stanza: stanza.element.uri == NS_SASL, timeout=30.0)
        if answer.element.name != "challenge":
            return str(answer.element.name)
        if leave == "drop":
            client.drop()
            await client.until_lost()
            return leave
        final = base64.b64encode(scram.final(base64.b64decode(str(answer.element)))).decode()
        client.send(f"<{leave or 'response'} xmlns='{NS_SASL}'>{'' if leave else final}</{leave or 'response'}>")
        answer = await client.expect(lambda stanza: stanza.element.uri == NS_SASL, timeout=30.0)
        return str(answer.element.name)

    async def test_guesses_by_scram(self) -> None:
        """Proofs that are wrong, or never come, count like wrong passwords, whether the keys are known here or not.

        All at once: each of the accounts has its owner wait for a while.
        """
        proxy = self.own_proxy(limits=LIMITS, domain={"logins": ["SCRAM", "PLAIN"]})
        ways = ((True, ""), (True, "drop"), (False, ""), (False, "abort"))
        await gatherResults(
            [Deferred.fromCoroutine(self.guess_by_scram(proxy, known, leave)) for known, leave in ways],
            consumeErrors=True,
        )

    async def guess_by_scram(self, proxy: Proxy, known: bool, leave: str) -> None:
        account = await self.account()
        if known:
            await self.client(account, "laptop", proxy=proxy)
        guess = account._replace(password="guess")
        refused = re.compile(rf"failed login from 127.0.0.1 as {re.escape(account.jid)}: (?!too-many)")
        for _ in range(FREE + 4):
            guesser = await self.secured(proxy)
            await self.proves(guesser, guess, leave)
            guesser.drop()
            await guesser.until_lost()
        await proxy.process.says(refused.pattern)
        owner = await self.secured(proxy, "127.0.0.2")
        self.assertEqual(await self.proves(owner, account), "success", (known, leave))
        owner.drop()
        await owner.until_lost()
        reached = [line for line in proxy.log if refused.search(line)]
        self.assertTrue(0 < len(reached) <= FREE + 1, (known, leave, reached))
