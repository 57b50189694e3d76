"""The nick that real rooms keep for an account, by the questions that the account asks."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from minimixproxy.minimix.interfaces.streams import Answered
from minimixproxy.minimix.rejoin.registered_nick import ask_reserved_nick
from minimixproxy.wire.stanza import parse_stanza
from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client
from tests.integration.ejabberd import Ejabberd

NS_MUC = "http://jabber.org/protocol/muc"
REGISTRATION = (
    "<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'>"
    "<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#register</value></field>"
    "<field var='muc#register_roomnick'><value>{}</value></field></x></query>"
)


class Questions:
    """Asks as the account does, through a client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def ask(self, to: str, kind: str, payload: bytes, answered: Answered) -> None:
        waiting = Deferred.fromCoroutine(self._client.iq(kind, to, payload.decode()))
        waiting.addCallback(lambda answer: answered(parse_stanza(answer.raw)))

    def ask_archive(self, *_arguments: object) -> None:
        raise AssertionError


@on_both_servers
class ReservedNickTests(IntegrationTestCase):
    async def reserved(self, client: Client, place: str) -> Any:
        nick: Deferred[str | None] = Deferred()
        answered: Callable[[str | None], None] = nick.callback
        ask_reserved_nick(Questions(client), place, answered)
        return await nick

    async def test_registered(self) -> None:
        place = self.room()
        alice, bob = await self.client(direct=True), await self.client(direct=True)
        bob.send(f"<presence to='{place}/bob'><x xmlns='{NS_MUC}'/></presence>")
        await bob.expect(f"<message from='{place}' type='groupchat'><subject/></message>")
        # Prosody has them for members
        member = f"<query xmlns='{NS_MUC}#admin'><item jid='{alice.bare}' affiliation='member'/></query>"
        await bob.iq("set", place, member)
        # ejabberd has nicks for all of its rooms
        service = place.partition("@")[2] if self.kind is Ejabberd else place
        nick = "Ally " + place.partition("@")[0]
        answer = await alice.iq("set", service, REGISTRATION.format(nick))
        self.assertEqual(answer.get("type"), "result", str(answer))
        self.assertEqual(await self.reserved(alice, place), nick)
        self.assertIsNone(await self.reserved(bob, place))
