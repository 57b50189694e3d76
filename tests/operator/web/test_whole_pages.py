"""The operator's pages as wholes: whoever changes one sees in the difference what becomes of all of them.

`MINIMIXPROXY_WRITE=1 make one TEST=tests.operator.web.test_whole_pages` writes what they are now into `whole/`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import twisted

from minimixproxy import __version__
from minimixproxy.logs.logger import Logger
from minimixproxy.operator.web.samples import INTERVAL
from tests.minimix.fakes import BARE
from tests.operator.test_status import CLUSTER
from tests.operator.web.test_page import PageCase

WHOLE = Path(__file__).with_name("whole")


class WholePagesTests(PageCase):
    def setUp(self) -> None:
        super().setUp()
        self.some()
        other = {"name": "node-b", "address": "b:5270", "number": 8, "accounts": 41, "draining": True}
        self.cluster = {**CLUSTER, "others": [other], "all_accounts": 83, "pipes": 4}
        for service in (self.samples, self.faults):
            service.startService()
            self.addCleanup(service.stopService)
        for number in (100, 400, 200, 300):
            self.stanzas += number
            self.clock.advance(INTERVAL)
        log = Logger("minimixproxy.somewhere")
        log.error("{room} answers: {what}", room="one@muc", what="<b>no</b>")
        log.warn("slow")

    def independent(self, text: str) -> str:
        """Of versions, and of the day."""
        for version in (__version__, twisted.__version__):
            text = text.replace(version, "VERSION")
        return re.sub(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", text)

    def test_as_they_were(self) -> None:
        for name, path in (
            ("overview", "/"),
            ("accounts", "/accounts"),
            ("waiting", "/accounts?state=waiting&still=1"),
            ("interrupted", "/accounts?state=interrupted"),
            ("account", f"/account?jid={BARE}"),
            ("waits", "/account?jid=zoe@a.test&still=1"),
            ("room", "/room?jid=one@muc"),
            ("log", "/log"),
            ("nothing", "/accounts?account=nobody@a.test"),
        ):
            answer = self.get(path)
            lines = re.sub(r">(?=<)", ">\n", self.independent(answer.body.decode()))
            file = WHOLE / f"{name}.html"
            if os.environ.get("MINIMIXPROXY_WRITE"):
                file.write_text(lines, "utf-8")
            self.assertEqual((answer.code, lines.split("\n")), (200, file.read_text("utf-8").split("\n")), path)
