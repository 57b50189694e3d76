"""Whether an account exists is told by nothing that a login by SCRAM shows to who has not the password."""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import NamedTuple

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import NS_SASL
from tests.integration.logins.connection import Connection, connect
from tests.integration.nodes import ClusterCase
from tests.integration.proxy import Proxy
from tests.integration.servers import Account
from tests.integration.xmlcut import Received

_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Shown(NamedTuple):
    """What somebody sees of a login that fails. `fields`: of the challenge; `nonce`: what the server's is like."""

    fields: tuple[str, ...]
    nonce: str
    salt: str
    iterations: str
    failure: str


Final = Callable[[dict[str, str], int], str]


def wrong_proof(fields: dict[str, str], size: int) -> str:
    return f"c=biws,r={fields['r']},p={b64encode(secrets.token_bytes(size)).decode()}"


def without_nonce(fields: dict[str, str], size: int) -> str:
    return wrong_proof({"r": "another"}, size)


def short_proof(fields: dict[str, str], _size: int) -> str:
    return wrong_proof(fields, 3)


def another_binding(fields: dict[str, str], size: int) -> str:
    return wrong_proof(fields, size).replace("biws", "eSws")


def nonsense(_fields: dict[str, str], _size: int) -> str:
    return "nonsense"


def _kind(text: str) -> str:
    if _UUID.fullmatch(text):
        return "UUID"
    if re.fullmatch(r"[A-Za-z0-9+/]+=*", text):
        return f"{len(text)} characters of base64"
    return text


class OracleCase(IntegrationTestCase):
    async def stranger(self, account: Account, proxy: Proxy, *, named: bool = False) -> Connection:
        """A client that may log in; `named`: it has said as whom."""
        client: Connection = await connect(account, proxy.port, "1.3")
        self._clients.append(client)
        await client.opened(None)
        await client.starttls()
        await client.opened(account.jid if named else None)
        return client

    async def begun(self, client: Connection, account: Account, nonce: str) -> tuple[str, Received]:
        """Begin a login by SCRAM; return the mechanism, and what is said to that."""
        (mechanism,) = [name for name in client.offered().mechanisms if name.startswith("SCRAM")][-1:]
        return mechanism, await self.answer_to(client, mechanism, f"n,,n={account.username},r={nonce}")

    async def answer_to(self, client: Connection, mechanism: str, first: str) -> Received:
        client.send(f"<auth xmlns='{NS_SASL}' mechanism='{mechanism}'>{b64encode(first.encode()).decode()}</auth>")
        return await client.expect(lambda stanza: stanza.element.uri == NS_SASL, timeout=30.0)

    async def challenged(
        self, account: Account, proxy: Proxy, nonce: str, *, named: bool = False
    ) -> tuple[Connection, str, dict[str, str]]:
        """Begin a login; return the client, the mechanism, and the fields of the challenge."""
        client = await self.stranger(account, proxy, named=named)
        mechanism, reply = await self.begun(client, account, nonce)
        self.assertEqual(reply.element.name, "challenge")
        fields = dict(part.split("=", 1) for part in b64decode(str(reply.element)).decode().split(","))
        return client, mechanism, fields


@on_both_servers
class WhoIsThereTests(OracleCase):
    timeout = 120

    async def shown(self, account: Account, proxy: Proxy, final: Final, *, named: bool) -> Shown:
        nonce = secrets.token_hex(8)
        client, mechanism, fields = await self.challenged(account, proxy, nonce, named=named)
        size = hashlib.new({"1": "sha1", "256": "sha256", "512": "sha512"}[mechanism.rsplit("-")[-1]]).digest_size
        said = b64encode(final(fields, size).encode()).decode()
        client.send(f"<response xmlns='{NS_SASL}'>{said}</response>")
        reply = await client.expect(lambda stanza: stanza.element.uri == NS_SASL, timeout=30.0)
        await client.close()
        salt = b64decode(fields["s"])
        kind = "UUID" if _UUID.fullmatch(salt.decode("latin-1")) else f"{len(salt)} bytes"
        return Shown(tuple(fields), _kind(fields["r"].removeprefix(nonce)), kind, fields["i"], reply.element.toXml())

    async def test_nobody_learns_who_is_there(self) -> None:
        """Whose keys are known is told by what is offered to who names it; how it fails is the same for everybody."""
        proxy = self.own_proxy(domain={"logins": ["SCRAM", "PLAIN"]}, limits={"failed_logins": 1000})
        enrolled, there = await self.account(), await self.account("bob")
        nobody = enrolled._replace(username="nobody")
        await (await self.client(enrolled, "laptop", proxy=proxy)).close()
        for named in (False, True):
            for final in (wrong_proof, without_nonce, short_proof, another_binding, nonsense):
                shown = [await self.shown(account, proxy, final, named=named) for account in (there, nobody)]
                self.assertEqual(shown[1], shown[0], (named, final.__name__))
                known = await self.shown(enrolled, proxy, final, named=named)
                self.assertEqual(known.failure, shown[0].failure, (named, final.__name__))

    async def test_by_a_nonce_that_makes_the_server_say_too_much(self) -> None:
        proxy = self.own_proxy(domain={"logins": ["SCRAM", "PLAIN"]}, limits={"failed_logins": 1000})
        there = await self.account()
        for account in (there, there._replace(username="nobody")):
            for length in (1025, 6050):
                client = await self.stranger(account, proxy)
                _mechanism, reply = await self.begun(client, account, "x" * length)
                self.assertIn("malformed-request", reply.element.toXml(), (account.username, length))
                await client.close()
            await self.challenged(account, proxy, "x" * 1024)

    async def test_by_plain(self) -> None:
        proxy = self.own_proxy(domain={"logins": ["SCRAM", "PLAIN"]}, limits={"failed_logins": 1000})
        there = await self.account()
        told = {await self.refusal(account, proxy) for account in (there, there._replace(username="nobody"))}
        self.assertEqual(len(told), 1, told)

    async def refusal(self, account: Account, proxy: Proxy) -> str:
        client = await self.stranger(account, proxy)
        reply = await self.answer_to(client, "PLAIN", f"\0{account.username}\0guess")
        self.assertEqual(reply.element.name, "failure")
        await client.close()
        return str(reply.element.toXml())


@on_both_servers
class WhoIsThereInAClusterTests(ClusterCase, OracleCase):
    async def test_nobody_learns_who_is_there_by_two_nodes(self) -> None:
        """A server has one salt for an account that exists, and one challenge is like the other."""
        nodes = await self.nodes(domain={"logins": ["SCRAM", "PLAIN"]}, limits={"failed_logins": 1000})
        there = await self.account("bob")
        for account in (there, there._replace(username="nobody")):
            shown = []
            for node in nodes:
                client, _mechanism, fields = await self.challenged(account, node, "n")
                await client.close()
                shown.append((fields["s"], fields["i"]))
            self.assertEqual(shown[0], shown[1], account)
