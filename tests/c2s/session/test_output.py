"""Output to a client: its order, its bound, and stanzas that are made only when the client can take them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.session.acknowledgements import CROSSING, EVERYTHING, Acknowledgements
from minimixproxy.c2s.session.output import LAZY_TIME, ClientOutput
from minimixproxy.counting.traffic import CLIENTS
from minimixproxy.stream_management.unacknowledged import Unacknowledged
from minimixproxy.timing.turn_end import TurnEnd
from minimixproxy.timing.turn_shares import TURN
from minimixproxy.wire.lazy_stanzas import LazyStanzas
from tests.examples import examples
from tests.timing.turns import next_turn
from tests.wires import Wire

BUFFER = 64 * 1024


class SlowTransport(Wire):
    """Tells its producer to wait when more than `BUFFER` bytes are in it, and to go on when they are gone."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = 0
        self.largest = 0
        self.written: list[bytes] = []
        self.pause: Callable[[], None] = lambda: None
        self.now, self.cost = 0.0, 0.0  # seconds, and of each write

    def unregisterProducer(self) -> None:
        """Nobody was registered."""

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self.now += self.cost
        self.inside += len(data)
        self.largest = max(self.largest, self.inside)
        if self.inside > BUFFER:
            self.pause()


class Quiet:
    """Asks nothing of the client, and keeps nothing."""

    def question(self) -> bytes:
        return b""

    def wrote(self, size: int, *, everything: bool = True) -> None:
        """So much was written."""


class CountingReach(Acknowledgements):
    """Keeps what it was told of, as it was told."""

    __slots__ = ("noted",)

    def __init__(self, clock: Clock, position: Callable[[], int]) -> None:
        super().__init__(None, clock, position)
        self.noted: list[int] = []

    def wrote(self, size: int, *, everything: bool = True) -> None:
        self.noted.append(size)
        super().wrote(size, everything=everything)


class Client:
    """The stream of a client too: what it was told last is in `last`. `cost`: seconds that each write takes."""

    def __init__(self, limit: int = 1024 * 1024, cost: float = 0.0) -> None:
        self.clock = Clock()
        self.transport = SlowTransport()
        self.waited: list[int] = []
        self.last: list[bytes] = []
        self.given = 0  # the last message that was given out
        self.reach = CountingReach(self.clock, lambda: self.given)
        self.transport.cost = cost
        self.turn_end = TurnEnd(self.clock)
        self.turn_end.shares.stopwatch = lambda: self.transport.now
        self.output = ClientOutput(self, self.turn_end, self.reach, limit, self)
        self.transport.pause = self.output.block
        self.made = 0
        self.others_wait = False

    def close(self, data: bytes = b"") -> None:
        self.last.append(data)

    def flows(self, free: bool) -> None:
        self.others_wait = not free

    def overflows(self, waiting: int) -> None:
        self.waited.append(waiting)

    def lazy(self, *stanzas: bytes) -> LazyStanzas:
        return LazyStanzas(len(stanzas), self._make(stanzas))

    def _make(self, stanzas: tuple[bytes, ...]) -> Iterator[bytes]:
        for stanza in stanzas:
            self.made += 1
            yield stanza

    def reached(self) -> float:
        """What the client has when all that was written has arrived."""
        self.clock.advance(2 * CROSSING)
        self.reach.heard()
        return self.reach._sure

    def turn(self) -> None:
        self.clock.advance(0)

    def drain(self) -> None:
        self.transport.inside = 0
        if self.output.blocked:
            self.output.unblock()

    @property
    def received(self) -> bytes:
        return b"".join(self.transport.written)


class LazyTest(SynchronousTestCase):
    def test_order(self) -> None:
        client, sent = Client(), CLIENTS.sent
        client.output.deliver(b"1")
        client.output.deliver_all(client.lazy(b"2", b"3"))
        client.output.deliver(b"4")
        client.output.deliver_all(client.lazy(b"5"))
        client.output.deliver_all(client.lazy())
        client.output.parts.append(b"6")
        self.assertEqual(client.transport.written, [])
        client.turn()
        self.assertEqual((client.received, CLIENTS.sent - sent), (b"123456", 6))

    def test_made_as_the_client_takes_them(self) -> None:
        client = Client()
        stanza = b"x" * 1000
        client.output.deliver_all(client.lazy(*[stanza] * 10_000))
        client.output.deliver(b"behind")
        client.turn()
        self.assertLess(client.made, 110)
        while client.output.blocked:
            client.drain()
        self.assertEqual(client.received, stanza * 10_000 + b"behind")
        self.assertLess(client.transport.largest, BUFFER + 40 * 1024)
        self.assertEqual(client.waited, [])

    def test_others_have_their_turn_after_what_took_long(self) -> None:
        for cost, free in ((TURN / 3, True), (TURN, False)):
            client = Client(cost=cost)
            client.output.deliver_all(client.lazy(b"1"))
            client.turn_end.end()
            self.assertEqual((client.received, client.turn_end.shares.may_go_on("another")), (b"1", free))

    def test_what_waits_behind_a_replay_is_not_written(self) -> None:
        """It was given out, and a client that is gone then has not got it."""
        # The last of which fill what the client can take, or fill it with more to come; then once more behind that.
        for number, more in ((65, 0), (66, 0), (200, 0), (65, 1), (200, 1), (200, 2)):
            client = Client()
            client.output.deliver_all(client.lazy(*[b"x" * 1020] * number))
            client.given = 1
            for _ in range(more):
                client.output.deliver(b"between")
                client.output.deliver_all(client.lazy(b"again"))
            client.output.deliver(b"behind")
            client.turn()
            while client.output.blocked:
                self.assertEqual(client.reached(), 0)
                client.drain()
            self.assertEqual(client.reached(), 1)
            self.assertTrue(client.received.endswith(b"behind"))

    def test_what_waits_between_replays_is_not_written(self) -> None:
        """The first has filled the client; nothing is behind the second."""
        client = Client()
        client.output.deliver_all(client.lazy(*[b"x" * 1020] * 200))
        client.given = 1
        client.output.deliver(b"between")
        client.output.deliver_all(client.lazy(b"again"))
        client.turn()
        while b"between" not in client.received:
            self.assertEqual(client.reached(), 0)
            client.drain()
        self.assertEqual(client.reached(), 1)

    def test_what_is_written_with_the_end_of_a_replay(self) -> None:
        client = Client()
        client.output.deliver_all(client.lazy(b"1", b"2"))
        client.given = 1
        client.output.deliver(b"behind")
        client.turn()
        client.reach.relayed = False
        for missing, until in ((6, 0), (7, 0), (0, EVERYTHING)):
            client.reach._lost = missing  # bytes of which the kernel knows that they have not arrived
            self.assertEqual(client.reach.until(), until)

    def test_all_that_is_written_is_counted(self) -> None:
        """What nobody counts seems to have arrived, and is never given again."""
        client = Client()

        def passed() -> None:
            client.output.parts.append(b"passed")
            client.output.flush()

        for step in (
            lambda: client.output.deliver(b"a message"),
            lambda: client.output.deliver_all(client.lazy(b"a", b"replay")),
            passed,
        ):
            step()
            client.turn()
            self.assertEqual(client.reach.noted, [len(one) for one in client.transport.written])
            self.assertEqual(client.reach.until(), 0, "the client has not spoken since")
        self.assertEqual(len(client.reach.noted), 3)

    def test_the_bound_is_for_what_is_behind(self) -> None:
        client = Client(limit=100_000)
        client.output.deliver_all(client.lazy(*[b"x" * 1000] * 1000))
        client.turn()
        for _ in range(49):
            client.output.deliver(b"y" * 1000)
            client.drain()
        self.assertEqual(client.waited, [])
        client = Client(limit=100_000)
        client.output.deliver_all(client.lazy(*[b"x" * 1000] * 1000))
        client.turn()
        for _ in range(101):
            client.output.deliver(b"y" * 1000)
        self.assertEqual(client.waited, [101_000])

    def test_the_bound_is_for_what_is_waiting_now(self) -> None:
        client = Client(limit=100_000)
        client.output.deliver_all(client.lazy(*[b"x" * 1000] * 200))
        client.turn()
        for _ in range(20):
            client.output.deliver(b"y" * 40_000)
            client.output.deliver(b"y" * 40_000)
            client.drain()
            client.drain()
            client.drain()
            client.drain()
        self.assertEqual(client.waited, [])

    def test_the_bound_holds_while_a_replay_goes_on(self) -> None:
        """What stands between two replays waits, too, however often the client takes some of the first."""
        client = Client(limit=100_000)
        client.output.deliver_all(client.lazy(*[b"x" * 1000] * 1000))
        client.turn()
        for _ in range(3):
            self.assertEqual(client.waited, [])
            client.output.deliver(b"y" * 40_000)
            client.output.deliver_all(client.lazy())
            client.drain()
        self.assertTrue(client.waited)

    def test_the_bound_holds_at_the_end_of_a_replay(self) -> None:
        """Its last stanzas have filled the client again, and nothing of what is behind has gone."""
        client = Client(limit=100_000)
        client.output.deliver_all(client.lazy(*[b"x" * 1020] * 131))
        client.turn()
        client.output.deliver(b"y" * 60_000)
        while client.made < 131:
            client.drain()
        self.assertTrue(client.output.blocked)
        client.output.deliver(b"y" * 60_000)
        self.assertEqual(client.waited, [120_000])

    def test_lazy_ones_are_bounded_too(self) -> None:
        client = Client(limit=100_000)
        client.output.block()
        for _ in range(1000):
            client.output.deliver_all(client.lazy(*[b"x"] * 100))
        self.assertTrue(client.waited)
        self.assertEqual(client.made, 0)

    def test_what_is_queued(self) -> None:
        """Bytes that are there, before a replay, behind it or not acknowledged; not those that are not made yet."""
        client = Client()
        self.assertEqual(client.output.queued, 0)
        client.output.block()
        client.output.deliver(b"before")
        client.output.deliver_all(client.lazy(b"x" * 1000))
        client.output.deliver(b"behind it")
        self.assertEqual(client.output.queued, len(b"beforebehind it"))
        client.output.unblock()
        self.assertEqual(client.output.queued, 0)
        client.output.manage(Unacknowledged(), Quiet(), b"")
        client.output.deliver(b"<message/>")
        client.turn()
        self.assertEqual(client.output.queued, len(b"<message/>"))
        client.output.block()
        client.output.deliver(b"<presence/>")
        self.assertEqual(client.output.queued, len(b"<message/><presence/>"))

    def test_closing_in_the_middle(self) -> None:
        client = Client()
        client.output.deliver(b"before")
        client.output.deliver_all(client.lazy(*[b"x" * 1000] * 1000))
        client.output.deliver(b"behind")
        client.output.close(b"end")
        self.assertEqual(client.last, [b"beforeend"])
        client.turn()
        self.assertEqual((client.made, client.received), (0, b""))
        client.output.deliver_all(client.lazy(b"late"))
        client.output.deliver(b"late")
        client.turn()
        self.assertEqual((client.made, client.received, client.output.parts), (0, b"", []), "nor is anything kept")

    def test_what_is_behind_a_replay_or_was_too_much_is_missing(self) -> None:
        client = Client(limit=10)
        client.output.block()
        client.output.deliver_all(client.lazy())
        self.assertFalse(client.output.incomplete)
        client = Client(limit=1000)
        client.output.block()
        client.output.deliver_all(client.lazy(b"1"))
        client.output.deliver(b"behind")
        self.assertTrue(client.output.incomplete)
        client = Client(limit=10)
        client.output.block()
        client.output.deliver(b"too much, that is")
        self.assertTrue(client.waited)
        client.output.stop()
        self.assertTrue(client.output.incomplete)

    def test_what_is_written_with_the_end_is_not_missing(self) -> None:
        for lazy in (False, True):
            client = Client()
            client.output.block()
            client.output.deliver(b"message")
            if lazy:
                client.output.deliver_all(client.lazy(b"1"))
            client.output.close(b"end")
            self.assertEqual(client.last, [b"messageend"])
            self.assertFalse(client.output.incomplete)

    def test_once_for_a_turn(self) -> None:
        client = Client()
        adds: list[object] = []
        self.patch(client.output._turn_end, "add", adds.append)
        for _turn in range(2):
            adds.clear()
            client.output.deliver(b"1")
            client.output.deliver_all(client.lazy(b"2"))
            client.output.deliver_all(client.lazy(b"3"))
            client.output.deliver(b"4")
            self.assertEqual(adds, [client.output])
            client.output.turn_ended()
        client.output.deliver_all(client.lazy(b"5"))
        client.output.deliver(b"6")
        client.output.deliver_all(client.lazy(b"7"))
        self.assertEqual(len(adds), 2)

    def test_nothing_of_a_read_is_written_behind_the_end(self) -> None:
        client = Client()
        client.output.stop()
        client.output.parts.append(b"late")
        client.output.flush()
        self.assertEqual(client.received, b"")

    def test_what_is_dropped_between_replays_is_missing(self) -> None:
        """What a client has of its replays is known to who made them; of what stands between, only here."""
        for between in ([], [b"between"]):
            client = Client()
            client.output.block()
            client.output.deliver_all(client.lazy(b"1"))
            for data in between:
                client.output.deliver(data)
            client.output.deliver_all(client.lazy(b"2"))
            self.assertEqual(client.output.incomplete, bool(between))
            client.output.stop()
            self.assertEqual(client.output.incomplete, bool(between))

    steps = st.lists(
        st.one_of(
            st.tuples(st.just("deliver"), st.integers(0, 50_000)),
            st.tuples(st.just("read"), st.integers(0, 50_000)),
            st.tuples(st.just("lazy"), st.lists(st.integers(0, 50_000), max_size=10)),
            st.tuples(st.sampled_from(["turn", "drain"]), st.none()),
        ),
        max_size=30,
    )

    def paced(self) -> Client:
        """A client that is shown much, which takes long, and can take it all."""
        client = Client(limit=100_000, cost=LAZY_TIME / 2)
        client.transport.pause = lambda: None
        client.output.deliver_all(client.lazy(*[b"x" * 1000] * 1000))
        return client

    def test_a_little_in_each_turn(self) -> None:
        client = self.paced()
        turns = 0
        while client.output.waits:
            begun = client.transport.now
            next_turn(client.clock)
            turns += 1
            self.assertLessEqual(client.transport.now - begun, 2 * LAZY_TIME)
            self.assertEqual(client.others_wait, client.output.waits)
        self.assertEqual(client.received, b"x" * 1_000_000)
        self.assertGreater(turns, 10)

    def test_what_comes_meanwhile_is_behind_and_bounded(self) -> None:
        client = self.paced()
        next_turn(client.clock)
        client.output.deliver(b"behind")
        client.output.parts.append(b"passed")
        client.output.flush()
        client.output.deliver_all(client.lazy(b"again"))
        client.output.deliver(b"last")
        client.turn()
        self.assertEqual(client.received, b"x" * 1_000_000 + b"behindpassedagainlast")
        client = self.paced()
        next_turn(client.clock)
        for _ in range(101):
            client.output.deliver(b"y" * 1000)
        self.assertEqual(client.waited, [101_000])

    def test_several_have_their_turns(self) -> None:
        clients = [self.paced() for _ in range(3)]
        for client in clients[1:]:
            client.output._turn_end = clients[0].turn_end
            client.output.deliver(b"behind")
            client.turn()  # its own clock has what was scheduled
        clients[0].turn()
        self.assertEqual([len(client.received) for client in clients], [1_000_000] + [1_000_006] * 2)

    def test_it_sleeps_or_ends_meanwhile(self) -> None:
        client = self.paced()
        next_turn(client.clock)
        client.output.fall_asleep()
        self.assertFalse(client.others_wait)
        client.turn()
        made = client.made
        self.assertLess(made, 1000)
        client.output.wake(client, b"")
        client.turn()
        self.assertEqual((client.made, client.others_wait), (1000, False))
        client = self.paced()
        next_turn(client.clock)
        client.output.close(b"end")
        client.turn()
        self.assertLess(client.made, 1000)

    def test_all_at_once_if_need_be(self) -> None:
        client = self.paced()
        next_turn(client.clock)
        client.output.deliver(b"behind")
        client.output.flush_at_once()
        self.assertEqual(client.received, b"x" * 1_000_000 + b"behind")
        client.output.deliver(b"more")
        client.turn()
        self.assertTrue(client.received.endswith(b"behindmore"))
        self.assertFalse(client.others_wait)

    @settings(max_examples=examples(100))
    @given(steps, st.sampled_from([0.0, LAZY_TIME / 3, LAZY_TIME * 2]))
    def test_any_order(self, steps: list[tuple[str, object]], cost: float) -> None:
        client = Client(10**9, cost)
        expected = bytearray()

        def stanza(size: object) -> bytes:
            assert isinstance(size, int)
            expected.extend(b"%05d" % (len(expected) % 99_999) + b"." * size)
            return bytes(expected[-size - 5 :])

        for what, size in steps:
            if what == "deliver":
                client.output.deliver(stanza(size))
            elif what == "read":
                client.output.parts.append(stanza(size))
                client.output.flush()
            elif what == "lazy":
                assert isinstance(size, list)
                client.output.deliver_all(client.lazy(*[stanza(one) for one in size]))
            else:
                getattr(client, what)()
        client.turn()
        while client.output.waits:
            client.drain()
            client.turn()
        self.assertEqual(client.received, bytes(expected))
        self.assertEqual(client.reach.noted, [len(one) for one in client.transport.written])
