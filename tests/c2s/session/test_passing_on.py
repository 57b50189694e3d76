"""Messages that pass together, as one: what passes and what is counted is the same as if each were looked at."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.counting.traffic import CLIENTS, SESSIONS
from minimixproxy.stream_management.unacknowledged import Unacknowledged
from tests.c2s.helpers import BIND, BOUND, SERVER_FEATURES, Lab
from tests.c2s.server.test_negotiation import errors
from tests.c2s.session.both_ends import ASK, NS, ack
from tests.c2s.session.test_client_session import chunked
from tests.examples import examples

MESSAGES = (
    b"<message></message>",
    b"<message to='b@example.org' id='1'><body>h\xc3\xa9 &lt;&#x1F600;</body></message>",
    b'<message id="2" to="c@example.org/d" xml:lang="de" type="chat"><body>x &gt; y</body></message>',
    b"<message xmlns='jabber:client' to='b@example.org'><body>" + b"x" * 500 + b"</body></message>",
)
PRESENCE = b"<presence to='b@example.org'></presence>"
OTHERS = (
    b"<message from='a@example.org/r' to='b@example.org'><body>named</body></message>",
    b"<message to='a&amp;b@example.org'><body/></message>",
    b"<message><forwarded xmlns='urn:xmpp:forward:0'><message to='b'></message></forwarded></message>",
    b"<message><![CDATA[</message>]]></message>",
    b"<message id='3'/>",
    PRESENCE,
    b"<iq type='get' id='4'><ping xmlns='urn:xmpp:ping'/></iq>",
    b" ",
)
ELEMENTS = st.lists(st.sampled_from([*MESSAGES, *MESSAGES, *MESSAGES, *OTHERS]), max_size=10)
CUTS = st.lists(st.integers(0, 100_000), max_size=6)
FOREIGN = b"<message to='b@example.org' xmlns='urn:foreign'></message>"


class Side:
    """A session; `leaves`: its account does not look at each message. `managed`: by its client, by its server."""

    def __init__(self, directory: Path, *, leaves: bool, managed: tuple[bool, bool]) -> None:
        self.lab = Lab(directory)
        self.account = self.lab.accounts.account
        self.account.leaves = leaves
        self.client = self.lab.client()
        self.client.log_in(features=SERVER_FEATURES)
        self.client.send(BIND)
        enabled = b"<enabled %b id='up' resume='true' max='300'/>" % NS
        self.client.serve(BOUND + (enabled if managed[1] else b"<failed %b/>" % NS))
        if managed[0]:
            self.client.send(b"<enable %b resume='true'/>" % NS)
        self.session = self.lab.accounts.bound[-1]
        self.client.upstream.take()
        self.client.wire.take()

    def hears(self, server: bool, data: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
        """Let one end say something; return what the client gets, and the server."""
        for chunk in chunked(data, cuts):
            if server:
                assert self.client.server is not None
                self.client.server.dataReceived(chunk)
            else:
                self.client.stream.bottom.dataReceived(chunk)
        self.lab.clock.advance(0)
        return self.client.wire.take(), self.client.upstream.take()

    def kept(self) -> list[bytes]:
        """What either end has not acknowledged, the client's first."""
        return [stanza for sent in self._sent() if sent is not None for stanza in sent]

    def _sent(self) -> tuple[Unacknowledged | None, Unacknowledged | None]:
        management = self.session._server._management
        return self.session._output._managed, management.sent if management is not None else None

    def asked(self) -> list[tuple[bytes, bytes]]:
        """What both ends are told to be handled, before they acknowledge what they have and after that."""
        said: list[tuple[bool, bytes]] = []
        for server, sent in enumerate(self._sent()):
            if sent is not None:
                said += [(bool(server), ASK), (bool(server), ack(sent.sent))]
        return [self.hears(end, data, []) for end, data in said]


def counted() -> list[int]:
    """What the process has counted."""
    return [
        number
        for traffic in (CLIENTS, SESSIONS)
        for number in (*traffic.received.values(), traffic.received_bytes, traffic.sent, traffic.sent_bytes)
    ]


class PassingOnTests(SynchronousTestCase):
    def sides(self, managed: tuple[bool, bool] = (False, False)) -> list[Side]:
        """The same session twice: messages pass as one, and one by one."""
        return [Side(Path(self.mktemp()), leaves=leaves, managed=managed) for leaves in (True, False)]

    def hear(self, sides: list[Side], server: bool, data: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
        """Let one end say something to both; return what comes of it, which is the same."""
        found = []
        for side in sides:
            before = counted()
            heard = side.hears(server, data, cuts)
            difference = [after - first for after, first in zip(counted(), before, strict=True)]
            found.append((heard, side.kept(), difference, side.asked(), side.session.last_active))
        self.assertEqual(found[0], found[1])
        return found[0][0]

    def check_the_same(self, managed: tuple[bool, bool]) -> None:
        sides = self.sides(managed)

        @settings(max_examples=examples(60))
        @given(st.lists(st.tuples(st.booleans(), ELEMENTS, CUTS), max_size=4))
        def whatever_the_reads(said: list[tuple[bool, list[bytes], list[int]]]) -> None:
            for server, elements, cuts in said:
                data = b"".join(elements)
                passed = self.hear(sides, server, data, cuts)[0 if server else 1]
                if not managed[0]:  # to a client that is, white space goes behind the stanzas of the same turn
                    self.assertEqual(passed, data)

        whatever_the_reads()

    def test_the_same_passes_and_is_counted(self) -> None:
        self.check_the_same((False, False))

    def test_if_the_server_manages_the_stream(self) -> None:
        self.check_the_same((False, True))

    def test_if_the_client_manages_the_stream(self) -> None:
        self.check_the_same((True, False))

    def test_if_both_do(self) -> None:
        self.check_the_same((True, True))

    def test_nobody_looks_at_each(self) -> None:
        as_one, one_by_one = self.sides()
        data = b"".join(MESSAGES)
        for side in (as_one, one_by_one):
            side.account.seen_from_client.clear()
            self.assertEqual(side.hears(False, data + PRESENCE + data, []), (b"", data + PRESENCE + data))
        self.assertEqual(one_by_one.account.seen_from_client, [*MESSAGES, PRESENCE, *MESSAGES])
        self.assertEqual(as_one.account.seen_from_client, [PRESENCE, *MESSAGES])

    def test_what_is_not_well_formed(self) -> None:
        """Before it all passes, of it and behind it nothing, and the client is told."""
        good = MESSAGES[1]
        for broken in (
            b"<message><a></b></message>",
            b"<message to='b' to='c'></message>",
            b"<message>&undefined;</message>",
            b"<message>\xff</message>",
            b"<message></stream:stream></message>",
            b"<message-x></message>",
            b"</message>",
        ):
            for before, behind in ((b"", b""), (good + good, b""), (b"", good), (good, good + good)):
                to_client, to_server = self.hear(self.sides(), False, before + broken + behind, [])
                self.assertTrue(to_server.startswith(before), broken)
                self.assertNotIn(b"message", to_server[len(before) :])
                self.assertEqual(len(errors(to_client)), 1, to_client)

    def test_elements_of_other_namespaces_are_no_messages(self) -> None:
        for data in (FOREIGN, MESSAGES[0] + FOREIGN + MESSAGES[0]):
            self.hear(self.sides(), False, data, [])

    def test_a_fault_of_ours(self) -> None:
        for server in (False, True):
            side, _ = self.sides()
            self.patch(side.account, "leaves_from_server" if server else "leaves_from_client", lambda *_: 1 / 0)
            to_client, to_server = side.hears(server, MESSAGES[0], [])
            self.assertEqual(errors(to_client), [b"internal-server-error"])
            self.assertNotIn(b"<message", to_server + to_client)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
