"""A desktop session's end of D-Bus: calls programs, and is the logind that tells them that the lid has been opened.

Usage: /usr/bin/python3 -I desktop_session.py

Debian's python3-gi is for Debian's Python only, hence a program; desktop.py talks to it. Each line of the input is an
object, "do" names a method of Session, the rest are its arguments; each is answered by a line: {"answer": …} or
{"error": text}. The end of the input ends the program.
"""

import json
import os
import sys
from typing import Any

from gi.repository import Gio, GLib

LOGIND, LOGIND_PATH = "org.freedesktop.login1", "/org/freedesktop/login1"


class Session:
    def __init__(self, bus: Gio.DBusConnection) -> None:
        self.bus = bus
        Gio.bus_own_name_on_connection(bus, LOGIND, Gio.BusNameOwnerFlags.NONE, None, None)

    def call(self, name: str, path: str, method: str, signature: str, arguments: str) -> Any:
        """Call a method, "interface.name"; `arguments` is GVariant's text of a tuple with that signature."""
        interface, _, member = method.rpartition(".")
        parameters = GLib.Variant.parse(GLib.VariantType(signature), arguments)
        answer = self.bus.call_sync(name, path, interface, member, parameters, None, Gio.DBusCallFlags.NONE, -1, None)
        return answer.unpack()

    def has(self, name: str, path: str, interface: str) -> bool:
        """Whether a program has such an object by now."""
        about = self.call(name, path, "org.freedesktop.DBus.Introspectable.Introspect", "()", "()")[0]
        return interface in about

    def wake(self) -> None:
        """Say that the machine has slept, and is awake now."""
        asleep = GLib.Variant("(b)", [False])
        self.bus.emit_signal(None, LOGIND_PATH, f"{LOGIND}.Manager", "PrepareForSleep", asleep)
        self.bus.flush_sync(None)


def obey(session: Session, line: str) -> dict[str, Any]:
    order = json.loads(line)
    try:
        return {"answer": getattr(session, order.pop("do"))(**order)}
    except GLib.Error as error:
        return {"error": error.message}


def main() -> None:
    session = Session(Gio.bus_get_sync(Gio.BusType.SESSION, None))
    rest = b""
    loop = GLib.MainLoop()

    def read(descriptor: int, _condition: GLib.IOCondition) -> bool:
        nonlocal rest
        data = os.read(descriptor, 65536)
        if not data:
            loop.quit()
            return False
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            print(json.dumps(obey(session, line.decode())), flush=True)
        return True

    GLib.io_add_watch(sys.stdin.fileno(), GLib.IO_IN | GLib.IO_HUP, read)
    print(json.dumps({"answer": "ready"}), flush=True)
    loop.run()


if __name__ == "__main__":
    main()
