"""Outside rooms nobody can tell the proxy from the server.

The same conversation is held twice, directly and through the proxy, and what every client got is compared, byte for
byte. Evened out before: account names, and the ids and times that servers make.
"""

import re
from functools import partial

from twisted.trial import unittest

from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client
from tests.integration.conversation import ODD_CONTENTS, steps
from tests.integration.prosody import Prosody
from tests.integration.servers import Account

# Longest name first: {alice/phone} before {alice}.
DEVICES = ("alice/phone", "alice/laptop", "bob/desk")
OWN_ID = r"(?!t-(?:[a-z]?\d+|item|q)['\"])"  # to the end: Prosody's ids are of 24 signs, and may begin so
EVENED = [
    (re.compile(rf"\b((?:query)?id|ver|stamp|node|ext|hash)=(['\"]){OWN_ID}[^'\"]*\2".encode()), rb"\1=\2-\2"),
    (re.compile(rb"<(first|last)( [^>]*)?>[^<]*</"), rb"<\1\2>-</"),
    (re.compile(rb"\bseconds=(['\"])\d+\1"), rb"seconds=\1-\1"),
    # What the proxy adds for the account's own clients: where to find the owner's commands.
    (re.compile(rb"<item [^>]*jid='[^']*/minimix\.[0-9a-f]{16}'[^>]*/>"), b""),
]
# The same, where the server has no push (XEP-0357): what it offers itself is to come through.
PUSH = (re.compile(rb"<feature var=(['\"])urn:xmpp:push:0\1/>"), b"")
START_TAG = re.compile(rb"<([^\s/>!?]+)((?:\s+[^\s=]+=(?:'[^']*'|\"[^\"]*\"))+)(\s*/?>)")
ATTRIBUTE = re.compile(rb"\s+[^\s=]+=(?:'[^']*'|\"[^\"]*\")")
# What the proxy does not carry yet, and takes out of the features (issue of their own).
NOT_CARRIED = {"urn:xmpp:sm:2", "urn:xmpp:sm:3", "urn:xmpp:features:compress", "http://jabber.org/features/compress"}

Log = list[tuple[str, str, list[bytes]]]


def _in_order(tag: "re.Match[bytes]") -> bytes:
    """A start tag with its attributes sorted: Prosody writes them in any order, the same stanza twice differently."""
    return b"<" + tag[1] + b"".join(sorted(ATTRIBUTE.findall(tag[2]))) + tag[3]


class Conversation:
    """One holding of it, with fresh accounts."""

    def __init__(self, case: IntegrationTestCase, direct: bool) -> None:
        self.case, self.direct = case, direct
        self.clients: dict[str, Client] = {}
        self.names: dict[str, str] = {}

    async def hold(self) -> Log:
        """Returns, for each step and device, what it got by the end of the step."""
        await self._log_in()
        log = [("log in", name, self._taken(name)) for name in DEVICES]
        for step in steps(self.case.server.domain):
            self.clients[step.sender].send(self._fill(step.stanzas))
            await self._settle()
            log += [(step.name, name, self._taken(name)) for name in DEVICES]
        return log

    async def _log_in(self) -> None:
        accounts: dict[str, Account] = {}
        for device in DEVICES:
            name, resource = device.split("/")
            if name not in accounts:
                accounts[name] = await self.case.account(name)
                self.names[name] = accounts[name].jid
            self.names[device] = f"{accounts[name].jid}/{resource}"
            direct = self.direct or name == "bob"
            self.clients[device] = await self.case.client(accounts[name], resource, direct=direct)
            await self._settle()

    def _fill(self, text: str) -> str:
        for name, jid in self.names.items():
            text = text.replace("{" + name + "}", jid)
        return text

    async def _settle(self) -> None:
        """What one client sends may make the server send to another: each in turn, and once more."""
        for _round in range(2):
            for client in self.clients.values():
                await client.barrier()

    def _taken(self, name: str) -> list[bytes]:
        """What came since the last time. Several stanzas of one step may come in any order: servers are concurrent."""
        client = self.clients[name]
        stanzas, client.inbox = client.inbox, []
        return sorted(self._evened(stanza.raw) for stanza in stanzas)

    def _evened(self, raw: bytes) -> bytes:
        if self.case.kind is Prosody:
            raw = START_TAG.sub(_in_order, raw)
        for name in ("alice", "bob"):
            raw = raw.replace(self.names[name].split("@")[0].encode(), name.encode())
        added = [PUSH] if self.case.kind is Prosody and not self.direct else []
        for pattern, replacement in EVENED + added:
            raw = pattern.sub(replacement, raw)
        return raw


class EveningTests(unittest.SynchronousTestCase):
    def evened(self, raw: bytes) -> bytes:
        for pattern, replacement in EVENED:
            raw = pattern.sub(replacement, raw)
        return raw

    def test_ids(self) -> None:
        for made in (b"t-4X5xRAZxbs8-AipATDFLUW6l", b"t-", b"x", b"t-1x"):
            self.assertEqual(self.evened(b"<iq id='%b'/>" % made), b"<iq id='-'/>")
        own = {found for step in steps("a.test") for found in re.findall(r"id='(t-[^']*)'", step.stanzas)}
        self.assertGreater(len(own), 40)
        for one in own:
            raw = f"<iq id='{one}'/>".encode()
            self.assertEqual(self.evened(raw), raw)


def has_headers(client: Client, count: int) -> bool:
    return len(client.headers) >= count


@on_both_servers
class TransparencyTests(IntegrationTestCase):
    timeout = 120

    async def test_the_same_conversation(self) -> None:
        directly = await Conversation(self, direct=True).hold()
        proxied = await Conversation(self, direct=False).hold()
        for one, other in zip(directly, proxied, strict=True):
            step, device, expected = one
            self.assertEqual(other[2], expected, f"{device}, step {step!r}: through the proxy, then directly")

    async def test_the_conversation_shows_something(self) -> None:
        """The test above would pass if nothing ever came."""
        log = await Conversation(self, direct=True).hold()
        got = {name: sum(len(stanzas) for _step, device, stanzas in log if device == name) for name in DEVICES}
        for name, number in got.items():
            self.assertGreater(number, 20, f"{name} got only {number} stanzas")
        bodies = b"".join(b"".join(stanzas) for _step, device, stanzas in log if device == "bob/desk")
        self.assertGreaterEqual(bodies.count(b"<message"), len(ODD_CONTENTS))

    async def test_features_after_login(self) -> None:
        account = await self.account()
        features = []
        for direct in (True, False):
            client = await self.connect(direct=direct)
            await client.open()
            await client.starttls()
            await client.open()
            await client.authenticate(account.username, account.password)
            features.append({child.toXml() for child in (await client.open()).element.elements()})
        directly, proxied = features
        carried = {xml for xml in directly if not any(uri in xml for uri in NOT_CARRIED)}
        self.assertEqual(carried | {"<sm xmlns='urn:xmpp:sm:3'/>"}, proxied, "stream management is the proxy's own")

    async def test_the_language_of_the_stream(self) -> None:
        """The xml:lang of the client's stream header is that of its stanzas for the other side."""
        alice, bob = await self.account("alice"), await self.client(await self.account("bob"), direct=True)
        seen = []
        for direct in (True, False):
            client = await self.connect(direct=direct)
            await client.open()
            await client.starttls()
            await client.open()
            await client.authenticate(alice.username, alice.password)
            count = len(client.headers)
            client.send(
                "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xml:lang='fr' version='1.0'"
                f" xmlns:stream='http://etherx.jabber.org/streams' to='{self.server.domain}'>"
            )
            await client.until(partial(has_headers, client, count + 1), "a header")
            await client.expect("<stream:features/>")
            await client.bind("phone")
            client.send(f"<message to='{bob.jid}' id='lang'><body>salut</body></message>")
            message = await bob.expect("<message id='lang'/>")
            seen.append(message.element.getAttribute(("http://www.w3.org/XML/1998/namespace", "lang")))
        self.assertEqual(seen[1], seen[0])
