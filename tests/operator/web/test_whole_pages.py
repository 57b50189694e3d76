"""The operator's pages as wholes: whoever changes one sees in the difference what becomes of all of them.

`MINIMIXPROXY_WRITE=1 make one TEST=tests.operator.web.test_whole_pages` writes what they are now into `whole/`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from minimixproxy import __version__
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
        for number in (5, 25, 15):
            self.stanzas += number
            self.clock.advance(INTERVAL)

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
            lines = re.sub(r">(?=<)", ">\n", answer.body.decode().replace(__version__, "VERSION"))
            file = WHOLE / f"{name}.html"
            if os.environ.get("MINIMIXPROXY_WRITE"):
                file.write_text(lines, "utf-8")
            self.assertEqual((answer.code, lines.split("\n")), (200, file.read_text("utf-8").split("\n")), path)
