"""Room scenarios that read as scripts: who sends, who receives. scripts/README.md describes the language."""

import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from tests.integration.cases import IntegrationTestCase
from tests.integration.client import Client
from tests.integration.servers import Account
from tests.integration.xmlcut import HEADER, Cutter, Received

DIRECTORY = Path(__file__).with_name("scripts")
NS_MUC = "http://jabber.org/protocol/muc"
NS_MUC_USER = NS_MUC + "#user"
# Whether a scenario says what servers do can be seen without the proxy: then every device is (direct).
ALL_DIRECT = bool(os.environ.get("MINIMIXPROXY_DIRECT"))


class ScriptError(Exception):
    """The script itself is wrong; the text names file and line."""


@dataclass
class Device:
    account: str
    resource: str
    direct: bool = False
    later: bool = False
    language: str = ""


@dataclass
class Step:
    line: int
    devices: list[str]
    action: str
    argument: str = ""
    stanzas: list[str] = field(default_factory=list)


@dataclass
class Script:
    path: Path
    title: str = ""
    devices: dict[str, Device] = field(default_factory=dict)
    servers: list[str] = field(default_factory=lambda: ["prosody", "ejabberd"])
    rooms: dict[str, Any] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)


# the longest first: "receives nothing" begins with "receives"
ACTIONS = (
    "sends",
    "receives in any order",
    "receives among others",
    "receives nothing",
    "receives",
    "forgets the rest",
    "connects",
    "answers with an error",
    "answers",
    "joins",
    "configures",
    "sets",
    "enables carbons",
    "drops",
    "closes",
    "loses its stream with",
    "loses its account stream",
)
WITH_STANZAS = {"sends", "receives", "receives in any order", "receives among others", "answers with an error"}
WITH_OR_WITHOUT = {"answers"}


def read(path: Path) -> Script:
    """Parse one script. Raises ScriptError."""
    script = Script(path)
    block: list[str] | None = None
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        bare = line.split(" # ")[0].strip() if not line.startswith("#") else ""
        if line[:1].isspace() and line.strip():
            if block is None:
                raise ScriptError(f"{path.name}:{number}: nobody sends or receives this")
            block.append(line)
        elif bare:
            try:
                block = _read_line(script, number, bare)
            except ValueError as error:
                raise ScriptError(f"{path.name}:{number}: {error}") from error
        if block is not None and script.steps:
            script.steps[-1].stanzas = block
    for step in script.steps:
        step.stanzas = cut("\n".join(step.stanzas))
        if step.action not in WITH_OR_WITHOUT and bool(step.stanzas) != (step.action in WITH_STANZAS):
            raise ScriptError(f"{path.name}:{step.line}: {step.action!r} needs stanzas, indented, or must not have any")
    return script


def _read_line(script: Script, number: int, line: str) -> list[str] | None:
    """Take in one unindented line; returns the list for the stanzas under it, if there may be any."""
    key, colon, value = line.partition(":")
    if not script.title:
        script.title = line
    elif colon and key in ("devices", "servers", "rooms"):
        _read_header(script, key, value.strip())
    else:
        script.steps.append(_read_step(script, number, line.removesuffix(":")))
        return script.steps[-1].stanzas
    return None


def _read_header(script: Script, key: str, value: str) -> None:
    if key == "servers":
        script.servers = [server.strip() for server in value.split(",")]
    elif key == "rooms":
        script.rooms = {name.strip(): _value(text.strip()) for name, text in _pairs(value)}
    else:
        for part in value.split(","):
            name, *notes = re.findall(r"[\w./-]+|\(\w+\)", part)
            account, slash, resource = name.partition("/")
            languages = [note.strip("()") for note in notes if note not in ("(direct)", "(later)")]
            if not slash or len(languages) > 1:
                raise ValueError(f'a device is "alice/phone", perhaps with "(direct)", "(later)", "(de)", not {part!r}')
            language = "".join(languages)
            script.devices[name] = Device(account, resource, "(direct)" in notes, "(later)" in notes, language)


def _pairs(text: str) -> list[tuple[str, str]]:
    """`a = 1, b = 2` as pairs."""
    return [(name, value) for name, _, value in (part.strip().partition("=") for part in text.split(","))]


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _read_step(script: Script, number: int, line: str) -> Step:
    # "alice/phone, bob/desk receive nothing" reads better without the s
    names = re.match(r"[\w.-]+/[\w.-]+(?:, *[\w.-]+/[\w.-]+)*", line)
    if names is None:
        raise ValueError(f"a step begins with a device, not {line!r}")
    devices = [name.strip() for name in names[0].split(",")]
    if unknown := [name for name in devices if name not in script.devices]:
        raise ValueError(f"unknown device {unknown[0]}")
    rest = line[names.end() :].strip()
    for action in ACTIONS:
        for form in (action, re.sub(r"^(\w+)s\b", r"\1", action)):
            if rest == form or rest.startswith(form + " "):
                return Step(number, devices, action, rest[len(form) :].strip())
    raise ValueError(f"unknown action {rest!r}; known: {', '.join(ACTIONS)}")


def cut(text: str) -> list[str]:
    """The stanzas in a piece of text."""
    found: list[str] = []
    cutter = Cutter(lambda root, raw: None, lambda stanza: found.append(stanza.raw.decode()), lambda: None)
    cutter.feed(HEADER)
    cutter.feed(text.encode())
    return found


class Performance:
    """One script being run."""

    def __init__(self, case: IntegrationTestCase, script: Script) -> None:
        self.case = case
        self.script = script
        self.accounts: dict[str, Account] = {}
        self.clients: dict[str, Client] = {}
        self.asked: dict[str, Received] = {}  # by the device, the last IQ that it was expected to be asked
        self.names: dict[str, str] = {"server": case.server.domain, "muc": case.server.muc}
        self.proxy = case.own_proxy(rooms=script.rooms) if script.rooms and not ALL_DIRECT else None
        self._actions: dict[str, Callable[[str, Step], Awaitable[None]]] = {
            "sends": self._sends,
            "receives": self._receives,
            "receives in any order": self._receives_in_any_order,
            "receives among others": self._receives_among_others,
            "receives nothing": self._receives_nothing,
            "forgets the rest": self._forgets,
            "connects": self._connects,
            "answers": self._answers,
            "answers with an error": self._answers,
            "joins": self._joins,
            "configures": self._configures,
            "sets": self._sets,
            "enables carbons": self._enables_carbons,
            "drops": self._drops,
            "closes": self._closes,
            "loses its stream with": self._loses_stream,
            "loses its account stream": self._loses_account_stream,
        }

    async def run(self) -> None:
        for name, device in self.script.devices.items():
            if device.account not in self.accounts:
                account = await self.case.account(device.account)
                self.accounts[device.account] = account
                self.names[device.account] = account.jid
            self.names[name] = f"{self.accounts[device.account].jid}/{device.resource}"
        for name, device in self.script.devices.items():
            if not device.later:
                await self._connect(name)
        for step in self.script.steps:
            for name in step.devices:
                try:
                    await self._actions[step.action](name, step)
                except AssertionError as error:
                    where = f"{self.script.path.name}:{step.line}: {name} {step.action} {step.argument}"
                    raise AssertionError(f"{where}\n{error}") from None

    def fill(self, text: str) -> str:
        """Replace {room}, {alice}, {alice/phone}, {server}, {muc}. Rooms are made by being named: {room}, {room2}."""

        def value_of(name: str) -> str:
            if name not in self.names and name.startswith("room"):
                self.names[name] = self.case.room(name)
            if name.startswith("ROOM"):
                return value_of(name.lower()).upper()
            if name not in self.names and name.startswith("locking_room"):
                self.names[name] = self.case.room(name).replace("@conference.", "@locking.")
            return self.names[name]

        return re.sub(r"\{([^{}\s]+)\}", lambda match: value_of(match[1]), text)

    @property
    def rooms(self) -> list[str]:
        return [jid for name, jid in self.names.items() if name.startswith(("room", "locking_room"))]

    async def _connect(self, name: str) -> None:
        device = self.script.devices[name]
        account = self.accounts[device.account]
        direct = device.direct or ALL_DIRECT
        client = await self.case.client(
            account, device.resource, direct=direct, proxy=self.proxy, language=device.language
        )
        client.ignore = self._not_of_a_room
        client.inbox.clear()
        self.clients[name] = client

    def _not_of_a_room(self, stanza: Received) -> bool:
        """No part of a scenario: presence and PEP of contacts and own devices, and ejabberd's presence of the room."""
        sender = stanza.get("from") or ""
        if stanza.element.name == "presence":
            room, slash, _nick = sender.partition("/")
            return room not in self.rooms or (not slash and stanza.get("type") != "error")
        return stanza.element.name == "message" and any(
            child.uri == "http://jabber.org/protocol/pubsub#event" for child in stanza.element.elements()
        )

    async def _settle(self) -> None:
        """Wait until everything sent so far has reached everyone."""
        for _round in range(2):  # what the first round flushes may still be forwarded
            for client in self.clients.values():
                if client.lost is None:
                    await client.barrier(*self.rooms)

    async def _sends(self, name: str, step: Step) -> None:
        for stanza in step.stanzas:
            self.clients[name].send(self.fill(stanza))

    async def _receives(self, name: str, step: Step) -> None:
        for stanza in step.stanzas:
            self._note(name, await self.clients[name].expect_next(self.fill(stanza)))

    def _note(self, name: str, stanza: Received) -> None:
        if stanza.element.name == "iq" and stanza.get("type") in ("get", "set"):
            self.asked[name] = stanza

    async def _receives_in_any_order(self, name: str, step: Step) -> None:
        """The next so many stanzas are these."""
        client = self.clients[name]
        await client.until(lambda: len(client.inbox) >= len(step.stanzas), f"{len(step.stanzas)} stanzas")
        taken, client.inbox = client.inbox[: len(step.stanzas)], client.inbox[len(step.stanzas) :]
        client.inbox = taken + client.inbox
        for stanza in step.stanzas:
            pattern = self.fill(stanza)
            found = await client.expect(pattern, timeout=0.0)
            if found not in taken:
                raise AssertionError(f"{pattern} came too late\n{client.transcript()}")
            self._note(name, found)

    async def _receives_among_others(self, name: str, step: Step) -> None:
        for stanza in step.stanzas:
            self._note(name, await self.clients[name].expect(self.fill(stanza)))

    async def _receives_nothing(self, name: str, step: Step) -> None:
        await self._settle()
        self.clients[name].nothing()

    async def _forgets(self, name: str, step: Step) -> None:
        await self._settle()
        self.clients[name].inbox.clear()

    async def _connects(self, name: str, step: Step) -> None:
        await self._connect(name)

    async def _answers(self, name: str, step: Step) -> None:
        """Answer the IQ that this device received last by a step: more may have come. The stanzas are what it says."""
        asked = self.asked[name]
        kind = "result" if step.action == "answers" else "error"
        to, identity = quoteattr(asked.get("from") or ""), quoteattr(asked.get("id") or "")
        self.clients[name].send(f"<iq type='{kind}' to={to} id={identity}>{self.fill(''.join(step.stanzas))}</iq>")

    async def _joins(self, name: str, step: Step) -> None:
        """`alice/phone joins {room} as alice`: join, wait for the subject, forget both."""
        room, nick = self.fill(step.argument).split(" as ")
        client = self.clients[name]
        client.send(f"<presence to={quoteattr(f'{room}/{nick}')}><x xmlns='{NS_MUC}'/></presence>")
        own = f"<presence><x xmlns='{NS_MUC_USER}'><status code='110'/></x></presence>"
        await client.expect(own)
        await client.expect("<message type='groupchat'><subject/></message>")
        client.inbox.clear()

    async def _configures(self, name: str, step: Step) -> None:
        """`bob/desk configures {room} with moderatedroom=1, whois=anyone`: submits that, and waits for the result."""
        room, options = self.fill(step.argument).split(" with ")
        fields = "".join(
            f"<field var='muc#roomconfig_{option}'><value>{value}</value></field>" for option, value in _pairs(options)
        )
        form = (
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>"
            f"<value>{NS_MUC}#roomconfig</value></field>{fields}</x>"
        )
        await self._succeeds(name, room, f"<query xmlns='{NS_MUC}#owner'>{form}</query>")

    async def _sets(self, name: str, step: Step) -> None:
        """`bob/desk sets {alice} as member in {room}`: changes the affiliation, and waits for the result."""
        jid, affiliation, room = re.split(" as | in ", self.fill(step.argument))
        item = f"<item jid='{jid}' affiliation='{affiliation}'/>"
        await self._succeeds(name, room, f"<query xmlns='{NS_MUC}#admin'>{item}</query>")

    async def _enables_carbons(self, name: str, step: Step) -> None:
        account = self.accounts[self.script.devices[name].account]
        await self._succeeds(name, account.jid, "<enable xmlns='urn:xmpp:carbons:2'/>")

    async def _succeeds(self, name: str, to: str, payload: str) -> None:
        reply = await self.clients[name].iq("set", to, payload)
        if reply.get("type") != "result":
            raise AssertionError(f"{payload} was refused: {reply}")

    async def _drops(self, name: str, step: Step) -> None:
        self.clients[name].drop()
        await self.clients[name].until_lost()

    async def _closes(self, name: str, step: Step) -> None:
        await self.clients[name].close()

    async def _loses_stream(self, name: str, step: Step) -> None:
        await self.clients[name].expect_close(step.argument)

    async def _loses_account_stream(self, name: str, step: Step) -> None:
        """Another client binds the resource of the account stream; servers then end the older stream."""
        account = self.accounts[self.script.devices[name].account]
        process = (self.proxy or self.case.proxy).process
        line = await process.says(rf"account stream open: {re.escape(account.jid)}/")
        other = await self.case.client(account, line.rpartition("/")[2].strip(), direct=True, online=False)
        other.drop()
        await other.until_lost()
