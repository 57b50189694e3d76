"""An account as its owner sees it, with a client that asks and reads the answers."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial import unittest
from twisted.words.xish import domish

from minimixproxy.minimix.commands.user_requests import UserRequests
from minimixproxy.minimix.interfaces.enrolling import Enrolled
from minimixproxy.minimix.interfaces.journal import TokenDevice
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.minimix.occupancy.phases import State
from minimixproxy.namespaces import NS_COMMANDS, NS_DATA
from minimixproxy.wire.stanza import Stanza, parse_stanza
from tests.minimix.fakes import BARE, STREAM, FakeSession, payload_of

DOMAIN = "a.test"
INFO, ITEMS = "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items"
ALL_NODES = ["rooms", "leave", "detach", "enroll", "tokens", "forget"]


class FakeRoom:
    """A room of an account, as it is told to its owner and to the operator."""

    def __init__(
        self,
        room: str,
        *attached: FakeSession,
        bookmarked: bool = False,
        messages: int = 0,
        state: State = State.JOINED,
        nick: str = "alice",
    ) -> None:
        self.room = room
        self.nick = nick
        self.state = state
        self.attached = list(attached)
        self.bookmarked = bookmarked
        self.attempts = 0
        self.next_attempt_in = 0.0
        self.messages_kept = messages


class FakeAccount:
    """An account that does at once what it is told; `log` has it."""

    def __init__(self, clock: Clock) -> None:
        self.rooms: dict[str, FakeRoom] = {}
        self.is_enrolled = True
        self.token_devices: list[TokenDevice] = []
        self.sessions: dict[FakeSession, None] = {}
        self.log: list[tuple[object, ...]] = []
        self._clock = clock
        self.enrolling: Deferred[Enrolled]

    def session(self, resource: str) -> FakeSession:
        session = FakeSession(resource, self._clock)
        self.sessions[session] = None
        return session

    def add(self, room: FakeRoom) -> None:
        self.rooms[room.room] = room

    def leave(self, room: str) -> None:
        self.log.append(("leave", room))
        del self.rooms[room]

    def detach_device(self, session: SessionPort, room: "str | None") -> None:
        self.log.append(("detach", session.jid.partition("/")[2], room))

    def enroll(self, password: str) -> Deferred[Enrolled]:
        self.log.append(("enroll", password))
        self.enrolling = Deferred()
        return self.enrolling

    def withdraw_token(self, device: str) -> None:
        self.token_devices = [one for one in self.token_devices if one.id != device]

    def forget(self) -> None:
        self.log.append(("forget",))


class OwnerCase(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.account = FakeAccount(self.clock)
        self.owner = UserRequests(self.account, BARE, lambda: STREAM, self.clock)
        self.phone = self.account.session("phone")
        self.laptop = self.account.session("laptop")

    def in_rooms(self) -> None:
        self.account.add(FakeRoom("one@muc.test", self.phone, self.laptop, bookmarked=True, messages=12))
        self.account.add(FakeRoom("two@muc.test", self.laptop, messages=1))
        self.account.add(FakeRoom("three@muc.test"))

    def asks(
        self, payload: str, kind: str = "get", to: "str | None" = STREAM, session: "FakeSession | None" = None
    ) -> "Stanza | None":
        """Return the answer; None if the IQ passes."""
        session = session or self.phone
        address = f" to='{to}'" if to is not None else ""
        taken = self.owner.from_client(session, parse_stanza(f"<iq type='{kind}' id='q'{address}>{payload}</iq>"))
        received = session.take()
        self.assertEqual(len(received), int(taken))
        return received[0] if received else None

    def answer(self, payload: str, kind: str = "get", to: str = STREAM) -> Stanza:
        answer = self.asks(payload, kind, to)
        assert answer is not None
        self.assertEqual((answer["from"], answer["to"], answer["id"]), (to, self.phone.jid, "q"))
        return answer

    def run_command(self, node: str, *steps: "dict[str, str]", session: "FakeSession | None" = None) -> domish.Element:
        """Execute, then submit each step by the default action; return the last `<command/>`."""
        session = session or self.phone
        element = self.command(f"<command xmlns='{NS_COMMANDS}' node='{node}'/>", session)
        for step in steps:
            fields = "".join(
                f"<field var='{var}'>{''.join(f'<value>{one}</value>' for one in value.split())}</field>"
                for var, value in step.items()
                if var != "action"
            )
            action = f" action='{step['action']}'" if "action" in step else ""
            element = self.command(
                f"<command xmlns='{NS_COMMANDS}' node='{node}' sessionid='{element['sessionid']}'{action}>"
                f"<x xmlns='{NS_DATA}' type='submit'>{fields}</x></command>",
                session,
            )
        return element

    def command(self, xml: str, session: FakeSession) -> domish.Element:
        answer = self.asks(xml, "set", session=session)
        assert answer is not None
        return payload_of(answer, NS_COMMANDS, "command")


def items(stanza: Stanza) -> "list[tuple[str | None, ...]]":
    query = payload_of(stanza, ITEMS, "query")
    return [tuple(item.getAttribute(key) for key in ("jid", "node", "name")) for item in query.elements(ITEMS, "item")]
