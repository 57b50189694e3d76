"""A process enters a cluster, asks, and leaves it: without a database, and with answers in the calling thread."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.server.elsewhere import Elsewhere, HolderUnknown
from minimixproxy.c2s.transport.certificates import CertificateError
from minimixproxy.cannot_start import CannotStart
from minimixproxy.cluster import membership
from minimixproxy.cluster.internal_port import InternalPort
from minimixproxy.cluster.internal_service import CROWD, InternalService
from minimixproxy.cluster.internal_tls import InternalTLS
from minimixproxy.cluster.membership import Membership, SharedSecret
from minimixproxy.cluster.part import ClusterPart
from minimixproxy.config.cluster_checks import place
from minimixproxy.config.settings import Cluster
from minimixproxy.resource_id import Installation
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.leases import Holder
from minimixproxy.storage.service import Member, Place
from tests.certificates import make_authority, make_certificate

BARE = "alice@example.org"


class Thread:
    """(`AskingThread`) `stop` is told of the end."""

    def __init__(self, stop: Callable[[float], None]) -> None:
        self.stop = stop

    def run(self, work: Callable[[], Any]) -> Deferred[Any]:
        return execute(work)


class Leases:
    closed = 0

    def close(self) -> None:
        self.closed += 1
        raise StateError("it was closed already")


class Shared:
    """What `open_shared` gives."""

    def __init__(self) -> None:
        self.lease = self
        self.leases = Leases()
        self.domains = ["domains"]
        self.number = 7
        self.left = 15.0


class Pretended:
    """A `Holding` that notes what it is told."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.stopped = 0

    def begin(self, *what: Any) -> None:
        self.begun.append(what)

    def stop(self) -> None:
        self.stopped += 1


def section(directory: Path) -> Cluster:
    secret = directory / "cluster.key"
    secret.write_bytes(b"s" * 32)
    secret.chmod(0o600)
    return Cluster(name="node-a", endpoint="unix:/run/minimixproxy/a", secret=secret)


class ClusterCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.section = section(self.directory)
        self.shared = Shared()
        self.members: list[Member] = []
        self.stopped: list[float] = []
        self.patch(membership, "AskingThread", lambda _reactor: Thread(self.stopped.append))
        self.patch(membership, "open_shared", self._open)

    def _open(self, _place: Any, member: Member, _reactor: Any) -> tuple[str, Shared]:
        self.members.append(member)
        return "state", self.shared


class MembershipTests(ClusterCase):
    def setUp(self) -> None:
        super().setUp()
        self.holding = Pretended()
        holding: Any = self.holding
        self.lost: list[StateError] = []
        secret = SharedSecret(self.section.secret, self.directory)
        self.membership = Membership(self.section, secret, holding, self.lost.append, Clock())

    def enter(self) -> None:
        nothing: Any = None
        self.assertEqual(self.membership.open(nothing, nothing), "state")

    def test_it_enters_by_its_name_and_place(self) -> None:
        self.assertEqual((self.membership.number, self.membership.left), (0, 0.0))
        self.enter()
        (member,) = self.members
        directory = f"{Installation(self.directory).name} on {socket.gethostname()}"
        self.assertEqual(member.node, ("node-a", self.section.reached_at, directory))
        self.assertEqual(member.cluster, SharedSecret(self.section.secret, self.directory / "other").resource(""))
        self.assertEqual(self.membership.number, 7)

    def test_how_long_it_is_good(self) -> None:
        """Never less than nothing for people to read; what acts by it learns how late it is, also at the end."""
        self.enter()
        self.membership.startService()
        row_left = self.membership.row_left()
        for left, shown in ((15.0, 15.0), (-1.0, 0.0)):
            self.shared.left = left
            self.assertEqual((self.membership.left, row_left()), (shown, left))
        self.membership.stopService()
        self.assertEqual((self.membership.left, row_left()), (0.0, -1.0))

    def test_from_start_to_end(self) -> None:
        self.enter()
        self.membership.startService()
        ((leases, life, run, lost),) = self.holding.begun
        self.assertEqual((leases, life), (self.shared.leases, self.shared.lease))
        lost(StateError("over"))
        self.assertEqual(len(self.lost), 1)
        self.assertEqual(self.successResultOf(run(lambda: 5)), 5)
        self.assertEqual(self.successResultOf(self.membership.ask(lambda domains: (domains, 1))), (["domains"], 1))
        self.assertTrue(self.membership.running)
        self.membership.stopService()
        self.assertEqual((self.holding.stopped, self.shared.leases.closed), (1, 1))
        self.assertEqual(self.stopped, [membership.STOP_PATIENCE])
        self.assertFalse(self.membership.running)
        asked: list[object] = []
        self.failureResultOf(self.membership.ask(asked.append), StateError)
        self.assertEqual(asked, [], "it has left")

    def test_what_never_entered_ends_too(self) -> None:
        self.membership.stopService()
        self.assertEqual((self.holding.stopped, self.shared.leases.closed), (1, 0))


class PartTests(ClusterCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.part = ClusterPart(self.section, self.directory, self.clock)
        nothing: Any = None
        self.membership = self.part.join(nothing, nothing, nothing, nothing)
        self.holding = self.membership.holding

    def test_state_is_opened_by_entering(self) -> None:
        nothing: Any = None
        where = self.part.place(Place(nothing, self.directory))
        assert where.opener is not None
        self.assertEqual((where.opener(where, nothing), self.membership.number), ("state", 7))

    def test_port_for_others_on_other_hosts(self) -> None:
        """By TLS, on the address that is named, with place for a crowd."""
        authority = make_authority()
        ca, _key = authority.write(self.directory, "ca")
        certificate, key = make_certificate(authority, "node-a").write(self.directory, "node-a")
        section = self.section.model_copy(
            update={
                "endpoint": "tls:127.0.0.1:5270",
                "address": "127.0.0.1:5270",
                "ca": ca,
                "certificate": certificate,
                "key": key,
            }
        )
        reactor = MemoryReactorClock()
        nothing: Any = None
        part = ClusterPart(section, self.directory, reactor)
        part.join(nothing, nothing, nothing, nothing)
        port = part.port(nothing)
        port.startService()
        ((number, factory, backlog, host),) = reactor.tcpServers
        self.assertEqual((number, backlog, host), (5270, CROWD, "127.0.0.1"))
        assert isinstance(factory, InternalPort)
        self.assertIsInstance(factory.tls, InternalTLS)
        ca.write_text("nothing")
        self.assertRaises(CertificateError, ClusterPart, section, self.directory, reactor)

    def test_a_port_that_somebody_else_has(self) -> None:
        """The process does not start: no client would reach the accounts that it holds."""

        def taken(*_arguments: object, **_options: object) -> None:
            raise CannotListenError("127.0.0.1", 5270, OSError("in use"))

        reactor: Any = MemoryReactorClock()
        reactor.listenTCP = taken
        factory: Any = None
        port = InternalService(place("tls:127.0.0.1:5270"), factory, reactor)
        with capturedLogs() as events:
            error = self.assertRaises(CannotStart, port.startService)
        (said,) = map(formatEvent, events)
        self.assertEqual(said, str(error))
        self.assertIn("[cluster] endpoint cannot be listened on: ", str(error))
        self.assertIsNone(self.successResultOf(port.stopService()))

    def test_a_domain_is_connected_by_one(self) -> None:
        component: Any = Pretended
        duty = self.part.duty("proxy.example.org", component)
        self.assertEqual((duty.domain, duty._make, duty._among), ("proxy.example.org", component, self.membership))

    def test_who_can_tell_of_an_account(self) -> None:
        asked: list[tuple[str, str]] = []
        answers: dict[str, Elsewhere | None] = {BARE: Elsewhere(8, 3, "b:5270", "node-b")}

        def ask(how: str) -> Callable[[str], Any]:
            async def asking(bare: str) -> Elsewhere | None:
                asked.append((how, bare))
                if bare == "nobody":
                    raise HolderUnknown("the database is gone")
                return answers.get(bare)

            return asking

        self.patch(self.holding, "find", ask("find"))
        self.patch(self.holding, "claim", ask("claim"))

        def said(asking: Any) -> str:
            return str(self.successResultOf(Deferred.fromCoroutine(asking)))

        self.assertEqual(said(self.part.told_elsewhere(BARE)), "", "it is not in the cluster yet")
        self.assertEqual(asked, [])
        self.membership.number = 7
        there = f"{BARE} is held by node-b (b:5270): ask there"
        self.assertEqual((said(self.part.told_elsewhere(BARE)), said(self.part.elsewhere(BARE))), (there, there))
        self.assertEqual(asked, [("find", BARE), ("claim", BARE)])
        self.assertEqual(said(self.part.elsewhere("bob@example.org")), "")
        unknown = "who holds nobody cannot be found out now: the database is gone"
        self.assertEqual(said(self.part.elsewhere("nobody")), unknown)

    def test_status(self) -> None:
        status = self.part.status()
        self.assertEqual((status["seen"], status["seen_ago"], status["others"]), (False, None, []))
        self.membership.number = 7
        self.holding.held[BARE] = 0.0
        one, other = Holder(7, "node-a", "a:5270", 1), Holder(8, "node-b", "b:5270", 5)
        self.holding.view.live, self.holding.view._seen_at = [one, other], 0.0
        self.holding.view.free, self.holding.view.left_by = 2, ("node-c",)
        self.clock.advance(1.26)
        self.holding.handing_on.drain()
        expected = {
            "name": "node-a",
            "address": self.section.reached_at,
            "number": 7,
            "accounts": 1,
            "draining": True,
            "pipes": 0,
            "left": 0.0,
            "seen": True,
            "seen_ago": 1.3,
            "others": [other._asdict()],
            "all_accounts": 8,
            "free": 2,
            "left_by": ["node-c"],
        }
        self.assertEqual(self.part.status(), expected)
        self.assertEqual((self.part.is_held(BARE), self.part.is_held("bob@example.org")), (True, False))

    def test_what_domains_are_told(self) -> None:
        """(`interfaces.Among`)"""
        for drains, takers in ((False, {}), (True, {8: 0})):
            if drains:
                self.holding.handing_on.drain()
            self.patch(self.holding.handing_on, "takers", lambda takers=takers: takers)
            self.assertEqual((self.membership.draining, self.membership.others_take), (drains, drains))

    def test_troubles(self) -> None:
        self.assertEqual(list(self.part.troubles()), [])
        self.holding._trouble = "no route"
        self.assertEqual(list(self.part.troubles()), ["the cluster cannot be looked at: no route"])
        self.assertFalse(self.part.status()["seen"])

    def test_what_negotiations_ask(self) -> None:
        found = self.part.for_negotiations()
        self.assertEqual((found.finder, found.pipes), (self.holding, self.part._pipes))
        self.assertEqual(self.holding.when_over, self.part._pipes.cut)

    def test_its_port(self) -> None:
        nothing: Any = None
        port = self.part.port(nothing)
        assert isinstance(port, InternalService)
        self.assertEqual(port._place, place(self.section.endpoint))
