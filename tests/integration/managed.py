"""A device with stream management (XEP-0198): it counts all, believes no number that cannot be; its own are true."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from tests.integration.client import TIMEOUT, Client
from tests.integration.inbox import Inbox, quoted
from tests.integration.network import LOCAL
from tests.integration.servers import Account
from tests.integration.xmlcut import Received
from tests.patience import patiently

NS_SM = "urn:xmpp:sm:3"
MODULUS = 2**32
COUNTED = ("iq", "message", "presence")


class Enabled(NamedTuple):
    """What `<enabled/>` says; `id` "": the stream cannot be resumed."""

    id: str
    max: int | None
    location: str


class Line(Client):
    """One connection of a device, which takes the stanzas that come on it while it is the device's own."""

    def __init__(self, device: Device, label: str) -> None:
        super().__init__(device.domain, label)
        self._device = device

    def _arrived(self, stanza: Received) -> None:
        if not self._device.takes(self, stanza):
            super()._arrived(stanza)
        self._device.stirs()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._device.line_lost(self)


class Device(Inbox):
    """A session that outlives its connections. come() first; what a test expects of stanzas, it expects here.

    Of what is no stanza (`<failed/>`, stream errors) the connection has an inbox: `line`, and `lines` for earlier ones.
    A number of the peer's that cannot be is a fault, which every wait raises; see also check().
    """

    line: Line

    def __init__(self, account: Account, port: int, resource: str = "phone", label: str = "") -> None:
        """`port`: on this machine; set `address` for another one."""
        super().__init__(account.domain, label or f"{account.username}/{resource}")
        self.account, self.port, self.resource = account, port, resource
        self.address = LOCAL.address
        self.lines: list[Line] = []
        self.out: deque[str] = deque()  # sent, not acknowledged
        self.acknowledged = 0  # of the stanzas sent on this stream
        self.handled = 0  # of the stanzas that came on this stream
        self.answers = True  # tell the peer what was handled when it asks
        self.asked = 0  # so often did the peer ask
        self.told = 0  # so often did it tell what it has handled
        self.managed = False  # on this stream: what is sent goes out at once
        self._counting = False  # what comes
        self.resumable: Enabled
        self.resumptions = 0
        self.faults: list[str] = []
        self.on_stanza: Callable[[Device], None] = lambda device: None

    @property
    def sent(self) -> int:
        return self.acknowledged + len(self.out)

    # connecting

    async def connect(self, *, before: str = "", authenticate: bool = True) -> Line:
        """A new connection, logged in as far as the features after it; what was before is left as it is."""
        line = Line(self, f"{self.label}, connection {len(self.lines) + 1}")
        endpoint = TCP4ClientEndpoint(reactor, self.address, self.port, timeout=patiently(TIMEOUT))
        await connectProtocol(endpoint, line)
        self.lines.append(line)
        if before:
            line.send(before)
        if authenticate:
            await line.authenticated(self.account)
        return line

    async def come(self, *, online: bool = True, resume: str = " resume='true'") -> Enabled:
        """Log in anew, and enable stream management. What is not acknowledged of an earlier stream is returned by
        `give_up`; call that before."""
        return await self.bind(await self.connect(), online=online, resume=resume)

    async def bind(self, line: Line, *, online: bool = True, resume: str = " resume='true'") -> Enabled:
        """Bind on a connection that has logged in, and enable stream management."""
        self.jid = await line.bind(self.resource)
        self.line = line
        self.out.clear()
        self.acknowledged = self.handled = 0
        line.send(f"<enable xmlns='{NS_SM}'{resume}/>")
        self.managed, self._counting = True, False  # the peer counts from here on, and we from its answer on (§4)
        enabled = await line.expect(f"<enabled xmlns='{NS_SM}'/>")
        maximum = enabled.get("max")
        resumable = enabled.get("resume") in ("true", "1")
        identity = (enabled.get("id") or "") if resumable else ""
        self.resumable = Enabled(identity, int(maximum) if maximum else None, enabled.get("location") or "")
        if online:
            await self.online()
        return self.resumable

    async def resume(self, line: Line | None = None) -> bool:
        """Go on with the stream on a new connection; what was not acknowledged is sent again.

        False if the server cannot: `line` has logged in then, and `give_up` has what was not handled.
        """
        line = line or await self.connect()
        line.send(f"<resume xmlns='{NS_SM}' previd={quoted(self.resumable.id)} h='{self.handled}'/>")
        self.line, self.managed = line, False  # until it answers; stanzas may come in one piece with that
        answer = await line.expect(lambda one: one.element.uri == NS_SM and one.element.name in ("resumed", "failed"))
        self.check()
        return bool(answer.element.name == "resumed")

    def _resumed(self, answer: Received) -> None:
        if answer.get("previd") != self.resumable.id:
            self.fault(f"resumed {answer}")
        self._acknowledge(answer)
        self.managed = self._counting = True
        self.resumptions += 1
        for stanza in self.out:
            self.line.send(stanza)

    def give_up(self) -> list[str]:
        """What was sent and not acknowledged, which nobody may count on any more."""
        left = list(self.out)
        self.out.clear()
        return left

    # what lines tell

    def takes(self, line: Line, stanza: Received) -> bool:
        """Something came on that line; whether it was for the device."""
        if line is not getattr(self, "line", None):
            return False
        name = re.match(rb"<([^\s/>]+)", stanza.raw)
        tag = name[1].decode() if name else ""
        if not self.managed:
            if tag == "resumed" and stanza.element.uri == NS_SM:
                self._resumed(stanza)
            elif tag == "failed" and stanza.get("h") is not None:
                self._acknowledge(stanza)
            return False
        if tag in COUNTED:
            self.handled = (self.handled + int(self._counting)) % MODULUS
            self._came(stanza)
            self.on_stanza(self)
            return True
        if stanza.element.uri != NS_SM or tag not in ("r", "a"):
            self._counting = self._counting or (stanza.element.uri == NS_SM and tag == "enabled")
            return False
        if tag == "a":
            self.told += 1
            self._acknowledge(stanza)
        else:
            self.asked += 1
            if self.answers:
                self.acknowledge()
        return True

    def line_lost(self, line: Line) -> None:
        self._note(f"{line.label} is lost")
        self._wake()

    def stirs(self) -> None:
        self._wake()

    def _acknowledge(self, stanza: Received) -> None:
        """The peer says what it has handled."""
        h = stanza.get("h") or ""
        if not re.fullmatch(r"\d{1,10}", h) or int(h) >= MODULUS:
            return self.fault(f"no number: {stanza}")
        news = (int(h) - self.acknowledged) % MODULUS
        if news > len(self.out):
            return self.fault(f"{stanza} when {self.acknowledged} were acknowledged and {self.sent} sent")
        for _ in range(news):
            self.out.popleft()
        self.acknowledged += news
        return None

    def fault(self, what: str) -> None:
        """Every wait for this device fails from now on, and says so."""
        self.faults.append(what)
        self._note(f"FAULT: {what}")
        self._wake()

    # sending

    def send(self, data: str | bytes) -> None:
        """Send one stanza, now or when the device is connected again."""
        stanza = data if isinstance(data, str) else data.decode()
        self._note(f"> {stanza}")
        self.out.append(stanza)
        if self.connected:
            self.line.send(stanza)

    def acknowledge(self) -> None:
        """Tell what was handled."""
        self.line.send(f"<a xmlns='{NS_SM}' h='{self.handled}'/>")

    def ask(self) -> None:
        """Ask what was handled."""
        self.line.send(f"<r xmlns='{NS_SM}'/>")

    async def until_acknowledged(self) -> None:
        """All that was sent so far is handled. Who is asked too early for that has to tell it later by itself."""
        goal = self.sent
        await self.barrier()
        self.ask()
        await self.until(lambda: self.acknowledged >= goal, "an acknowledgement")

    # waiting

    async def until(self, condition: Callable[[], bool], what: str, timeout: float = TIMEOUT) -> None:
        await super().until(lambda: bool(self.faults) or condition(), what, timeout)
        self.check()

    def check(self) -> None:
        """Nothing came that cannot be."""
        if self.faults:
            raise AssertionError("\n".join(self.faults) + f"\n{self.transcript()}")

    @property
    def connected(self) -> bool:
        """What is sent goes out at once."""
        return self.managed and self.line.lost is None

    # the end

    async def close(self) -> None:
        """End the stream: nothing is left to resume."""
        await self.line.close()

    def drop(self) -> None:
        """The connection is gone; the other side notices."""
        self.line.drop()

    def drop_all(self) -> None:
        for line in self.lines:
            line.drop()
