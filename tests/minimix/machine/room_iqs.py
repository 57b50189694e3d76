"""What rooms of the machine answer: disco, what is asked of XEP-0313, and what occupants ask each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from tests.minimix.machine.rooms import MAM, NS_INFO, NS_MAM, NS_RSM, Room, error_of


@dataclass(slots=True)
class ModelRoom(Room):
    """A room that answers, too."""

    def iq_from(self, jid: str, nick: str, stanza: ElementTree.Element) -> None:
        kind, stanza_id = stanza.get("type"), stanza.get("id", "")
        if kind in ("result", "error"):
            self._passes_on(jid, nick, stanza)
            return
        to = quoteattr(jid)
        address = quoteattr(f"{self.jid}/{nick}" if nick else self.jid)
        present = self.nick_of(jid)

        def answer(inner: str, shape: str = "result") -> None:
            self.say(
                jid,
                f"<iq type='{shape}' from={address} to={to} id={quoteattr(stanza_id)}>{inner}</iq>",
            )

        if not nick:
            self._asked(jid, stanza, answer)
        elif present is None:
            answer(error_of("not-acceptable"), "error")
        elif nick not in self.occupants:
            answer(error_of("item-not-found"), "error")
        elif self.occupants[nick] in ("", jid):
            answer(f"<x xmlns='urn:x'>{self.token()}</x>")
        else:
            self.count += 1
            self.asked[f"f-{self.count}"] = (jid, stanza_id, nick)
            other = self.occupants[nick]
            child = next(iter(stanza), None)
            is_ping = child is not None and "ping" in child.tag
            inner = "<ping xmlns='urn:xmpp:ping'/>" if is_ping else f"<x xmlns='urn:x'>{self.token()}</x>"
            asker = quoteattr(f"{self.jid}/{present}")
            self.say(
                other,
                f"<iq type='{kind}' from={asker} to={quoteattr(other)} id='f-{self.count}'>{inner}</iq>",
            )

    def _passes_on(self, jid: str, nick: str, stanza: ElementTree.Element) -> None:
        """An occupant answers another."""
        asker, stanza_id, asked = self.asked.pop(stanza.get("id", ""), ("", None, ""))
        if asker in self.occupants.values() and asker:
            kind = stanza.get("type")
            inner = f"<x xmlns='urn:x'>{self.token()}</x>" if kind == "result" else error_of("service-unavailable")
            attributes = (
                f"from={quoteattr(f'{self.jid}/{asked}')} to={quoteattr(asker)} id={quoteattr(stanza_id or '')}"
            )
            self.say(asker, f"<iq type='{kind}' {attributes}>{inner}</iq>")

    def _asked(self, jid: str, stanza: ElementTree.Element, answer: Callable[..., None]) -> None:
        child = next(iter(stanza), None)
        tag = child.tag if child is not None else ""
        if child is not None and tag == f"{{{NS_INFO}}}query":
            feature = f"<feature var='{NS_MAM}'/>" if self.archive else ""
            node = child.get("node")
            named = f" node={quoteattr(node)}" if node is not None else ""
            name = self.token() if node is None else ""  # of the node for registered nicks, it is the nick
            identity = f"<identity category='conference' type='text' name='{name}'/>"
            answer(f"<query xmlns='{NS_INFO}'{named}>{identity}{feature}</query>")
        elif child is not None and tag == f"{MAM}query" and self.archive:
            self._tells(jid, child, answer)
        else:
            answer(f"<x xmlns='urn:x'>{self.token()}</x>")

    def _tells(self, jid: str, query: ElementTree.Element, answer: Callable[..., None]) -> None:
        """The last page of the archive, or the one before."""
        known = [said for said in self.history if said.stanza_id is not None]
        before = query.findtext(f"{{{NS_RSM}}}set/{{{NS_RSM}}}before") or ""
        ids = [said.stanza_id for said in known]
        if before in ids:
            known = known[: ids.index(before)]
        page = known[-10:]
        queried = query.get("queryid")
        named = f" queryid={quoteattr(queried)}" if queried is not None else ""
        for said in page:
            time = datetime.fromtimestamp(max(0.0, said.time), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            message = self.message(said, self.jid).replace("<message ", "<message xmlns='jabber:client' ")
            self.say(
                jid,
                f"<message from='{self.jid}' to={quoteattr(jid)}>"
                f"<result xmlns='{NS_MAM}'{named} id='{said.stanza_id}'><forwarded xmlns='urn:xmpp:forward:0'>"
                f"<delay xmlns='urn:xmpp:delay' stamp='{time}'/>{message}</forwarded></result></message>",
            )
        complete = " complete='true'" if len(page) == len(known) else ""
        first = f"<first>{page[0].stanza_id}</first><last>{page[-1].stanza_id}</last>" if page else ""
        answer(f"<fin xmlns='{NS_MAM}'{complete}><set xmlns='{NS_RSM}'>{first}<count>{len(known)}</count></set></fin>")
