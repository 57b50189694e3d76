"""What an account has kept on disk, and what it is given back after a restart: records and interfaces. No I/O.

Calls on a journal return at once and keep their order. What a client is told goes through `Journal.gated`: it waits
until everything that was journalled before is on disk, so that a crash at any moment takes back nothing that was said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred

from minimixproxy.wire.lazy_stanzas import Output


@dataclass(slots=True)
class KeptMessage:
    """A groupchat message of a room's history. `time`: seconds since the epoch.

    Never changed. It is not marked so because making one, for each message and account, would take four times as long.
    """

    sequence: int  # of all messages of all rooms: given by `RoomJournal.next_sequence`, and growing
    time: float
    raw: bytes
    stamped: bool  # the room's delay stamp is in `raw`
    stanza_id: str | None = None  # the room's own (XEP-0359)
    amends: int | None = None  # the sequence of the kept message that this one corrects or retracts
    retracted: bool = False


@dataclass(frozen=True, slots=True)
class KeptPrivate:
    """A private message that no session was there to get."""

    sequence: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class KeptMembership:
    """What a room is joined with. `nick` is the one in use, `wished_nick` the one to return to."""

    nick: str
    wished_nick: str
    password: str | None = field(default=None, repr=False)
    bookmarked: bool = False  # a bookmark with autojoin keeps the account in
    since: float = 0.0  # when the account came in, seconds since the epoch
    # Behind which message some are missing, which the room's archive has: the room's id of it, if any, and its time.
    missing_since: tuple[str | None, float] | None = None


@dataclass(slots=True)
class KeptRoom:
    """An occupancy as it was kept. A cursor: the sequence of the last message that a client, by resource, has seen."""

    room: str
    membership: KeptMembership
    messages: list[KeptMessage] = field(default_factory=list)
    cursors: dict[str, int] = field(default_factory=dict)
    privates: list[KeptPrivate] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class KeptLogin:
    """What logs an account in again without its clients: SCRAM keys, or the password where that is configured."""

    domain: str
    username: str
    hash_name: str = ""
    salt: bytes = b""
    iterations: int = 0
    client_key: bytes = field(default=b"", repr=False)
    server_key: bytes = field(default=b"", repr=False)
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class KeptPush:
    """What a device has enabled (XEP-0357 §5): `jid` and `node` of the push service, and the options, a whole form.

    `resource`: the device; `device`: the id of its installation, "" if it has said none. `at_server`: the account's
    server has enabled it, too.
    """

    resource: str
    jid: str
    node: str
    options: bytes = field(default=b"", repr=False)
    at_server: bool = True
    device: str = ""


@dataclass(slots=True)
class KeptAccount:
    """An account as it was kept. `last_seen`: when a client of it was connected last, seconds since the epoch.

    `unfollowed`: rooms that it does not enter for their bookmarks as they are, with the digests of those; None: of the
    next that is read.
    """

    bare: str
    login: KeptLogin | None
    refused: bool  # the server refused the login: no retries until a client logs in
    last_seen: float
    rooms: list[KeptRoom] = field(default_factory=list)
    unfollowed: dict[str, str | None] = field(default_factory=dict)
    push: tuple[KeptPush, ...] = ()


class RoomJournal(Protocol):
    """What one occupancy has kept."""

    def next_sequence(self) -> int:
        """Return the sequence of the next message, greater than any before."""

    def given_out(self) -> int:
        """Return the sequence up to which messages have passed the gate to sessions that were attached."""

    def membership(self, membership: KeptMembership) -> None:
        """The account is, and stays, in the room with this."""

    def forgotten(self) -> None:
        """The account is in the room no more: everything about it goes."""

    def message_kept(self, message: KeptMessage) -> None:
        """A message entered the history."""

    def message_changed(self, message: KeptMessage) -> None:
        """A kept message has changed."""

    def message_gone(self, sequence: int) -> None:
        """One message of the history goes."""

    def trimmed(self, oldest: int) -> None:
        """The history begins with the message of this sequence: older ones go."""

    def attached(self, resource: str) -> None:
        """A client sees all that comes from now on."""

    def seen(self, resource: str, sequence: int) -> None:
        """A client is not attached any more, and has seen everything up to a message."""

    def cursor_forgotten(self, resource: str) -> None:
        """Nobody needs to know what this client has seen."""

    def private_kept(self, private: KeptPrivate) -> None:
        """A private message waits for a session."""

    def private_given(self, sequence: int) -> None:
        """A private message waits no more."""


class TokenDevice(NamedTuple):
    """A device that logs in by a token. `software`: as it calls itself, "" if it does not; `issued`: in Unix time."""

    id: str
    software: str
    issued: float


class Journal(Protocol):
    """What all accounts have kept."""

    def token_devices(self, bare: str) -> list[TokenDevice]:
        """Return the devices of an account that log in by a token."""

    def tokens_withdrawn(self, bare: str, device: str) -> None:
        """The token of a device is good no more."""

    def room(self, bare: str, room: str) -> RoomJournal:
        """Return the journal of one account's occupancy of one room."""

    def account_kept(self, bare: str, login: KeptLogin | None, last_seen: float) -> None:
        """The account is known, by this login from now on; None leaves the login kept before as it is."""

    def account_refused(self, bare: str, refused: bool) -> None:
        """The server refuses the login of the account, or takes it again."""

    def bookmarks_unfollowed(self, bare: str, rooms: Mapping[str, str | None]) -> None:
        """These are all the rooms whose bookmarks the account does not follow (see `KeptAccount`)."""

    def push_enabled(self, bare: str, enabled: tuple[KeptPush, ...]) -> None:
        """This is all that devices of the account have enabled."""

    def account_expired(self, bare: str) -> None:
        """Nobody needs the account any more: everything about it goes, but the keys that it was enrolled with."""

    def account_forgotten(self, bare: str) -> bool:
        """Everything about the account goes, rooms and keys too. Return whether there was anything."""

    def acknowledged(self, bare: str, resource: str, sequence: int) -> None:
        """A device whose stream is managed (XEP-0198) has acknowledged all that it was given, up to a message.

        From the first call until `not_managed`, that is how far it has seen its rooms if the proxy is killed.
        """

    def not_managed(self, bare: str, resource: str) -> None:
        """A device's session is over: after a crash it has seen what was given out, or what its cursors say."""

    def erased(self, *, copies: bool) -> Deferred[None]:
        """Return what fires when everything journalled so far is on disk, and what was forgotten is erased there.

        `copies`: also those that a database may keep beside the rows, which costs all accounts time. Else these go
        later, together with those of other accounts.
        """

    def gated(self, deliver: Callable[[Output], None]) -> Callable[[Output], None]:
        """Return a function like `deliver` whose effect waits until all that was journalled before it is on disk."""

    def given_out(self) -> int:
        """Return the sequence up to which messages of all rooms have passed the gate."""


def when_on_disk(journal: Journal) -> Callable[[Callable[[], None]], None]:
    """Return what calls a function once all that was journalled before is on disk, in order with what is told."""

    def call(function: Any) -> None:
        function()

    on_disk: Any = journal.gated(call)
    return on_disk  # type: ignore[no-any-return]
