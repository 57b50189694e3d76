"""In-band registration through the proxy (XEP-0077, XEP-0445): accounts are made, and used."""

import re
from typing import Any

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client
from tests.integration.prosody import Prosody
from tests.integration.servers import Account

NS = "jabber:iq:register"
NS_FEATURE = "http://jabber.org/features/iq-register"
NS_TOKEN = "urn:xmpp:ibr-token:0"
PASSWORD = "n3w pass & word"


def query(username: str, password: str = PASSWORD) -> str:
    password = password.replace("&", "&amp;")
    return f"<query xmlns='{NS}'><username>{username}</username><password>{password}</password></query>"


def form(username: str, password: str = PASSWORD) -> str:
    """The same as a data form (XEP-0077 §5)."""
    values = {"FORM_TYPE": NS, "username": username, "password": password.replace("&", "&amp;")}
    fields = "".join(f"<field var='{name}'><value>{value}</value></field>" for name, value in values.items())
    return f"<query xmlns='{NS}'><x xmlns='jabber:x:data' type='submit'>{fields}</x></query>"


class RegistrationCase(IntegrationTestCase):
    """Clients that have no account yet."""

    async def stranger(self, **settings: Any) -> Client:
        """A client within TLS that has not logged in; `features` are what it was shown there."""
        client = await self.connect(**settings)
        await client.open()
        await client.starttls()
        await client.open()
        return client

    async def fresh_name(self) -> str:
        """A user name that nobody has."""
        return (await self.account("taken")).username.replace("taken", "new")

    def offers(self, client: Client) -> list[str]:
        features = client.features.element
        return sorted(child.uri for child in features.elements() if child.name == "register")

    async def register(self, client: Client, payload: str, to: str | None = None) -> str:
        """Return "result", or the condition of the error."""
        return outcome(await client.iq("set", to, payload))


def outcome(answer: Any) -> str:
    if answer.get("type") == "result":
        return "result"
    error = next(child for child in answer.element.elements() if child.name == "error")
    return next(str(child.name) for child in error.elements() if child.name != "text")


@on_both_servers
class RegisterTests(RegistrationCase):
    async def test_offered_as_the_server_does(self) -> None:
        for client in (await self.stranger(direct=True), await self.stranger(), await self.stranger()):
            self.assertEqual(self.offers(client), [NS_FEATURE])

    async def test_made_and_used_on_the_same_stream(self) -> None:
        name = await self.fresh_name()
        client = await self.stranger()
        asked = await client.iq("get", None, f"<query xmlns='{NS}'/>")
        self.assertIn("<username", str(asked))
        self.assertEqual(await self.register(client, query(name)), "result")
        self.assertEqual((await client.authenticate(name, PASSWORD)).element.name, "success")
        await client.open()
        self.assertEqual(await client.bind("phone"), f"{name}@{self.server.domain}/phone")
        await client.online()

    async def test_made_and_used_after_a_reconnection(self) -> None:
        name = await self.fresh_name()
        client = await self.stranger()
        self.assertEqual(await self.register(client, query(name), self.server.domain), "result")
        await client.close()
        await self.client(Account(name, self.server.domain, PASSWORD))

    async def test_by_data_form(self) -> None:
        """ejabberd takes none unless it has put a CAPTCHA into it."""
        directly = await self.register(await self.stranger(direct=True), form(await self.fresh_name()))
        name = await self.fresh_name()
        client = await self.stranger()
        self.assertEqual(await self.register(client, form(name)), directly)
        if directly == "result":
            await client.close()
            await self.client(Account(name, self.server.domain, PASSWORD))

    async def test_the_server_s_refusals_arrive_and_the_next_try_counts(self) -> None:
        taken = await self.account()
        client = await self.stranger()
        self.assertEqual(await self.register(client, query(taken.username)), "conflict")
        name = await self.fresh_name()
        self.assertEqual(await self.register(client, query(name)), "result")
        self.assertEqual((await client.authenticate(name, PASSWORD)).element.name, "success")
        await self.proxy.process.says(f"registration of {taken.username} at {self.server.domain} from .*: conflict")
        await self.proxy.process.says(f"registration of {name} at {self.server.domain} from .*: made")
        self.assertNotIn(PASSWORD, "\n".join(self.proxy.log))

    async def test_sent_ahead(self) -> None:
        """Without waiting for answers; each is answered, in order, and the login behind them counts."""
        name = await self.fresh_name()
        client = await self.stranger()
        client.send(f"<iq type='get' id='a'><query xmlns='{NS}'/></iq><iq type='set' id='b'>{query(name)}</iq>")
        self.assertEqual((await client.expect_next("<iq/>")).get("id"), "a")
        self.assertEqual((await client.expect_next("<iq/>")).get("id"), "b")
        self.assertEqual((await client.authenticate(name, PASSWORD)).element.name, "success")

    async def test_switched_off(self) -> None:
        proxy = self.own_proxy(domain={"registration": False})
        client = await self.stranger(proxy=proxy)
        self.assertEqual(self.offers(client), [])
        self.assertEqual(await self.register(client, query(await self.fresh_name())), "service-unavailable")

    async def test_limit_of_an_address(self) -> None:
        proxy = self.own_proxy(limits={"registrations_per_address": 1})
        name, other = await self.fresh_name(), await self.fresh_name()
        client = await self.stranger(proxy=proxy)
        taken = await self.account()
        self.assertEqual(await self.register(client, query(taken.username)), "conflict")  # makes nothing
        self.assertEqual(await self.register(client, query(name)), "result")
        self.assertEqual(await self.register(client, query(other)), "resource-constraint")
        again = await self.stranger(proxy=proxy)
        self.assertEqual(await self.register(again, query(other)), "resource-constraint")
        self.assertEqual((await again.authenticate(name, PASSWORD)).element.name, "success")
        await proxy.process.says(f"{other} at {self.server.domain} from 127.0.0.1: resource-constraint")


class InvitingProsody(Prosody):
    """Makes accounts for those only who show an invitation, as Snikket does (mod_invites_register)."""

    def template(self) -> str:
        invites = 'modules_enabled = { "invites", "invites_register" }\nregistration_invite_only = true\n'
        return super().template().replace('VirtualHost "@domain@"\n', f'VirtualHost "@domain@"\n{invites}')

    async def invitation(self) -> str:
        """The token of a new one."""
        module = f"hosts['{self.domain}'].modules.invites"
        answer = await self.evaluate(f"return 'token:' .. {module}.create_account().token")
        found = re.search(r"token:([\w-]+)", answer)
        assert found is not None, answer
        return found.group(1)


class InvitationTests(RegistrationCase):
    kind = InvitingProsody

    def preauth(self, token: str) -> str:
        return f"<preauth xmlns='urn:xmpp:pars:0' token='{token}'/>"

    async def test_an_invitation_makes_one_account(self) -> None:
        assert isinstance(self.server, InvitingProsody)
        token, name = await self.server.invitation(), await self.fresh_name()
        client = await self.stranger()
        self.assertIn(NS_TOKEN, self.offers(client))
        self.assertEqual(self.offers(client), self.offers(await self.stranger(direct=True)))
        self.assertEqual(await self.register(client, query(name)), "not-acceptable")  # Prosody's, without invitation
        self.assertEqual(await self.register(client, self.preauth("wrong"), self.server.domain), "forbidden")
        self.assertEqual(await self.register(client, self.preauth(token), self.server.domain), "result")
        await client.iq("get", None, f"<query xmlns='{NS}'/>")
        self.assertEqual(await self.register(client, query(name)), "result")
        self.assertEqual((await client.authenticate(name, PASSWORD)).element.name, "success")
        await self.proxy.process.says("the invitation is good")
        self.assertNotIn(token, "\n".join(self.proxy.log))
        other = await self.stranger()
        self.assertEqual(await self.register(other, self.preauth(token), self.server.domain), "forbidden")
