"""Gajim's library, nbxmpp, as a program of its own: a device that is told what to do in JSON and says what it sees.

Usage: /usr/bin/python3 -I nbxmpp_client.py AUTHORITY.pem PORT JID PASSWORD

Debian's python3-nbxmpp and python3-gi are for Debian's Python only, hence a program; nbxmpp_device.py talks to it. Each
line of the input is an object: "do" names a method of Device, the rest are its arguments. Each line of the output is an
object, too: "event" names it. The end of the input ends the program.

What nbxmpp makes of a stanza is told in nbxmpp's words. Whether the device takes itself for an occupant is decided as
Gajim 1.7 does it: joined from the subject on, until it has left, was kicked, or the room was destroyed.
"""

import json
import logging
import os
import sys
from collections.abc import Callable
from enum import Enum
from typing import Any

from gi.repository import Gio, GLib
from nbxmpp.client import Client
from nbxmpp.const import ConnectionProtocol, ConnectionType
from nbxmpp.errors import BaseError
from nbxmpp.modules.bookmarks.util import build_conference_node
from nbxmpp.namespaces import Namespace
from nbxmpp.protocol import JID, Iq, Message, Presence
from nbxmpp.structs import BookmarkData, MessageProperties, PresenceProperties, StanzaHandler
from nbxmpp.task import Task

LAST = 90  # a handler of this priority comes after all of nbxmpp's own


def tell(event: str, **facts: object) -> None:
    plain = {name: sorted(value) if isinstance(value, set) else value for name, value in facts.items()}
    print(json.dumps({"event": event, **plain}, sort_keys=True, default=_plain), flush=True)


def _plain(value: object) -> object:
    return value.value if isinstance(value, Enum) else str(value)


class Complaints(logging.Handler):
    """What nbxmpp does not like becomes an event."""

    def emit(self, record: logging.LogRecord) -> None:
        tell("complaint", text=self.format(record))


class Device:
    def __init__(self, loop: GLib.MainLoop, authority: str, port: str, jid: str, password: str) -> None:
        self.loop = loop
        self.rooms: dict[str, str] = {}  # "joining" or "joined"
        self.comes_back = False
        Gio.TlsBackend.get_default().set_default_database(Gio.TlsFileDatabase.new(authority))
        address = JID.from_string(jid)
        self.client = client = Client(log_context="device")
        client.set_domain(address.domain)
        client.set_username(address.localpart)
        client.set_resource(address.resource)
        client.set_password(password)
        client.set_custom_host(f"127.0.0.1:{port}", ConnectionProtocol.TCP, ConnectionType.START_TLS)
        client.subscribe("connected", self._connected)
        client.subscribe("disconnected", self._disconnected)
        client.subscribe("connection-failed", self._disconnected)
        client.subscribe("resume-successful", lambda _client, _signal: tell("resumed"))
        client.register_handler(StanzaHandler("presence", self._presence, priority=LAST))
        client.register_handler(StanzaHandler("message", self._message, priority=LAST))
        client.connect()

    # What happens

    def _connected(self, client: Client, _signal: str) -> None:
        carbons = Iq("set")
        carbons.addChild("enable", namespace=Namespace.CARBONS)
        client.send_stanza(carbons, callback=self._enabled)

    def _enabled(self, client: Client, _answer: Iq) -> None:
        client.get_module("BasePresence").send()
        tell("connected", jid=client.get_bound_jid())

    def _disconnected(self, client: Client, _signal: str) -> None:
        tell("disconnected", error=client.get_error())
        if self.comes_back and client.resumeable:
            client.connect()
        else:
            self.loop.quit()

    def _presence(self, _client: Client, _stanza: Presence, seen: PresenceProperties) -> None:
        if not seen.from_muc:
            return
        room = str(seen.jid.bare)
        codes = {code.value for code in seen.muc_status_codes or ()}
        tell(
            "presence",
            room=room,
            nick=seen.jid.resource,
            available=seen.type.is_available,
            mine=seen.is_muc_self_presence,
            codes=codes,
            kicked=seen.is_kicked,
            reason=seen.muc_user.reason if seen.muc_user else None,
            show=seen.show,
            new_nick=seen.muc_user.nick if seen.is_nickname_changed else None,
            occupant_id=seen.occupant_id,
        )
        if seen.is_muc_destroyed or (seen.is_muc_self_presence and seen.is_kicked):
            self.rooms.pop(room, None)

    def _message(self, _client: Client, stanza: Message, seen: MessageProperties) -> None:
        tell(
            "message",
            kind=seen.type,
            sender=seen.from_,
            receiver=seen.to,
            body=seen.body,
            subject=seen.subject,
            copy=seen.carbon.type if seen.carbon else None,
            private=seen.muc_private_message,
            occupant_id=seen.occupant_id,
        )
        room = str(seen.jid.bare) if seen.jid else None
        if seen.type.value == "groupchat" and stanza.getTag("subject") is not None and room in self.rooms:
            self.rooms[room] = "joined"
            tell("joined", room=room)

    # What to do

    def join(self, room: str, nick: str) -> None:
        self.rooms[room] = "joining"
        self.client.get_module("BasePresence").send(jid=f"{room}/{nick}", muc=True)

    def come_back(self) -> None:
        """Resume the stream (XEP-0198) from now on, when the connection is lost."""
        self.comes_back = True

    def leave(self, room: str, nick: str) -> None:
        del self.rooms[room]
        self.client.get_module("BasePresence").send(jid=f"{room}/{nick}", typ="unavailable")

    def change_nick(self, room: str, nick: str, show: str | None = None) -> None:
        self.client.get_module("BasePresence").send(jid=f"{room}/{nick}", show=show)

    def say(self, to: str, body: str, kind: str = "groupchat") -> None:
        message = Message(to=to, body=body, typ=kind)
        if kind == "chat":
            message.setTag("x", namespace=Namespace.MUC_USER)  # as Gajim marks what is said to an occupant
        self.client.send_stanza(message)

    def state(self, room: str) -> None:
        tell("state", room=room, state=self.rooms.get(room, "not joined"))

    def ping(self, to: str) -> None:
        self._ask(self.client.get_module("Ping").ping, "pong", JID.from_string(to))

    def commands(self, of: str) -> None:
        self._ask(self.client.get_module("AdHoc").request_command_list, "commands", JID.from_string(of))

    def bookmark(self, room: str, nick: str, autojoin: bool) -> None:
        # NativeBookmarks would add options that ejabberd 23.01 refuses; Gajim uses private XML there.
        item = build_conference_node(BookmarkData(JID.from_string(room), nick=nick, autojoin=autojoin))
        self.client.get_module("PubSub").publish(Namespace.BOOKMARKS_1, item, id_=room)

    def bookmarks(self) -> None:
        self._ask(self.client.get_module("NativeBookmarks").request_bookmarks, "bookmarks")

    def quit(self) -> None:
        self.comes_back = False
        self.client.disconnect()

    def _ask(self, request: Callable[..., object], event: str, *arguments: object) -> None:
        """Call a method of nbxmpp that makes a request, and tell how it ended."""

        def done(task: Task) -> None:
            try:
                tell(event, result=_listed(task.finish()))
            except BaseError as error:
                tell(event, error=f"{type(error).__name__}: {error}")

        self._callback = done  # nbxmpp keeps only a weak reference
        request(*arguments, callback=done)


def _listed(result: Any) -> object:
    """Tuples with names as objects, so that JSON keeps the names."""
    if hasattr(result, "_asdict"):
        return result._asdict()
    return [_listed(item) for item in result] if isinstance(result, list) else result


def main() -> None:
    tell("started")
    complaints = Complaints(logging.WARNING)
    logging.getLogger("nbxmpp").addHandler(complaints)
    loop = GLib.MainLoop()
    device = Device(loop, *sys.argv[1:])
    orders = b""

    def come(source: int, _condition: GLib.IOCondition) -> bool:
        nonlocal orders
        more = os.read(source, 65536)
        if not more:
            loop.quit()
            return False
        *lines, orders = (orders + more).split(b"\n")
        for line in lines:
            order = json.loads(line)
            getattr(device, order.pop("do"))(**order)
        return True

    GLib.unix_fd_add_full(GLib.PRIORITY_DEFAULT, sys.stdin.fileno(), GLib.IO_IN | GLib.IO_HUP, come)
    loop.run()


if __name__ == "__main__":
    main()
