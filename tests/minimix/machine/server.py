"""The server that accounts of the machine ask for bookmarks, and ping."""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from tests.minimix.machine.rooms import PUBSUB, Say, error_of


@dataclass(slots=True)
class ModelServer:
    """What answers an account at its own address and at its domain; all accounts' bookmarks, by bare JID."""

    say: Say
    bookmarks: dict[str, dict[str, bool]] = field(default_factory=dict)

    def iq_from(self, jid: str, to: str | None, stanza: ElementTree.Element) -> None:
        kind = stanza.get("type")
        if kind not in ("get", "set"):
            return
        bare = jid.partition("/")[0]
        sender = f" from={quoteattr(to)}" if to else ""
        head = f"<iq{sender} to={quoteattr(jid)} id={quoteattr(stanza.get('id', ''))}"
        child = next(iter(stanza), None)
        if child is not None and child.tag == f"{PUBSUB}pubsub" and kind == "get":
            items = "".join(
                f"<item id={quoteattr(room)}><conference xmlns='urn:xmpp:bookmarks:1'"
                f" autojoin='{str(autojoin).lower()}'><nick>{bare.partition('@')[0]}</nick></conference></item>"
                for room, autojoin in self.bookmarks.get(bare, {}).items()
            )
            found = f"<items node='urn:xmpp:bookmarks:1'>{items}</items>"
            self.say(
                jid,
                f"{head} type='result'><pubsub xmlns='{PUBSUB[1:-1]}'>{found}</pubsub></iq>",
            )
        elif child is not None and "ping" in child.tag:
            self.say(jid, f"{head} type='result'/>")
        else:
            self.say(jid, f"{head} type='error'>{error_of('service-unavailable')}</iq>")
