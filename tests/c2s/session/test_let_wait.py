"""A client that is let wait because of what it says to rooms: until when, and what becomes of its own queue."""

from __future__ import annotations

from minimixproxy.c2s.session import output
from minimixproxy.c2s.session.client_management import ANSWER_WITHIN, ASK_AFTER
from tests.c2s.session.test_stream_management import ASK, MESSAGE, ManagedTest, ack, failed

LARGE = b"<message>%b</message>" % (b"x" * 10_000)


class LetWaitTest(ManagedTest):
    limits = {"send_queue": 64 * 1024}

    @property
    def is_read(self) -> bool:
        return self.client.wire.producerState == "producing"

    def test_it_is_not_read(self) -> None:
        self.session.let_wait()
        self.assertFalse(self.is_read)
        self.session.go_on()
        self.assertTrue(self.is_read)

    def test_its_own_server_is_slow_too(self) -> None:
        self.session.let_wait()
        self.client.upstream.push_producer.pauseProducing()
        self.session.go_on()
        self.assertFalse(self.is_read)
        self.session.let_wait()
        self.client.upstream.push_producer.resumeProducing()
        self.assertFalse(self.is_read)
        self.session.go_on()
        self.assertTrue(self.is_read)

    def test_another_connection_waits_too(self) -> None:
        self.session.let_wait()
        self.client.vanish()
        self.assertTrue(self.session.asleep)
        self.client, _told = self.comes_back()
        self.assertFalse(self.is_read)
        self.session.go_on()
        self.assertTrue(self.is_read)

    def test_the_wait_is_over_while_it_sleeps(self) -> None:
        self.session.let_wait()
        self.client.vanish()
        self.session.go_on()
        self.client, _told = self.comes_back()
        self.assertTrue(self.is_read)

    def test_the_wait_is_over_when_the_session_is(self) -> None:
        self.session.let_wait()
        self.session.close("conflict")
        self.session.go_on()
        self.assertTrue(self.client.wire.closing)

    def test_nobody_is_silent_who_may_not_speak(self) -> None:
        self.session.deliver(MESSAGE % 1)
        self.turn()
        self.lab.clock.advance(ASK_AFTER)
        self.assertEqual(self.turn(), ASK)
        self.session.let_wait()
        self.lab.clock.advance(ANSWER_WITHIN)
        self.session.go_on()
        self.lab.clock.advance(ANSWER_WITHIN)
        self.assertFalse(self.client.wire.aborted)
        self.lab.clock.advance(ANSWER_WITHIN)
        self.assertTrue(self.client.wire.aborted)

    def test_patience_is_for_once(self) -> None:
        """It had to wait, and has answered since then."""
        self.session.let_wait()
        self.session.go_on()
        self.session.deliver(MESSAGE % 1)
        self.turn()
        self.say(ack(1))
        self.session.deliver(MESSAGE % 2)
        self.turn()
        self.lab.clock.advance(ASK_AFTER)
        self.lab.clock.advance(ANSWER_WITHIN)
        self.assertTrue(self.client.wire.aborted)


class ExcusedTest(ManagedTest):
    """What it has got it says behind what it has to wait with: it is told more all the same, as by a server."""

    limits = {"send_queue": 64 * 1024}

    def told(self, number: int) -> int:
        for _ in range(number):
            self.session.deliver(LARGE)
            self.turn()
        return number

    def test_it_does_not_wait_for_itself(self) -> None:
        self.session.let_wait()
        self.told(20)
        self.assertEqual(self.account.closed, [])
        self.session.deliver(MESSAGE % 1)
        self.assertIn(MESSAGE % 1, self.turn())
        self.assertLess(self.session._client._management.sent.size, 64 * 1024)  # type: ignore[union-attr]
        self.session.go_on()
        self.say(ack(21))
        self.assertEqual(self.account.closed, [])
        self.client.vanish()
        self.session.deliver(MESSAGE % 2)
        _client, told = self.comes_back(h=21)
        self.assertEqual(told, self.resumed(0) + MESSAGE % 2)

    def test_it_was_full_before(self) -> None:
        self.told(5)
        self.session.deliver(MESSAGE % 1)
        self.assertEqual(self.turn(), b"")
        self.session.let_wait()
        self.assertIn(MESSAGE % 1, self.turn())

    def test_it_is_cut_off_then(self) -> None:
        """Not all is there that it would be sent again: it has to come anew, and is told what was handled."""
        self.session.let_wait()
        self.told(20)
        self.client.vanish()
        self.assertEqual(self.account.closed, [self.session])
        _client, told = self.comes_back(h=20)
        self.assertEqual(told, failed(b"item-not-found", b" h='0'"))

    def test_it_comes_back_before_that_is_known(self) -> None:
        for h, all_is_there in ((3, False), (20, True)):
            self.setUp()
            self.session.let_wait()
            self.told(20)
            _client, told = self.comes_back(h=h)
            self.assertEqual(told == self.resumed(0), all_is_there, told)
            self.assertEqual(self.account.closed, [] if all_is_there else [self.session])
            if not all_is_there:
                self.assertEqual(told, failed(b"item-not-found", b" h='0'"))

    def test_that_has_an_end_too(self) -> None:
        self.patch(output, "MAX_EXCUSED", 10)
        self.session.let_wait()
        self.told(10)
        self.session.deliver(MESSAGE % 1)
        self.assertEqual(self.turn(), b"")
        self.told(4)
        self.assertEqual(self.account.closed, [self.session])

    def test_who_comes_back_and_waits_no_more_is_not_excused(self) -> None:
        """All that it is told then is there when it is cut off once more."""
        self.session.let_wait()
        self.client.vanish()
        self.session.go_on()
        client, _told = self.comes_back()
        for _ in range(4):
            self.session.deliver(LARGE)
            self.turn(client)
        self.session.deliver(MESSAGE % 1)
        self.assertEqual(self.turn(client), b"")
        client.vanish()
        _client, told = self.comes_back()
        self.assertTrue(told.startswith(self.resumed(0) + LARGE))

    def test_who_does_not_wait_is_not_excused(self) -> None:
        self.session.let_wait()
        self.session.go_on()
        self.told(1)
        self.say(ack(1))
        self.told(4)
        self.session.deliver(MESSAGE % 1)
        self.assertEqual(self.turn(), b"")
