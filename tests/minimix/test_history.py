"""The bounds of what is kept of a room, and its times."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.history import MAX_BYTES, History, format_time, parse_time
from minimixproxy.stanza import parse_stanza
from tests.minimix.fakes import ROOM


class Bounds(SynchronousTestCase):
    def add(self, history: History, body: str) -> None:
        history.add(parse_stanza(f"<message from='{ROOM}/bob'><body>{body}</body></message>"), 0.0)

    def test_count(self) -> None:
        history = History(ROOM, 3)
        for number in range(5):
            self.add(history, f"m{number}")
        kept = history.select(None, "", everything=True)
        self.assertEqual([raw[raw.index(b"<body>") :][6:8] for raw in kept], [b"m2", b"m3", b"m4"])

    def test_bytes(self) -> None:
        history = History(ROOM, 1000)
        for _ in range(20):
            self.add(history, "x" * (MAX_BYTES // 10))
        self.assertEqual(len(history), 9)

    def test_none(self) -> None:
        history = History(ROOM, 0)
        self.add(history, "x")
        self.assertEqual(history.select(None, "", everything=True), [])

    def test_cursors(self) -> None:
        history = History(ROOM, 10)
        for number in range(300):
            history.mark_seen(f"r{number}")
        self.add(history, "new")
        self.add(history, "newer")
        self.assertEqual(len(history.select(None, "r299")), 2)


class Times(SynchronousTestCase):
    def test_parse(self) -> None:
        for text, expected in [
            ("2023-11-14T22:13:20Z", 1_700_000_000),
            ("2023-11-14T22:13:20.5Z", 1_700_000_000.5),
            ("2023-11-14T23:13:20+01:00", 1_700_000_000),
            ("2023-11-14T22:13:20", 1_700_000_000),
            ("0001-01-01T00:00:00+23:59", None),
            ("yesterday", None),
            ("", None),
        ]:
            parsed = parse_time(text)
            self.assertTrue(parsed == expected or (expected is None and parsed is not None and parsed < 0), text)

    def test_format(self) -> None:
        self.assertEqual(format_time(1_700_000_000.25), "2023-11-14T22:13:20.250Z")
