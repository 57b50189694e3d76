"""What of a configuration has changed, and how those who hold the old one learn of it."""

from typing import Any

from pydantic import SecretStr
from twisted.trial import unittest

from minimixproxy.config.reloading import CannotReload, changes, keep_what_cannot_change, take_over
from minimixproxy.config.settings import Section, Settings

BASE: dict[str, Any] = {
    "listen": [{"endpoint": "tcp:5222"}, {"endpoint": "tcp:5223", "tls": "direct"}],
    "domain": {"example.org": {}, "example.net": {}},
    "client_proxy": [
        {"domain": "proxy.example.org", "target": "bot@example.org", "server": "tcp:127.0.0.1:1", "secret": "s3cret"}
    ],
}


def settings(**tables: Any) -> Settings:
    return Settings.model_validate({**BASE, **tables})


#: Tables that are other than in `BASE`, and what is told of that.
TOLD: tuple[tuple[dict[str, Any], list[str]], ...] = (
    ({}, []),
    ({"limits": {"send_queue": 100_000}}, ["[limits] send_queue: 4194304 -> 100000"]),
    (
        {"rooms": {"fresh": 1.5, "away": "gone"}},
        ["[rooms] away:  -> gone", "[rooms] fresh: 60 -> 1.5"],
    ),
    ({"domain": {"example.org": {}}}, ['[domain."example.net"]: removed']),
    ({"domain": {**BASE["domain"], "bücher.example": {}}}, ['[domain."bücher.example"]: new']),
    ({"domain": {"example.net": {}, "example.org": {}}}, ["[domain]: another order"]),
    (
        {"domain": {"example.org": {"logins": "PLAIN", "upstream": "tcp:127.0.0.1:2"}, "example.net": {}}},
        [
            '[domain."example.org"] upstream: not set -> tcp:127.0.0.1:2',
            '[domain."example.org"] logins: [SCRAM, PLAIN] -> [PLAIN]',
        ],
    ),
    ({"listen": BASE["listen"][:1]}, ["[[listen]] tcp:5223: removed"]),
    ({"listen": [*BASE["listen"], {"endpoint": "tcp:5224"}]}, ["[[listen]] tcp:5224: new"]),
    (
        {"listen": [{"endpoint": "tcp:5222", "tls": "direct"}, BASE["listen"][1]]},
        ["[[listen]] tcp:5222 tls: starttls -> direct"],
    ),
    ({"client_proxy": []}, ["[[client_proxy]] proxy.example.org: removed"]),
    (
        {"client_proxy": [{**BASE["client_proxy"][0], "secret": "0ther", "allow": ["a@b"]}]},
        [
            "[[client_proxy]] proxy.example.org secret: another value",
            "[[client_proxy]] proxy.example.org allow: [] -> [a@b]",
        ],
    ),
)

#: What a restart is needed for.
RESTART: tuple[tuple[dict[str, Any], str], ...] = (
    ({"state": "/elsewhere"}, "state: another value"),
    ({"state": "postgresql://user:s3cret@host/base"}, "state: another value"),
    ({"state_directory": "/elsewhere"}, "state_directory: not set -> /elsewhere"),
    ({"seal_key": "/elsewhere/key"}, "seal_key: not set -> /elsewhere/key"),
    ({"rooms": {"bookmarks": "off"}}, "[rooms] bookmarks: follow -> off"),
)


class ChangesTests(unittest.SynchronousTestCase):
    def test_table(self) -> None:
        for tables, told in TOLD:
            found = changes(settings(), settings(**tables))
            self.assertEqual([change.text for change in found], told)
            self.assertFalse(any(change.restart for change in found))

    def test_no_secret_is_told(self) -> None:
        old = settings(state=SecretStr("postgresql://user:s3cret@host/base"))
        new = settings(state=SecretStr("postgresql://user:0ther@host/base"))
        self.assertEqual([change.text for change in changes(old, new)], ["state: another value"])

    def test_restart(self) -> None:
        for tables, told in RESTART:
            old, new = settings(), settings(**tables, limits={"send_queue": 100_000})
            found = changes(old, new)
            self.assertEqual([change.text for change in found if change.restart], [told])
            kept = keep_what_cannot_change(old, new)
            self.assertEqual([change.text for change in changes(old, kept)], TOLD[1][1])

    def test_another_web(self) -> None:
        """What differs of a table that needs a restart is told, not that there is one."""
        old, new = (settings(web={"endpoint": f"tcp:{port}:interface=127.0.0.1"}) for port in (5290, 5291))
        (change,) = changes(old, new)
        text = "web: endpoint tcp:5290:interface=127.0.0.1 -> tcp:5291:interface=127.0.0.1"
        self.assertEqual((change.text, change.restart), (text, True))
        self.assertEqual([one.text for one in changes(settings(), new)], ["web: not set -> set"])

    def test_another_cluster(self) -> None:
        """Who this process is, and what it seals by, is for its life; no secret's place is told."""
        cluster = {"name": "a", "endpoint": "unix:/run/a", "secret": "/etc/one"}
        state = "postgresql://user@host/base"
        old = settings(state=state, cluster=cluster)
        new = settings(state=state, cluster={**cluster, "name": "b", "secret": "/etc/other"})
        (change,) = changes(old, new)
        self.assertEqual((change.text, change.restart), ("cluster: name a -> b, secret another value", True))
        self.assertEqual(keep_what_cannot_change(old, new), old)

    def test_all_domains_need_a_restart(self) -> None:
        none = settings(domain={}, listen=[])
        for old, new, what in ((settings(), none, "last"), (none, settings(), "first")):
            error = self.assertRaises(CannotReload, keep_what_cannot_change, old, new)
            self.assertIn(f"the {what} [domain]", str(error))


class TakeOverTests(unittest.SynchronousTestCase):
    def test_whoever_has_a_table_has_the_new_values(self) -> None:
        for tables, _told in TOLD:
            current, new = settings(), settings(**tables)
            rooms, limits, net = current.rooms, current.limits, current.domain["example.net"]
            domains, listen, proxy = current.domain, current.listen[0], current.client_proxy[0]
            take_over(current, new)
            self.assertEqual(current, new)
            self.assertEqual(list(current.domain), list(new.domain))
            self.assertIs(current.rooms, rooms)
            self.assertIs(current.limits, limits)
            self.assertIs(current.domain, domains)
            self.assertIs(current.listen[0], listen)
            self.assertEqual(listen, new.listen[0])
            if "example.net" in new.domain:
                self.assertIs(current.domain["example.net"], net)
            if new.client_proxy:
                self.assertIs(current.client_proxy[0], proxy)

    def test_back_again(self) -> None:
        """Defaults are no table that all settings share: one that was changed would stay so."""
        current = settings()
        take_over(current, settings(limits={"send_queue": 100_000}, rooms={"fresh": 1.0}))
        take_over(current, settings())
        self.assertEqual((current.limits.send_queue, current.rooms.fresh), (4 * 1024 * 1024, 60.0))

    def test_defaults_of_every_table_are_its_own(self) -> None:
        one, other = settings(), settings()
        for key in Settings.model_fields:
            value = getattr(one, key)
            if isinstance(value, Section | dict):
                self.assertIsNot(value, getattr(other, key), key)

    def test_nobody_else_changes_anything(self) -> None:
        current = settings()
        with self.assertRaises(ValueError):
            current.limits.send_queue = 1
