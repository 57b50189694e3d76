"""`make fuzz`: its targets take their seeds, what they have found, and notice what is wrong."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from fuzz.dictionary import words
from fuzz.material import Material
from fuzz.table import MACHINES, MODULES, TARGETS, machine
from minimixproxy import jids
from minimixproxy.minimix.subprotocols.message_forking import MessageForkHandler
from minimixproxy.wire.fast_framing import FastFramer
from minimixproxy.xep import delays
from tests.minimix import fakes

#: What was found, by target: each was a fault of the product, and has a test of its own beside what it was in.
FOUND = {
    "framing": (b"\0\0\x0b", b"\2\1\x40 \x0c\n", b"\0\0</stream:stream>text"),
    "tree": (b"<m xmlns:q='q'><xml:z q:b='&gt;'/></m>",),
    "stanza": (b"\x0b", b"<iq><query xmlnsz='a' xmlns='b'/></iq>"),
    "jid": ("a@b\u3002".encode(), b"a@b.."),
    "jat": ("a@b\u3002/c".encode(),),
    "configuration": (b'[[listen]]\nendpoint = "tcp:5222"\n[domain."a..b"]\n',),
}


class TargetTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(fakes, "written", fakes.written)  # a target exchanges it

    def test_every_target_takes_its_seeds(self) -> None:
        for name, target in TARGETS.items():
            self.assertTrue(target.seeds, name)
            for data in target.seeds:
                target.run(data)

    def test_what_was_found(self) -> None:
        for name, inputs in FOUND.items():
            for data in inputs:
                TARGETS[name].run(data)

    def test_every_target_takes_anything(self) -> None:
        """A few bytes changed here and there."""
        random = Random(1)
        for target in TARGETS.values():
            for data in target.seeds:
                changed = bytearray(data)
                for _number in range(3):
                    changed[random.randrange(len(changed))] = random.randrange(256)
                target.run(bytes(changed))

    def test_machines(self) -> None:
        for name in MACHINES:
            self.assertTrue(hasattr(machine(name), "TestCase"), name)

    def test_modules(self) -> None:
        self.assertEqual(set(MODULES), set(TARGETS))


class NoticingTests(SynchronousTestCase):
    """Targets raise when something is wrong."""

    def assert_noticed(self, name: str) -> None:
        for data in TARGETS[name].seeds:
            try:
                TARGETS[name].run(data)
            except Exception:  # noqa: BLE001 (any exception is a finding)
                return
        self.fail(f"{name} notices nothing")

    def test_a_framer_that_loses_what_comes_in_pieces(self) -> None:
        feed = FastFramer.feed
        self.patch(FastFramer, "feed", lambda self, data: feed(self, data) if len(data) > 20 else [])
        self.assert_noticed("framing")

    def test_a_jid_that_changes_when_it_is_prepared_again(self) -> None:
        self.patch(jids, "_DOTS", (".",))
        jids._parsed.cache_clear()
        self.addCleanup(jids._parsed.cache_clear)
        self.assert_noticed("jid")

    def test_a_time_that_is_not_what_it_says(self) -> None:
        self.patch(delays, "_EPOCH", delays._EPOCH.replace(year=1971))
        self.assert_noticed("time")

    def test_what_is_logged_as_a_fault(self) -> None:
        self.patch(MessageForkHandler, "received", lambda self, stanza: self.log.critical("a fault"))
        self.assert_noticed("account")


class MaterialTests(SynchronousTestCase):
    def test_nothing_is_lost(self) -> None:
        material = Material(b"\3\x80\x40\x40abcdef")
        pieces = material.pieces()
        self.assertEqual((b"".join(pieces), len(pieces)), (b"abcdef", 3))

    def test_where_there_is_no_more(self) -> None:
        material = Material(b"")
        self.assertEqual(
            (material.number(5), material.chosen("ab"), material.rest(), material.text()), (0, "a", b"", "")
        )
        self.assertEqual(b"".join(Material(b"").pieces()), b"")

    def test_dictionary(self) -> None:
        self.assertIn("xmlns='urn:xmpp:mam:2'", words())
        self.assertIn("stanza_size = ", words())
