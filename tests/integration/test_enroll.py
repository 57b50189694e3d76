"""`minimixproxy enroll`: by a password that a real server is asked about, and from the servers' own stores."""

import sqlite3
from contextlib import closing
from typing import ClassVar

from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from minimixproxy.accountstream.errors import CredentialRefused
from minimixproxy.accountstream.login import prove_login
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.c2s.upstream.credentials import Credential, KeyCache
from minimixproxy.config.settings import Domain, Limits
from minimixproxy.sasl.keys import Keys
from minimixproxy.sasl.scram import derive_keys
from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.commands import Done, run
from tests.integration.ports import free_port
from tests.integration.proxy import Proxy
from tests.integration.servers import Account, authority_file


class EnrollCase(IntegrationTestCase):
    async def enroll(self, proxy: Proxy, account: str, password: str) -> Done:
        """Run the command with a password on its standard input."""
        return await run(proxy, "enroll", account, says=f"{password}\n")

    def kept(self, proxy: Proxy) -> dict[str, list[tuple[str, bool]]]:
        """The hashes of the keys on disk, by account, and whether the client's is among them."""
        with closing(sqlite3.connect(f"file:{proxy.directory}/state/state.sqlite?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT bare, hash_name, client_key FROM login_keys").fetchall()
        found: dict[str, list[tuple[str, bool]]] = {}
        for bare, hash_name, client_key in rows:
            found.setdefault(bare, []).append((hash_name, client_key is not None))
        return found

    def login(self, account: Account, credential: Credential) -> Login:
        """A login at the server itself."""
        domain = Domain(
            name=self.server.domain,
            upstream=f"tcp:127.0.0.1:{self.server.port}",
            upstream_trust=authority_file(),
        )
        return Login(domain, account.username, credential, KeyCache())

    async def check_keys(self, account: Account, keys: Keys) -> None:
        """With what a client's proof shows they log in at the server; with anything else they do not."""
        scram = derive_keys(keys.hash_name, account.password, keys.salt, keys.iterations)
        self.assertEqual(Keys.from_scram(keys.hash_name, keys.challenge, scram)._replace(client_key=None), keys)
        credential = Credential.from_keys(keys.hash_name, keys.challenge, scram)
        await prove_login(reactor, self.login(account, credential), Limits())
        wrong = Credential.from_keys(keys.hash_name, keys.challenge, scram._replace(client_key=scram.server_key))
        with self.assertRaises(CredentialRefused):
            await prove_login(reactor, self.login(account, wrong), Limits())


@on_both_servers
class ByPasswordTests(EnrollCase):
    hashes: ClassVar = {"prosody": "sha1", "ejabberd": "sha256"}

    async def test_enrolled(self) -> None:
        """The account has never been here. It is known after a crash, and can be forgotten."""
        proxy = self.own_proxy()
        account = await self.account()
        done = await self.enroll(proxy, account.jid, account.password)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, f"{account.jid}: enrolled\n", ""))
        expected = {account.jid: [(self.hashes[self.server.name], True)]}
        self.assertEqual(self.kept(proxy), expected)
        self.assertFalse([line for line in proxy.process.lines if account.password in line])
        await deferToThread(proxy.process.kill)
        await deferToThread(proxy.start)
        self.assertEqual(self.kept(proxy), expected)
        forgotten = await run(proxy, "forget", account.jid)
        self.assertEqual(forgotten.stdout, f"{account.jid}: forgotten\n")
        self.assertEqual(self.kept(proxy), {})

    async def test_not_enrolled(self) -> None:
        proxy = self.own_proxy()
        account = await self.account()
        for jid, password, said in (
            (account.jid, "wrong", f"the server does not take the password of {account.jid}"),
            (f"nobody@{account.domain}", "pencil", "the server does not take the password"),
            ("alice@elsewhere.example", "pencil", "its domain is not served by this proxy"),
        ):
            done = await self.enroll(proxy, jid, password)
            self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1), done.stderr)
            self.assertIn(said, done.stderr)
        self.assertEqual(self.kept(proxy), {})


class OneServerTests(EnrollCase):
    async def test_unreachable(self) -> None:
        proxy = self.own_proxy(domain={"upstream": f"tcp:127.0.0.1:{free_port()}"})
        done = await self.enroll(proxy, f"alice@{self.server.domain}", "pencil")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("could not be asked about the password", done.stderr)

    async def test_not_running(self) -> None:
        proxy = self.own_proxy()
        await deferToThread(proxy.stop)
        done = await self.enroll(proxy, f"alice@{self.server.domain}", "pencil")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("not running", done.stderr)
