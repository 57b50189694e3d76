"""Who has the database."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the table; the row comes when the database is taken."""
    op.create_table(
        "holder",
        sa.Column("id", _Number, primary_key=True, autoincrement=False),
        sa.Column("epoch", _Number, nullable=False),
        sa.Column("installation", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("expires", sa.Float(53), nullable=False),
    )
