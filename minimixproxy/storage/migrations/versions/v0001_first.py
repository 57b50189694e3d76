"""The first version."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table("identity", sa.Column("id", sa.String(32), primary_key=True))
    op.create_table(
        "accounts",
        sa.Column("id", _Number, primary_key=True, autoincrement=False),
        sa.Column("bare", sa.Text, nullable=False, unique=True),
        sa.Column("refused", sa.Boolean, nullable=False),
        sa.Column("last_seen", sa.Float(53), nullable=False),
        sa.Column("domain", sa.Text),
        sa.Column("username", sa.Text),
        sa.Column("hash_name", sa.Text),
        sa.Column("salt", sa.LargeBinary),
        sa.Column("iterations", sa.Integer),
        sa.Column("client_key", sa.LargeBinary),
        sa.Column("server_key", sa.LargeBinary),
        sa.Column("password", sa.LargeBinary),
    )
    op.create_table(
        "rooms",
        sa.Column("id", _Number, primary_key=True, autoincrement=False),
        sa.Column("account_id", _Number, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("room", sa.Text, nullable=False),
        sa.Column("nick", sa.Text),
        sa.Column("wished_nick", sa.Text),
        sa.Column("password", sa.LargeBinary),
        sa.Column("bookmarked", sa.Boolean, nullable=False),
        sa.Column("since", sa.Float(53), nullable=False),
    )
    op.create_index("rooms_of_account", "rooms", ["account_id", "room"], unique=True)
    op.create_table(
        "messages",
        sa.Column("sequence", _Number, primary_key=True, autoincrement=False),
        sa.Column("room_id", _Number, nullable=False),
        sa.Column("time", sa.Float(53), nullable=False),
        sa.Column("raw", sa.LargeBinary, nullable=False),
        sa.Column("stamped", sa.Boolean, nullable=False),
        sa.Column("stanza_id", sa.Text),
        sa.Column("amends", _Number),
        sa.Column("retracted", sa.Boolean, nullable=False),
        sa.Column("checksum", _Number, nullable=False),
    )
    op.create_table(
        "cursors",
        sa.Column("room_id", _Number, primary_key=True, autoincrement=False),
        sa.Column("resource", sa.Text, primary_key=True),
        sa.Column("sequence", _Number),
        sa.Column("attached", _Number),
    )
    op.create_table(
        "privates",
        sa.Column("sequence", _Number, primary_key=True, autoincrement=False),
        sa.Column("room_id", _Number, nullable=False),
        sa.Column("raw", sa.LargeBinary, nullable=False),
        sa.Column("checksum", _Number, nullable=False),
    )
    op.create_index("ix_privates_room_id", "privates", ["room_id"])
