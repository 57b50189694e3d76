"""Logging in as the clients that people use do it, each by its own rules: see docs/clients-logins.md."""

import hashlib
from base64 import b64encode
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.cases import on_both_servers, on_servers
from tests.integration.ejabberd import Ejabberd
from tests.integration.logins.cases import NO_BINDING, NOTHING_USABLE, LoginRulesCase, named
from tests.integration.logins.device import Device
from tests.integration.logins.rules import (
    CONVERSATIONS,
    CONVERSATIONS_STRICT,
    CONVERSE,
    DINO,
    EVERYBODY,
    GAJIM,
    MONAL,
    MONAL_2024,
    MONAL_WITH_PLAIN,
    PROFANITY,
    SISKIN,
    SISKIN_TO_COME,
    Rules,
)
from tests.integration.logins.scram import Offered, Refused, Scram
from tests.integration.logins.servers import Sasl2Prosody
from tests.integration.prosody import Prosody

assert CONVERSATIONS.sasl2 is not None
SASL2 = CONVERSATIONS.sasl2
# What the servers of Debian 12 do by themselves: neither lists types of channel binding (XEP-0440), neither has SASL2.
SHA_1, SHA_256 = "SCRAM-SHA-1 n,,", "SCRAM-SHA-256 n,,"
NO_WAY = {CONVERSATIONS_STRICT: NO_BINDING, **dict.fromkeys((MONAL, MONAL_2024), NOTHING_USABLE)}
NO_WAY[MONAL_WITH_PLAIN] = "PLAIN"
DIRECT = {
    Prosody: {**NO_WAY, **dict.fromkeys((CONVERSATIONS, SISKIN, SISKIN_TO_COME, DINO, GAJIM, CONVERSE), SHA_1)},
    Ejabberd: {
        **NO_WAY,
        **dict.fromkeys((CONVERSATIONS, SISKIN, SISKIN_TO_COME, GAJIM, CONVERSE), SHA_256),
        DINO: "PLAIN",
    },
}


@on_both_servers
class DirectTests(LoginRulesCase):
    """What clients get from the servers themselves, and what the servers make of what only some clients send."""

    async def test_tls_1_3(self) -> None:
        """ejabberd offers -PLUS without any binding that there is: profanity fails with it and goes on without."""
        expected = named(DIRECT[self.kind])
        expected[PROFANITY.client] = "SCRAM-SHA-1 y,," if self.kind is Prosody else "SCRAM-SHA-256 y,,"
        self.assertEqual(await self.outcomes(self.server.port, "1.3"), expected)

    async def test_tls_1_2(self) -> None:
        expected = named(DIRECT[self.kind])
        hash_name = "1" if self.kind is Prosody else "256"
        expected[PROFANITY.client] = f"SCRAM-SHA-{hash_name}-PLUS p=tls-unique,,"
        self.assertEqual(await self.outcomes(self.server.port, "1.2"), expected)

    async def test_wrong_password(self) -> None:
        account = await self.account()
        device = Device(CONVERSATIONS, account, "wrong")
        self.assertEqual(await self.outcome(device, self.server.port), "is refused: not-authorized")

    async def test_password_changed(self) -> None:
        """Converse keeps keys; they are good until the salt is another one."""
        device = Device(CONVERSE, await self.account())
        first = await self.outcome(device, self.server.port)
        self.assertEqual(await self.outcome(device, self.server.port), first)
        await self.server.set_password(device.account, "another")
        outcome = await self.outcome(device, self.server.port)
        self.assertEqual(outcome, "refuses: the keys that were kept are for another salt")


class RefusalTests(SynchronousTestCase):
    """What the stand-ins refuse of a server: no server is needed."""

    def refusal(self, rules: Rules, answer: str, mechanism: str = "SCRAM-SHA-1") -> str:
        """What is said to a server's first message; @ stands for the client's nonce."""
        offered = Offered(("PLAIN", mechanism), None)
        exchange = Scram(rules, mechanism, "alice", "pencil", offered)
        nonce = exchange.first().decode().partition("r=")[2].partition(",")[0]
        try:
            exchange.final(answer.replace("@", nonce).encode())
            exchange.finish(b"v=AAAA")
        except Refused as reason:
            return str(reason)
        return "nothing"

    def test_nonce(self) -> None:
        for answer in ("r=other@,s=QUFB,i=4096", "r=@,s=QUFB,i=4096"):
            self.assertIn("nonce", self.refusal(CONVERSATIONS, answer))

    def test_iterations(self) -> None:
        self.assertEqual(self.refusal(GAJIM, "r=@x,s=QUFB,i=4095"), "too few iterations")
        self.assertEqual(self.refusal(PROFANITY, "r=@x,s=QUFB,i=4095"), "nothing")

    def test_order_and_reserved_attribute(self) -> None:
        for answer in ("s=QUFB,r=@x,i=4096", "r=@x,s=QUFB,i=4096,m=x"):
            self.assertIn("server-first-message", self.refusal(SISKIN, answer))

    def test_signature(self) -> None:
        self.assertEqual(self.refusal(DINO, "r=@x,s=QUFB,i=4096"), "the server does not know the password")

    def test_lists(self) -> None:
        """XEP-0474: by who looks at it, and not by others."""
        tampered = "the lists of mechanisms and channel bindings were tampered with"
        self.assertEqual(self.refusal(MONAL, "r=@x,s=QUFB,i=4096,h=QUFB"), tampered)
        self.assertEqual(self.refusal(PROFANITY, "r=@x,s=QUFB,i=4096,h=QUFB"), "nothing")
        digest = b64encode(hashlib.sha1(b"PLAIN\x1eSCRAM-SHA-1").digest()).decode()
        self.assertNotEqual(self.refusal(MONAL, f"r=@x,s=QUFB,i=4096,h={digest}"), tampered)


@on_servers(Prosody)
class ProsodyFactsTests(LoginRulesCase):
    """What a relayed login meets, too."""

    async def test_y_is_a_downgrade_where_it_offers_plus(self) -> None:
        """That is with TLS 1.2 only: Prosody 0.12 knows tls-unique, which TLS 1.3 has not."""
        without = replace(PROFANITY, mechanisms=DINO.mechanisms)
        self.assertEqual(await self.outcome(Device(without, await self.account()), self.server.port), "SCRAM-SHA-1 y,,")
        outcome = await self.outcome(Device(without, await self.account()), self.server.port, "1.2")
        self.assertEqual(outcome, "is refused: malformed-request")

    async def test_attributes_that_it_does_not_know(self) -> None:
        greasing = replace(DINO, grease=True)
        outcome = await self.outcome(Device(greasing, await self.account()), self.server.port)
        self.assertEqual(outcome, "SCRAM-SHA-1 n,,")


@on_servers(Ejabberd)
class EjabberdFactsTests(LoginRulesCase):
    async def test_y_is_no_downgrade(self) -> None:
        for tls in ("1.3", "1.2"):
            without = replace(PROFANITY, mechanisms=SISKIN.mechanisms)
            outcome = await self.outcome(Device(without, await self.account()), self.server.port, tls)
            self.assertEqual(outcome, "SCRAM-SHA-256 y,,")

    async def test_attributes_that_it_does_not_know(self) -> None:
        """ejabberd 23.01 takes none: Monal could not log in even if it were offered SASL2."""
        greasing = replace(SISKIN, grease=True)
        outcome = await self.outcome(Device(greasing, await self.account()), self.server.port)
        self.assertEqual(outcome, "is refused: not-authorized")


@on_servers(Sasl2Prosody)
class Sasl2Tests(LoginRulesCase):
    """Where the server itself does SASL2, Bind2 and FAST: what the stand-ins do there shows that they can."""

    async def test_tls_1_3(self) -> None:
        """It lists `tls-exporter`, and offers -PLUS by SASL2 only: profanity says that it could do that."""
        expected = dict.fromkeys(EVERYBODY, SHA_1)
        bound = (CONVERSATIONS, CONVERSATIONS_STRICT, MONAL, MONAL_WITH_PLAIN, MONAL_2024)
        expected |= dict.fromkeys(bound, "SCRAM-SHA-1-PLUS p=tls-exporter,,")
        expected[PROFANITY] = "is refused: malformed-request"
        self.assertEqual(await self.outcomes(self.server.port, "1.3"), named(expected))

    async def test_tls_1_2(self) -> None:
        """Only `tls-unique`, which Monal cannot do."""
        expected = dict.fromkeys(EVERYBODY, SHA_1)
        expected |= dict.fromkeys((CONVERSATIONS, CONVERSATIONS_STRICT, PROFANITY), "SCRAM-SHA-1-PLUS p=tls-unique,,")
        unbound = "refuses: no channel binding, and nothing vouches for that"
        expected |= dict.fromkeys((MONAL, MONAL_WITH_PLAIN, MONAL_2024), unbound)
        self.assertEqual(await self.outcomes(self.server.port, "1.2"), named(expected))

    async def test_bind_and_token(self) -> None:
        """The second login is by the token that the first brought, and one answer later the device is bound."""
        for rules, tls, mechanism in (
            (CONVERSATIONS, "1.3", "HT-SHA-256-EXPR"),
            (MONAL, "1.3", "HT-SHA-256-EXPR"),
            (CONVERSATIONS, "1.2", "HT-SHA-256-UNIQ"),
            (SISKIN_TO_COME, "1.3", "HT-SHA-256-NONE"),
        ):
            device = Device(rules, await self.account())
            first = (await self.login(device, self.server.port, tls)).jid
            assert rules.sasl2 is not None
            self.assertIn(f"/{rules.sasl2.tag}", first)
            device.cut()
            client = await self.login(device, self.server.port, tls)
            self.assertEqual((device.way.mechanism, client.jid, client.sent), (mechanism, first, 2))
            await client.barrier()

    async def test_token_weaker_than_the_login(self) -> None:
        """A login by -PLUS, and a token for no channel binding: it is not kept."""
        device = Device(replace(CONVERSATIONS, sasl2=replace(SASL2, token_bindings=("",))), await self.account())
        await self.login(device, self.server.port, "1.2")
        self.assertIsNone(device.token)

    async def test_token_refused(self) -> None:
        """It is forgotten, and the password used: this server does not allow that on the same stream."""
        device = Device(CONVERSATIONS, await self.account())
        await self.login(device, self.server.port)
        assert device.token is not None
        device.token = device.token._replace(secret="another")
        device.cut()
        self.assertEqual(await self.outcome(device, self.server.port), "is refused: invalid-mechanism")
        self.assertEqual([way.mechanism for way in device.attempts[1:]], ["HT-SHA-256-EXPR", "SCRAM-SHA-1-PLUS"])
        self.assertEqual(await self.outcome(device, self.server.port), "SCRAM-SHA-1-PLUS p=tls-exporter,,")

    async def test_wrong_password(self) -> None:
        device = Device(MONAL, await self.account(), "wrong")
        self.assertEqual(await self.outcome(device, self.server.port), "is refused: not-authorized")
