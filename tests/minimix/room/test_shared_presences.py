"""What several accounts were sent is shared, and nothing else: each session sees what it would see if it was not."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.bounds.shared_bytes import SharedBytes
from minimixproxy.namespaces import NS_MUC_USER
from minimixproxy.wire.framing import Framer
from minimixproxy.wire.recognizing import KnownPresences, RecognizingFramer
from minimixproxy.wire.stanza import Stanza
from tests.examples import examples
from tests.minimix.fakes import HEADER, ROOM, World

STREAMS = [f"{name}@a.test/minimix.{name}" for name in ("alice", "eve", "dan")]
NICKS = st.sampled_from(["bob", "mallory", "Bob", "b&lt;b", "漢"])
TEXTS = st.sampled_from(["", "<status>away</status>", "<status>]]&gt; to=&apos;x&apos;</status>", "<c xmlns='urn:c'/>"])
#: Whose address a moderator sees, by number; None: nobody sees any.
ADDRESSES = st.sampled_from([None, "bob@b.test/x", *STREAMS])
#: Which of the accounts are shown the address: rooms show it to some.
WHO = st.sets(st.integers(0, len(STREAMS) - 1))
EVENTS = st.tuples(st.sampled_from(["", " type='unavailable'"]), NICKS, TEXTS, ADDRESSES, WHO)


class Account:
    """An account's world, its stream's framer, and a device that is in the room."""

    def __init__(self, stream: str, framer: Framer, told: SharedBytes) -> None:
        self.jid, self.framer = stream, framer
        self.world = World()
        self.world.stream.jid = stream
        occupancies = self.world.account.occupancies
        occupancies._context = replace(occupancies._context, told=told)
        self.devices = [self.world.session("phone")]
        self.world.asks_to_join(self.devices[0])

    def hears(self, data: str) -> None:
        for event in self.framer.feed(data.replace("@to@", self.jid).encode()):
            assert isinstance(event, Stanza)
            self.world.stream.says(event)

    def enters(self) -> None:
        self.hears(shown("", "alice", "", self.jid, "<status code='110'/>"))
        self.hears(f"<message type='groupchat' from='{ROOM}' to='@to@'><subject/></message>")

    def seen(self) -> list[list[bytes]]:
        """What its devices have seen; the second has joined last."""
        self.devices.append(self.world.session("tablet"))
        self.world.asks_to_join(self.devices[1])
        return [[stanza.raw for stanza in device.received] for device in self.devices]


def shown(kind: str, nick: str, text: str, address: str | None, more: str = "") -> str:
    item = "<item affiliation='none'{}/>".format(f" jid='{address}'" if address is not None else "")
    user = f"<x xmlns='{NS_MUC_USER}'>{item}{more}</x>"
    return f"<presence{kind} from='{ROOM}/{nick}' to='@to@'>{text}{user}</presence>"


def sharing() -> list[Account]:
    known, told, accounts = KnownPresences(), SharedBytes(), []
    for stream in STREAMS:
        framer = RecognizingFramer()
        framer.feed(HEADER)
        framer.recognize(known)
        accounts.append(Account(stream, framer, told))
    return accounts


def alone() -> list[Account]:
    accounts = []
    for stream in STREAMS:
        framer = Framer()
        framer.feed(HEADER)
        accounts.append(Account(stream, framer, SharedBytes()))
    return accounts


class SharedPresences(SynchronousTestCase):
    @settings(max_examples=examples(60))
    @given(st.lists(EVENTS, max_size=8), st.lists(EVENTS, max_size=8))
    def test_as_without_sharing(
        self,
        before: list[tuple[str, str, str, str | None, set[int]]],
        after: list[tuple[str, str, str, str | None, set[int]]],
    ) -> None:
        """Occupants come, change and go before the accounts are in, which are one behind the other, and after that."""
        seen = []
        for accounts in (sharing(), alone()):
            for number, account in enumerate(accounts):
                for kind, nick, text, address, who in before:
                    account.hears(shown(kind, nick, text, address if number in who else None))
                account.enters()
            for kind, nick, text, address, who in after:
                for number, account in enumerate(accounts):
                    account.hears(shown(kind, nick, text, address if number in who else None))
            seen.append([account.seen() for account in accounts])
        self.assertEqual(seen[0], seen[1])
