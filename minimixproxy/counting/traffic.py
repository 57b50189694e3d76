"""What goes over the streams of one kind, all together: bytes of XML, before TLS and without it. No I/O.

These are counted with each read and write, so they are attributes that are added to, and nothing else.
"""

from __future__ import annotations

TRAFFIC: list[Traffic] = []  # of this process


class Traffic:
    """`received`: stanzas by kind; `sent`: stanzas, and what else was written as one."""

    __slots__ = ("name", "received", "received_bytes", "sent", "sent_bytes")

    def __init__(self, name: str) -> None:
        """`name`: whose streams."""
        self.name = name
        self.received = {"message": 0, "presence": 0, "iq": 0}
        self.received_bytes = 0
        self.sent = 0
        self.sent_bytes = 0
        TRAFFIC.append(self)


CLIENTS = Traffic("client")
SESSIONS = Traffic("session")  # theirs to their servers
ACCOUNTS = Traffic("account")
COMPONENTS = Traffic("component")
LOGINS = Traffic("login")  # to servers, before they are one of these


def client_stanzas() -> int:
    """Return how many stanzas went from and to clients."""
    return sum(CLIENTS.received.values()) + CLIENTS.sent
