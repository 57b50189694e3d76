"""Converse.js in Chromium: what its pages show of a room, and what the room sees of them."""

from __future__ import annotations

import json
import re

from twisted.internet.defer import Deferred

from tests.integration.cases import on_both_servers
from tests.integration.commands import run
from tests.integration.conversejs import SLEEPING, Converse, ConverseCase, Said
from tests.integration.managedcase import NS_MUC, bodies, enter, hear, say
from tests.integration.profanity import Profanity
from tests.integration.prosody import Prosody
from tests.integration.relay import Relay

RELOADS = 10
FEWER = 3  # at the second server, as each load costs most of a second of CPU


class TalkCase(ConverseCase):
    """Alice's pages, and bob in a room."""

    async def begin(self, *said: str) -> None:
        """Bob owns a room and has said something; alice is enrolled."""
        self.alice, self.place = await self.account("alice"), self.room()
        self.bob = await self.client(await self.account("bob"), "desk", direct=True)
        await enter(self.bob, self.place, "bob")
        for text in said:
            await self.bob_says(text)
        await self.says_password(self.alice)

    async def bob_says(self, text: str) -> None:
        """Bob says something, and the room has passed it on."""
        say(self.bob, self.place, text, "groupchat")
        await hear(self.bob, text, f"{self.place}/bob")

    async def alice_said(self, text: str) -> None:
        """Wait for what alice says in the room."""
        await hear(self.bob, text, f"{self.place}/{self.alice.username}")

    async def alice_s_presences(self) -> list[str]:
        """What the room has told bob of alice by now: the types of her presences."""
        await self.bob.barrier(self.place)
        hers = [one for one in self.bob.received if one.get("from") == f"{self.place}/{self.alice.username}"]
        return [one.get("type") or "available" for one in hers if one.element.name == "presence"]

    async def begins_to_reload(self, page: Converse) -> Deferred[None]:
        """Load a page anew, and wait until it is away; return what fires when it is in the room again."""
        begin = len(self.proxy.process.lines)
        reloaded = Deferred.fromCoroutine(page.reload())
        await self.sleeps(begin)
        return reloaded

    async def sleeps(self, begin: int) -> None:
        """Wait until the proxy has seen a page go, behind line `begin` of its log."""
        await self.proxy.process.says(rf"session of {re.escape(self.alice.jid)}/\S+ sleeps", start=begin)

    def sessions(self) -> int:
        """How many sessions pages of alice's have begun by now."""
        pattern = re.compile(rf"session of {re.escape(self.alice.jid)}/converse\.js-\d+ is bound")
        return sum(pattern.search(line) is not None for line in self.proxy.process.lines)

    async def kick(self, reason: str) -> None:
        """Bob kicks alice."""
        item = f"<item nick='{self.alice.username}' role='none'><reason>{reason}</reason></item>"
        await self.succeeds(self.bob, self.place, f"<query xmlns='{NS_MUC}#admin'>{item}</query>")

    def shown_once(self, shown: list[Said], said: list[str], anywhere: str = "") -> None:
        """All that was said is shown, once, by whom it was said, and in its order, `anywhere` apart."""
        expected = [(self.alice.username if text.startswith("alice") else "bob", text) for text in said]
        shown, expected = (sorted(texts, key=lambda one: one[1] == anywhere) for texts in (shown, expected))
        if self.kind is Prosody:
            # Its archive has the time in seconds, by which Converse.js puts in order what it has read there.
            shown, expected = sorted(shown), sorted(expected)
        self.assertEqual(shown, expected)


@on_both_servers
class ConverseTests(TalkCase):
    async def test_reloads_in_a_talk(self) -> None:
        """Nothing is lost, nothing is shown twice, and the room sees nobody leave."""
        await self.begin("before")
        page = await self.converse(self.alice, self.place)
        await page.until_there("bob", self.alice.username)
        said = ["before"]
        reloads = RELOADS if self.kind is Prosody else FEWER
        for number in range(reloads):
            await page.says(f"alice {number}")
            await self.alice_said(f"alice {number}")
            await self.bob_says(f"{number}")
            await page.hears(f"alice {number}", f"{number}")
            reloaded = await self.begins_to_reload(page)
            await self.bob_says(f"{number} while away")
            await reloaded
            said += [f"alice {number}", f"{number}", f"{number} while away"]
            self.shown_once(await page.hears(*said), said)
        await page.until_there("bob", self.alice.username)
        self.assertEqual(set(await self.alice_s_presences()), {"available"})
        mine = [body for body in bodies(self.bob, "groupchat") if body.startswith("alice")]
        self.assertEqual(mine, [f"alice {number}" for number in range(reloads)])
        self.assertEqual(self.sessions(), 1, "each time it went on with that which it had")
        await page.leave()
        await self.bob.expect(f"<presence from='{self.place}/{self.alice.username}' type='unavailable'/>")

    async def test_two_tabs_and_profanity(self) -> None:
        self.need(Profanity.missing())
        await self.begin("before")
        tabs = [await self.converse(self.alice, self.place) for _ in range(2)]
        mechanisms = re.findall(r'mechanism=\\?"([\w-]+)', "\n".join(await tabs[0].window.log()))
        self.assertEqual([name.rpartition("-")[0] for name in mechanisms], ["SCRAM-SHA"] * len(tabs))
        terminal = Profanity(self.alice, "terminal")
        await terminal.login(self.proxy.port)
        self.addCleanup(terminal.logout)
        await terminal.join(self.place)
        await self.bob_says("hello all")
        await tabs[0].says("alice by a tab")
        await self.alice_said("alice by a tab")
        await terminal.shows(r"alice by a tab\b")
        terminal.type("alice by profanity")
        await self.alice_said("alice by profanity")
        said = ["before", "hello all", "alice by a tab", "alice by profanity"]
        for tab in tabs:
            self.shown_once(await tab.hears(*said), said)
            await tab.until_there("bob", self.alice.username)
        await terminal.shows(r"(?s)hello all\b.*alice by a tab\b.*alice by profanity\b")
        await tabs[1].reload()
        self.shown_once(await tabs[1].hears(*said), said)
        await tabs[0].leave()
        await self.bob_says("still there?")
        self.shown_once(await tabs[1].hears("still there?"), [*said, "still there?"])
        await terminal.shows(r"still there\?")
        self.assertEqual(set(await self.alice_s_presences()), {"available"})
        await self.kick("enough")
        self.assertEqual(
            await tabs[1].until_put_out(),
            [
                "You have been kicked from this groupchat",
                "This action was done by bob.",
                'The reason given is: "enough".',
            ],
        )
        await terminal.shows(rf"Kicked from {self.place}.*, reason: enough")
        # nobody brings her back in: neither that page, nor the account, when another tab comes
        await self.converse(self.alice, self.room("elsewhere"))
        self.assertEqual((await self.alice_s_presences())[-1], "unavailable")

    async def test_a_network_that_is_cut(self) -> None:
        await self.begin("before")
        relay = Relay(self.proxy.websocket_port)
        relay.start()
        self.addCleanup(relay.stop)
        page = await self.converse(self.alice, self.place, port=relay.port)
        await page.says("alice before")
        await self.alice_said("alice before")
        await page.hears("before", "alice before")
        relay.silence(*relay.links)
        await page.says("alice into the void")
        await page.hears("alice into the void")
        await self.bob_says("unheard")
        process, begin = self.proxy.process, len(self.proxy.process.lines)
        await relay.refuse()
        relay.cut()
        await process.says(rf"session of {re.escape(self.alice.jid)}/\S+ sleeps", start=begin)
        await self.bob_says("while away")
        relay.start()
        await self.alice_said("alice into the void")
        await process.says(rf"session of {re.escape(self.alice.jid)}/\S+ is resumed", start=begin)
        await page.hears("unheard", "while away")
        await page.says("alice again")
        await self.alice_said("alice again")
        said = ["before", "alice before", "alice into the void", "unheard", "while away", "alice again"]
        # the page moves what it said to where the room took it, if it learns of that soon enough
        self.shown_once(await page.hears(*said), said, anywhere="alice into the void")
        self.assertEqual(set(await self.alice_s_presences()), {"available"})
        mine = [body for body in bodies(self.bob, "groupchat") if body.startswith("alice")]
        self.assertEqual(mine, ["alice before", "alice into the void", "alice again"])


class AbandonedTabsTests(TalkCase):
    """The server has no part in it."""

    async def test_tabs_that_never_come_back(self) -> None:
        """Each has a resource of its own, made up when it is opened."""
        await self.begin()
        for _ in range(SLEEPING + 1):
            page = await self.converse(self.alice, self.place)
            begin = len(self.proxy.process.lines)
            await page.window.close()
            await self.sleeps(begin)
        last = await self.converse(self.alice, self.place)
        report = json.loads((await run(self.proxy, "status", "--json", "--account", self.alice.jid)).stdout)
        (entry,) = report["accounts"]
        self.assertEqual(len(entry["asleep"]), SLEEPING)
        self.assertEqual(len(entry["devices"]), SLEEPING + 1)
        await self.bob_says("hello")
        await last.hears("hello")
        self.assertEqual(set(await self.alice_s_presences()), {"available"})
