"""The tables. What an account has kept, as `minimixproxy.minimix.interfaces.journal` describes it.

Numbers of accounts, rooms and messages are given by the process that writes them: the only one, or one of a cluster
(see `numbering`). A message has no key to its room: what goes with a room is named one by one, so that messages need no
second index. A cluster, which reads accounts one by one, makes itself one.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
)

#: In SQLite only a key of exactly this type is the row's own number, which costs no index.
Number = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

#: One row: what tells this database from others.
identity = Table("identity", metadata, Column("id", String(32), primary_key=True))

#: One row: who has the database (see `lease`). `expires`: seconds since the epoch, by the clock of the server.
holder = Table(
    "holder",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=False),
    Column("epoch", Number, nullable=False),
    Column("installation", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("expires", Float(53), nullable=False),
)

#: A row for each process of a cluster that runs, or has run and has left accounts behind (see `cluster_lease`).
holders = Table(
    "holders",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=False),  # never used again
    Column("slot", Integer, nullable=False),  # its share of all numbers of rows
    Column("name", Text, nullable=False),
    Column("address", Text, nullable=False),  # where other processes of the cluster reach it
    Column("version", Text, nullable=False),
    Column("directory", Text, nullable=False),  # names its directory, of which only one process is at a time
    Column("expires", Float(53), nullable=False),  # as in `holder`
    Column("ended", Boolean, nullable=False),  # once it has, it is for good
    Column("given_out", Number, nullable=False),  # up to where messages were handed to sessions
    Column("accounts", Integer, nullable=False),  # how many it holds, as it says with each sign of life
    Column("line", Number, nullable=False),  # which of its connections may write: the last one
    Column("draining", Boolean, nullable=False, server_default=false()),  # it takes no accounts, and hands on its own
)

#: The `holder` of a lease that nobody has: no process has that number.
FREE = 0

#: Which process of a cluster has an account. The epoch grows each time that it is taken.
leases = Table(
    "leases",
    metadata,
    Column("bare", Text, primary_key=True),
    Column("holder", Number, nullable=False, index=True),
    Column("epoch", Number, nullable=False),
)

#: Which process of a cluster connects a domain of `[[client_proxy]]` (see `domain_leases`).
components = Table(
    "components",
    metadata,
    Column("domain", Text, primary_key=True),
    Column("holder", Number, nullable=False),
)

#: What goes along with an account from one process of a cluster to another (see `handed_accounts`), sealed.
handed = Table(
    "handed",
    metadata,
    Column("bare", Text, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=False),
    Column("bare", Text, nullable=False, unique=True),
    Column("refused", Boolean, nullable=False),
    Column("last_seen", Float(53), nullable=False),
    Column("domain", Text),  # NULL: no login is kept
    Column("username", Text),
    Column("hash_name", Text),
    Column("salt", LargeBinary),
    Column("iterations", Integer),
    Column("client_key", LargeBinary),  # these three are sealed
    Column("server_key", LargeBinary),
    Column("password", LargeBinary),
    Column("unfollowed", Text),  # a JSON object: by room, the digest of the bookmark that is not followed, or null
    Column("push", LargeBinary),  # what devices have enabled (XEP-0357), as JSON, sealed; NULL: nothing
)

#: The keys that accounts were enrolled with, whether or not they have been here; not those that logins leave.
login_keys = Table(
    "login_keys",
    metadata,
    Column("bare", Text, primary_key=True),
    Column("hash_name", Text, primary_key=True),
    Column("salt", LargeBinary, nullable=False),
    Column("iterations", Integer, nullable=False),
    Column("stored_key", LargeBinary, nullable=False),  # these three are sealed
    Column("server_key", LargeBinary, nullable=False),
    Column("client_key", LargeBinary),  # NULL: no client has shown it yet
)

#: The tokens by which devices log in: of each the one that it uses (number 0), and the next one.
login_tokens = Table(
    "login_tokens",
    metadata,
    Column("bare", Text, primary_key=True),
    Column("device", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("software", Text, nullable=False),
    Column("mechanism", Text, nullable=False),
    Column("secret", LargeBinary, nullable=False),  # sealed
    Column("keys", LargeBinary, nullable=False),  # names the keys of the account with which it stands and falls
    Column("issued", Float(53), nullable=False),
    Column("expires", Float(53), nullable=False),
    Column("count", BigInteger, nullable=False),
)

#: The accounts that the operator has blocked, whether or not anything else is kept of them.
blocked = Table(
    "blocked",
    metadata,
    Column("bare", Text, primary_key=True),
    Column("since", Float(53), nullable=False),
    Column("reason", Text, nullable=False),
)

rooms = Table(
    "rooms",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=False),
    Column("account_id", Number, ForeignKey("accounts.id"), nullable=False),
    Column("room", Text, nullable=False),
    Column("nick", Text),  # NULL: the account has not entered yet
    Column("wished_nick", Text),
    Column("password", LargeBinary),  # sealed
    Column("bookmarked", Boolean, nullable=False),
    Column("since", Float(53), nullable=False),
    Column("missing_id", Text),
    Column("missing_time", Float(53)),  # NULL: no message is missing; else some are, behind the one of this id and time
    Index("rooms_of_account", "account_id", "room", unique=True),
)

#: The `room_id` of a row that is no message any more, or never was one: others name it for what they say.
NOBODY = 0

messages = Table(
    "messages",
    metadata,
    Column("sequence", Number, primary_key=True, autoincrement=False),
    Column("room_id", Number, nullable=False),
    Column("time", Float(53), nullable=False),
    Column("raw", LargeBinary, nullable=False),  # empty where `body` says who has it, unless others name this row
    Column("stamped", Boolean, nullable=False),
    Column("stanza_id", Text),
    Column("amends", Number),
    Column("retracted", Boolean, nullable=False),
    Column("checksum", Number, nullable=False),  # CRC-32 of what the message says
    Column("body", Number),  # the sequence of the row whose `raw` is what the message says; NULL: this one's
)

cursors = Table(
    "cursors",
    metadata,
    Column("room_id", Number, primary_key=True, autoincrement=False),
    Column("resource", Text, primary_key=True),
    Column("sequence", Number),  # NULL: has seen nothing as far as is known
    Column("attached", Number),  # since when, as a sequence: sees all that is given out from then on; NULL: is not
)

#: A row for each device whose stream is managed (XEP-0198), while its session lasts.
acknowledged = Table(
    "acknowledged",
    metadata,
    Column("account_id", Number, primary_key=True, autoincrement=False),
    Column("resource", Text, primary_key=True),
    Column("sequence", Number, nullable=False),  # of the message, of any room, up to which it has acknowledged all
)

privates = Table(
    "privates",
    metadata,
    Column("sequence", Number, primary_key=True, autoincrement=False),
    Column("room_id", Number, nullable=False, index=True),
    Column("raw", LargeBinary, nullable=False),
    Column("checksum", Number, nullable=False),
)
