"""What an account's own clients ask of the account itself, at the address of its account stream. No I/O.

That address (bare JID and the installation's resource) is answered here whether the stream is open or not, and for the
account's own sessions only: they reach it through the proxy, and nobody else does. It is not shown to them as one more
device: a presence made up for it would have clients send it messages, encrypt for it, and offer it calls and files.
Instead, what the server lists of commands gets ours added (see `disco_items`).
"""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.jids import Address, InvalidJID, parse_jid
from minimixproxy.minimix.addressing.outgoing import is_own
from minimixproxy.minimix.commands.disco_items import DiscoItems, item
from minimixproxy.minimix.commands.executions import Commands
from minimixproxy.minimix.commands.user_commands import Owned, UserCommands
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.namespaces import NS_COMMANDS, NS_DATA, NS_DISCO_INFO, NS_DISCO_ITEMS, NS_MUC
from minimixproxy.timing.clock import Clock
from minimixproxy.wire.stanza import Stanza, optional_attribute
from minimixproxy.xep import disco
from minimixproxy.xep.iq import answer_to
from minimixproxy.xep.stanza_errors import error_payload

LIST_NAME = "Rooms of this account (minimixproxy)"


class UserRequests:
    """The owner's side of one account. `address` returns the full JID of the account stream, open or not."""

    def __init__(self, account: Owned, bare: str, address: Callable[[], str], clock: Clock) -> None:
        self._bare = bare
        self._address = address
        self._commands = Commands(bare, UserCommands(account).offered(), clock)
        self.disco_items = DiscoItems(bare, self._items_of, clock)

    def from_client(self, session: SessionPort, iq: Stanza) -> bool:
        """Look at an IQ of one of the account's sessions; True: it is answered."""
        if iq.get("type") not in ("get", "set"):
            return False
        to = iq.get("to")
        try:
            address = parse_jid(to) if to is not None else None
        except InvalidJID:
            return False
        if address is not None and self._is_for_us(address, iq):
            if is_own(iq.get("from"), session):
                self._answer(session, iq)
            else:
                session.close("invalid-from")
            return True
        if iq.get("type") == "get":
            self.disco_items.asked(session, iq, address.full if address is not None else "")
        return False

    def _is_for_us(self, address: Address, iq: Stanza) -> bool:
        """Tell whether an IQ is for the account itself: at its address, or one of our commands where ours are listed.

        Some clients (profanity) execute a command at the address whose list they asked for, not at that of the item.
        What the server itself lists under the same name stays the server's.
        """
        if address.resource is not None:
            return address.bare == self._bare and address == parse_jid(self._address())
        if address.bare not in self.disco_items.addresses:
            return False
        command = iq.payload(NS_COMMANDS, "command")
        node = command.getAttribute("node", "") if command is not None else ""
        return node in self._commands.offered and node not in self.disco_items.seen

    def from_server(self, session: SessionPort, iq: Stanza) -> bool:
        """Look at an IQ of the server for one of the account's sessions; True: it got another in its place."""
        changed = self.disco_items.answered(session, iq)
        if changed is None:
            return False
        session.deliver_instead(changed)
        return True

    def session_closed(self, session: SessionPort) -> None:
        """What it has begun is over."""
        self._commands.asker_gone(session)
        self.disco_items.session_closed(session)

    # Answers ---------------------------------------------------------------------------------------------------

    def _answer(self, session: SessionPort, iq: Stanza) -> None:
        """Answer an IQ at our address, now or later."""

        def reply(children: bytes) -> None:
            session.deliver(answer_to(iq, children, sender=iq["to"], to=session.jid))

        if iq.has_payload(NS_COMMANDS, "command"):
            self._commands.answer(session, iq, reply)
        else:
            reply(self._told(iq))

    def _told(self, iq: Stanza) -> bytes:
        """Return the children of the reply to an IQ about the account."""
        if iq.get("type") == "get":
            info = iq.payload(NS_DISCO_INFO, "query")
            if info is not None:
                return self._info(info.getAttribute("node", "")) or _unknown(disco.answer(iq))
            items = iq.payload(NS_DISCO_ITEMS, "query")
            if items is not None:
                return self._items(items.getAttribute("node", ""))
        return _unknown(disco.answer(iq))

    def _info(self, node: str) -> bytes | None:
        """Return the disco#info that only the owner gets; None where everybody's (see `answers`) is right."""
        if node == "":
            # No MUC: where this address is among a server's items, it would be taken for a room service.
            features = tuple(sorted({*disco.FEATURES, NS_COMMANDS, NS_DISCO_ITEMS} - {NS_MUC}))
            return disco.disco_info(node, disco.IDENTITY, features)
        if node == NS_COMMANDS:
            return disco.disco_info(node, ("automation", "command-list", LIST_NAME), (NS_COMMANDS,))
        command = self._commands.offered.get(node)
        if command is None:
            return None
        return disco.disco_info(node, ("automation", "command-node", command.name), (NS_COMMANDS, NS_DATA))

    def _items(self, node: str) -> bytes:
        if node not in ("", NS_COMMANDS, *self._commands.offered):
            return error_payload("cancel", "item-not-found")
        attribute = optional_attribute("node", node or None)
        return b"<query xmlns='%b'%b>%b</query>" % (NS_DISCO_ITEMS.encode(), attribute, self._items_of(node))

    def _items_of(self, node: str) -> bytes:
        """Return our items of a list: the commands where these are asked for, else where to find them."""
        address = self._address()
        if node == "":
            return item(address, NS_COMMANDS, LIST_NAME)
        if node != NS_COMMANDS:
            return b""
        return b"".join(item(address, command.node, command.name) for command in self._commands.offered.values())


def _unknown(children: bytes | None) -> bytes:
    return children if children is not None else error_payload("cancel", "service-unavailable")
