"""Several processes may have a database together (see `minimixproxy.storage.cluster_lease`)."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the tables of processes, and of the accounts that they have; the first proxy of a cluster fills them."""
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "holders",
        sa.Column("number", number, primary_key=True, autoincrement=False),
        sa.Column("slot", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("directory", sa.Text, nullable=False),
        sa.Column("expires", sa.Float(53), nullable=False),
        sa.Column("ended", sa.Boolean, nullable=False),
        sa.Column("given_out", number, nullable=False),
        sa.Column("accounts", sa.Integer, nullable=False),
        sa.Column("line", number, nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("bare", sa.Text, primary_key=True),
        sa.Column("holder", number, nullable=False),
        sa.Column("epoch", number, nullable=False),
    )
    op.create_index("ix_leases_holder", "leases", ["holder"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE SEQUENCE epochs")
