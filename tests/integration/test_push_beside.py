"""Push beside a server's own: Prosody's mod_cloud_notify, ejabberd's mod_push. Each message is pushed by one of them.

Who it was, a push service sees by who publishes: the server by its own name, the proxy as the account.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.integration.cases import on_servers
from tests.integration.ejabberd import Ejabberd
from tests.integration.managedcase import bodies, hear, say
from tests.integration.prosody import Prosody, PushingProsody
from tests.integration.relay import Relay
from tests.integration.test_push import PushCase
from tests.integration.xmlcut import Received

PROXY, SERVER = "the proxy", "the server"
CARBONS = "<enable xmlns='urn:xmpp:carbons:2'/>"
CALL = "<propose xmlns='urn:xmpp:jingle-message:0' id='c'/><store xmlns='urn:xmpp:hints'/>"


def by_server_only(publication: Received) -> str:
    """What Conversations' app server answers: it takes nothing from a JID with a resource."""
    forbidden = "<error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    return forbidden if "/" in str(publication.get("from")) else ""


class BesideCase(PushCase):
    """Who has published, of what was said."""

    def setUp(self) -> None:
        super().setUp()
        self.expected: list[str] = []

    def to_account(self) -> None:
        say(self.bob, self.alice.jid, "hello")

    def to_phone(self) -> None:
        say(self.bob, self.phone.jid, "hello")

    def in_private(self) -> None:
        say(self.bob, f"{self.place}/alice", "psst")

    def mention(self) -> None:
        say(self.bob, self.place, "alice: come", "groupchat")

    def call(self) -> None:
        self.bob.send(f"<message to='{self.alice.jid}' type='chat' id='{self.bob.new_id()}'>{CALL}</message>")

    def by_whom(self) -> list[str]:
        return [
            PROXY if str(one.get("from")).startswith(f"{self.alice.jid}/") else SERVER for one in self.service.published
        ]

    async def is_pushed(self, *cases: tuple[Callable[[], None], list[str]]) -> None:
        """Say one after the other; each is pushed by these, and by nobody once more by the time that the last is."""
        for says, by in cases:
            says()
            self.expected += by
            await self.service.told(len(self.expected))
            self.assertEqual(sorted(self.by_whom()), sorted(self.expected), says.__name__)

    async def phone_goes(self) -> None:
        await self.phone.barrier()
        await self.phone.line.close()


@on_servers(PushingProsody, Ejabberd)
class BesideTests(BesideCase):
    async def test_while_the_phone_sleeps(self) -> None:
        """Its server believes that it is awake. Only Prosody pushes calls all the same."""
        await self.begin(delay=0.0)
        await self.sleeps()
        said = (self.to_account, self.to_phone, self.in_private, self.mention)
        await self.is_pushed(*((says, [PROXY]) for says in said))
        await self.is_pushed((self.call, [SERVER, PROXY] if self.kind is PushingProsody else [PROXY]))

    async def test_a_service_that_takes_it_from_the_server_only(self) -> None:
        """It is told so when the proxy was refused: once of each message, but for rooms'. The phone loses nothing."""
        await self.begin(delay=0.0)
        self.service.answer = by_server_only
        await self.sleeps()
        await self.is_pushed_by_a_cut(self.to_phone, [PROXY, SERVER])
        await self.is_pushed_by_a_cut(self.to_account, [SERVER])
        await self.said("alice: come")
        await self.is_pushed_by_a_cut(self.call, [SERVER])
        self.assertNotIn("/", str(self.service.published[-1].get("from")))
        self.assertTrue(await self.phone.resume())
        await self.phone.expect(lambda stanza: b"jingle-message" in stanza.raw)
        await self.phone.barrier()
        self.assertEqual(bodies(self.phone), ["hello", "hello", "alice: come"])
        await self.sleeps()
        await self.is_pushed_by_a_cut(self.to_phone, [SERVER])

    async def is_pushed_by_a_cut(self, says: Callable[[], None], by: list[str]) -> None:
        start = len(self.behind.process.lines)
        await self.is_pushed((says, by))
        await self.behind.process.says("the stream to the server is resumed", start=start)

    async def test_while_the_phone_is_gone(self) -> None:
        """The server pushes what is in its archive. Rooms' words are not; the account stream is no device."""
        await self.begin(delay=0.0)
        laptop = await self.comes("laptop")
        await self.phone_goes()
        await self.is_pushed(
            (self.to_account, [SERVER]),
            (self.in_private, [SERVER]),
            (self.mention, [PROXY]),
            (self.call, [SERVER]),
            (self.mention, [PROXY]),
        )
        await hear(laptop, "psst")

    async def test_while_the_account_has_no_client(self) -> None:
        """Prosody pushes what a contact says twice to an account of which only a session without presence is there.

        For it is archived, and goes offline, and its module takes these for two.
        """
        await self.begin(delay=0.0)
        await self.phone_goes()
        await self.is_pushed((self.in_private, [SERVER]), (self.mention, [PROXY]))
        await self.is_pushed((self.to_account, [SERVER] * (2 if self.kind is PushingProsody else 1)))

    async def test_carbons(self) -> None:
        """What goes to the laptop is told to the phone, too."""
        await self.begin(delay=0.0)
        laptop = await self.comes("laptop")
        for device in (laptop, self.phone):
            self.assertEqual((await device.iq("set", None, CARBONS)).get("type"), "result")
        await self.sleeps()
        await self.is_pushed((lambda: say(self.bob, laptop.jid, "one"), [PROXY]))
        self.assertTrue(await self.phone.resume())
        await self.phone_goes()
        await self.is_pushed((lambda: say(self.bob, laptop.jid, "two"), [SERVER]), (self.mention, [PROXY]))


@on_servers(Prosody, Ejabberd)
class BrokenTests(BesideCase):
    """Connections that break while something is said."""

    async def test_just_before_the_phones(self) -> None:
        """What it has not acknowledged is told, once, however often its connection breaks."""
        await self.begin(delay=0.0)
        await self.phone.until_acknowledged()
        self.phone.answers = False
        self.to_phone()
        await hear(self.phone, "hello")
        await self.falls_asleep()
        await self.service.told(1)
        self.assertTrue(await self.phone.resume())
        await self.falls_asleep()
        self.mention()
        await self.service.told(2)
        self.assertEqual(self.by_whom(), [PROXY] * 2)

    async def test_between_proxy_and_server(self) -> None:
        """While the phone sleeps. Its server sends all again that the phone has not acknowledged: that is told once.

        ejabberd itself pushes something then, for it takes the session to be asleep.
        """
        relay = Relay(self.server.port)
        relay.start()
        self.addCleanup(relay.stop)
        await self.begin(delay=0.0, domain={"upstream": f"tcp:127.0.0.1:{relay.port}"})
        await self.sleeps()
        await self.is_pushed((self.to_phone, [PROXY]), (self.mention, [PROXY]))
        open_now, opened = len(relay.links), relay.opened
        relay.cut()
        say(self.bob, self.phone.jid, "meanwhile")
        await relay.until_opened(opened + open_now)
        await self.service.until(lambda: self.by_whom().count(PROXY) == 3, "what came meanwhile")
        self.assertTrue(await self.phone.resume())
        await hear(self.phone, "meanwhile")
        self.assertEqual(bodies(self.phone).count("hello"), 1)
        await self.sleeps()
        self.mention()
        await self.service.until(lambda: self.by_whom().count(PROXY) >= 4, "the next")
        self.assertEqual(self.by_whom().count(PROXY), 4, "nothing twice")


del PushCase, BesideCase
