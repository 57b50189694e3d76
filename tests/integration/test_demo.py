"""`make demo` tells its story to the end; `make run` has pages for two people without a client."""

import os
import re
import sys
from pathlib import Path

from twisted.internet.threads import deferToThread
from twisted.trial import unittest

from demo.converse import NotFetched, fetch
from tests.integration.browser import Browser, browser
from tests.integration.conversejs import SCREENSHOTS, Converse
from tests.integration.processes import LoggedProcess
from tests.integration.prosody import Prosody
from tests.patience import patiently

ELSEWHERE = "https://conversejs.org/media/logos/"  # of its sponsors, beside its form of login
ROOT = Path(__file__).resolve().parents[2]


class DemoTests(unittest.TestCase):
    timeout = patiently(180)

    def need(self, package: str | None) -> None:
        """Skip the test, or fail it if CI is set, if this Debian package is not installed; None: nothing is missing."""
        if package:
            message = f"{package} is not installed: make system"
            if os.environ.get("CI"):
                self.fail(message)
            raise unittest.SkipTest(message)

    async def test_demo(self) -> None:
        self.need(Prosody.missing())
        demo = LoggedProcess("demo", [sys.executable, "-m", "demo"], directory=ROOT)
        self.addCleanup(demo.stop)
        status = await demo.ends(150)
        self.assertEqual(status, 0, demo.tail())
        self.assertTrue(any(re.match(r"All \d+ steps went as told", line) for line in demo.lines), demo.tail())

    async def test_two_people_in_a_browser(self) -> None:
        self.need(Prosody.missing() or Browser.missing())
        try:
            await deferToThread(fetch)
        except NotFetched as failure:
            self.need(f"{failure}; it")
        run = LoggedProcess("run", [sys.executable, "-m", "demo", "--keep-running"], directory=ROOT)
        self.addCleanup(run.stop)
        told = await run.says(r"http://127\.0\.0\.1:\d+/ has juliet and romeo", 90)
        found = re.search(r"http\S+", told)
        assert found is not None
        chromium = await deferToThread(browser)
        landing = await chromium.window(found[0])
        await landing.picture(SCREENSHOTS / "make-run-landing.png")
        room = "garden@conference.localhost"
        people = []
        for name in ("juliet", "romeo"):
            window = await landing.click_opens(f"#{name}")
            self.addCleanup(window.close)
            people.append(Converse(window, room, name))
            await people[-1].entered()
        self.addCleanup(landing.close)
        for one in people:
            await one.until_there("juliet", "romeo")
        for one, text in zip(people, ("O Romeo, Romeo!", "I take thee at thy word"), strict=True):
            await one.says(text)
            for listener in people:
                await listener.hears(text)
        said = [("juliet", "O Romeo, Romeo!"), ("romeo", "I take thee at thy word")]
        for one in people:
            self.assertEqual(await one.hears(), said)
            await one.window.picture(SCREENSHOTS / f"make-run-{one.nick}.png")
        juliet = people[0].window
        await juliet.run("for (const kept of [localStorage, sessionStorage]) kept.setItem('run', 'another')")
        await juliet.run("localStorage.setItem('rooms', 'of that')")
        await people[0].reload()
        self.assertEqual(await people[0].hears(said[-1][1]), said)
        self.assertIsNone(await juliet.run("return localStorage.getItem('rooms')"))
        refused = [line for line in await landing.log() if "Content Security Policy" in line and ELSEWHERE not in line]
        self.assertEqual(refused, [], "the pages do nothing that they may not")
