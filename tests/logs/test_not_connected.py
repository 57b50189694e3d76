"""What the log has of connections that could not be made."""

from twisted.internet.error import ConnectError, ConnectionLost, ConnectionRefusedError, DNSLookupError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.logs.not_connected import why_not_connected


class WhyTests(SynchronousTestCase):
    def test_words(self) -> None:
        lost = "Connection to the other side was lost in a non-clean fashion: gone."
        for error, words in (
            (ConnectError(string=Failure(ConnectionLost("gone"))), lost),
            (ConnectError(), "An error occurred while connecting."),
            (ConnectionRefusedError(111, "no"), "Connection was refused by other side: 111: no."),
            (DNSLookupError("no such host"), "DNS lookup failed: no such host."),
            (OSError("anything"), "anything"),
        ):
            self.assertEqual(why_not_connected(error), words)
