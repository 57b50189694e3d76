"""profanity through cuts: it resumes its stream (XEP-0198) by itself, and shows everything once.

What it says itself into a dead connection it does not say again, directly at a server neither.
"""

from __future__ import annotations

import re
from typing import Any

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.managedcase import bodies, enter, hear, say
from tests.integration.profanity import Profanity
from tests.integration.relay import Relay


class ProfanityCase(IntegrationTestCase):
    direct = False
    timeout = 120

    def setUp(self) -> None:
        self.need(Profanity.missing())
        super().setUp()

    async def conversation(self, lose: Any) -> None:
        """Something is said while nothing comes through any more; `lose` is how profanity notices."""
        relay = Relay(self.server.port if self.direct else self.proxy.port)
        relay.start()
        self.addCleanup(relay.stop)
        place, alice = self.room(), await self.account("alice")
        bob = await self.client(await self.account("bob"), "desk", direct=True)
        await enter(bob, place, "bob")
        if not self.direct:
            await self.says_password(alice)
        device = Profanity(alice, "laptop")
        await device.login(relay.port)
        self.addCleanup(device.logout)
        await device.join(place)
        say(bob, place, "bob alive", "groupchat")
        await device.shows(r" bob: bob alive\b")
        device.type("alice alive")
        await hear(bob, "alice alive")
        link = relay.links[-1]
        relay.silence(link)
        say(bob, place, "bob dead", "groupchat")
        say(bob, f"{alice.jid}/laptop", "psst, bob dead")
        opened = relay.opened
        lose(relay, link)
        await relay.until_opened(opened + 1)
        await device.shows(r" bob: bob dead\b")
        device.type("/win 2")
        device.type("alice again")
        await hear(bob, "alice again", f"{place}/{alice.username}")
        say(bob, place, "bob again", "groupchat")
        screen = await device.shows(r" bob: bob again\b")
        self.assertEqual(re.findall(r" bob: (bob \w+)\b", screen), ["bob alive", "bob dead", "bob again"])
        await bob.barrier(place)
        mine = [body for body in bodies(bob, "groupchat") if body.startswith("alice")]
        self.assertEqual(mine, ["alice alive", "alice again"])
        self.assertEqual([one for one in bob.received if one.get("type") == "unavailable"], [], "alice never left")
        device.type("/win 3")
        chat = await device.shows("psst, bob dead")
        self.assertEqual(chat.count("psst, bob dead"), 1)

    async def test_reset(self) -> None:
        await self.conversation(lambda relay, link: relay.cut(link))

    async def test_another_network(self) -> None:
        await self.conversation(lambda relay, link: relay.strand(link))


@on_both_servers
class ResumingProfanityTests(ProfanityCase):
    pass


@on_both_servers
class ResumingProfanityDirectTests(ProfanityCase):
    direct = True


del ProfanityCase
