"""Stanzas that are deep, large or otherwise absurd, from anybody: they cost nobody a stream or a room."""

import re
from functools import partial

from minimixproxy.wire.stanza import MAX_PAYLOADS
from minimixproxy.wire.trees import MAX_TAGS
from minimixproxy.xep.oversized import Sendable
from tests.integration.cases import IntegrationTestCase, on_both_servers
from tests.integration.client import Client
from tests.integration.prosody import Prosody
from tests.integration.proxied import ProxiedCase
from tests.integration.proxy import Proxy
from tests.integration.xmlcut import Received

NS_MUC = "http://jabber.org/protocol/muc"
JOIN = f"<x xmlns='{NS_MUC}'/>"
BROKEN = ("account stream lost", "is broken", "silent for")
LIMIT = 262144  # what servers take from a client, and the proxy too


def nested(depth: int) -> str:
    """Elements nested so deep, to stand in a stanza, which is one level more."""
    return "<a xmlns='urn:x:a'>" + "<a>" * (depth - 2) + "</a>" * (depth - 2) + "</a>"


DEPTHS = (300, 1000)
ODD = {
    "deep": nested(1000),
    # more than are read, each by its own bound; of still more, Prosody takes seconds for each stanza
    "many elements": "<x xmlns='urn:x:a'>" + "<a/>" * MAX_TAGS + "</x>",
    "many payloads": "<a xmlns='urn:x:a'/>" * (2 * MAX_PAYLOADS),
    "many attributes": "<a " + " ".join(f"a{number}=''" for number in range(20_000)) + "/>",
    "many prefixes": "<a " + " ".join(f"xmlns:p{number}='urn:{number}'" for number in range(5000)) + "/>",
    "many lines": "<a>" + "\n" * 200_000 + "</a>",
    "a brace in a namespace": "<a xmlns='urn:}x'/><b:a xmlns:b='}' b:c='}'/>",
    "no namespace": "<a xmlns=''><b/></a>",
    "odd namespaces": "<a xmlns='a &lt;&amp;&apos;b'/>",
}


class StanzaCase(IntegrationTestCase):
    """A room with an account behind the proxy and a hostile owner who is not; `stream` is the account stream's JID."""

    timeout = 240

    @property
    def odd(self) -> dict[str, str]:
        """What a room of this server relays: Prosody drops what is nested much more deeply."""
        return {**ODD, "deep": nested(120)} if self.kind is Prosody else ODD

    async def meet(self, proxy: Proxy | None = None, language: str = "") -> None:
        self.watched = proxy or self.proxy
        self._seen = len(self.watched.process.lines)
        self.room_jid = self.room()
        self.mallory = await self.client(await self.account("mallory"), direct=True)
        await self.joins(self.mallory, "mallory")
        self.alice = await self.account()
        self.phone = await self.client(self.alice, "phone", proxy=proxy, language=language)
        await self.joins(self.phone, "alice")
        shown = await self.mallory.expect(f"<presence from='{self.room_jid}/alice'/>")
        items = (item for x in shown.element.elements() for item in x.elements() if item.name == "item")
        self.stream = str(next(items)["jid"])
        self.laptop = await self.client(self.alice, "laptop", proxy=proxy)
        await self.joins(self.laptop, "alice")

    async def joins(self, client: Client, nick: str) -> None:
        client.send(f"<presence to='{self.room_jid}/{nick}'>{JOIN}</presence>")
        await client.expect(lambda stanza: b"<subject" in stanza.raw)

    def says(self, client: Client, content: str, identity: str) -> None:
        client.send(f"<message to='{self.room_jid}' type='groupchat' id='{identity}'>{content}</message>")

    async def heard(self, client: Client, identity: str) -> Received:
        return await self.comes(client, "message", identity)

    async def comes(self, client: Client, name: str, identity: str, kind: str = "") -> Received:
        """Wait for a stanza, by its start tag: others in the inbox need not be read."""

        def fits(stanza: Received) -> bool:
            tag = re.match(rb"<(\w+)[^>]*", stanza.raw)
            assert tag is not None
            wanted = [f"id='{identity}'".encode()] + ([f"type='{kind}'".encode()] if kind else [])
            return tag[1] == name.encode() and all(one in tag[0].replace(b'"', b"'") for one in wanted)

        fits.__qualname__ = f"{name} {identity} {kind}"
        return await client.expect(fits, 100.0)  # each comes behind megabytes, and Prosody is slow with them

    def patient_proxy(self) -> Proxy:
        """A proxy that does not take a server for dead that is busy for minutes."""
        return self.own_proxy(rooms={"ping_interval": 600.0})

    async def again(self, resource: str, proxy: Proxy) -> Client:
        """Log in behind a server that may be busy with a room's history: who is refused for the moment tries again."""
        while True:
            try:
                return await self.client(self.alice, resource, proxy=proxy)
            except AssertionError as error:
                if "<temporary-auth-failure/>" not in str(error):
                    raise

    async def undisturbed(self, identity: str = "still") -> None:
        """The conversation goes on, on the same account stream."""
        self.says(self.mallory, "<body>still here</body>", identity)
        self.says(self.phone, "<body>me too</body>", f"{identity}-2")
        for client in (self.phone, self.laptop, self.mallory):
            await self.heard(client, identity)
            await self.heard(client, f"{identity}-2")
        lines = self.watched.process.lines[self._seen :]
        log = "\n".join(line for line in lines if self.alice.jid in line)  # others may use that proxy
        for words in BROKEN:
            self.assertNotIn(words, log)


@on_both_servers
class OddStanzaTests(StanzaCase):
    async def test_one_to_one(self) -> None:
        """What only passes arrives as it would directly."""
        mallory, bob = await self.client(direct=True), await self.client()
        for depth in DEPTHS:
            mallory.send(f"<message to='{bob.jid}' type='chat' id='d{depth}'>{nested(depth)}</message>")
            message = await self.heard(bob, f"d{depth}")
            self.assertGreaterEqual(message.raw.count(b"</a>"), depth - 2)
        for name, odd in ODD.items():
            mallory.send(f"<message to='{bob.jid}' type='chat' id='{name}'>{odd}</message>")
            await self.heard(bob, name)
        await bob.barrier()

    async def test_to_a_server_and_back(self) -> None:
        """The same from a client of the proxy."""
        bob = await self.client()
        for name, odd in ODD.items():
            bob.send(f"<message to='{bob.jid}' type='chat' id='{name}'>{odd}</message>")
            await self.heard(bob, name)

    async def test_in_a_room(self) -> None:
        """Who is there gets it as it is; so does who comes later; a restart of the proxy makes no loop of it."""
        proxy = self.patient_proxy()
        await self.meet(proxy)
        for name, odd in self.odd.items():
            self.says(self.mallory, f"<body>b</body>{odd}", name)
            for client in (self.phone, self.laptop):
                await self.heard(client, name)
        await self.undisturbed()
        tablet = await self.client(self.alice, "tablet", proxy=proxy)
        await self.joins(tablet, "alice")
        raw = b"".join(stanza.raw for stanza in tablet.received)
        names = {name for name in ODD if f"id='{name}'".encode() in raw.replace(b'"', b"'")}
        self.assertLessEqual(ODD.keys() - {"many elements", "many payloads"}, names)
        await proxy.restart()
        self._seen = 0
        again = [await self.again(resource, proxy) for resource in ("phone", "laptop")]
        for client in again:
            await self.joins(client, "alice")
        self.phone, self.laptop = again
        await self.undisturbed("again")

    async def test_from_a_client_to_its_room(self) -> None:
        await self.meet()
        for name, odd in self.odd.items():
            self.says(self.phone, f"<body>b</body>{odd}", name)
            if name in ("many elements", "many payloads"):
                await self.comes(self.phone, "message", name, "error")
            else:
                await self.heard(self.laptop, name)
        await self.undisturbed()

    async def test_a_client_says_what_the_server_would_not_bear(self) -> None:
        """ejabberd dies of 5,000 levels."""
        await self.meet()
        self.says(self.phone, nested(5000), "deep")
        refusal = "<error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        await self.phone.expect(f"<message type='error' from='{self.room_jid}' id='deep'>{refusal}</message>")
        await self.undisturbed()

    async def test_to_the_account_stream(self) -> None:
        """Somebody in no room of the account knows its address."""
        await self.meet(self.patient_proxy())
        stranger = await self.client(direct=True)
        for name, odd in ODD.items():
            stranger.send(f"<iq type='get' id='{name}' to='{self.stream}'>{odd}</iq>")
            if name != "many payloads":  # Prosody drops such an IQ
                await self.comes(stranger, "iq", name, "error")
            for kind in ("chat", "normal", "groupchat", "headline"):
                stranger.send(f"<message to='{self.stream}' type='{kind}'><body>b</body>{odd}</message>")
            stranger.send(f"<iq type='result' id='r' to='{self.stream}'>{odd}</iq>")
            stranger.send(f"<presence to='{self.stream}'>{odd}</presence>")
            stranger.send(f"<presence to='{self.stream}' type='unavailable'>{odd}</presence>")
        await stranger.barrier()
        await self.undisturbed()

    async def test_presence_in_the_room(self) -> None:
        await self.meet()
        for name, odd in ODD.items():
            self.mallory.send(f"<presence to='{self.room_jid}/mallory' id='{name}'>{odd}</presence>")
            await self.comes(self.mallory, "presence", name)
        await self.undisturbed()
        tablet = await self.client(self.alice, "tablet")
        await self.joins(tablet, "alice")


@on_both_servers
class GrowingStanzaTests(StanzaCase):
    """The account stream adds the language and the prefixes of a client's stream: more than the server takes."""

    def filled(self, head: str, tail: str, size: int = LIMIT) -> str:
        return head + "x" * (size - len(head) - len(tail)) + tail

    async def test_they_are_refused(self) -> None:
        await self.meet(language="de-AT-1996")
        refusal = "<error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        room = self.room_jid
        self.phone.send(self.filled(f"<message to='{room}' type='groupchat' id='m'><body>", "</body></message>"))
        await self.phone.expect(f"<message type='error' from='{room}' id='m'>{refusal}</message>")
        self.phone.send(self.filled(f"<iq to='{room}/mallory' type='get' id='i'><a xmlns='urn:x:a'>", "</a></iq>"))
        await self.phone.expect(f"<iq type='error' from='{room}/mallory' id='i'>{refusal}</iq>")
        self.phone.send(self.filled(f"<presence to='{room}/alice' id='p'><status>", "</status></presence>"))
        await self.phone.expect(f"<presence type='error' from='{room}/alice' id='p'>{refusal}</presence>")
        other = self.room("other")
        self.phone.send(self.filled(f"<presence to='{other}/alice' id='j'>{JOIN}<status>", "</status></presence>"))
        await self.phone.expect(f"<presence type='error' from='{other}/alice' id='j'>{JOIN}{refusal}</presence>")
        await self.undisturbed()

    async def test_just_not_too_large(self) -> None:
        """What still fits arrives, and the server does not mind."""
        await self.meet(language="de")
        head = f"<message to='{self.room_jid}' type='groupchat' id='m'><body>"
        largest = Sendable(LIMIT).largest - len(" xml:lang='de'")
        for number in range(3):
            self.phone.send(self.filled(head.replace("'m'", f"'m{number}'"), "</body></message>", largest))
            for other in range(100):  # what comes behind may count with it
                self.says(self.phone, "<body>more</body>", f"m{number}-{other}")
            await self.heard(self.phone, f"m{number}-99")
            await self.heard(self.phone, f"m{number}")
        await self.undisturbed()

    async def test_a_leave_is_a_leave(self) -> None:
        await self.meet(language="de-AT-1996")
        leave = f"<presence to='{self.room_jid}/alice' type='unavailable'>"
        self.laptop.send(leave + "</presence>")
        self.phone.send(self.filled(leave + "<status>", "</status></presence>"))
        await self.mallory.expect(f"<presence type='unavailable' from='{self.room_jid}/alice'/>")


@on_both_servers
class LargeIdTests(StanzaCase):
    async def test_no_answer_bears_it(self) -> None:
        """An id of 44 KB is 260 KB once each apostrophe in it is written as servers do; the answer has it, too."""
        await self.meet()
        stranger = await self.client(await self.account("stranger"), direct=True)
        for identity in ("'" * 40_000, "'" * 43_600, "'" * 44_500, "'" * 100_000, "x" * 200_000):
            for inner in ("<ping xmlns='urn:xmpp:ping'/>", "<a xmlns='urn:x:a'/>"):
                for client, to in ((stranger, self.stream), (self.mallory, f"{self.room_jid}/alice")):
                    client.send(f"<iq type='get' to='{to}' id=\"{identity}\">{inner}</iq>")
        ping = "<ping xmlns='urn:xmpp:ping'/>"
        await stranger.iq("get", stranger.domain, ping, timeout=60.0)  # servers take seconds for all that
        await self.undisturbed()
        log = "\n".join(self.watched.process.lines[self._seen :])
        self.assertNotIn(f"{self.stream} ended by the server", log)


START_TAG = re.compile(rb" (id|from)='([^']*)'")
PREFIXED = {
    "element": "<p:a/>",
    "attributes": "<a xmlns='urn:x:a' p:b='1' q:b='2'/>",
    "within": "<a xmlns='urn:x:a'><p:b xmlns:r='urn:r'><r:a/><q:c/></p:b></a>",
}


async def prefixing(case: IntegrationTestCase) -> Client:
    """A client that declares prefixes on its stream. It does not look at what comes: its server is no better to it."""
    client = await case.connect(direct=True, label="prefixing")
    client.declares = " xmlns:p='urn:p' xmlns:q='urn:q'"
    await client.login(await case.account("eve"))
    await client.online()
    client.ignore = lambda stanza: not stanza.raw.startswith(b"<iq") and b"<subject" not in stanza.raw
    return client


@on_both_servers
class UndeclaredPrefixTests(StanzaCase):
    """ejabberd writes prefixes that only the sender's stream declares, and no declaration: no XML with namespaces."""

    async def test_in_a_room(self) -> None:
        """It is mended once for all devices; the room's history makes no loop of it."""
        proxy = self.own_proxy()
        await self.meet(proxy)
        self.mallory.ignore = lambda stanza: b"/eve'" in stanza.raw  # it is not behind the proxy
        eve = await prefixing(self)
        await self.joins(eve, "eve")
        for name, content in PREFIXED.items():
            self.says(eve, f"<body>b</body>{content}", name)
            to_alice = f"to='{self.room_jid}/alice'"
            eve.send(f"<message {to_alice} type='chat' id='pm {name}'><body>b</body>{content}</message>")
            eve.send(f"<presence to='{self.room_jid}/eve' id='p {name}'>{content}</presence>")
            eve.send(f"<iq {to_alice} type='get' id='iq {name}'>{content}</iq>")
            for client in (self.phone, self.laptop):
                for kind, identity in (("message", name), ("message", f"pm {name}"), ("presence", f"p {name}")):
                    self.assertTrue((await self.comes(client, kind, identity)).element)
        await self.undisturbed()
        tablet = await self.client(self.alice, "tablet", proxy=proxy)
        await self.joins(tablet, "alice")
        for identity in PREFIXED:
            await self.heard(tablet, identity)
        self.assertTrue([stanza.element for stanza in tablet.received])
        await proxy.restart()
        self._seen = 0
        self.phone, self.laptop = [await self.client(self.alice, name, proxy=proxy) for name in ("phone", "laptop")]
        for client in (self.phone, self.laptop):
            await self.joins(client, "alice")
        await self.undisturbed("again")

    async def test_from_the_rooms_history(self) -> None:
        """An account that was not there when it was said."""
        self.room_jid = self.room()
        eve = await prefixing(self)
        await self.joins(eve, "eve")
        for name, content in PREFIXED.items():
            self.says(eve, f"<body>b</body>{content}", name)
        await eve.barrier()
        client = await self.client()
        await self.joins(client, "alice")
        for name in PREFIXED:
            self.assertTrue((await self.heard(client, name)).element)

    async def test_to_the_account_stream(self) -> None:
        await self.meet()
        eve = await prefixing(self)
        for name, content in PREFIXED.items():
            eve.send(f"<iq type='get' id='{name}' to='{self.stream}'>{content}</iq>")
            await self.comes(eve, "iq", name, "error")
            eve.send(f"<message to='{self.stream}' type='chat'><body>b</body>{content}</message>")
            eve.send(f"<iq type='result' id='r' to='{self.stream}'>{content}</iq>")
            eve.send(f"<presence to='{self.stream}'>{content}</presence>")
        await eve.barrier()
        await self.undisturbed()

    async def test_one_to_one(self) -> None:
        """It arrives, however it is; the stream goes on."""
        bob, eve = await self.client(), await prefixing(self)
        for name, content in PREFIXED.items():
            eve.send(f"<message to='{bob.jid}' type='chat' id='{name}'><body>b</body>{content}</message>")
            await self.heard(bob, name)
        await bob.barrier()


def has(text: bytes, stanza: Received) -> bool:
    return text in stanza.raw


@on_both_servers
class UndeclaredPrefixInRequestTests(ProxiedCase):
    async def test_a_domain_goes_on(self) -> None:
        """The domain's stream ends for nobody. Its resource gets what it would get directly."""
        (worker,) = await self.serve("a")
        client = worker.client
        client.ignore = lambda stanza: False
        eve = await prefixing(self)
        for name, content in PREFIXED.items():
            eve.send(f"<iq type='get' id='{name}' to='{self.domain}'>{content}</iq>")
            request = await client.expect(lambda stanza: stanza.raw.startswith(b"<iq") and b"/eve" in stanza.raw)
            attributes = {key.decode(): value.decode() for key, value in START_TAG.findall(request.raw)}
            client.send(f"<iq type='result' id='{attributes['id']}' to='{attributes['from']}'/>")
            await eve.expect(partial(has, f"id='{name}'".encode()))
            eve.send(f"<message to='{self.domain}' type='chat'><body>b</body>{content}</message>")
            await client.expect(lambda stanza: stanza.raw.startswith(b"<message"))
        log = "\n".join(self.running.process.lines)
        self.assertNotIn("connection lost", log)


del StanzaCase  # else trial would collect it
