"""What was journalled while the batch before it was being written: one transaction.

Kept by kind, not in one sequence: numbers of rooms and messages are never used again, and for the rest the last
word counts, so the order between kinds can be fixed (see `Store`).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final, Literal

from twisted.internet.defer import Deferred

from minimixproxy.storage.gate import Waiting

#: What becomes of a cursor: its two columns; or only `attached`, the rest as it is; or no row.
Cursor = tuple[int | None, int | None] | int | Literal["gone"]


class Erasure(IntEnum):
    """Where nothing is left of what was deleted."""

    NOWHERE = 0
    LOG = 1  # not in the write-ahead log, and not where it was; copies may be in the unused parts of pages
    FILE = 2  # in no file


class Batch:
    """Rows to be written and to be deleted, and the output that waits for them."""

    __slots__ = (
        "accounts",
        "acknowledged",
        "begun",
        "blocked",
        "changes",
        "cursors",
        "disowned",
        "emptied",
        "erased",
        "erases",
        "erasure",
        "freed",
        "given",
        "gone_accounts",
        "gone_keys",
        "gone_rooms",
        "gone_tokens",
        "handed",
        "leaves_copies",
        "left_out",
        "login_keys",
        "login_tokens",
        "messages",
        "only_messages",
        "output",
        "privates",
        "released",
        "replaced_rooms",
        "replaces_history",
        "rooms",
        "size",
        "top",
        "tried",
        "trimmed",
        "writes_anew",
    )

    def __init__(self) -> None:
        self.accounts: dict[int, tuple[Any, ...]] = {}  # rows by number
        self.rooms: dict[int, tuple[Any, ...]] = {}
        self.login_keys: dict[tuple[str, str], tuple[Any, ...]] = {}  # rows by account and hash
        self.gone_accounts: list[int] = []
        self.gone_keys: list[str] = []  # accounts that had keys; what is in `login_keys` comes after that
        self.login_tokens: dict[tuple[str, str, int], tuple[Any, ...]] = {}  # rows by account, device and number
        self.gone_tokens: dict[tuple[str, str], None] = {}  # devices that had some; `login_tokens` comes after that
        self.blocked: dict[str, tuple[Any, ...] | None] = {}  # rows by account; None: no row
        self.gone_rooms: list[int] = []
        self.messages: list[Any] = []  # the values of all rows, one after the other
        self.changes: dict[int, tuple[Any, ...]] = {}  # by sequence, the columns that are new (see `Statements`)
        self.emptied: dict[int, None] = {}  # sequences of messages whose rows have bytes that nobody says any more
        self.disowned: list[int] = []  # sequences of messages that are gone, and whose bytes others say
        self.trimmed: list[int] = []  # sequences; of some that came, changed or were disowned in this batch, perhaps
        self.cursors: dict[tuple[int, str], Cursor] = {}
        self.acknowledged: dict[tuple[int, str], int | None] = {}  # by account and resource; None: no row
        self.privates: list[Any] = []  # like `messages`
        self.given: list[int] = []  # sequences
        self.erased: list[tuple[Erasure, Deferred[None]]] = []  # who waits for how much of what this deletes to be gone
        self.erases = False  # the log is to be erased soon
        self.leaves_copies = False  # what goes may be elsewhere in the file, too (see `wal`)
        self.writes_anew = False  # and the file at once
        self.erasure = Erasure.FILE  # as far as the store has come with that, and with earlier batches
        self.replaces_history = False  # messages and privates here are all that there are
        self.replaced_rooms: list[int] = []  # the same, of these rooms alone
        self.released: list[str] = []  # accounts that this process of a cluster lets go, when all else is written ...
        self.freed: list[str] = []  # ... and those that another one is to take
        self.handed: dict[str, tuple[str, bytes]] = {}  # rows of what goes along with some of these
        self.output: Waiting = []  # what clients are told when this is on disk
        self.size = 0  # bytes of messages, about
        self.top = 0  # the last sequence given when this batch was closed
        self.only_messages = False  # whether there was nothing else in it then, as mostly there is not: what was said
        self.left_out = 0  # rows that the database refused when it was written
        self.tried = False  # to write it: that may have been done, and only the answer have been lost
        self.begun = 0.0  # when writing began, in seconds of the reactor's clock

    def close(self, top: int) -> None:
        """Nothing more comes into it; `top` is the last sequence given."""
        self.top = top
        self.only_messages = not (
            self.accounts
            or self.rooms
            or self.cursors
            or self.acknowledged
            or self.changes
            or self.privates
            or self.login_keys
            or self.login_tokens
            or self.blocked
            or self.leaves_copies
            or self.erases
            or self.released
            or self.freed
            or self.handed
            or self.deletes
        )

    @property
    def let_go(self) -> list[str]:
        """Accounts that are this process's no more once it is written."""
        return self.released + self.freed

    @property
    def deletes(self) -> bool:
        """Whether something goes from the database, or is replaced there."""
        gone = self.gone_accounts or self.gone_keys or self.gone_tokens or self.gone_rooms
        less = self.trimmed or self.given or self.changes or self.emptied or self.disowned
        return bool(gone or less or self.replaces_history or self.replaced_rooms)

    def empty(self, sequence: int) -> None:
        """Have nothing left of the bytes that a message's row has for others."""
        change = self.changes.get(sequence)
        if change is None:
            self.emptied[sequence] = None
        else:
            self.changes[sequence] = (b"", *change[1:])

    def drop_history(self) -> None:
        """Forget messages: there are too many to wait."""
        for rows in (self.messages, self.trimmed, self.disowned, self.privates, self.given):
            rows.clear()
        for changes in (self.changes, self.emptied):
            changes.clear()
        self.size = 0


#: What a row costs beside its bytes, about.
ROW_SIZE: Final = 256
