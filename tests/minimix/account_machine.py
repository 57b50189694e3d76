"""Any sequence of well-formed stanzas, from everybody who can send one, to the accounts of one proxy.

`AccountMachine` is a hypothesis state machine: `tests/minimix/test_account_machine.py` runs a fixed number of examples,
`make fuzz` many. It needs nothing else. What is checked is in `machine_witness`, `machine_client`, `machine_end`.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from random import Random
from typing import Any, TypeVar
from unittest import mock
from xml.sax.saxutils import quoteattr

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from minimixproxy.minimix import account as account_module
from minimixproxy.minimix import keptmessages, muc
from minimixproxy.safetynet import NET
from tests.absurd import Absurd
from tests.minimix import machine_words as words
from tests.minimix.machine_client import Client
from tests.minimix.machine_end import check_sizes, end
from tests.minimix.machine_rooms import ModelRoom, Said, error_of
from tests.minimix.machine_witness import caught_with_its_text
from tests.minimix.machine_world import (
    ALICE,
    BARES,
    BOB,
    DOMAIN,
    RESOURCE,
    ROOMS,
    World,
)

#: Those who speak most stand more than once.
DEVICES = (
    (ALICE, "phone"),
    (ALICE, "phone"),
    (ALICE, "laptop"),
    (BOB, "phone"),
    (BARES[2], "desk"),
)
NICKS = (
    "alice",
    "alice",
    "bob",
    "Alice",
    "ghost",
    "a b'<&>",
    "\u00e9\U0001f600",
    "x" * 200,
)
who = st.sampled_from(DEVICES)
bares = st.sampled_from((ALICE, ALICE, BOB, BARES[2]))
room_names = st.sampled_from((*list(ROOMS)[:1] * 3, *ROOMS))
nicks = st.sampled_from(NICKS)
seeds = st.integers(0, 2**32)
SMALL = 600 * 1024  # bytes, in place of the 64 MiB of an account's history, and of what waits


#: What can happen: methods of the machine by name, with how often they do and what they are given.
ACTIONS: dict[str, tuple[int, st.SearchStrategy[dict[str, Any]]]] = {}
Method = TypeVar("Method", bound=Callable[..., None])


def action(weight: int, **given: st.SearchStrategy[Any]) -> Callable[[Method], Method]:
    """Let a method of the machine happen: so often, and with these arguments."""

    def kept(method: Method) -> Method:
        ACTIONS[method.__name__] = weight, st.fixed_dictionaries(given)
        return method

    return kept


class Happenings(RuleBasedStateMachine):
    """Three accounts with some devices each, and four rooms: what can happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.between_lives = False  # a restart that failed leaves nothing to be looked at
        self._patches = ExitStack()
        numbers = itertools.count(1)
        for target, name, value in (
            (account_module, "HISTORY_BYTES", SMALL),
            (account_module, "WAITING_BYTES", SMALL),
            (account_module, "CLIENT_BYTES", 64 * 1024),
            (account_module, "HISTORY_OWN", 64 * 1024),
            (keptmessages, "MAX_BYTES", 128 * 1024),
            (secrets, "token_hex", lambda size=32: f"{next(numbers):0{2 * size}x}"),
            (NET, "caught", caught_with_its_text),
        ):
            self._patches.enter_context(mock.patch.object(target, name, value))

    @initialize(
        bookmarks=st.sampled_from(("off", "follow", "sync")),
        grace=st.sampled_from((0.0, 3.0)),
        nick_on_join=st.sampled_from(("keep", "change")),
        stay=st.sampled_from((90 * 86400.0, 90 * 86400.0, 0.0, 1000.0)),
        fresh=st.sampled_from((0.0, 60.0)),
        joined=st.sampled_from((*list(ROOMS), None)),
    )
    def begin(
        self,
        bookmarks: str,
        grace: float,
        nick_on_join: str,
        stay: float,
        fresh: float,
        joined: str | None,
    ) -> None:
        self.world = World(
            bookmarks=bookmarks,
            leave_grace=grace,
            nick_on_join=nick_on_join,
            stay=stay,
            fresh=fresh,
            iq_timeout=50.0,
            room_memory=256 * 1024,
            account_memory=1024 * 1024,
        )
        self.world.witness.watch()
        for bare, resource in DEVICES[1:4]:
            self.world.connects(bare, resource, carbons=True, language="en")
        if joined is not None:
            self.all_join(joined)
        self.world.settle()

    # Clients ----------------------------------------------------------------------------------------------------------

    def client(self, who: tuple[str, str]) -> Client:
        """Return a device's client, which logs in if it is not there."""
        jid = "/".join(who)
        if jid not in self.world.clients:
            self.world.connects(*who, carbons=True, language="")
        return self.world.clients[jid]

    def _id(self, client: Client, again: bool) -> str:
        return f"i-{client.jid.partition('/')[2]}-{client.count}" if again else client.next_id()

    @action(8, who=who, room=room_names, nick=nicks, wish=st.sampled_from(words.WISHES))
    def joins(self, who: tuple[str, str], room: str, nick: str, wish: str) -> None:
        client = self.client(who)
        stanza_id = client.next_id()
        if room.startswith("locked") and not wish:
            wish = "<password>secret</password>"
        to = quoteattr(f"{room}/{nick}")
        client.says(f"<presence to={to} id='{stanza_id}'><x xmlns='{muc.NS_MUC}'>{wish}</x></presence>")

    @action(4, room=room_names)
    def all_join(self, room: str) -> None:
        for who in DEVICES[1:]:
            self.joins(who, room, who[0].partition("@")[0], "")

    @action(3, who=who, room=room_names)
    def leaves(self, who: tuple[str, str], room: str) -> None:
        client = self.client(who)
        stanza_id = client.next_id()
        status = f"<status>{self.world.witness.token()}</status>"
        client.says(f"<presence type='unavailable' to='{room}/x' id='{stanza_id}'>{status}</presence>")

    @action(
        3,
        who=who,
        room=room_names,
        nick=nicks,
        show=st.sampled_from(("", "<show>away</show>", "<priority>5</priority>")),
    )
    def shows(self, who: tuple[str, str], room: str, nick: str, show: str) -> None:
        """A presence directed to the room, which may be a change of nick."""
        client = self.client(who)
        stanza_id = client.next_id()
        inner = f"{show}<status>{self.world.witness.token()}</status>"
        client.says(f"<presence to={quoteattr(f'{room}/{nick}')} id='{stanza_id}'>{inner}</presence>")

    @action(3, who=who, room=room_names, nick=nicks)
    def changes_nick(self, who: tuple[str, str], room: str, nick: str) -> None:
        client = self.client(who)
        if room in client.in_rooms and client.account.rooms.get(room) is not None:
            stanza_id = client.next_id()
            client.promise_nick(room, stanza_id)
            client.says(f"<presence to={quoteattr(f'{room}/{nick}')} id='{stanza_id}'/>")

    @action(
        2,
        who=who,
        kind=st.sampled_from((None, None, "unavailable", "subscribe", "odd")),
        size=st.sampled_from((0, 9000)),
    )
    def shows_everybody(self, who: tuple[str, str], kind: str | None, size: int) -> None:
        status = f"<status>{self.world.witness.token()}{'s' * size}</status>"
        self.client(who).says(f"<presence{words.attributes(type=kind)}>{status}</presence>")

    @action(
        10,
        who=who,
        room=room_names,
        payload=st.sampled_from(list(words.MESSAGES)),
        to=st.sampled_from(("", "", "/alice", "/bob", "/ghost", "/nobody")),
        kind=st.sampled_from(("groupchat", "groupchat", "chat", None, "error", "headline")),
        again=st.booleans(),
    )
    def says(
        self,
        who: tuple[str, str],
        room: str,
        payload: str,
        to: str,
        kind: str | None,
        again: bool,
    ) -> None:
        client = self.client(who)
        kind = "chat" if to and kind == "groupchat" else kind
        inner = self._payload(payload, f"m-{self.world.rooms[room].count}")
        attributes = words.attributes(to=room + to, type=kind, id=self._id(client, again))
        client.says(f"<message{attributes}>{inner}</message>")

    def _payload(self, name: str, stanza_id: str) -> str:
        return words.MESSAGES[name].replace("{t}", self.world.witness.token()).replace("{id}", quoteattr(stanza_id))

    @action(
        14,
        who=who,
        request=st.sampled_from(list(words.REQUESTS)),
        room=room_names,
        to=st.sampled_from(
            (
                "",
                "",
                "/alice",
                "/bob",
                "/ghost",
                "/nobody",
                "own",
                "own",
                "bare",
                "domain",
                "other",
                None,
            )
        ),
        again=st.sampled_from((False, False, False, True)),
    )
    def asks(self, who: tuple[str, str], request: str, room: str, to: str | None, again: bool) -> None:
        client = self.client(who)
        kind, payload = words.REQUESTS[request]
        elsewhere = {
            "own": f"{client.bare}/{RESOURCE}",
            "bare": client.bare,
            "domain": DOMAIN,
            "other": f"{BOB}/phone",
        }
        address = elsewhere.get(to, room + to) if to is not None else None
        if request == "next":
            payload = payload.replace("{id}", client.execution[0]).replace("{session}", client.execution[1])
            payload = payload.replace("{room}", room).replace("{device}", client.jid)
        attributes = words.attributes(to=address, type=kind, id=self._id(client, again))
        client.says(f"<iq{attributes}>{payload.replace('{id}', client.jid)}</iq>")

    @action(
        4,
        who=who,
        kind=st.sampled_from(("result", "result", "error")),
        wrongly=st.sampled_from((False, False, True)),
    )
    def answers(self, who: tuple[str, str], kind: str, wrongly: bool) -> None:
        """A client answers what a room has asked it; or something else."""
        client = self.client(who)
        sender, stanza_id = client.forwarded.popleft() if client.forwarded else ("plain@muc.test/ghost", "1")
        inner = error_of("item-not-found") if kind == "error" else f"<x xmlns='urn:x'>{self.world.witness.token()}</x>"
        attributes = words.attributes(to=sender, type=kind, id=f"{stanza_id}x" if wrongly else stanza_id)
        client.says(f"<iq{attributes}>{inner}</iq>")

    @action(
        1,
        who=who,
        room=room_names,
        name=st.sampled_from(("message", "presence")),
        nick=nicks,
    )
    def bounces(self, who: tuple[str, str], room: str, name: str, nick: str) -> None:
        to = quoteattr(f"{room}/{nick}")
        self.client(who).says(f"<{name} type='error' to={to}>{error_of('forbidden')}</{name}>")

    @action(3, who=who, unseen=st.sampled_from((0, 0, 5)))
    def closes(self, who: tuple[str, str], unseen: int) -> None:
        """A connection breaks; perhaps the last numbers in the order of messages did not come to the client."""
        self.client(who).closes(self.world.journal.given_out() - unseen if unseen else float("inf"))

    @action(2, who=who, slow=st.booleans())
    def reads(self, who: tuple[str, str], slow: bool) -> None:
        """From now on a client reads slowly, or as fast as it can; some in any case."""
        client = self.client(who)
        client.slow = slow
        client.drain(3 if slow else None)

    @action(
        1,
        who=who,
        shape=st.sampled_from(("deep", "deeper", "deepest", "many", "attributes", "large", "huge")),
    )
    def says_too_much(self, who: tuple[str, str], shape: str) -> None:
        client = self.client(who)
        for start in (
            "<message type='groupchat' to='plain@muc.test'",
            "<iq type='set' to='plain@muc.test'",
        ):
            client.says(self._large(start, shape, client.next_id(), 30_000))

    def _large(self, start: str, shape: str, stanza_id: str, most: int) -> str:
        token = self.world.witness.token()
        inner = {
            "deep": words.nested(10),
            "deeper": words.nested(900),
            "deepest": words.nested(min(10_000, most // 8)),
            "many": words.many(min(1500, most // 30)),
            "large": "<body>" + "&lt;" * (most // 9) + "</body>",
            "huge": "<body>" + "\u00e9" * (most // 2) + "</body>",
        }.get(shape, "<body/>")
        extra = "".join(f" a{number}='{number}'" for number in range(400)) if shape == "attributes" else ""
        name = start[1:].split()[0]
        return f"{start} id='{stanza_id}'{extra}><t xmlns='urn:x'>{token}</t>{inner}</{name}>"

    @action(3, who=who, seed=seeds)
    def talks_nonsense(self, who: tuple[str, str], seed: int) -> None:
        client = self.client(who)
        for text in self._absurd(Random(seed), 4, (client.jid, client.bare), ("i-phone-1", "1")):
            client.says(text)
            if client.closed:
                break

    def _absurd(self, chance: Random, count: int, own: tuple[str, ...], ids: tuple[str, ...]) -> list[str]:
        """Return stanzas that make no sense, with a token in each."""
        occupants = [f"{room}/{nick}" for room in list(ROOMS)[:2] for nick in ("alice", "bob", "ghost")]
        absurd = Absurd(chance, (*list(ROOMS), *occupants, *own, DOMAIN, "muc.test"), ids)
        found = []
        for text in (absurd.stanza() for _number in range(count)):
            name = text[1:].split(">")[0].split()[0]
            found.append(f"{text.removesuffix(f'</{name}>')}<t xmlns='urn:x'>{self.world.witness.token()}</t></{name}>")
        return found

    # The clients' own server ------------------------------------------------------------------------------------------

    @action(
        4,
        who=who,
        kind=st.sampled_from(("result", "error")),
        wrongly=st.sampled_from((False, False, True)),
    )
    def server_answers(self, who: tuple[str, str], kind: str, wrongly: bool) -> None:
        """The client's own server answers what was passed on."""
        client = self.client(who)
        query = f"<query xmlns='{words.ITEMS}' node='{words.COMMANDS}'>"
        to, stanza_id = client.passed.popleft() if client.passed else (client.bare, "1")
        token = self.world.witness.token()
        item = f"<item jid='{DOMAIN}' node='rooms' name='{token}'/>"
        inner = error_of("forbidden") if kind == "error" else f"{query}{item}</query>"
        attributes = words.attributes(
            from_=to,
            to=client.jid,
            type=kind,
            id=f"{stanza_id}x" if wrongly else stanza_id,
        )
        client.server_says(f"<iq{attributes}>{inner}</iq>")

    @action(
        3,
        who=who,
        room=room_names,
        direction=st.sampled_from(("sent", "received")),
        again=st.booleans(),
    )
    def server_copies(self, who: tuple[str, str], room: str, direction: str, again: bool) -> None:
        """A carbon of what the account stream sent or got."""
        client = self.client(who)
        ends = (f"{client.bare}/{RESOURCE}", f"{room}/ghost")
        sender, to = ends if direction == "sent" else ends[::-1]
        attributes = words.attributes(from_=sender, to=to, type="chat", id=self._id(client, again))
        message = f"<message xmlns='jabber:client'{attributes}><body>{self.world.witness.token()}</body></message>"
        client.server_says(
            f"<message from='{client.bare}' to='{client.jid}'><{direction} xmlns='urn:xmpp:carbons:2'>"
            f"<forwarded xmlns='urn:xmpp:forward:0'>{message}</forwarded></{direction}></message>"
        )

    @action(2, who=who, seed=seeds)
    def server_talks_nonsense(self, who: tuple[str, str], seed: int) -> None:
        client = self.client(who)
        for text in self._absurd(Random(seed), 4, (client.jid, client.bare), ("1", "i-phone-1")):
            client.server_says(text)

    @action(2, who=who, room=room_names, autojoin=st.booleans(), pushed=st.booleans())
    def bookmark(self, who: tuple[str, str], room: str, autojoin: bool, pushed: bool) -> None:
        client = self.client(who)
        self.world.server.bookmarks.setdefault(client.bare, {})[room] = autojoin
        if pushed:
            conference = f"<conference xmlns='urn:xmpp:bookmarks:1' autojoin='{str(autojoin).lower()}'/>"
            item = f"<item id='{room}'>{conference}</item>"
            event = "http://jabber.org/protocol/pubsub#event"
            client.server_says(
                f"<message from='{client.bare}' to='{client.jid}'><event xmlns='{event}'>"
                f"<items node='urn:xmpp:bookmarks:1'>{item}</items></event></message>"
            )

    # Rooms ------------------------------------------------------------------------------------------------------------

    @action(
        8,
        room=room_names,
        payload=st.sampled_from(list(words.MESSAGES)),
        times=st.sampled_from((1, 1, 1, 3, 25)),
    )
    def occupant_says(self, room: str, payload: str, times: int) -> None:
        model = self.world.rooms[room]
        for _ in range(times):
            model.speaks("ghost", self._payload(payload, f"m-{model.count}"))

    @action(4, room=room_names, bare=bares, payload=st.sampled_from(list(words.MESSAGES)))
    def occupant_whispers(self, room: str, bare: str, payload: str) -> None:
        """Said in private, also to who is not there."""
        attributes = words.attributes(from_=f"{room}/ghost", to=f"{bare}/{RESOURCE}", type="chat", id="w")
        self.world.to_stream(bare, f"<message{attributes}>{self._payload(payload, 'm-1')}</message>")

    @action(
        4,
        room=room_names,
        bare=bares,
        request=st.sampled_from(list(words.REQUESTS)),
        again=st.booleans(),
    )
    def occupant_asks(self, room: str, bare: str, request: str, again: bool) -> None:
        kind, payload = words.REQUESTS[request]
        self.world.rooms[room].count += not again
        stanza_id = f"q-{self.world.rooms[room].count}"
        attributes = words.attributes(from_=f"{room}/ghost", to=f"{bare}/{RESOURCE}", type=kind, id=stanza_id)
        self.world.to_stream(bare, f"<iq{attributes}>{payload.replace('{id}', 'i')}</iq>")

    @action(3, room=room_names, nick=st.sampled_from(("dave", "dave", "eve", "bob")))
    def occupant_comes_or_goes(self, room: str, nick: str) -> None:
        model = self.world.rooms[room]
        if nick not in model.occupants:
            model.occupants[nick] = ""
            model.show(nick)
        elif not model.occupants[nick]:
            model.show(nick, "unavailable")
            del model.occupants[nick]

    @action(
        4,
        room=room_names,
        bare=bares,
        how=st.sampled_from((*words.REMOVALS, "silently", "silently")),
    )
    def room_removes(self, room: str, bare: str, how: str) -> None:
        codes, inner = words.REMOVALS.get(how, ("", ""))
        self.world.rooms[room].removes(f"{bare}/{RESOURCE}", codes, inner, silently=how == "silently")

    @action(
        2,
        room=room_names,
        bare=bares,
        name=st.sampled_from(("presence", "message", "iq")),
        condition=st.sampled_from(words.ERRORS),
        nick=st.sampled_from(("", "/alice", "/bob", "/ghost")),
        stanza_id=st.sampled_from((None, "i-phone-1", "i-phone-2", "", "1")),
    )
    def room_refuses(
        self,
        room: str,
        bare: str,
        name: str,
        condition: str,
        nick: str,
        stanza_id: str | None,
    ) -> None:
        """An error for nothing in particular."""
        attributes = words.attributes(from_=room + nick, to=f"{bare}/{RESOURCE}", type="error", id=stanza_id)
        self.world.to_stream(bare, f"<{name}{attributes}>{error_of(condition)}</{name}>")

    @action(
        2,
        room=room_names,
        what=st.sampled_from(("archive", "anonymous", "password", "members", "topic", "gone", "code")),
    )
    def room_changes(self, room: str, what: str) -> None:
        model = self.world.rooms[room]
        if what == "password":
            model.password = None if model.password else "secret"
        elif what == "members":
            model.members_only = not model.members_only
        elif what == "gone":
            model.history = []
        elif what == "topic":
            model.topic = self.world.witness.token()
            model.speaks("ghost", f"<subject>{model.topic}</subject>")
        else:
            if what != "code":
                setattr(model, what, not getattr(model, what))
            self._tells_configuration(model)

    def _tells_configuration(self, model: ModelRoom) -> None:
        for jid in set(model.occupants.values()) - {""}:
            code = "173" if model.anonymous else "172"
            x = f"<x xmlns='{words.USER}'><status code='104'/><status code='{code}'/></x>"
            self.world.to_stream(
                jid,
                f"<message type='groupchat' from='{model.jid}' to='{jid}'>{x}</message>",
            )

    @action(
        2,
        room=room_names,
        bare=bares,
        nick=st.sampled_from(("alice", "bob", "ghost", "x")),
        codes=st.sampled_from(("", "110", "303", "110 303", "201 110", "210 110")),
        kind=st.sampled_from(("", "unavailable", "odd")),
    )
    def room_shows_wrongly(self, room: str, bare: str, nick: str, codes: str, kind: str) -> None:
        """A presence that does not fit what was before."""
        model = self.world.rooms[room]
        inner = f"<status>{self.world.witness.token()}</status>"
        text = model.presence(nick, f"{bare}/{RESOURCE}", kind, codes, " nick='alice'", inner)
        self.world.to_stream(bare, text.replace("{id}", ""))

    @action(3, bare=bares, seed=seeds)
    def stream_talks_nonsense(self, bare: str, seed: int) -> None:
        chance = Random(seed)
        asked = [stanza.get("id", "") for _up, stanza, _depth, _token in self.world.unanswered][-4:]
        own = (bare, f"{bare}/{RESOURCE}")
        for text in self._absurd(chance, 4, own, ("i-phone-1", f"{chance.randrange(40):016x}", *asked)):
            self.world.to_stream(bare, text)

    @action(
        2,
        bare=bares,
        shape=st.sampled_from(("deep", "deeper", "deepest", "many", "attributes", "large", "huge")),
        room=room_names,
        kind=st.sampled_from(("message", "presence", "iq", "own", "private")),
    )
    def stream_says_too_much(self, bare: str, shape: str, room: str, kind: str) -> None:
        to = words.attributes(to=f"{bare}/{RESOURCE}")
        start = {
            "message": f"<message type='groupchat' from='{room}/ghost'{to}",
            "presence": f"<presence from='{room}/ghost'{to}",
            "own": f"<presence from='{room}/alice'{to}",
            "private": f"<message type='chat' from='{room}/ghost'{to}",
            "iq": f"<iq type='get' from='{room}/ghost'{to}",
        }[kind]
        self.world.to_stream(bare, self._large(start, shape, "large", 200_000))

    @action(2, room=room_names, bare=bares)
    def room_repeats(self, room: str, bare: str) -> None:
        """A message that was said before, and is told again; none that had grown too old to be known again."""
        model = self.world.rooms[room]
        oldest = self.world.clock.furthest - self.world.settings.rooms.history_age
        said: list[Said] = [one for one in model.history[-1:] if one.time > oldest]
        for one in said:
            self.world.to_stream(bare, model.message(one, f"{bare}/{RESOURCE}", past=True))

    # How things are ---------------------------------------------------------------------------------------------------

    @action(
        5,
        prompt=st.booleans(),
        count=st.sampled_from((0, 1, 3)),
        silently=st.booleans(),
    )
    def peers(self, prompt: bool, count: int, silently: bool) -> None:
        """Rooms and servers answer at once, or slowly, or never."""
        self.world.prompt = prompt
        self.world.answer(count, silently=silently)

    @action(4, opens=st.sampled_from(("at once", "at once", "late", "fails", "refused")))
    def servers(self, opens: str) -> None:
        self.world.opens = opens
        self.world.decides()

    @action(3, bare=bares, how=st.sampled_from(("lost", "error", "broken")))
    def stream_ends(self, bare: str, how: str) -> None:
        upstream = self.world.upstream(bare)
        if upstream is None:
            return
        if how == "error":
            upstream.says(b"<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>")
        elif how == "broken":
            upstream.says(b"<message><body></message>")
        upstream.lose()

    @action(4, late=st.booleans(), faults=st.sampled_from((0, 0, 1, 5)))
    def disk(self, late: bool, faults: int) -> None:
        """Writing takes its time, or fails."""
        self.world.disk.late, self.world.disk.faults = late, faults
        if not late:
            self.world.disk.work()

    @action(8, seconds=st.sampled_from((0.0, 0.3, 1.1, 3.1, 5.1, 11.0, 31.0, 61.0, 130.0)))
    def time_passes(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    @action(1, set_by=st.sampled_from((0.0, 3600.0, -3600.0, 40 * 86400.0, -2e9, 5e10)))
    def clock_is_set(self, set_by: float) -> None:
        self.world.clock.is_set(set_by)

    @action(1, bare=bares, how=st.sampled_from(("forgotten", "removed", "password")))
    def operator(self, bare: str, how: str) -> None:
        accounts = self.world.accounts
        self.world.memory.forget(bare)
        if how == "password":
            accounts.password_changed(bare, "another")
        elif how == "removed":
            accounts.removed(bare)
        else:
            accounts.forget(bare)

    @action(2, orderly=st.booleans(), damaged=st.sampled_from((0, 0, 1, 3)), seed=seeds)
    def restarts(self, orderly: bool, damaged: int, seed: int) -> None:
        self.between_lives = True
        self.world.ends(orderly=orderly)
        chance = Random(seed)
        if damaged:
            self.world.witness.damaged = True
            self.world.memory.forget(*BARES)
        for _ in range(damaged):
            self.world.storage.tables.damage(chance)
        self.world.begins_again()
        self.between_lives = False

    # What takes several steps ----------------------------------------------------------------------------------------

    @action(
        3,
        bare=bares,
        room=room_names,
        between=st.sampled_from(("nothing", "restart", "crash", "lost")),
        again=st.sampled_from(("nothing", "restart", "crash")),
    )
    def comes_back(self, bare: str, room: str, between: str, again: str) -> None:
        """Nobody of the account is there while something is said to it; then its devices come back, more than once."""
        self.peers(True, 0, False)
        self.servers("at once")
        self.disk(False, 0)
        self.all_join(room)
        self.world.settle()
        for client in [client for client in self.world.clients.values() if client.bare == bare]:
            client.closes()
        for payload in ("body", "long"):
            self.occupant_whispers(room, bare, payload)
            self.occupant_says(room, payload, 3)
        for happens in (between, again):
            self.world.settle()
            if happens in ("restart", "crash"):
                self.restarts(orderly=happens == "restart", damaged=0, seed=0)
            elif happens == "lost":
                self.stream_ends(bare, "lost")
            self.world.clock.advance(5)
            self.world.settle()
            self.all_join(room)

    @action(
        3, who=who, room=room_names, payload=st.sampled_from(list(words.MESSAGES)), nick=nicks, lost=st.booleans()
    )
    def waits(self, who: tuple[str, str], room: str, payload: str, nick: str, lost: bool) -> None:
        """A device asks for things while its room says nothing, or cannot be reached."""
        self.joins(who, room, "alice", "")
        self.world.settle()
        self.world.prompt = False
        self.changes_nick(who, room, nick)
        self.asks(who, "info", room, "/ghost", False)
        if lost:
            self.stream_ends(who[0], "lost")
        self.says(who, room, payload, "", "groupchat", False)
        self.asks(who, "ping", room, "/ghost", False)
        self.changes_nick(who, room, nick)


def _happenings() -> st.SearchStrategy[list[tuple[str, dict[str, Any]]]]:
    names = [name for name, (weight, _given) in ACTIONS.items() for _ in range(weight)]
    one = st.sampled_from(names).flatmap(lambda name: st.tuples(st.just(name), ACTIONS[name][1]))
    return st.lists(one, min_size=1, max_size=4)


class AccountMachine(Happenings):
    """Some of it happens, again and again."""

    @rule(some=_happenings())
    def happens(self, some: list[tuple[str, dict[str, Any]]]) -> None:
        for name, given in some:
            getattr(self, name)(**given)
            self.world.settle()

    # What has to hold -------------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_wrong(self) -> None:
        world = getattr(self, "world", None)
        if world is not None:
            world.settle()
            check_sizes(world)
            assert not world.witness.complaints, "\n".join(world.witness.complaints)

    def teardown(self) -> None:
        try:
            if hasattr(self, "world") and not self.between_lives and not self.world.witness.complaints:
                end(self.world)
        finally:
            if hasattr(self, "world"):
                self.world.witness.unwatch()
            self._patches.close()
