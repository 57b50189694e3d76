"""Rooms that do as they should, for the machine (XEP-0045): presences and messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr
from zlib import crc32

from tests.minimix.machine.witness import CLIENT, USER

MUC = "{http://jabber.org/protocol/muc}"
NS_USER = USER[1:-1]
NS_INFO = "http://jabber.org/protocol/disco#info"
NS_MAM = "urn:xmpp:mam:2"
NS_RSM = "http://jabber.org/protocol/rsm"
MAM = f"{{{NS_MAM}}}"
PUBSUB = "{http://jabber.org/protocol/pubsub}"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
SHOWN = 20  # messages to who joins

#: Sends text to an account's stream (a full JID).
Say = Callable[[str, str], None]


def error_of(condition: str, kind: str = "cancel") -> str:
    return f"<error type='{kind}'><{condition} xmlns='{STANZAS}'/></error>"


@dataclass(slots=True)
class Said:
    """A message of a room's history."""

    id: str
    sender: str
    inner: str
    stanza_id: str | None
    time: float


@dataclass(slots=True)
class Room:
    """One room. Occupants by nick: the full JID of an account stream, or "" for somebody else."""

    jid: str
    say: Say
    now: Callable[[], float]
    token: Callable[[], str]
    anonymous: bool = True
    archive: bool = False
    ids: bool = True
    occupant_ids: bool = True
    password: str | None = None
    members_only: bool = False
    occupants: dict[str, str] = field(default_factory=lambda: {"ghost": ""})
    history: list[Said] = field(default_factory=list)
    topic: str = "topic"
    count: int = 0
    asked: dict[str, tuple[str, str | None, str]] = field(default_factory=dict)  # forwarded IQs: who, id, by which nick

    # What it shows ---------------------------------------------------------------------------------------------------

    def nick_of(self, jid: str) -> str | None:
        return next((nick for nick, one in self.occupants.items() if one == jid), None)

    def presence(
        self,
        nick: str,
        to: str,
        kind: str = "",
        codes: str = "",
        item: str = "",
        inner: str = "",
    ) -> str:
        jid = self.occupants.get(nick, "")
        address = f" jid={quoteattr(jid)}" if jid and (not self.anonymous or jid == to) else ""
        role = "none" if kind == "unavailable" else "participant"
        status = "".join(f"<status code='{code}'/>" for code in codes.split())
        shape = f" type='{kind}'" if kind else ""
        known = f"<occupant-id xmlns='urn:xmpp:occupant-id:0' id='o-{crc32(nick.encode())}'/>"
        occupant = known if self.occupant_ids else ""
        return (
            f"<presence from={quoteattr(f'{self.jid}/{nick}')} to={quoteattr(to)}{shape}{{id}}>{inner}{occupant}"
            f"<x xmlns='{NS_USER}'><item affiliation='member' role='{role}'{address}{item}/>{status}</x></presence>"
        )

    def show(
        self,
        nick: str,
        kind: str = "",
        codes: str = "",
        item: str = "",
        stanza_id: str | None = None,
    ) -> None:
        """Show an occupant to all; `codes` are for itself alone."""
        inner = f"<status>{self.token()}</status>"
        for jid in set(self.occupants.values()) - {""}:
            own = self.occupants.get(nick) == jid
            seen = f"{codes} 110" if own else ("303" if "303" in codes else "")
            text = self.presence(nick, jid, kind, seen, item, inner)
            self.say(
                jid,
                text.replace("{id}", f" id={quoteattr(stanza_id)}" if own and stanza_id else ""),
            )

    def message(self, said: Said, to: str, past: bool = False) -> str:
        stamp = ""
        if past:
            time = datetime.fromtimestamp(max(0.0, said.time), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            stamp = f"<delay xmlns='urn:xmpp:delay' from={quoteattr(self.jid)} stamp='{time}'/>"
        known = f"<stanza-id xmlns='urn:xmpp:sid:0' by={quoteattr(self.jid)} id='{said.stanza_id}'/>"
        known = known if said.stanza_id else ""
        return (
            f"<message type='groupchat' from={quoteattr(f'{self.jid}/{said.sender}')} to={quoteattr(to)}"
            f" id={quoteattr(said.id)}>{said.inner}{known}{stamp}</message>"
        )

    def subject(self, to: str) -> None:
        subject = f"<subject>{self.topic}</subject>"
        self.say(
            to,
            f"<message type='groupchat' from='{self.jid}' to={quoteattr(to)}>{subject}</message>",
        )

    # What happens in it ----------------------------------------------------------------------------------------------

    def speaks(self, nick: str, inner: str, stanza_id: str | None = None) -> None:
        """An occupant says something to all."""
        self.count += 1
        known = f"s-{self.count}" if self.ids else None
        said = Said(
            stanza_id if stanza_id is not None else f"m-{self.count}",
            nick,
            inner,
            known,
            self.now(),
        )
        if "<body>" in inner:
            self.history = [*self.history[-60:], said]
        for jid in set(self.occupants.values()) - {""}:
            self.say(jid, self.message(said, jid))

    def removes(self, jid: str, codes: str = "", inner: str = "", silently: bool = False) -> None:
        """Somebody is out; `codes` say why."""
        nick = self.nick_of(jid)
        if nick is None:
            return
        if not silently:
            text = self.presence(nick, jid, "unavailable", f"110 {codes}")
            self.say(jid, text.replace("{id}", "").replace("</x>", f"{inner}</x>"))
        del self.occupants[nick]
        for other in set(self.occupants.values()) - {""}:
            self.say(other, self.presence(nick, other, "unavailable").replace("{id}", ""))

    # What it is asked ------------------------------------------------------------------------------------------------

    def presence_from(self, jid: str, nick: str, stanza: ElementTree.Element) -> None:
        present, stanza_id = self.nick_of(jid), stanza.get("id")
        identifier = f" id={quoteattr(stanza_id)}" if stanza_id is not None else ""
        kind = stanza.get("type")
        if kind == "unavailable":
            if present is not None:
                text = self.presence(present, jid, "unavailable", "110", inner=self._inner(stanza))
                self.say(jid, text.replace("{id}", identifier))
                self.removes(jid, silently=True)
            return
        if kind == "error":
            self.removes(jid, "307 333")
            return
        if kind is not None or not nick:
            return
        x = stanza.find(f"{MUC}x")
        if present is None and x is None:
            return
        if self.occupants.get(nick, jid) != jid:
            self._refuses(jid, nick, identifier, "conflict")
        elif present is None and x is not None and self.password not in (None, x.findtext(f"{MUC}password")):
            self._refuses(jid, nick, identifier, "not-authorized")
        elif present is None and self.members_only:
            self._refuses(jid, nick, identifier, "registration-required")
        elif present is not None and present != nick:
            self._renames(jid, present, nick, stanza_id)
        elif x is None:
            self.show(nick, stanza_id=stanza_id)
        else:
            self._lets_in(jid, nick, identifier, x)

    @staticmethod
    def _inner(stanza: ElementTree.Element) -> str:
        status = stanza.findtext(f"{CLIENT}status")
        return f"<status>{escape(status)}</status>" if status else ""

    def _refuses(self, jid: str, nick: str, identifier: str, condition: str) -> None:
        self.say(
            jid,
            f"<presence type='error' from={quoteattr(f'{self.jid}/{nick}')} to={quoteattr(jid)}{identifier}>"
            f"<x xmlns='{MUC[1:-1]}'/>{error_of(condition)}</presence>",
        )

    def _renames(self, jid: str, former: str, nick: str, stanza_id: str | None) -> None:
        self.show(former, "unavailable", "303", f" nick={quoteattr(nick)}")
        del self.occupants[former]
        self.occupants[nick] = jid
        self.show(nick, stanza_id=stanza_id)

    def _lets_in(self, jid: str, nick: str, identifier: str, x: ElementTree.Element) -> None:
        for other in self.occupants:
            if self.occupants[other] != jid:
                self.say(jid, self.presence(other, jid).replace("{id}", ""))
        self.occupants[nick] = jid
        for other in set(self.occupants.values()) - {"", jid}:
            self.say(other, self.presence(nick, other).replace("{id}", ""))
        codes = "110" if self.anonymous else "110 100"
        self.say(jid, self.presence(nick, jid, codes=codes).replace("{id}", identifier))
        wish = x.find(f"{MUC}history")
        maximum = wish.get("maxstanzas") if wish is not None else None
        count = min(SHOWN, int(maximum)) if maximum is not None and maximum.isdigit() and len(maximum) < 9 else SHOWN
        for said in self.history[-count:] if count else []:
            self.say(jid, self.message(said, jid, past=True))
        self.subject(jid)

    def message_from(self, jid: str, nick: str, stanza: ElementTree.Element, inner: str) -> None:
        present, kind = self.nick_of(jid), stanza.get("type")
        if kind == "error":
            return
        if present is None:
            stanza_id = stanza.get("id")
            identifier = f" id={quoteattr(stanza_id)}" if stanza_id is not None else ""
            address = quoteattr(f"{self.jid}/{nick}" if nick else self.jid)
            error = error_of("not-acceptable")
            self.say(
                jid,
                f"<message type='error' from={address} to={quoteattr(jid)}{identifier}>{error}</message>",
            )
        elif kind == "groupchat" and not nick:
            self.speaks(present, inner, stanza.get("id"))
        elif nick and self.occupants.get(nick):
            address, other = quoteattr(f"{self.jid}/{present}"), self.occupants[nick]
            self.say(
                other,
                f"<message type='chat' from={address} to={quoteattr(other)}>{inner}</message>",
            )
