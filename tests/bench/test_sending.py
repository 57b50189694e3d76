"""The load generator proves that nothing was lost, came twice, or in another order."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bench import sending
from bench.sending import Load

TEXT = b"<message><body>@serial@ text</body></message>"


class FakeStream:
    """A sender and a receiver: what is sent is kept here, and what is read a test decides."""

    jid = "bench@bench.test"
    messages = 0
    kept: list[bytes] | None = None

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, *stanzas: bytes) -> None:
        self.sent += stanzas


def streams(number: int) -> list[Any]:
    return [FakeStream() for _ in range(number)]


class FakeStreams:
    """Nothing is read."""

    def __init__(self, streams: list[Any]) -> None:
        pass


class ProveTests(SynchronousTestCase):
    """What each receiver got."""

    def setUp(self) -> None:
        self.patch(sending, "Streams", FakeStreams)
        self.sender, *self.receivers = streams(3)
        self.load = Load(self.sender, TEXT, self.receivers)
        self.load._send(2)  # before anything is to be proven
        self.load.keep()
        self.load._send(3)
        self.copies = self.sender.sent[2:]

    def test_each_once_in_any_pieces(self) -> None:
        whole = b"".join(self.copies)
        for receiver, size in zip(self.receivers, (7, 1000), strict=True):
            receiver.kept += [whole[at : at + size] for at in range(0, len(whole), size)]
        self.load.prove()
        self.assertEqual([receiver.kept for receiver in self.receivers], [None, None])

    def test_lost_twice_or_in_another_order(self) -> None:
        one, two, three = self.copies
        for came in ([one, two], [one, two, three, three], [one, three, two], []):
            self.load.keep()
            self.load._serial = 5
            self.load._proven_from = 2
            self.receivers[0].kept = [one, two, three]
            self.receivers[1].kept = list(came)
            self.assertRaises(RuntimeError, self.load.prove)
