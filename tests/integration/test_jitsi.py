"""jicofo and Jitsi Meet's web client, played by stand-ins, at the two ends of client_proxy."""

from typing import Any

from tests.integration.cases import on_both_servers
from tests.integration.jitsi import FEATURE, NS_DISCO, Browser, Jicofo
from tests.integration.prosody import Prosody
from tests.integration.proxied import ProxiedCase, condition


class JitsiCase(ProxiedCase):
    """The account that jicofo logs in with has the domain among its subscribers, as Jitsi's packages see to."""

    async def start(self, *resources: str, **settings: Any) -> list[Jicofo]:
        self.target = await self.account("focus")
        self.domain = f"proxy.{self.server.domain}"
        await self.let_domain_subscribe()
        await self.start_proxy(**settings)
        return [await self.jicofo(resource) for resource in resources]

    async def let_domain_subscribe(self) -> None:
        """What `prosodyctl mod_roster_command subscribe` and `ejabberdctl add_rosteritem` do."""
        user, host = self.target.username, self.target.domain
        if isinstance(self.server, Prosody):
            roster = "require 'core.rostermanager'"
            arguments = f"('{user}', '{host}', '{self.domain}')"
            await self.server.evaluate(f"{roster}.set_contact_pending_in{arguments}; {roster}.subscribed{arguments}")
        else:
            await self.server.call(  # type: ignore[attr-defined]
                "add_rosteritem",
                localuser=user,
                localhost=host,
                user="",
                host=self.domain,
                nick="focus",
                group="",
                subs="from",
            )

    async def jicofo(self, resource: str, *, resumable: bool = False, **more: Any) -> Jicofo:
        client = await self.client(self.target, resource, direct=True, online=False)
        if resumable:
            client.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
            await client.expect("<enabled xmlns='urn:xmpp:sm:3'/>")
        jicofo = Jicofo(client, self.domain, **more)
        jicofo.come()
        await jicofo.known()
        return jicofo

    async def browser(self, name: str = "alice") -> Browser:
        return Browser(await self.user(name), self.domain)


@on_both_servers
class ConferenceTests(JitsiCase):
    async def test_a_conference_request(self) -> None:
        (jicofo,) = await self.start("focus")
        alice, room = await self.browser(), self.room()
        self.assertEqual(await alice.enter(room), "ready")
        self.assertEqual(alice.focus, {self.target.jid})
        self.assertEqual(jicofo.rooms, {room: [alice.client.jid]}, "jicofo has to know who asks")
        self.assertEqual(jicofo.subscribers, [], "the server answers for jicofo, which would refuse")

    async def test_one_that_is_not_in_the_room_yet_is_asked_again(self) -> None:
        (jicofo,) = await self.start("focus")
        jicofo.ready = False
        alice, room = await self.browser(), self.room()
        self.assertEqual(await alice.enter(room), "wait")
        jicofo.ready = True
        self.assertEqual(await alice.enter(room), "ready")
        self.assertEqual(len(jicofo.rooms[room]), 2)

    async def test_only_users_of_one_domain_may_open_rooms(self) -> None:
        """The session is bound to the address that stands in the resource; errors come back as they are."""
        (jicofo,) = await self.start("focus")
        jicofo.domain = "elsewhere.test"
        alice, room = await self.browser(), self.room()
        self.assertEqual(await alice.enter(room), "not-authorized")
        url = await alice.login_url(room)
        self.assertEqual(url, f"./{room.partition('@')[0]}?login=true")
        jicofo.domain = self.server.domain
        self.assertEqual(await alice.enter(room), "ready")
        self.assertEqual(jicofo.sessions[alice.session], ("d00d1e", alice.client.jid))
        bob = await self.browser("bob")
        bob.session = "stale"
        self.assertEqual(await bob.enter(room), "not-acceptable")
        await alice.log_out()
        self.assertEqual(jicofo.sessions, {})

    async def test_what_jicofo_asks_of_the_domain_itself(self) -> None:
        """Older ones ask all components of the server for their features, this one among them."""
        (jicofo,) = await self.start("focus")
        reply = await jicofo.client.iq("get", self.domain, f"<query xmlns='{NS_DISCO}'/>")
        self.assertEqual(reply.get("type"), "result")
        self.assertIn(FEATURE, str(reply), "the features are those of jicofo")
        jicofo.client.nothing()

    async def test_other_stanzas_are_refused_by_jicofo_itself(self) -> None:
        (jicofo,) = await self.start("focus")
        alice = await self.user()
        reply = await self.ask(alice, "<jibri xmlns='http://jitsi.org/protocol/jibri' action='start'/>", "set")
        self.assertEqual(condition(reply), "feature-not-implemented")
        self.assertEqual(jicofo.original(jicofo.asked[-1]), alice.jid)


@on_both_servers
class ComingAndGoingTests(JitsiCase):
    async def test_nobody_there(self) -> None:
        await self.start()
        alice = await self.browser()
        self.assertEqual(await alice.enter(self.room()), "service-unavailable")
        await self.jicofo("focus")
        self.assertEqual(await alice.enter(self.room()), "ready")

    async def test_started_again_under_another_resource(self) -> None:
        (first,) = await self.start("focus-1")
        alice, room = await self.browser(), self.room()
        self.assertEqual(await alice.enter(room), "ready")
        await first.client.close()
        second = await self.jicofo("focus-2")
        self.assertEqual(await alice.enter(room), "ready")
        self.assertEqual((len(first.rooms[room]), len(second.rooms[room])), (1, 1))

    async def test_started_again_under_the_same_resource_with_a_request_open(self) -> None:
        """The old connection is gone without a word; the server keeps its session until the new one takes its place."""
        await self.start()
        first = await self.jicofo("focus", resumable=True)
        first.silent = True
        alice = await self.browser()
        room = self.room()
        alice.client.send(
            f"<iq type='set' id='open' to='{self.domain}'><conference xmlns='http://jitsi.org/protocol/focus'"
            f" room='{room}'/></iq>"
        )
        await first.client.until(lambda: len(first.asked) > 1, "the request")
        first.client.drop()
        await first.client.until_lost()
        second = await self.jicofo("focus", resumable=True)
        refusal = await alice.client.expect("<iq type='error' id='open'/>")
        self.assertIn(condition(refusal), ("recipient-unavailable", "service-unavailable"))
        self.assertEqual(await alice.enter(room), "ready")
        # ejabberd gives it the first request, too: the old connection had not acknowledged it.
        self.assertEqual(set(second.rooms[room]), {alice.client.jid})
        await alice.client.barrier()
        alice.client.nothing()

    async def test_killed_and_started_many_times(self) -> None:
        """ejabberd tells the end of the old session after the start of the new one, one time in ten or so."""
        await self.start()
        for _ in range(15):
            jicofo = await self.jicofo("focus", resumable=True)
            jicofo.client.drop()
            await jicofo.client.until_lost()
        await self.jicofo("focus")
        self.assertEqual(await (await self.browser()).enter(self.room()), "ready")

    async def test_two_of_which_one_is_a_spare(self) -> None:
        """Two that both join a room would both invite everybody: all ask the same one, as long as it is there."""
        first, second = await self.start("z", "a", policy="failover")
        people = [await self.browser(name) for name in ("alice", "bob", "carol")]
        room = self.room()
        for browser in people:
            self.assertEqual(await browser.enter(room), "ready")
        self.assertEqual((len(first.rooms[room]), second.rooms), (3, {}))
        await first.client.close()
        await self.running.process.says(f"{first.client.jid} is gone")  # ejabberd tells the proxy so behind that
        self.assertEqual(await people[0].enter(room), "ready")
        again = await self.jicofo("z")
        self.assertEqual(await people[1].enter(room), "ready")
        self.assertEqual((len(second.rooms[room]), again.rooms), (2, {}))


@on_both_servers
class ForgottenSubscriptionTests(JitsiCase):
    async def let_domain_subscribe(self) -> None:
        """Forgotten, at first."""

    async def test_jicofo_refuses_and_comes_back_when_the_operator_has_seen_to_it(self) -> None:
        await self.start()
        client = await self.client(self.target, "focus", direct=True, online=False)
        jicofo = Jicofo(client, self.domain)
        jicofo.come()
        await client.until(lambda: jicofo.subscribers == [self.domain], "the request for a subscription")
        await self.running.process.says("has not accepted our subscription yet")
        alice = await self.browser()
        self.assertEqual(await alice.enter(self.room()), "service-unavailable")
        await JitsiCase.let_domain_subscribe(self)
        await client.close()
        await self.jicofo("focus")
        self.assertEqual(await alice.enter(self.room()), "ready")
