"""Logging in through the proxy as the clients that people use do it, before and after the account is enrolled."""

from dataclasses import replace

from twisted.internet.threads import deferToThread

from tests.integration.cases import on_both_servers, on_servers
from tests.integration.ejabberd import Ejabberd
from tests.integration.logins.cases import (
    END_POINT,
    ENROLLING,
    EXPORTER,
    MONALS,
    NO_BINDING,
    NOT_VOUCHED_FOR,
    NOTHING_USABLE,
    WRONG,
    ProxiedCase,
    named,
)
from tests.integration.logins.connection import Connection
from tests.integration.logins.device import Device
from tests.integration.logins.rules import (
    CONVERSATIONS,
    CONVERSATIONS_STRICT,
    CONVERSE,
    GAJIM,
    MONAL,
    MONAL_2024,
    MONAL_WITH_PLAIN,
    PLAIN,
    PROFANITY,
    SISKIN,
    AfterFailure,
)
from tests.integration.logins.scram import Offered
from tests.integration.logins.servers import BoundProsody
from tests.integration.servers import Account, breakable


async def other_spellings(case: ProxiedCase, account: Account, expected: str) -> None:
    """Log in by names that mean this account; the last letters but the number are "rules"."""
    for name in (account.username.upper(), account.username.replace("s", "\u017f"), f"\uff52{account.username[1:]}"):
        device = Device(CONVERSATIONS, account._replace(username=name))
        case.assertEqual(await case.outcome(device, case.port), expected, ascii(name))


@on_both_servers
class RelayedTests(ProxiedCase):
    """The account is not enrolled, the configuration says nothing of logins: as at the server, but for -PLUS."""

    async def test_everybody(self) -> None:
        for tls in ("1.3", "1.2"):
            expected = self.expected()
            expected |= {PROFANITY: f"{self.hash} y,,", CONVERSATIONS_STRICT: NO_BINDING}
            # Monal says what no server knows, on purpose; ejabberd takes that for a fault.
            monal = WRONG if self.kind is Ejabberd else f"{self.hash} y,,"
            expected |= {MONAL: monal, MONAL_WITH_PLAIN: monal, MONAL_2024: NOT_VOUCHED_FOR}
            self.assertEqual(await self.everybody(tls, enrolled=False), named(expected))

    async def test_wrong_password(self) -> None:
        for rules in (CONVERSATIONS, GAJIM, PROFANITY):
            device = Device(rules, await self.account(), "wrong")
            self.assertEqual(await self.outcome(device, self.port), WRONG)

    async def test_unknown_user(self) -> None:
        device = Device(CONVERSATIONS, Account("nobody-here", self.server.domain, "pass word"))
        self.assertEqual(await self.outcome(device, self.port), WRONG)

    async def test_salt_and_iterations_are_the_servers(self) -> None:
        """Who keeps keys goes on with them, wherever they log in."""
        device = Device(CONVERSE, await self.account())
        for port in (self.server.port, self.port, self.server.port):
            self.assertEqual(await self.outcome(device, port), f"{self.hash} n,,")

    async def test_server_is_down(self) -> None:
        """A phone is told to try later, and not that there is PLAIN only, which it would take for an attack."""
        self.server = await deferToThread(breakable, self.kind)
        proxy = self.own_proxy(domain=self.domain)
        await self.learned(proxy)
        device = Device(CONVERSATIONS, await self.account())
        self.assertEqual(await self.outcome(device, proxy.port), f"{self.hash} n,,")
        await deferToThread(self.server.process.stop)
        await proxy.restart()
        self.assertEqual(await self.outcome(device, proxy.port), "is refused: temporary-auth-failure")

    async def test_names_otherwise_written(self) -> None:
        """Letters that SASLprep or the address's own rules make the same: as at the server."""
        await other_spellings(self, await self.account("rules"), f"{self.hash} n,,")

    async def test_pinned_at_the_server(self) -> None:
        """A phone that has logged in at the server itself, and finds the proxy there one day."""
        device = Device(CONVERSATIONS, await self.account())
        for port in (self.server.port, self.port):
            self.assertEqual(await self.outcome(device, port), f"{self.hash} n,,")


@on_both_servers
class EnrolledTests(ProxiedCase):
    """The proxy knows the account's keys."""

    async def test_tls_1_3(self) -> None:
        expected = self.expected()
        expected |= dict.fromkeys((CONVERSATIONS, CONVERSATIONS_STRICT, PROFANITY, *MONALS), self.hash + EXPORTER)
        self.assertEqual(await self.everybody("1.3", enrolled=True), named(expected))

    async def test_tls_1_2(self) -> None:
        """profanity takes -PLUS for `tls-unique`, and having failed with it asks for what would be a downgrade."""
        expected = self.expected()
        expected |= dict.fromkeys((CONVERSATIONS, CONVERSATIONS_STRICT, *MONALS), self.hash + END_POINT)
        outcomes = await self.everybody("1.2", enrolled=True)
        self.assertRegex(outcomes.pop(PROFANITY.client), "^is refused: ")
        del expected[PROFANITY]
        self.assertEqual(outcomes, named(expected))

    async def test_lists_are_vouched_for(self) -> None:
        """XEP-0474, by who looks at it."""
        for rules in (CONVERSATIONS, replace(SISKIN, lists_hash=CONVERSATIONS.lists_hash)):
            device = Device(rules, await self.enrolled())
            await self.login(device, self.port)
            self.assertTrue(device.vouched, device.server_first)

    async def test_wrong_password(self) -> None:
        account = await self.enrolled()
        for rules in (CONVERSATIONS, GAJIM, SISKIN):
            self.assertEqual(await self.outcome(Device(rules, account, "wrong"), self.port), WRONG)
        self.assertEqual(await self.outcome(Device(CONVERSATIONS, account), self.port), self.hash + EXPORTER)

    async def test_salt_and_iterations_are_the_servers(self) -> None:
        device = Device(CONVERSE, await self.enrolled())
        for port in (self.server.port, self.port, self.server.port):
            self.assertEqual(await self.outcome(device, port), f"{self.hash} n,,")

    async def test_names_otherwise_written(self) -> None:
        await other_spellings(self, await self.enrolled(), self.hash + EXPORTER)

    async def test_attributes_that_nobody_knows(self) -> None:
        """The proxy ends the exchange, whatever the server thinks of these."""
        device = Device(replace(CONVERSATIONS, grease=True), await self.enrolled())
        self.assertEqual(await self.outcome(device, self.port), self.hash + EXPORTER)

    async def test_once_bound_always_bound(self) -> None:
        """Conversations refuses less from then on, and is not given less: after a restart, too."""
        device = Device(CONVERSATIONS, await self.enrolled())
        self.assertEqual(await self.outcome(device, self.port), self.hash + EXPORTER)
        await self.own.restart()
        self.assertEqual(await self.outcome(device, self.port), "HT-SHA-512-EXPR")  # bound, too
        device.token = None
        self.assertEqual(await self.outcome(device, self.port), self.hash + EXPORTER)

    async def test_nameless(self) -> None:
        """Who does not name itself in the stream header is offered what the server has, and gets in all the same."""
        device = Device(replace(CONVERSATIONS, names_itself=False), await self.enrolled())
        self.assertEqual(await self.outcome(device, self.port), f"{self.hash} n,,")
        self.assertTrue(device.vouched, device.server_first)

    async def test_direct_tls(self) -> None:
        """Where TLS comes first, it is bound to as well."""
        for tls, binding in (("1.3", EXPORTER), ("1.2", END_POINT)):
            device = Device(CONVERSATIONS, await self.enrolled())
            client = await device.login(self.own.direct_tls_port, tls, direct_tls=True)
            await client.close()
            self.assertEqual(f"{device.way.mechanism} {device.way.header}", self.hash + binding)

    async def test_password_changed(self) -> None:
        """Elsewhere: old keys do not do any more, the new password does as soon as the proxy has seen that."""
        account = await self.enrolled()
        old = Device(SISKIN, account)
        self.assertEqual(await self.outcome(old, self.port), f"{self.hash} n,,")
        changed = await self.server.set_password(account, "another")
        self.assertEqual(await self.outcome(old, self.port), WRONG)
        self.assertEqual(await self.outcome(Device(SISKIN, changed), self.port), f"{self.hash} n,,")

    async def test_password_changed_for_who_is_bound(self) -> None:
        """-PLUS cannot be relayed; so its user is asked to accept less, or the account is enrolled anew."""
        account = await self.enrolled()
        device = Device(CONVERSATIONS, account)
        self.assertEqual(await self.outcome(device, self.port), self.hash + EXPORTER)
        device.secret = (await self.server.set_password(account, "another")).password
        first = await self.outcome(device, self.port)  # the account's own stream may have found out already
        self.assertIn(first, ("is refused: temporary-auth-failure", "refuses: downgrade"))
        self.assertEqual(await self.outcome(device, self.port), "refuses: downgrade")
        changed = account._replace(password="another")
        self.assertEqual(await self.outcome(Device(ENROLLING, changed), self.port), PLAIN)
        self.assertEqual(await self.outcome(device, self.port), self.hash + EXPORTER)


@on_both_servers
class SomebodyInBetweenTests(ProxiedCase):
    """Whoever ends the client's TLS, and has a certificate that it believes. The account is enrolled."""

    async def test_another_connection(self) -> None:
        """-PLUS tells: what is proved is bound to the TLS of him in between."""
        account = await self.enrolled()
        self.patch(Connection, "binding", lambda _connection, _kind: b"x" * 32)
        for rules in (CONVERSATIONS, PROFANITY):
            device = Device(replace(rules, after_failure=AfterFailure.GIVES_UP), account)
            self.assertEqual(await self.outcome(device, self.port), WRONG)

    async def test_plus_taken_off_the_list(self) -> None:
        """Conversations is told so by `h`, the proxy by profanity's `y`; who looks at nothing gets in."""
        account = await self.enrolled()
        offered = Connection.offered

        def without_plus(connection: Connection) -> Offered:
            names = [name for name in offered(connection).mechanisms if not name.endswith("-PLUS")]
            return Offered(tuple(names), None)

        self.patch(Connection, "offered", without_plus)
        self.patch(Connection, "types", lambda _connection: None)
        for rules, expected in (
            (CONVERSATIONS, "refuses: the lists of mechanisms and channel bindings were tampered with"),
            (PROFANITY, "is refused: malformed-request"),
            (SISKIN, f"{self.hash} n,,"),
        ):
            self.assertEqual(await self.outcome(Device(rules, account), self.port), expected)

    async def test_a_better_binding_taken_off_the_list(self) -> None:
        device = Device(CONVERSATIONS, await self.enrolled())
        self.patch(Connection, "types", lambda _connection: ("tls-server-end-point",))
        tampered = "refuses: the lists of mechanisms and channel bindings were tampered with"
        self.assertEqual(await self.outcome(device, self.port), tampered)

    async def test_another_binding_than_the_one_offered(self) -> None:
        """`tls-unique`, which TLS 1.3 has not."""
        unique = replace(PROFANITY, bindings={"1.3": ("tls-unique",)}, after_failure=AfterFailure.GIVES_UP)
        outcome = await self.outcome(Device(unique, await self.enrolled()), self.port)
        self.assertEqual(outcome, "is refused: malformed-request")


@on_servers(BoundProsody)
class MovedTests(ProxiedCase):
    """A phone that was bound to the server's TLS before the proxy stood there."""

    async def test_enrolled_or_not(self) -> None:
        account = await self.account()
        device = Device(CONVERSATIONS, account)
        self.assertEqual(await self.outcome(device, self.server.port), "SCRAM-SHA-1" + EXPORTER)
        device.token = None
        self.assertEqual(await self.outcome(device, self.port), "refuses: downgrade")
        self.assertEqual(await self.outcome(Device(ENROLLING, account), self.port), PLAIN)
        self.assertEqual(await self.outcome(device, self.port), "SCRAM-SHA-1" + EXPORTER)


@on_both_servers
class WithoutPlainTests(ProxiedCase):
    """`logins = ["SCRAM"]`."""

    logins = ("SCRAM",)

    async def test_nobody_shows_the_password(self) -> None:
        account = await self.account()
        self.assertEqual(await self.outcome(Device(ENROLLING, account), self.port), NOTHING_USABLE)
        self.assertEqual(await self.outcome(Device(SISKIN, account), self.port), f"{self.hash} n,,")
