"""What is said and counted of a stanza that cannot be read, or met a fault: enough to find it, and none of its text."""

from __future__ import annotations

from hashlib import sha256

from twisted.logger import LogLevel, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.safety_net import SafetyNet
from minimixproxy.wire.stanza import parse_stanza
from tests.log_events import log_events

RAW = "<message from='a@b/c'><body>secret</body></message>"
DIGEST = sha256(RAW.encode()).hexdigest()


class SafetyNetTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.net = SafetyNet()
        self.events = log_events(self)

    def logged(self) -> tuple[LogLevel, str]:
        event = self.events.pop()
        self.assertEqual(self.events, [])
        return event["log_level"], eventAsText(event, includeTimestamp=False, includeSystem=False)

    def test_what_cannot_be_read(self) -> None:
        for number in (1, 2):
            self.net.unusable(parse_stanza(RAW), "session of a@b/c", "too deep")
            text = f"session of a@b/c: a message of {len(RAW)} bytes, SHA-256 {DIGEST}, is not read: too deep"
            self.assertEqual(self.logged(), (LogLevel.warn, f"{text} ({number} so far)"))
            self.assertEqual((self.net.skipped, self.net.dropped), (number, 0))

    def test_what_is_not_here_any_more(self) -> None:
        self.net.skip("iq", 5, "abcd", "stream of x@y", "too large")
        text = "stream of x@y: a iq of 5 bytes, SHA-256 abcd, is not read: too large (1 so far)"
        self.assertEqual(self.logged(), (LogLevel.warn, text))

    def test_what_met_a_fault(self) -> None:
        for number in (1, 2):
            try:
                raise ValueError(RAW)
            except ValueError:
                self.net.caught(parse_stanza(RAW), "session of a@b/c")
            level, text = self.logged()
            self.assertEqual(level, LogLevel.critical)
            head = f"session of a@b/c: a message of {len(RAW)} bytes, SHA-256 {DIGEST}, met a fault and is dropped"
            self.assertTrue(text.startswith(f"{head} ({number} so far)"), text)
            self.assertIn("test_what_met_a_fault", text, "where it was")
            self.assertIn("ValueError", text)
            self.assertNotIn("secret", text)
            self.assertEqual((self.net.skipped, self.net.dropped), (0, number))
