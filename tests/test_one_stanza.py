"""A fault of ours at an edge costs the stanza that it met: dropped, counted, logged without its text, not replayed."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any
from unittest.mock import Mock

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import eventAsText
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.session.request_watch import RequestWatch
from minimixproxy.minimix.interfaces.journal import KeptAccount, KeptMembership, KeptMessage, KeptRoom
from minimixproxy.minimix.occupancy import from_room
from minimixproxy.minimix.occupancy.phases import State
from minimixproxy.minimix.rejoin import difference
from minimixproxy.minimix.room import snapshot
from minimixproxy.operator.control import ControlFactory
from minimixproxy.operator.reported import Reported
from minimixproxy.operator.status_report import StatusReport
from minimixproxy.operator.status_table import text
from minimixproxy.safety_net import NET
from minimixproxy.wire.stanza import parse_stanza
from tests.c2s.session.test_client_session import SessionTest
from tests.clientproxy.scene import ALICE, DOMAIN
from tests.clientproxy.test_component import ComponentCase
from tests.log_events import observe
from tests.minimix.fakes import BARE, ROOM, STREAM, World

SECRET = "what nobody else is to read"
NAMES = ("presence", "message", "iq")


def explode(*_arguments: object, **_options: object) -> Any:
    raise KeyError(f"a fault that quotes {SECRET}")


class Edges(SynchronousTestCase):
    """`counted` is how many stanzas were dropped since the begin; the log is looked at in the end."""

    def setUp(self) -> None:
        super().setUp()
        self.lines: list[str] = []
        self._before = NET.dropped
        observe(self, self._observe)

    def _observe(self, event: Any) -> None:
        if str(event.get("log_namespace", "")).startswith("minimixproxy"):
            self.lines.append(eventAsText(event, includeTimestamp=False, includeSystem=False))

    def met(self, raw: bytes, times: int = 1) -> None:
        """So many faults were counted, and logged by size and hash."""
        self.assertEqual(NET.dropped - self._before, times)
        log = "\n".join(self.lines)
        self.assertNotIn(SECRET, log)
        self.assertGreaterEqual(log.count(f"{len(raw)} bytes, SHA-256 {sha256(raw).hexdigest()}"), 1, log)
        self.assertEqual(self.flushLoggedErrors(), [])


class AccountStreamEdge(Edges):
    def test_each_kind_of_stanza(self) -> None:
        for number, name in enumerate(NAMES):
            world = World()
            account = world.account
            (phone,) = world.joined("phone")
            handler = {"presence": account.presences, "message": account.messages, "iq": account.iqs}[name]
            raw = f"<{name} from='{ROOM}/bob' to='{STREAM}' id='i'><body>{SECRET}</body></{name}>"
            patched = self.patch(handler, "received", explode)
            handler.take(parse_stanza(raw))
            self.met(raw.encode(), number + 1)
            patched.restore()
            world.says("bob", "after")
            self.assertEqual([str(one.element.body) for one in phone.take()], ["after"])

    def test_it_is_not_replayed(self) -> None:
        """A fault behind the place where it is kept comes again in no replay."""
        world = World()
        world.joined("phone")
        account = world.account
        raw = f"<message type='groupchat' from='{ROOM}/bob' to='{STREAM}' id='i'><body>{SECRET}</body></message>"
        patched = self.patch(from_room.FromRoom, "groupchat", explode)
        account.messages.take(parse_stanza(raw))
        patched.restore()
        self.met(raw.encode())
        tablet = world.session("tablet")
        world.asks_to_join(tablet)
        self.assertFalse([one for one in tablet.take() if SECRET.encode() in one.raw])

    def test_an_answer_to_the_account_itself(self) -> None:
        """As a page of an archive is, or bookmarks: the next is taken."""
        world = World()
        world.joined("phone")
        world.account.ask(ROOM, "get", b"<query xmlns='urn:x'/>", explode)
        identity = world.stream.take()[-1]["id"]
        query = f"<query xmlns='urn:x'>{SECRET}</query>"
        raw = f"<iq type='result' from='{ROOM}' to='{STREAM}' id='{identity}'>{query}</iq>"
        handler = world.stream.requests
        handler.take(parse_stanza(raw))
        self.met(raw.encode())
        handler.take(parse_stanza(raw))
        self.met(raw.encode())

    def test_a_result_of_an_archive(self) -> None:
        world = World()
        world.joined("phone")
        world.stream.requests.ask_archive(ROOM, "q", b"<query xmlns='urn:xmpp:mam:2'/>", explode, Mock())
        raw = (
            f"<message from='{ROOM}' to='{STREAM}'><result xmlns='urn:xmpp:mam:2' queryid='q' id='1'>"
            f"<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body>{SECRET}</body></message>"
            "</forwarded></result></message>"
        )
        world.account.messages.take(parse_stanza(raw))
        self.met(raw.encode())


class ReplayEdge(Edges):
    def test_a_kept_message(self) -> None:
        raw = SECRET.encode()
        world = World()
        messages = [KeptMessage(1, world.clock.seconds(), raw, False)]
        membership = KeptMembership("alice", "alice")
        world.account.restore(KeptAccount(BARE, None, False, 0.0, [KeptRoom(ROOM, membership, messages)]))
        world.stream.jid = STREAM
        history = world.account.rooms[ROOM].history
        self.assertEqual(list(history.select(None, "phone", world.clock.seconds()).to(STREAM)), [])
        self.met(raw)
        self.assertEqual(list(history.select(None, "phone", world.clock.seconds()).to(STREAM)), [])
        self.met(raw)

    def test_an_occupant(self) -> None:
        world = World()
        world.joined("phone")
        # The room names the account stream in it: so it is read.
        world.shows("eve", inner=f"<status>{SECRET}</status>", item=f"jid='{STREAM}'")
        view = world.account.rooms[ROOM]._attendance.view
        kept = view.occupants["eve"]
        original = snapshot.presence_for

        def presence_for(stanza: Any, *others: str) -> bytes:
            return explode() if stanza.raw == kept else original(stanza, *others)

        self.patch(snapshot, "presence_for", presence_for)
        tablet = world.session("tablet")
        world.asks_to_join(tablet)
        shown = [one.get("from") for one in tablet.take() if one.name == "presence"]
        self.assertEqual(shown, [f"{ROOM}/bob", f"{ROOM}/alice"])
        self.met(kept)

    def test_occupants_while_the_account_was_out(self) -> None:
        """One who left and one who came cannot be shown: the others are, and the room does not wait for ever."""
        world = World()
        (phone,) = world.joined("phone")
        world.shows("mallory")
        phone.take()
        view = world.account.rooms[ROOM]._attendance.view
        view._told.give_back(view.occupants["mallory"])
        view.occupants["mallory"] = view._told.take(SECRET.encode())

        def parse_stanza_of(raw: bytes) -> Any:
            return explode() if b"/eve'" in raw else parse_stanza(raw)

        self.patch(difference, "parse_stanza", parse_stanza_of)
        world.stream.jid = ""
        world.stream.lost()
        world.stream.jid = STREAM
        world.stream.opened()
        world.comes_back("eve", "dan")
        shown = [(one.get("type"), one.get("from")) for one in phone.take() if one.name == "presence"]
        self.assertEqual(shown, [("unavailable", f"{ROOM}/bob"), (None, f"{ROOM}/dan")])
        self.assertIs(world.account.rooms[ROOM].state, State.JOINED)
        self.met(SECRET.encode(), times=2)

    def test_a_room_that_was_kept(self) -> None:
        """It costs itself, not the account's other rooms."""
        world = World()
        make = world.account.occupancies._occupancy

        def occupancy_of(room: str, kept: KeptRoom | None = None) -> Any:
            return explode() if room == "bad@muc.test" else make(room, kept)

        self.patch(world.account.occupancies, "_occupancy", occupancy_of)
        membership = KeptMembership("alice", "alice")
        rooms = [KeptRoom(room, membership) for room in ("bad@muc.test", ROOM)]
        world.account.restore(KeptAccount(BARE, None, False, 0.0, rooms))
        self.assertEqual(list(world.account.rooms), [ROOM])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)


class SessionEdge(Edges, SessionTest):
    def test_an_answer_that_is_learned_from(self) -> None:
        """It passes, for it is the client's; the session goes on."""
        raw = f"<iq type='result' id='c'><x xmlns='urn:x'>{SECRET}</x></iq>".encode()
        self.client.send(b"<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        self.patch(RequestWatch, "heard", explode)
        self.assertEqual(self.client.serve(raw + b"<message id='1'/>"), raw + b"<message id='1'/>")
        self.assertEqual(NET.dropped - self._before, 2)
        self.assertNotIn(SECRET, "\n".join(self.lines))


class ComponentEdge(Edges, ComponentCase):
    def test_each_kind_of_stanza(self) -> None:
        service = self.start()
        stream = self.handshake(self.one)
        for number, name in enumerate(NAMES):
            receivers = service._receivers
            working, receivers[name] = receivers[name], explode
            raw = f"<{name} from='{ALICE}' to='{DOMAIN}' id='i'><body>{SECRET}</body></{name}>".encode()
            stream.transport.clear()
            stream.dataReceived(raw)
            self.met(raw, number + 1)
            receivers[name] = working
        stream.dataReceived(
            f"<iq type='get' from='{ALICE}' to='{DOMAIN}' id='p'><ping xmlns='urn:xmpp:ping'/></iq>".encode()
        )
        self.assertIn(b"id='p'", stream.transport.value())


class ControlEdge(Edges):
    def test_what_is_told_and_a_fault_there(self) -> None:
        """The operator is told of it, and sees in the status how many there were."""
        report = StatusReport(Clock(), lambda: 1, Reported())
        NET.caught(parse_stanza("<message/>"), "here")
        factory = ControlFactory({"status": report.answer, "bad": explode})
        control: Any = factory.buildProtocol(None)
        transport = StringTransport()
        control.makeConnection(transport)
        control.dataReceived(b'{"request": "bad"}\n{"request": "status"}\n')
        bad, told = (json.loads(line) for line in transport.value().splitlines())
        self.assertEqual(bad, {"error": "internal error: see the log"})
        self.assertEqual(told["stanzas"]["dropped"], NET.dropped)
        self.assertIn(f"{NET.dropped} DROPPED", text(told))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        control.setTimeout(None)
