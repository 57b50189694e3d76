"""Implementing clients and users of a proxied domain made with slixmpp and aioxmpp, which know nothing of the proxy.

Workers offer one ad-hoc command, `greet`, and a vCard (XEP-0050, XEP-0054); either answer names its resource.
slixmpp's command has two steps: a form that asks for a name, then the greeting. aioxmpp's has one.
"""

import asyncio
from typing import Any

import slixmpp
from slixmpp.xmlstream.handler import CoroutineCallback
from slixmpp.xmlstream.matcher import StanzaPath
from twisted.internet.defer import Deferred

from tests.integration.libraries import Aioxmpp, Slixmpp, aioxmpp, waiting
from tests.integration.servers import Account

if aioxmpp is not None:
    import aioxmpp.adhoc
    import aioxmpp.adhoc.xso
    import aioxmpp.forms.xso
    import aioxmpp.vcard
    import aioxmpp.vcard.xso
    from lxml import etree

COMMAND = "greet"
NS_VCARD = "vcard-temp"


class SlixmppWorker(Slixmpp):
    """An implementing client. slixmpp accepts subscriptions by itself."""

    def __init__(self, account: Account, resource: str) -> None:
        super().__init__(account, resource)
        self.resource = resource
        self.served: list[str] = []  # what it was asked, in order
        for plugin in ("xep_0004", "xep_0047", "xep_0050", "xep_0054"):
            self.xmpp.register_plugin(plugin)
        self.xmpp["xep_0047"].auto_accept = True
        self.xmpp.add_event_handler("ibb_stream_data", self._shout_back)
        self.xmpp.remove_handler("VCardTemp")  # its stanza class is needed, not its answers
        self.xmpp.register_handler(CoroutineCallback("vCard", StanzaPath("iq@type=get/vcard_temp"), self._vcard))
        self.xmpp.add_event_handler("session_start", self._offer)

    def ping(self, jid: str) -> "Deferred[Any]":
        """Ping; what was sent before has arrived when the answer comes."""
        return waiting(self.xmpp["xep_0199"].send_ping(jid))

    async def _shout_back(self, stream: Any) -> None:
        """Answer data of an in-band bytestream (XEP-0047) with the same in capitals, in the same stream."""
        self.served.append("data")
        await stream.sendall(stream.recv().upper())

    def _offer(self, _event: Any) -> None:
        self.xmpp["xep_0050"].add_command(node=COMMAND, name="Greet somebody", handler=self._greet)

    def _greet(self, iq: Any, session: Any) -> Any:
        self.served.append("command")
        form = self.xmpp["xep_0004"].make_form("form", "Whom?")
        form.add_field(var="name", ftype="text-single", label="Name", value="world")
        session["payload"] = form
        session["has_next"] = False
        session["next"] = self._greeted
        return session

    def _greeted(self, payload: Any, session: Any) -> Any:
        self.served.append("command")
        name = payload["values"]["name"]
        form = self.xmpp["xep_0004"].make_form("result", "Done")
        form.add_field(var="greeting", ftype="text-single", value=f"hello {name}, says {self.resource}")
        session["payload"] = form
        session["next"] = None
        return session

    async def _vcard(self, iq: Any) -> None:
        self.served.append("vcard")
        reply = iq.reply()
        reply["vcard_temp"]["FN"] = f"The {self.resource}"
        reply.send()


class SlixmppUser(Slixmpp):
    """Somebody who asks."""

    def __init__(self, account: Account, resource: str) -> None:
        super().__init__(account, resource)
        for plugin in ("xep_0004", "xep_0047", "xep_0050", "xep_0054"):
            self.xmpp.register_plugin(plugin)

    def commands(self, domain: str) -> "Deferred[list[tuple[str, str]]]":
        """The address and name of each command on offer."""

        async def run() -> list[tuple[str, str]]:
            found = await self.xmpp["xep_0050"].get_commands(jid=slixmpp.JID(domain))
            return [(str(jid), node) for jid, node, _name in found["disco_items"]["items"]]

        return waiting(run())

    def greeting(self, domain: str, name: str) -> "Deferred[str]":
        """Run the command to its end, however many steps it has."""

        async def run() -> str:
            adhoc = self.xmpp["xep_0050"]
            reply = await adhoc.send_command(slixmpp.JID(domain), COMMAND)
            while reply["command"]["status"] != "completed":
                form = self.xmpp["xep_0004"].make_form("submit")
                form.add_field(var="name", value=name)
                session = reply["command"]["sessionid"]
                reply = await adhoc.send_command(
                    slixmpp.JID(domain), COMMAND, action="complete", sessionid=session, payload=form
                )
            notes = [text for _kind, text in reply["command"]["notes"]]
            return notes[0] if notes else str(reply["command"]["form"]["values"]["greeting"])

        return waiting(run())

    def echo(self, domain: str, words: list[str]) -> "Deferred[list[str]]":
        """Open an in-band bytestream, send words one by one, and return what comes back for each."""

        async def run() -> list[str]:
            heard: asyncio.Queue[bytes] = asyncio.Queue()
            self.xmpp.add_event_handler("ibb_stream_data", lambda stream: heard.put_nowait(stream.recv()))
            stream = await self.xmpp["xep_0047"].open_stream(slixmpp.JID(domain))
            answers = []
            for word in words:
                await stream.sendall(word.encode())
                answers.append((await heard.get()).decode())
            await stream.close()
            return answers

        return waiting(run())

    def full_name(self, domain: str) -> "Deferred[str]":
        """The name in the vCard."""

        async def run() -> str:
            reply = await self.xmpp["xep_0054"].get_vcard(slixmpp.JID(domain), cached=False)
            return str(reply["vcard_temp"]["FN"])

        return waiting(run())


if aioxmpp is not None:

    class AioxmppWorker(Aioxmpp):
        """An implementing client."""

        def __init__(self, account: Account, resource: str) -> None:
            super().__init__(account, resource)
            self.served: list[str] = []

        def prepare(self) -> None:
            self.client.summon(aioxmpp.adhoc.AdHocServer).register_stateless_command(
                COMMAND, aioxmpp.structs.LanguageMap({None: "Greet somebody"}), self._greet
            )
            self.client.stream.register_iq_request_handler(aioxmpp.IQType.GET, aioxmpp.vcard.xso.VCard, self._vcard)
            roster = self.client.summon(aioxmpp.RosterClient)
            roster.on_subscribe.connect(lambda stanza: roster.approve(stanza.from_))

        def ping(self, jid: str) -> "Deferred[Any]":
            """As SlixmppWorker's."""
            return waiting(aioxmpp.ping.ping(self.client, aioxmpp.JID.fromstr(jid)))

        async def _greet(self, _stanza: Any) -> Any:
            self.served.append("command")
            note = aioxmpp.adhoc.xso.Note(aioxmpp.adhoc.xso.NoteType.INFO, f"hello, says {self._resource}")
            return aioxmpp.adhoc.xso.Command(
                COMMAND, status=aioxmpp.adhoc.xso.CommandStatus.COMPLETED, sessionid="only", notes=[note]
            )

        async def _vcard(self, _stanza: Any) -> Any:
            self.served.append("vcard")
            card = aioxmpp.vcard.xso.VCard()
            etree.SubElement(card.elements, f"{{{NS_VCARD}}}FN").text = f"The {self._resource}"
            return card

    class AioxmppUser(Aioxmpp):
        """Somebody who asks."""

        def commands(self, domain: str) -> "Deferred[list[tuple[str, str]]]":
            async def run() -> list[tuple[str, str]]:
                adhoc = self.client.summon(aioxmpp.adhoc.AdHocClient)
                found = await adhoc.get_commands(aioxmpp.JID.fromstr(domain))
                return [(str(item.jid), item.node) for item in found]

            return waiting(run())

        def greeting(self, domain: str, name: str) -> "Deferred[str]":
            async def run() -> str:
                adhoc = self.client.summon(aioxmpp.adhoc.AdHocClient)
                session = await adhoc.execute(aioxmpp.JID.fromstr(domain), COMMAND)
                while session.status != aioxmpp.adhoc.CommandStatus.COMPLETED:
                    form = session.first_payload
                    form.type_ = aioxmpp.forms.xso.DataType.SUBMIT
                    form.fields[0].values[:] = [name]
                    await session.proceed(action=aioxmpp.adhoc.ActionType.COMPLETE, payload=form)
                if session.response.notes:
                    return str(session.response.notes[0].body)
                return str(session.first_payload.fields[0].values[0])

            return waiting(run())

        def full_name(self, domain: str) -> "Deferred[str]":
            async def run() -> str:
                service = self.client.summon(aioxmpp.vcard.VCardService)
                card = await service.get_vcard(aioxmpp.JID.fromstr(domain))
                return str(card.elements.findtext(f"{{{NS_VCARD}}}FN"))

            return waiting(run())
