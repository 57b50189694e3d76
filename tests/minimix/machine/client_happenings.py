"""What clients of the machine say and do, and their own server."""

from __future__ import annotations

from random import Random
from xml.sax.saxutils import quoteattr

from hypothesis import strategies as st

from minimixproxy.namespaces import NS_MUC
from tests.minimix.machine import words as words
from tests.minimix.machine.happenings import DEVICES, Happenings, action, nicks, room_names, seeds, who
from tests.minimix.machine.rooms import error_of
from tests.minimix.machine.upstream import RESOURCE
from tests.minimix.machine.world import BOB, DOMAIN


class ClientHappenings(Happenings):
    """By name of the method."""

    @action(8, who=who, room=room_names, nick=nicks, wish=st.sampled_from(words.WISHES))
    def joins(self, who: tuple[str, str], room: str, nick: str, wish: str) -> None:
        client = self.client(who)
        stanza_id = client.next_id()
        if room.startswith("locked") and not wish:
            wish = "<password>secret</password>"
        to = quoteattr(f"{room}/{nick}")
        client.says(f"<presence to={to} id='{stanza_id}'><x xmlns='{NS_MUC}'>{wish}</x></presence>")

    @action(4, room=room_names)
    def all_join(self, room: str) -> None:
        for device in DEVICES[1:]:
            self.joins(device, room, device[0].partition("@")[0], "")

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
        inner = self.payload(payload, f"m-{self.world.rooms[room].count}")
        attributes = words.attributes(to=room + to, type=kind, id=self.id_of(client, again))
        client.says(f"<message{attributes}>{inner}</message>")

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
        attributes = words.attributes(to=address, type=kind, id=self.id_of(client, again))
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

    @action(3, who=who, away=st.booleans())
    def looks(self, who: tuple[str, str], away: bool) -> None:
        """A user looks at a client, or away: what can wait does (XEP-0352)."""
        self.client(who).looks(away=away)

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
            client.says(self.large(start, shape, client.next_id(), 30_000))

    @action(3, who=who, seed=seeds)
    def talks_nonsense(self, who: tuple[str, str], seed: int) -> None:
        client = self.client(who)
        for text in self.absurd(Random(seed), 4, (client.jid, client.bare), ("i-phone-1", "1")):
            client.says(text)
            if client.closed:
                break

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
        attributes = words.attributes(from_=sender, to=to, type="chat", id=self.id_of(client, again))
        message = f"<message xmlns='jabber:client'{attributes}><body>{self.world.witness.token()}</body></message>"
        client.server_says(
            f"<message from='{client.bare}' to='{client.jid}'><{direction} xmlns='urn:xmpp:carbons:2'>"
            f"<forwarded xmlns='urn:xmpp:forward:0'>{message}</forwarded></{direction}></message>"
        )

    @action(2, who=who, seed=seeds)
    def server_talks_nonsense(self, who: tuple[str, str], seed: int) -> None:
        client = self.client(who)
        for text in self.absurd(Random(seed), 4, (client.jid, client.bare), ("1", "i-phone-1")):
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
