"""The [[client_proxy]] table: what is allowed, and that an error names the key."""

from pathlib import Path
from typing import Any

from twisted.trial import unittest

from minimixproxy.config.settings import ClientProxy, ConfigError, load
from tests.clientproxy.scene import settings

MINIMAL = """
[[client_proxy]]
domain = "Proxy.Example.ORG"
target = "Worker@example.org"
server = "tcp:127.0.0.1:5347"
secret = "s3cret"
"""


class SettingsTests(unittest.TestCase):
    def load(self, more: str = "", text: str = MINIMAL) -> ClientProxy:
        path = Path(self.mktemp())
        path.write_text(text + more)
        return load(path).client_proxy[0]

    def refused(self, more: str, *said: str) -> None:
        with self.assertRaises(ConfigError) as caught:
            self.load(more)
        for text in said:
            self.assertIn(text, str(caught.exception))
        self.assertNotIn("s3cret", str(caught.exception))

    def test_one_table_is_a_complete_file(self) -> None:
        proxy = self.load()
        self.assertEqual((proxy.domain, proxy.target), ("proxy.example.org", ("worker@example.org",)))
        self.assertNotIn("s3cret", repr(proxy))

    def test_several_targets_and_servers(self) -> None:
        proxy = settings(target=["a@x.org", "b@x.org"], server=["tcp:127.0.0.1:1", "tcp:127.0.0.1:2"])
        self.assertEqual((len(proxy.target), len(proxy.server)), (2, 2))

    def test_what_is_not_allowed(self) -> None:
        for line, *said in (
            ('policy = "best"', "policy", "round-robin"),
            ("timeout = 0.5", "timeout"),
            ('timeout = "long"', "timeout"),
            ('allow = "example.org"', "allow", "list"),
            ('deny = ["a@b@c/"]', "deny", "JID"),
            ("rate = -1.0", "rate"),
            ("max_open = 0", "max_open"),
            ('subscriptions = "ask"', "subscriptions", "accept", "target"),
            ('identity_category = ""', "identity_category"),
            ('polcy = "random"', "polcy", "did you mean policy"),
        ):
            self.refused(line, *said)

    def test_a_target_in_the_domain_itself_or_twice(self) -> None:
        for target, said in (
            ("worker@proxy.example.org", "must be an account elsewhere"),
            (["a@x.org", "A@x.org"], "there twice"),
        ):
            with self.assertRaisesRegex(ValueError, said):
                settings(target=target)

    def test_lists_hold_prepared_jids(self) -> None:
        proxy: Any = self.load('allow = ["Example.org", "ALICE@example.org"]\ndeny = ["bob@example.net/Desk"]')
        self.assertEqual(proxy.allow, ("example.org", "alice@example.org"))
        self.assertEqual(proxy.deny, ("bob@example.net/Desk",))
