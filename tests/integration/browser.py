"""Debian's Chromium without a screen, driven by chromedriver: windows whose pages are waited for and asked.

One browser for each process of a test run, started when first needed; each test has windows of its own.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import (
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
    WebDriverException,
)
from selenium.webdriver.chromium.remote_connection import ChromiumRemoteConnection
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.wait import WebDriverWait
from twisted.internet.defer import DeferredLock
from twisted.internet.threads import deferToThread

from tests.integration.ports import free_port
from tests.integration.processes import LoggedProcess, temporary_directory
from tests.integration.servers import in_path
from tests.patience import patiently

CHROMIUM = "/usr/bin/chromium"
# Chromium forgets now and then what a script waits by, where much memory is used; it is asked again, so often at most.
COLLECTED, COLLECTED_AT_MOST = "Promise was collected", 3
# Beside what the driver sets: nothing that asks the network, and windows that nobody looks at are not put to sleep.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--remote-debugging-pipe",  # so that it ends with its driver, however that ends
    "--window-size=1100,700",
)
TIMEOUT = 30.0
# Ends with the value of a function as soon as that is true; what changes in the page tells when to look again.
WAIT = """\
const [body, ...rest] = arguments, done = rest.pop(), test = new Function(body);
const look = () => { const found = test(...rest); if (found) { watch.disconnect(); done(found); } return found; };
const watch = new MutationObserver(look);
if (!look()) watch.observe(document, {subtree: true, childList: true, characterData: true, attributes: true});
"""


class Browser:
    """The program. Commands to its windows go one after the other."""

    def __init__(self) -> None:
        """Blocks until it has started."""
        port = free_port()
        program = in_path("chromedriver")
        assert program is not None
        directory = temporary_directory("chromium")
        self.process = LoggedProcess("chromedriver", [program, f"--port={port}"], directory=directory)
        self.process.wait_for("started successfully")
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--user-data-dir={directory / 'profile'}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        patience = ClientConfig(f"http://127.0.0.1:{port}", timeout=round(patiently(2 * TIMEOUT)))
        commands = ChromiumRemoteConnection(patience.remote_server_addr, "goog", "chrome", client_config=patience)
        self.driver = webdriver.Remote(commands, options=options)
        self.driver.set_script_timeout(patiently(TIMEOUT))
        self._first = self.driver.current_window_handle
        self.turn = DeferredLock()

    @staticmethod
    def missing() -> str | None:
        """The Debian package to install first, if it is not there."""
        if not Path(CHROMIUM).exists():
            return "chromium"
        return None if in_path("chromedriver") else "chromium-driver"

    async def window(self, url: str) -> Window:
        """A new window that shows this address."""
        return await self.turn.run(deferToThread, self._open, url)

    def _open(self, url: str) -> Window:
        self.driver.switch_to.window(self._first)  # there is always that one
        self.driver.switch_to.new_window("window")
        window = Window(self, self.driver.current_window_handle)
        self.driver.get(url)
        return window


@cache
def browser() -> Browser:
    """The browser of this process; blocks while it starts."""
    return Browser()


class Window:
    """One window of it."""

    def __init__(self, browser: Browser, handle: str) -> None:
        self._browser = browser
        self.handle = handle
        self.closed = False

    async def _do(self, method: str, *arguments: Any) -> Any:
        return await self._browser.turn.run(deferToThread, self._do_it, method, arguments)

    def _do_it(self, method: str, arguments: tuple[Any, ...]) -> Any:
        self._browser.driver.switch_to.window(self.handle)
        return getattr(self._browser.driver, method)(*arguments)

    async def run(self, body: str, *arguments: Any) -> Any:
        """Run the body of a function in the page, and return what it returns."""
        return await self._do("execute_script", body, *arguments)

    async def until(self, body: str, *arguments: Any) -> Any:
        """Wait until the body of a function returns something that is true, and return that."""
        for again in range(COLLECTED_AT_MOST, -1, -1):
            try:
                return await self._do("execute_async_script", WAIT, body, *arguments)
            except TimeoutException:
                shown = await self.run("return document.body.innerText")
                raise AssertionError(f"waited in vain for {body!r} {arguments!r}; the page shows:\n{shown}") from None
            except WebDriverException as error:
                if not again or COLLECTED not in (error.msg or ""):
                    raise

    async def reload(self) -> None:
        """Load the page anew, as F5 does."""
        await self._do("refresh")

    async def go(self, url: str) -> None:
        """Go to another page."""
        await self._do("get", url)

    async def click(self, selector: str) -> None:
        """Click what a selector of CSS finds, as soon as that is there."""
        await self.until("return document.querySelector(arguments[0])", selector)
        await self.run("document.querySelector(arguments[0]).click()", selector)

    async def click_opens(self, selector: str) -> Window:
        """Click a link that opens a window; return that."""
        return await self._browser.turn.run(deferToThread, self._click_opens, selector)

    def _click_opens(self, selector: str) -> Window:
        driver = self._browser.driver
        driver.switch_to.window(self.handle)
        before = set(driver.window_handles)
        driver.find_element(By.CSS_SELECTOR, selector).click()
        WebDriverWait(driver, patiently(TIMEOUT)).until(expected_conditions.new_window_is_opened(before))
        (handle,) = set(driver.window_handles) - before
        return Window(self._browser, handle)

    async def type(self, selector: str, text: str) -> None:
        """Type into what a selector of CSS finds, as soon as that is there; a line feed is the key Enter."""
        while not await self._browser.turn.run(deferToThread, self._type, selector, text):
            pass

    def _type(self, selector: str, text: str) -> bool:
        """False: the page has put something else in its place meanwhile."""
        self._browser.driver.switch_to.window(self.handle)
        self._browser.driver.execute_async_script(WAIT, "return document.querySelector(arguments[0])", selector)
        try:
            self._browser.driver.find_element(By.CSS_SELECTOR, selector).send_keys(text)
        except (NoSuchElementException, StaleElementReferenceException, ElementNotInteractableException):
            return False
        return True

    async def log(self) -> list[str]:
        """All that the browser has logged, of all its windows, since it was last asked."""
        return [
            f"{line['level']} {line['message']}"
            for line in (await self._do("execute", "getLog", {"type": "browser"}))["value"]
        ]

    async def picture(self, path: Path) -> None:
        """Take a picture of the page, as PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        await self._do("save_screenshot", str(path))

    async def close(self) -> None:
        """Close it, as its user does."""
        if not self.closed:
            self.closed = True
            await self._do("close")
