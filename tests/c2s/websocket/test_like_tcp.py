"""What sessions and negotiations do over TCP, they do by WebSocket: the same tests, with other clients."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from tests.c2s.helpers import HEADER, SERVER_FEATURES, SERVER_HEADER, LabClient
from tests.c2s.server import test_negotiation, test_sasl2
from tests.c2s.server.test_negotiation import END, errors
from tests.c2s.session import test_client_session, test_stream_management
from tests.c2s.websocket.lab import WebSocketLab, fragments, framed
from tests.examples import examples

MODULES: tuple[ModuleType, ...] = (test_negotiation, test_sasl2, test_client_session, test_stream_management)
#: Cases of what a WebSocket has not.
LEFT_OUT = {"StartTLSTest", "HeaderTest"}  # there is no STARTTLS; the header is <open/>: see `test_transport`
STANZAS = st.sampled_from(
    [
        b"<message to='a@example.org'><body>&lt;b&gt; \xe2\x82\xac</body></message>",
        b"<message xmlns='jabber:client' id='1'><x xmlns='urn:x'><y/></x></message>",
        b"<presence xmlns='jabber:client'/>",
        b"<iq type='get' id='2' to='b@example.org'><query xmlns='urn:q'/></iq>",
        b"<x:y xmlns:x='urn:x'><z/></x:y>",
    ]
)
SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=6)


@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
@given(st.lists(STANZAS, max_size=8), SIZES, SIZES)
def every_stanza_upstream(self: Any, stanzas: list[bytes], parts: list[int], reads: list[int]) -> None:
    """However it is cut into frames, and these into reads."""
    self.lab.clock.advance(10)  # so many fragments may be sent again
    data = b"".join(fragments(stanza, parts[:4]) for stanza in stanzas)
    start = 0
    while start < len(data):
        for size in reads:
            self.client.connection.dataReceived(data[start : start + size]) if data[start : start + size] else None
            start += size
    self.turn()
    self.assertEqual(self.client.upstream.take(), b"".join(stanzas))


@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
@given(st.lists(STANZAS, max_size=8), SIZES)
def every_stanza_downstream(self: Any, stanzas: list[bytes], reads: list[int]) -> None:
    """In a message of its own."""
    before = len(self.client.wire.messages)
    data, start = b"".join(stanzas), 0
    while start < len(data):
        for size in reads:
            self.client.serve(data[start : start + size]) if data[start : start + size] else None
            start += size
    messages = self.client.wire.messages[before:]
    self.assertEqual(len(messages), len(stanzas))
    for message, stanza in zip(messages, stanzas, strict=True):
        self.assertEqual(*(raw.replace(b" xmlns='jabber:client'", b"") for raw in (message, stanza)))


def joined_within_a_turn(self: Any) -> None:
    """All messages in one write."""
    writes: list[bytes] = []
    self.patch(self.client.wire, "write", writes.append)
    for number in range(10):
        self.session.deliver(b"<message id='%d'/>" % number)
    self.assertEqual(writes, [])
    self.lab.clock.advance(0)
    messages = [b"<message xmlns='jabber:client' id='%d'/>" % number for number in range(10)]
    self.assertEqual(writes, [b"".join(b"\x81%c%b" % (len(message), message) for message in messages)])


def faults_of_the_client(self: Any) -> None:
    """In order towards the server, and with a code of WebSocket's."""
    cases = {
        framed(b"<message></body>"): (b"not-well-formed", 1008),
        framed(b"<message></body></message>"): (b"not-well-formed", 1000),  # found in the stream
        framed(b"<!-- -->"): (b"not-well-formed", 1008),
        framed(b"<presence/><presence/>"): (b"bad-format", 1008),
        framed(b"<message><body>" + b"x" * 300_000): (b"policy-violation", 1009),
        framed(b"\xff"): (b"unsupported-encoding", 1007),
        framed(b"<presence/>", opcode=2): (b"bad-format", 1003),
        b"\x81\x02hi": (b"bad-format", 1002),
    }
    for data, (condition, code) in cases.items():
        self.setUp()
        self.client.connection.dataReceived(framed(b"<presence/>") + data + framed(b"<message/>"))
        answer = self.client.wire.take()
        self.assertEqual(errors(answer), [condition], data[:40])
        self.assertTrue(answer.endswith(END))
        self.assertEqual(self.client.wire.code, code)
        self.assertEqual(self.client.upstream.take(), b"<presence/>" + END)
        self.assert_over()


def header_passes_both_ways(self: Any) -> None:
    self.client.connection.dataReceived(
        framed(
            b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' xmlns:x='urn:x' x:y='z' from='a@example.org'"
            b" to='example.org' version='1.0' xml:lang='de'/>"
        )
    )
    sent = self.client.upstream.take()
    header = HEADER.replace(b" to=", b" from='a@example.org' to=")
    self.assertEqual(sent.partition(b"?>")[2], header.partition(b"?>")[2])
    self.client.serve(SERVER_HEADER.replace(b" id=", b" xmlns:y='urn:y' id=") + SERVER_FEATURES + b"<message y:z='1'/>")
    opened, features, message = self.client.wire.messages[-3:]
    attributes = b"from='example.org' id='s1' version='1.0' xml:lang='en'"
    self.assertEqual(opened, b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' %b/>" % attributes)
    self.assertIn(b"<sm xmlns='urn:xmpp:sm:3'/></stream:features>", features)
    self.assertIn(b" xmlns:y='urn:y'", message)


def no_starttls(self: Any) -> None:
    """It is neither offered nor taken."""
    client: LabClient = self.lab.client()
    self.assertNotIn(b"starttls", client.send(HEADER))
    answer = client.send(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    self.assertNotIn(b"<proceed", answer)
    self.assertTrue(client.wire.closing)


def stream_management_before_login(self: Any) -> None:
    client = self.lab.client()
    client.send(HEADER)
    for _ in range(10):
        self.assertEqual(client.send(b"<r xmlns='urn:xmpp:sm:3'/>").count(b"<failed "), 1)
    self.refused(client, b"<r xmlns='urn:xmpp:sm:3'/>" * 1000, b"policy-violation")


#: What stands in for tests that go by bytes, headers or STARTTLS.
INSTEAD: dict[str, Callable[[Any], None]] = {
    "RelayTest.test_every_byte_upstream_whatever_the_reads": every_stanza_upstream,
    "RelayTest.test_every_byte_downstream_whatever_the_reads": every_stanza_downstream,
    "DeliveryTest.test_joined_within_a_turn": joined_within_a_turn,
    "EndTest.test_faults_of_the_client": faults_of_the_client,
    "JoiningTest.test_header_passes_both_ways": header_passes_both_ways,
    "JoiningTest.test_prefixes_other_than_stream_are_translated": header_passes_both_ways,
    "OfferTest.test_not_before_tls": no_starttls,
    "SaslTest.test_stream_management_again_and_again_before_login": stream_management_before_login,
}


def by_websocket(module: ModuleType, case: type[Any]) -> type[Any]:
    """The same tests, with a laboratory whose clients come by WebSocket."""

    def set_up(self: Any) -> None:
        self.patch(module, "Lab", WebSocketLab)
        case.setUp(self)

    name = f"{case.__name__}ByWebSocket"
    attributes = {"setUp": set_up, "__module__": __name__, "__qualname__": name}
    instead = {test.partition(".")[2]: made for test, made in INSTEAD.items() if test.startswith(f"{case.__name__}.")}
    return type(name, (case,), {**attributes, **instead})


for _module in MODULES:
    for _case in list(vars(_module).values()):
        if isinstance(_case, type) and issubclass(_case, unittest.TestCase) and _case.__module__ == _module.__name__:
            _made = by_websocket(_module, _case)
            if _case.__name__ not in LEFT_OUT:
                globals()[_made.__name__] = _made
del _case, _module, _made
