"""The operator's page in Chromium, of a proxy with real clients in a real server's rooms."""

from __future__ import annotations

from html import escape

from twisted.internet.threads import deferToThread

from tests.integration.browser import Browser, browser
from tests.integration.cases import IntegrationTestCase
from tests.integration.ports import free_port

NS_MUC = "http://jabber.org/protocol/muc"
NICK = "<script>document.title='x'</script><img src=x onerror=document.title='y'>"
RESOURCE = "w" * 1000  # never broken by a space


class WebPageTests(IntegrationTestCase):
    async def test_what_is_shown(self) -> None:
        self.need(Browser.missing())
        port = free_port()
        proxy = self.own_proxy(start=False)
        with proxy.configuration.open("a") as file:
            file.write(f'\n[web]\nendpoint = "tcp:{port}:interface=127.0.0.1"\n')
        await deferToThread(proxy.start)
        alice, bob = await self.account("alice"), await self.account("bob")
        owner = await self.client(alice, "desk", proxy=proxy)
        phone = await self.client(bob, RESOURCE, proxy=proxy)
        place = self.room()
        for client, nick in ((owner, "alice"), (phone, NICK)):
            client.send(f"<presence to='{place}/{escape(nick)}'><x xmlns='{NS_MUC}'/></presence>")
            await client.expect("<message type='groupchat'><subject/></message>")

        window = await browser().window(f"http://127.0.0.1:{port}/")
        shows = "return document.querySelector('main').innerText.includes(arguments[0])"
        await window.until(shows, "All is well.")

        # Why is bob in that room? Both fields, and the key Enter.
        await window.type("input[name=account]", bob.jid)
        await window.type("input[name=room]", f"{place}\n")
        await window.until(shows, f"{bob.jid} is in {place}: it is in the room, as {NICK[:20]}")
        title = await window.run("return document.title")
        self.assertEqual(title, "Accounts - minimixproxy")
        self.assertEqual(await window.run("return document.querySelectorAll('main img, main script').length"), 0)

        # Nothing of it is wider than the page.
        wide = await window.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        self.assertLessEqual(wide, 0)

        # It is live: nobody loads it anew, and who was on a link by the keyboard is there still.
        await window.run("window.loaded = true; document.querySelector('main a').focus()")
        item = f"<item nick='{escape(NICK)}' role='none'><reason>spam</reason></item>"
        query = f"<query xmlns='{NS_MUC}#admin'>{item}</query>"
        owner.send(f"<iq type='set' to='{place}' id='kick'>{query}</iq>")
        await window.until(shows, f"{bob.jid} is not in {place}: the account was kicked")
        self.assertTrue(await window.run("return window.loaded"))
        focused = await window.run("return document.activeElement.tagName")
        self.assertEqual(focused, "A")
        self.assertEqual([line for line in await window.log() if "Security Policy" in line or "SEVERE" in line], [])
