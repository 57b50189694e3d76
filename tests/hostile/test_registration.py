"""Attacks on in-band registration (XEP-0077): by whoever is not logged in, and on accounts of others."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, gatherResults

from tests.integration.cases import on_both_servers
from tests.integration.servers import Account
from tests.integration.test_account_changes import REMOVE, ChangesCase
from tests.integration.test_registration import NS, PASSWORD, RegistrationCase, outcome, query

Result = TypeVar("Result")


def concurrently(*coroutines: Coroutine[Deferred[Any], Any, Result]) -> Deferred[list[Result]]:
    """Run all at once; fires with their results."""
    return gatherResults([Deferred.fromCoroutine(coroutine) for coroutine in coroutines], consumeErrors=True)


@on_both_servers
class BeforeLoginTests(RegistrationCase):
    async def test_nothing_else_passes(self) -> None:
        victim = await self.client(await self.account("victim"), "phone")
        for stanza in (
            f"<message to='{victim.bare}'><body>in</body></message>",
            f"<presence to='{victim.bare}'/>",
            "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>",
            "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
            f"<iq type='get' id='1' to='{victim.jid}'><query xmlns='{NS}'/></iq>",
            f"<iq type='set' id='1' to='{victim.bare}'>{query('mallory')}</iq>",
            f"<iq type='get' id='1'><query xmlns='{NS}'/><query xmlns='jabber:iq:roster'/></iq>",
            f"<iq type='result' id='1'><query xmlns='{NS}'/></iq>",
            "<iq type='get' id='1'><preauth xmlns='urn:xmpp:pars:0' token='x'/></iq>",
            f"<iq type='get'><query xmlns='{NS}'/></iq>",
        ):
            client = await self.stranger()
            client.send(stanza)
            await client.expect_close("not-authorized")
        await victim.barrier()
        victim.nothing()

    async def test_a_removal_with_a_password_is_neither_done_nor_a_way_to_guess(self) -> None:
        """ejabberd removes whoever is named, if the password is right."""
        victim = await self.account("victim")
        client = await self.stranger()
        for password in ("wrong", victim.password):
            named = query(victim.username, password).replace("</query>", "<remove/></query>")
            self.assertEqual(await self.register(client, named), "registration-required")
        await self.client(victim)

    async def test_many_at_once_are_no_way_around_the_limit(self) -> None:
        proxy = self.own_proxy(limits={"registrations_per_address": 3})
        names = [await self.fresh_name() for _ in range(5)]
        clients = [await self.stranger(proxy=proxy) for _ in names]
        pairs = zip(clients, names, strict=True)
        answers = await concurrently(*(self.register(client, query(name)) for client, name in pairs))
        self.assertEqual(sorted(answers), ["resource-constraint"] * 2 + ["result"] * 3)
        for name, answer in zip(names, answers, strict=True):
            client = await self.stranger(direct=True)
            reply = await client.authenticate(name, PASSWORD)
            self.assertEqual(reply.element.name, "success" if answer == "result" else "failure")

    async def test_streams_that_are_held_open(self) -> None:
        proxy = self.own_proxy()
        get = f"<query xmlns='{NS}'/>"
        clients = [await self.stranger(proxy=proxy) for _ in range(6)]
        answers = [outcome(await client.iq("get", None, get)) for client in clients]
        self.assertEqual(answers, ["result"] * 5 + ["resource-constraint"])
        clients[0].drop()
        await clients[0].until_lost()
        user = await self.account()
        self.assertEqual((await clients[1].authenticate(user.username, user.password)).element.name, "success")
        self.assertEqual(outcome(await clients[5].iq("get", None, get)), "result")

    async def test_too_big_and_too_deep(self) -> None:
        client = await self.stranger()
        big = query("a" * 17_000)
        deep = f"<query xmlns='{NS}'>{'<x>' * 40}{'</x>' * 40}</query>"
        for payload in (big, deep):
            self.assertEqual(await self.register(client, payload), "policy-violation")
        name = await self.fresh_name()
        self.assertEqual(await self.register(client, query(name)), "result")

    async def test_elements_of_thousands_of_tags(self) -> None:
        """To read one takes some 40 ms, and 60 of these strangers held everybody up for 20 seconds."""
        many = "<a/>" * 9900
        for element in (
            f"<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>{many}</authenticate>",
            f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{many}</auth>",
            f"<iq type='set' id='r'><query xmlns='{NS}'>{many}</query></iq>",
            f"<message><body>{'x' * 70_000}",
        ):
            client = await self.stranger()
            client.send(element)
            await client.expect_close("policy-violation")

    async def test_requests_without_end(self) -> None:
        client = await self.stranger(proxy=self.own_proxy(limits={"registrations_per_address": 5}))
        for _ in range(20):
            self.assertEqual(outcome(await client.iq("get", None, f"<query xmlns='{NS}'/>")), "result")
        client.send(f"<iq type='get' id='more'><query xmlns='{NS}'/></iq>")
        await client.expect_close("policy-violation")

    async def test_a_name_that_would_be_another_line_in_the_log(self) -> None:
        client = await self.stranger()
        await client.iq("set", None, query("x&#10;2026-01-01T00:00:00 [-] \x85all is well\u2028"))
        await self.proxy.process.says(r"registration of \"x\\n2026-01-01")
        self.assertFalse([line for line in self.proxy.log if line.startswith(("2026-01-01", "\x85all"))])

    async def test_somebody_s_account_is_not_made_anew(self) -> None:
        victim = await self.account("victim")
        client = await self.stranger()
        self.assertEqual(await self.register(client, query(victim.username)), "conflict")
        self.assertEqual(await self.register(client, query(victim.username.upper())), "conflict")
        await self.client(Account(victim.username, victim.domain, victim.password))


@on_both_servers
class ForgedAnswerTests(ChangesCase):
    """What an accomplice answers is not the server's word on the account."""

    async def test_neither_a_password_nor_a_removal(self) -> None:
        room = await self.in_room()
        accomplice = await self.client(await self.account("accomplice"), "direct", direct=True)
        phone = self.phone.client
        payloads = (query(self.alice.username, "of mallory"), REMOVE)
        for number, payload in enumerate(payloads):
            phone.send(f"<iq type='set' id='to-accomplice-{number}' to='{accomplice.jid}'>{payload}</iq>")
            await accomplice.expect(f"<iq type='set' id='to-accomplice-{number}'/>")
        for number, _payload in enumerate(payloads):
            for name in ("to-accomplice", "never-asked"):
                accomplice.send(f"<iq type='result' id='{name}-{number}' to='{phone.jid}'/>")
        await accomplice.barrier()
        await phone.barrier(room)
        await self.unchanged(room)

    async def test_answered_by_an_accomplice_before_the_server_refuses(self) -> None:
        room = await self.in_room()
        accomplice = await self.client(await self.account("accomplice"), "direct", direct=True)
        phone = self.phone.client
        bad = f"<query xmlns='{NS}'><username>nobody</username><password/></query>"
        phone.send(f"<iq type='set' id='both'>{bad}</iq><iq type='set' id='both' to='{accomplice.jid}'>{REMOVE}</iq>")
        await accomplice.expect("<iq type='set' id='both'/>")
        accomplice.send(f"<iq type='result' id='both' to='{phone.jid}'/>")
        await accomplice.barrier()
        await phone.barrier(room)
        await self.unchanged(room)

    async def test_a_stream_error_after_a_removal_of_somebody_else(self) -> None:
        """Another device takes the resource (`conflict`): that is no word on the account."""
        room = await self.in_room()
        await self.client(self.alice, "phone", direct=True)
        await self.phone.client.until_lost()
        await self.unchanged(room)
