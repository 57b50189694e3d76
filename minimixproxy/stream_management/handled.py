"""What was received on a stream, and how much of it is handled: the `h` of XEP-0198 §4. Pure."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Hashable, Sequence
from itertools import chain

from minimixproxy.stream_management.unacknowledged import MODULUS

MAX_NAMED = 1000  # stanzas with names that are known when they come again, the latest; if more are just to, all of them

Mark = tuple[int, int]  # hashes of the id and of the bytes of a stanza


class Handled:
    """Counts stanzas in their order: one counts as handled when all before it do, and nobody holds it.

    `progress` is called when a hold ends and `h` has grown by that.
    """

    __slots__ = ("_again", "_last", "_named", "_open", "_progress", "received")

    def __init__(self, progress: Callable[[], None] = lambda: None) -> None:
        self.received = 0  # how many there were, all in all
        self._last = _Received(None)
        self._open: list[_Received] = []  # from the first that is held on; a deque takes ten times as much
        # What may come once more, by key: before all else; and with a name, also behind something new.
        self._again: dict[Hashable, deque[_Received]] = {}
        self._named: OrderedDict[Hashable, list[_Received]] = OrderedDict()  # some programs have one name for all
        self._progress = progress

    @property
    def unhandled(self) -> int:
        """How many were received and do not count as handled."""
        return len(self._open)

    @property
    def h(self) -> int:
        """How many are handled, modulo `MODULUS`."""
        return (self.received - len(self._open)) % MODULUS

    @property
    def beyond(self) -> list[Mark]:
        """The marks of those that are handled, and do not count, for one before them is held."""
        received = chain(self._open, *self._named.values())
        return [one.mark for one in received if one.mark is not None and not one.holds]

    def receive(self, key: Hashable = None, *, named: bool = False, mark: Mark | None = None) -> bool:
        """Count a stanza; False: it is one that was received before the stream was resumed, and is not to be handled.

        `key`: by what such a one is known. Without, it is by its place, for a peer that is sure to send all again.
        `named`: the peer has given it that name. So it is known even if it comes behind something new: aioxmpp 0.13
        sends again in the reverse order. `mark`: what `beyond` is to tell of it.
        """
        self.received += 1
        before = self._before(key, named) if self._again or self._named else None
        self._last = before or _Received(key, named, mark)
        if self._open or self._last.holds:
            self._open.append(self._last)
        return before is None

    @property
    def open(self) -> tuple[bool, ...]:
        """For each that does not count as handled, from the first: whether somebody holds it."""
        return tuple(one.holds > 0 for one in self._open)

    def restore(self, received: int, held: Sequence[bool]) -> list[Callable[[], None]]:
        """Go on from what another one was (see `received` and `open`). Return what lets those go that are held."""
        self.received = received
        holds: list[Callable[[], None]] = []
        for is_held in held:
            one = _Received(None)
            self._open.append(one)
            if is_held:
                holds.append(_Hold(self, one).release)
        return holds

    @property
    def expects_again(self) -> bool:
        """Whether what is received next may be something that was received before."""
        return bool(self._again or self._named)

    def receive_all(self, number: int) -> None:
        """Count so many stanzas that nobody holds, while nothing `expects_again`."""
        self.received += number
        self._last = _Received(None)
        if self._open:
            self._open += [*(_Received(None) for _ in range(number - 1)), self._last]

    def hold(self) -> Callable[[], None]:
        """Return a function: until it is called, the stanza that was received last does not count as handled.

        Several may hold one stanza; calling a function again does nothing.
        """
        if not self._open:
            self._open.append(self._last)
        return _Hold(self, self._last).release

    def resume(self) -> None:
        """The peer knows of `h`, and sends what is behind it again, before all else (§5)."""
        again: dict[Hashable, deque[_Received]] = defaultdict(deque)
        named: dict[Hashable, list[_Received]] = defaultdict(list)
        for received in self._open:
            (named if received.named else again)[received.key].append(received)
        self._know(named)
        for key, others in self._again.items():  # the last resumption did not come so far
            again[key].extend(others)
        self._again = again
        self.received -= len(self._open)
        self._open.clear()

    def _know(self, named: dict[Hashable, list[_Received]]) -> None:
        """Know those that are to come again, and the latest of those before as far as there is room."""
        before, self._named = self._named, OrderedDict()
        room = max(0, MAX_NAMED - sum(map(len, named.values())))
        for key, others in reversed(before.items()):
            kept = others[:room]
            room -= len(kept)
            if kept:
                self._named[key] = kept
                self._named.move_to_end(key, last=False)
        for key, same in named.items():
            self._named[key] = [*same, *self._named.pop(key, ())]

    def _before(self, key: Hashable, named: bool) -> _Received | None:
        """Return what is received again; None: it is something new, and what has no name is not sent behind that."""
        if named and (others := self._named.get(key)):
            before = others.pop(0)
            if not others:
                del self._named[key]
            return before
        same = self._again.get(key)
        if same:
            before = same.popleft()
            if not same:
                del self._again[key]
            return before
        self._again = {}
        return None

    def _released(self) -> None:
        if len(self._open) == 1 and not self._open[0].holds:  # mostly so
            self._open.clear()
            self._progress()
            return
        done = 0
        while done < len(self._open) and not self._open[done].holds:
            done += 1
        del self._open[:done]
        if done:
            self._progress()


class _Received:
    """A stanza that perhaps does not count as handled."""

    __slots__ = ("holds", "key", "mark", "named")

    def __init__(self, key: Hashable, named: bool = False, mark: Mark | None = None) -> None:
        self.key = key
        self.named = named
        self.mark = mark
        self.holds = 0


class _Hold:
    __slots__ = ("_handled", "_received")

    def __init__(self, handled: Handled, received: _Received) -> None:
        self._handled = handled
        self._received: _Received | None = received
        received.holds += 1

    def release(self) -> None:
        received, self._received = self._received, None
        if received is not None:
            received.holds -= 1
            self._handled._released()
