"""Those with stream management (XEP-0198), who write to each other one to one: they resume, or begin anew."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from twisted.internet import reactor
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectError
from twisted.words.protocols.jabber.error import StreamError

from tests.integration.faults import NS_MAM, NS_SID, pause
from tests.integration.inbox import TIMEOUT
from tests.integration.managed import Device
from tests.integration.xmlcut import Received

LOOK = 0.2  # seconds between looks at what has changed
ASK = 1.0  # seconds between questions what was handled
QUIET = 3.0  # seconds of silence before a device asks; and for an answer, before it gives its connection up
CALM = 100.0  # seconds for an answer when nothing goes wrong any more: a silent connection may have to be found out
COMING = 30.0  # seconds to connect, log in and resume or begin anew: the connection may fall silent meanwhile
FAILURES = (AssertionError, ConnectError, StreamError, TimeoutError)  # of a connection or a login

LETTER = re.compile(rb"<body[^>]*>(letter \d+ of [^<]*)</body>")
RESULT = re.compile(rb"<result [^>]*\bid='([^']+)'.*<body[^>]*>(letter \d+ of [^<]*)</body>", re.DOTALL)


class Place(NamedTuple):
    """Where clients connect to."""

    address: str
    port: int


class Handset(Device):
    """A device whose waits end when its connection does."""

    async def until(self, condition: Callable[[], bool], what: str, timeout: float = TIMEOUT) -> None:
        await super().until(lambda: self.line.lost is not None or condition(), what, timeout)
        if not condition():
            raise AssertionError(f"{self.label} lost its connection before {what}")

    @property
    def reads(self) -> int:
        """By now, on this connection."""
        return self.line.reads


class Writer:
    """Writes letters to `peer`. What is not acknowledged when its stream cannot be resumed it sends again.

    Letters that came while it had no stream it reads in its archive (XEP-0313), as clients do.
    """

    peer: Writer

    def __init__(self, name: str, device: Handset, dice: Random) -> None:
        self.name, self.device, self.dice = name, device, dice
        self.client = device
        self.over = self.ready = False
        self.away = 0.0  # seconds to stay away, once it has gone
        self.connections = self.failures = 0
        self.anew = 0  # so often the stream could not be resumed
        self.written: list[str] = []
        self.heard: list[str] = []  # each once
        self.twice: Counter[str] = Counter()  # came once more, and nothing tells that it did
        self.again: set[str] = set()  # sent again, after a stream that could not be resumed
        self.told: set[str] = set()  # what an error came for
        self._bound = False
        # While there is no stream that lasts: the last id in the archive that was heard, and how many were heard.
        self._since: tuple[str, int] | None = ("", 0)
        self._last = ""
        self._left: list[str] = []  # stanzas to be sent when there is a stream again
        self._activity = (0, 0, 0)
        self._stirred = self._asked_at = 0.0  # when something came, and when it last asked for an acknowledgement
        device.ignore = self._comes

    @property
    def account(self) -> str:
        """The bare JID."""
        return self.device.account.jid

    # living

    async def live(self) -> None:
        """Until `over`."""
        while not self.over and not self.device.faults:
            try:
                await Deferred.fromCoroutine(self._come()).addTimeout(COMING, reactor)
                await self._stay()
            except FAILURES:
                self.failures += 1
            self.ready = False
            self.device.drop_all()
            wait, self.away = self.away or self.dice.uniform(0.1, 1.5), 0.0
            await pause(wait)

    async def _come(self) -> None:
        line = await self.device.connect()
        self.connections += 1
        if self._bound and not await self.device.resume(line):
            self._bound = False  # what is left of that stream is told once
            self._give_up()
        if not self._bound:
            await self._bind(line)
        if self._since is not None:
            await self._begin(*self._since)
        self._stirred = reactor.seconds()

    async def _bind(self, line: object) -> None:
        self._is_new()
        await self.device.bind(line, online=False)  # type: ignore[arg-type]
        self._bound = True

    def _give_up(self) -> None:
        """The stream is over: nobody has promised anything about what is not acknowledged."""
        self.anew += 1
        left = [stanza for stanza in self.device.give_up() if stanza.startswith("<message")]
        self.again.update(*(re.findall(r"<body>(.*?)</body>", stanza) for stanza in left))
        self._left = left + self._left
        self._since = self._since or (self._last, len(self.heard))

    async def _begin(self, last: str, count: int) -> None:
        """On a new stream: first what was missed, then what was left unsaid."""
        await self.device.online()
        await self._catch_up(last, count)
        self._since = None
        self._send_left()

    async def _stay(self) -> None:
        while not self.over and self.device.connected and not self.device.faults:
            self._send_left()
            self._look_after()
            if self.away:
                await self.go()
                return
            self._ask()
            await pause(LOOK)

    def _ask(self) -> None:
        """Have what was sent acknowledged; a connection on which nothing comes is given up if nobody answers."""
        device, now = self.device, reactor.seconds()
        activity = (len(device.received), device.told, device.asked)
        if activity != self._activity:
            self._activity, self._stirred = activity, now
        if device.out and now > self._asked_at + ASK:
            self._asked_at = now
            device.ask()
        elif now > self._stirred + QUIET and not device.out:
            device.ask()
        if now > self._stirred + 2 * QUIET:
            device.drop()

    async def go(self) -> None:
        """Leave without a word."""
        self.device.drop()

    def drop(self) -> None:
        self.device.drop_all()

    async def quit(self) -> None:
        """For good."""
        self.over = True
        self.drop()

    async def proxy_gone(self, unmarked: Callable[[], set[str]]) -> None:
        """It finds that out by itself."""

    async def caught_up(self) -> None:
        """Wait until nothing is under way to this one, and nothing that it has sent is unacknowledged."""
        device = self.device
        if not self._bound:
            raise AssertionError(f"{self.name} never logged in")
        await device.iq("get", device.domain, "<ping xmlns='urn:xmpp:ping'/>", CALM)
        goal = device.sent
        device.ask()
        await device.until(lambda: device.acknowledged >= goal, "an acknowledgement", CALM)

    # for those who do more

    def _is_new(self) -> None:
        """A new stream begins."""

    def _look_after(self) -> None:
        """The stream is there."""
        self.ready = not self._left

    def _may_send(self, stanza: str) -> bool:
        """Whether what is left can be sent now."""
        return True

    def _other(self, stanza: Received) -> bool:
        """Take what is no letter; whether nobody waits for it."""
        return False

    # letters

    def write(self, number: int) -> None:
        """Write a letter: it is sent as soon as there is a stream that lasts, whether the connection stands or not."""
        body = f"letter {number} of {self.name}"
        self.written.append(body)
        stanza = f"<message to='{self.peer.account}' type='chat' id='letter-{number}'><body>{body}</body></message>"
        if self._since is None:
            self.device.send(stanza)
        else:
            self._left.append(stanza)

    def _send_left(self) -> None:
        left, self._left = self._left, []
        for stanza in left:
            if self._may_send(stanza):
                self.device.send(stanza)
            else:
                self._left.append(stanza)

    def _comes(self, stanza: Received) -> bool:
        found = LETTER.search(stanza.raw) if stanza.element.name == "message" else None
        if b"<result " in stanza.raw:
            return found is not None
        if stanza.get("type") == "error" and (stanza.get("id") or "").startswith("letter-"):
            number = (stanza.get("id") or "").partition("-")[2]
            self.told.add(f"letter {number} of {self.name}")
            return True
        if found is None:
            return self._other(stanza)
        body = found[1].decode()
        if not body.endswith(f" of {self.peer.name}"):
            return True  # for another device of the account
        self._hear(body, stanza)
        return True

    def _hear(self, body: str, stanza: Received) -> None:
        if body not in self.heard:
            self.heard.append(body)
        elif not (b"urn:xmpp:delay" in stanza.raw and self.anew):
            self.twice[body] += 1  # else told of the past, on a new stream: known by its id
        ids = stanza.element.elements(NS_SID, "stanza-id")
        self._last = next((one["id"] for one in ids if one.getAttribute("by") == self.account), self._last)

    async def _catch_up(self, last: str, count: int) -> None:
        """Read in the archive what came behind the letter of that id, the last of `count` heard."""
        found: dict[str, str] = {}  # by their ids: ejabberd's archive may have some twice after kill -9
        complete = False
        while not complete:
            after = f"<after>{last}</after>" if last else ""
            page = f"<set xmlns='http://jabber.org/protocol/rsm'><max>100</max>{after}</set>"
            before = len(self.device.received)
            answer = await self.device.iq("set", self.account, f"<query xmlns='{NS_MAM}'>{page}</query>")
            if answer.get("type") == "error":
                if not last:
                    raise AssertionError(f"{self.name} cannot read its archive: {answer}")
                last = ""  # the server has forgotten that one
                continue
            ids = re.findall(
                rb"<result [^>]*\bid='([^']+)'", b"".join(one.raw for one in self.device.received[before:])
            )
            for stanza in self.device.received[before:]:
                if result := RESULT.search(stanza.raw):
                    found[result[1].decode()] = result[2].decode()
            last = ids[-1].decode() if ids else last
            complete = b"complete='true'" in answer.raw or not ids
        self._last = last or self._last
        mine = f" of {self.peer.name}"
        known = set(self.heard[:count])
        bodies = list(dict.fromkeys(body for body in found.values() if body.endswith(mine) and body not in known))
        self.heard[count:] = bodies + [body for body in self.heard[count:] if body not in bodies]

    # the proof

    @property
    def waits_for(self) -> list[str]:
        """Letters to it that have not come, and of whose failing nobody was told."""
        heard = set(self.heard)
        return [body for body in self.peer.written if body not in heard and body not in self.peer.told]

    def wrong(self) -> list[str]:
        """What is lost of the letters to it, came twice, or out of order."""
        peer, heard = self.peer, self.heard
        known = set(heard)
        lost = self.waits_for
        twice = [body for body in self.twice if body not in peer.again]
        strange = known - set(peer.written)
        in_order = [body for body in peer.written if body in known]
        faults = [f"{self.name} did not get of {peer.name}: {', '.join(lost[:20])}"] if lost else []
        faults += [f"{self.name} got twice: {', '.join(twice[:20])}"] if twice else []
        faults += [f"{self.name} got what nobody wrote: {strange}"] if strange else []
        if in_order != [body for body in heard if body not in strange]:
            first = next(pair for pair in zip(in_order, heard, strict=False) if pair[0] != pair[1])
            faults.append(f"{self.name} got letters out of order: {first[1]} before {first[0]}")
        return faults + [f"{self.name}: {fault}" for fault in self.device.faults]
