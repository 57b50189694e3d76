"""Where the demo and the browser's tests have Converse.js from, and the pages that they make of it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.test.requesthelper import DummyRequest

from demo import website
from demo.converse import VERSION, NotFetched, fetch, integrity
from demo.in_browsers import in_browsers
from demo.narrator import Narrator

FILES = (
    "package/package.json",
    "package/dist/converse.min.js",
    "package/dist/converse.js",
    "package/dist/a/b.min.js.map",
)


class FetchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cache = Path(self.mktemp())
        self.archive = Path(self.mktemp())
        with tarfile.open(self.archive, "w:gz") as archive:
            for name in (*FILES, "package/dist/a/c.js"):
                file = tarfile.TarInfo(name)
                file.size = len(name)
                archive.addfile(file, io.BytesIO(name.encode()))
        self.url = self.archive.resolve().as_uri()
        self.expected = integrity(self.archive.read_bytes())

    def test_only_what_a_browser_needs(self) -> None:
        folder = fetch(self.cache, self.url, self.expected)
        self.assertEqual(folder, self.cache / f"converse.js-{VERSION}")
        found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        self.assertEqual(found, ["a/c.js", "converse.min.js"])
        self.assertEqual((folder / "a/c.js").read_text(), "package/dist/a/c.js")
        self.assertEqual(list(self.cache.iterdir()), [folder], "nothing else is left there")

    def test_once(self) -> None:
        folder = fetch(self.cache, self.url, self.expected)
        self.archive.unlink()
        self.assertEqual(fetch(self.cache, self.url, self.expected), folder)

    def test_another_archive(self) -> None:
        with self.assertRaises(NotFetched) as raised:
            fetch(self.cache, self.url)
        self.assertIn(f"is not Converse.js {VERSION}: it has the hash {self.expected}", str(raised.exception))
        self.assertFalse(self.cache.exists(), "nothing of it is kept")

    def test_no_network(self) -> None:
        self.archive.unlink()
        with self.assertRaises(NotFetched) as raised:
            fetch(self.cache, self.url, self.expected)
        self.assertIn(f"could not be fetched from {self.url}: ", str(raised.exception))


class InBrowsersTests(TestCase):
    """What `make run` does with it."""

    async def test_no_network(self) -> None:
        def nothing() -> Path:
            raise NotFetched("the network is down")

        narrator = Narrator()
        remarks: list[str] = []
        self.patch(narrator, "remark", remarks.append)
        self.assertIsNone(await in_browsers(narrator, nothing))
        self.assertEqual(remarks, ["Nothing for a browser this time; all else is there. the network is down"])


class WebsiteTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pages = Path(self.mktemp())
        self.pages.mkdir()
        self.site = website.Website(Path(self.mktemp()), self.pages)

    def get(self, name: str, host: str = "127.0.0.1:5280") -> tuple[str, DummyRequest]:
        request: Any = DummyRequest([name.encode()])
        request.requestHeaders.setRawHeaders("host", [host])
        resource = self.site.getChildWithDefault(name.encode(), request)
        body = resource.render(request)
        assert isinstance(body, bytes)
        return body.decode(), request

    def test_who_comes_by_another_name_gets_nothing(self) -> None:
        """Such as a page of strangers, whose name leads to this machine."""
        website.write(self.pages, "juliet", {"password": "secret", "websocket_url": "ws://127.0.0.1:1/", "jid": "j@x"})
        for name in ("juliet", "start.js"):
            for host in ("127.0.0.1", "localhost:5280"):
                self.assertEqual(self.get(name, host)[1].responseCode or 200, 200)
            for host in ("evil.example:5280", "", "127.0.0.1.evil.example", "localhost.evil.example:5280"):
                body, request = self.get(name, host)
                self.assertEqual(request.responseCode, 404)
                self.assertNotIn("secret", body)

    def policy(self, name: str) -> list[str]:
        _, request = self.get(name)
        (header,) = request.responseHeaders.getRawHeaders("content-security-policy", [])
        return [part.strip() for part in header.split(";")]

    def page(self, jid: str = "juliet@example.org", room: str = "garden@muc.example.org") -> None:
        wanted = website.settings(jid, "<!--</script><b>", "ws://127.0.0.1:1/ws", {room: "juliet"})
        website.write(self.pages, "juliet", wanted)

    def test_nothing_is_run_but_files_and_nobody_is_asked_but_the_proxy(self) -> None:
        self.page()
        for name in ("", "juliet"):
            self.assertIn("script-src 'self'", self.policy(name))
            self.assertIn("default-src 'none'", self.policy(name))
        self.assertIn("connect-src 'self' ws://127.0.0.1:1/ws", self.policy("juliet"))

    def test_settings_are_no_markup(self) -> None:
        self.page(jid="<b>@example.org", room="a&b@muc.example.org")
        text, _ = self.get("juliet")
        self.assertNotIn("<b>", text)
        self.assertEqual(text.count("</script>"), 3)
        landing, _ = self.get("")
        self.assertIn("&lt;b&gt;@example.org", landing)
        self.assertIn("a&amp;b@muc.example.org", landing)

    def test_no_such_page(self) -> None:
        self.page()
        for name in ("romeo", "../juliet", "juliet.json"):
            _, request = self.get(name)
            self.assertEqual(request.responseCode, 404)
