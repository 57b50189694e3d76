"""What rooms of the machine say and do, and who is in them."""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st

from tests.minimix.machine import words as words
from tests.minimix.machine.happenings import Happenings, action, bares, room_names, seeds
from tests.minimix.machine.room_iqs import ModelRoom
from tests.minimix.machine.rooms import Said, error_of
from tests.minimix.machine.upstream import RESOURCE


class RoomHappenings(Happenings):
    """By name of the method."""

    @action(
        8,
        room=room_names,
        payload=st.sampled_from(list(words.MESSAGES)),
        times=st.sampled_from((1, 1, 1, 3, 25)),
    )
    def occupant_says(self, room: str, payload: str, times: int) -> None:
        model = self.world.rooms[room]
        for _ in range(times):
            model.speaks("ghost", self.payload(payload, f"m-{model.count}"))

    @action(4, room=room_names, bare=bares, payload=st.sampled_from(list(words.MESSAGES)))
    def occupant_whispers(self, room: str, bare: str, payload: str) -> None:
        """Said in private, also to who is not there."""
        attributes = words.attributes(from_=f"{room}/ghost", to=f"{bare}/{RESOURCE}", type="chat", id="w")
        self.world.to_stream(bare, f"<message{attributes}>{self.payload(payload, 'm-1')}</message>")

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
        for text in self.absurd(chance, 4, own, ("i-phone-1", f"{chance.randrange(40):016x}", *asked)):
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
        self.world.to_stream(bare, self.large(start, shape, "large", 200_000))

    @action(2, room=room_names, bare=bares)
    def room_repeats(self, room: str, bare: str) -> None:
        """A message that was said before, and is told again; none that had grown too old to be known again."""
        model = self.world.rooms[room]
        oldest = self.world.clock.furthest - self.world.settings.rooms.history_age
        said: list[Said] = [one for one in model.history[-1:] if one.time > oldest]
        for one in said:
            self.world.to_stream(bare, model.message(one, f"{bare}/{RESOURCE}", past=True))
