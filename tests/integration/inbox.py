"""What came to a scripted client, byte for byte, and waiting for more; on one connection or on many."""

import itertools
from collections.abc import Callable
from itertools import islice

from twisted.internet import reactor
from twisted.internet.defer import Deferred, TimeoutError
from twisted.python.failure import Failure
from twisted.words.protocols.jabber.jid import internJID

from tests.integration.patterns import matches
from tests.integration.xmlcut import Received
from tests.patience import patiently

TIMEOUT = 10.0

Pattern = str | Callable[[Received], bool]


def fits(pattern: Pattern, stanza: Received) -> bool:
    return matches(pattern, stanza.element) if isinstance(pattern, str) else bool(pattern(stanza))


class Inbox:
    """`received` has every stanza so far, `inbox` those that nothing was expected to be yet."""

    jid = ""  # full JID, after binding

    def __init__(self, domain: str, label: str) -> None:
        self.domain = domain
        self.label = label
        self.received: list[Received] = []
        self.inbox: list[Received] = []
        self.ignore: Callable[[Received], bool] = lambda stanza: False
        self.lost: Failure | None = None  # for good
        self._bound_at = 0
        self._whole: list[str] = []  # both directions, for error messages
        self._arrivals = 0  # so many ever went into the inbox
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []
        self._ids = itertools.count(1)

    def send(self, data: str | bytes) -> None:
        """Send one stanza, or what else a stream has."""
        raise NotImplementedError

    # what came

    def _came(self, stanza: Received) -> None:
        self._note(f"< {stanza}")
        self.received.append(stanza)
        if not self.ignore(stanza):
            self.inbox.append(stanza)
            self._arrivals += 1
        self._wake()

    def _note(self, line: str) -> None:
        self._whole.append(line if len(line) < 1000 else f"{line[:1000]}… ({len(line)} characters)")

    def _wake(self) -> None:
        """Something happened: whoever has waited for it goes on at once."""
        for condition, deferred in list(self._waiting):
            if not deferred.called:
                self._look(condition, deferred)

    def _look(self, condition: Callable[[], bool], deferred: Deferred[None]) -> None:
        try:
            over = self.lost is not None or condition()
        except Exception:  # noqa: BLE001 (whoever waits is told)
            deferred.errback(Failure())
            return
        if over:
            deferred.callback(None)

    async def _something(self, condition: Callable[[], bool], what: str, timeout: float) -> None:
        """Wait for the condition, or for the end of the connection."""
        deferred: Deferred[None] = Deferred()
        entry = (condition, deferred)
        self._waiting.append(entry)
        try:
            await deferred.addTimeout(timeout, reactor)
        except TimeoutError:
            raise AssertionError(f"{self.label} waited in vain for {what}\n{self.transcript()}") from None
        finally:
            self._waiting.remove(entry)

    async def until(self, condition: Callable[[], bool], what: str, timeout: float = TIMEOUT) -> None:
        """Wait for a condition on this client, looked at whenever something happens."""
        end = reactor.seconds() + patiently(timeout)
        while not condition():
            if self.lost is not None:
                raise AssertionError(f"{self.label} lost its connection before {what}\n{self.transcript()}")
            await self._something(condition, what, max(0.0, end - reactor.seconds()))

    def transcript(self) -> str:
        """Everything sent and received, and what nobody asked for yet."""
        inbox = "\n".join(f"    {stanza}" for stanza in self.inbox)
        begin = self._bound_at if self.jid else 0
        lines = "\n".join(f"    {line}" for line in self._whole[begin:][-200:])
        left = inbox or "    nothing"
        return f"  {self.label} {self.jid}, whole stream after binding:\n{lines}\n  not yet expected:\n{left}"

    # expecting

    async def expect(self, pattern: Pattern, timeout: float = TIMEOUT) -> Received:
        """The first stanza in the inbox that fits, now or soon; others stay there."""
        return await self._expect_after(0, pattern, timeout)

    async def _expect_after(self, seen: int, pattern: Pattern, timeout: float) -> Received:
        """As above, not looking at what was among the first `seen` that went into the inbox. Each is looked at once."""
        found: list[Received] = []

        def find() -> bool:
            nonlocal seen
            news, seen = self._arrivals - seen, self._arrivals
            if news and not found:
                found.extend(islice((stanza for stanza in self.inbox[-news:] if fits(pattern, stanza)), 1))
            return bool(found)

        await self.until(find, f"{pattern}", timeout)
        self.inbox.remove(found[0])
        return found[0]

    async def expect_next(self, pattern: Pattern, timeout: float = TIMEOUT) -> Received:
        """The next stanza, which must fit."""
        await self.until(lambda: bool(self.inbox), f"{pattern}", timeout)
        stanza = self.inbox.pop(0)
        if not fits(pattern, stanza):
            raise AssertionError(f"{self.label} expected\n    {pattern}\nbut got\n    {stanza}\n{self.transcript()}")
        return stanza

    def nothing(self) -> None:
        """Nothing is left in the inbox. Call barrier() before, so that nothing is still under way."""
        if self.inbox:
            raise AssertionError(f"{self.label} got what it should not:\n{self.transcript()}")

    async def barrier(self, *rooms: str) -> None:
        """When this returns, all that the server, and then the rooms, had sent before has arrived.

        A room's answer takes the way of the room's messages; it must be one that this client has joined.
        """
        count = len(self._whole)
        for jid in (self.domain, *rooms):
            await self.iq("get", jid, "<ping xmlns='urn:xmpp:ping'/>", purpose="barrier-")  # an error is an answer, too
        self._whole[count:] = [line for line in self._whole[count:] if "-barrier-" not in line]

    # asking

    def new_id(self, purpose: str = "") -> str:
        # Short: ejabberd reads TLS in pieces of 1 KiB and, with Debian 12's expat, may wait in a longer tag.
        return f"{self.label[:40]}-{purpose}{next(self._ids)}"

    async def iq(
        self, kind: str, to: str | None, payload: str, timeout: float = TIMEOUT, purpose: str = ""
    ) -> Received:
        """Send an IQ and return its reply, result or error. `purpose` becomes part of its id."""
        identity = self.new_id(purpose)
        address = f" to={quoted(to)}" if to else ""
        written, before = identity.encode(), self._arrivals

        def answers(stanza: Received) -> bool:
            if not (written in stanza.raw and stanza.element.name == "iq" and stanza.get("id") == identity):
                return False
            return stanza.get("type") in ("result", "error")

        self.send(f"<iq type='{kind}' id='{identity}'{address}>{payload}</iq>")
        return await self._expect_after(before, answers, timeout)

    async def online(self) -> None:
        """Initial presence, as an ordinary client sends it; waits for its echo."""
        self.send("<presence/>")
        await self.expect(lambda stanza: stanza.element.name == "presence" and stanza.get("from") == self.jid)

    @property
    def bare(self) -> str:
        return str(internJID(self.jid).userhost())


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def quoted(text: str) -> str:
    return "'" + escaped(text).replace("'", "&apos;") + "'"
