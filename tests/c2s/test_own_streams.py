"""Ids of streams by which a proxy recognises itself."""

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s import own_streams
from minimixproxy.c2s.own_streams import is_own, new_id


class OwnStreamsTest(SynchronousTestCase):
    def test_own(self) -> None:
        ids = {new_id() for _ in range(100)}
        self.assertEqual(len(ids), 100)
        self.assertTrue(all(map(is_own, ids)))

    def test_others(self) -> None:
        given = new_id()
        for other in ("", "x", given[:-1], given + "0", given[1:], given[:-1] + "g", given.upper() + "É", "é" * 48):
            self.assertFalse(is_own(other), other)

    def test_another_process(self) -> None:
        given = new_id()
        self.patch(own_streams, "_secret", lambda: b"another one's")
        self.assertFalse(is_own(given))
