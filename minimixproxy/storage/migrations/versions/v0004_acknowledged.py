"""How far devices have acknowledged what they were given."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the table: nobody is connected, so it is empty."""
    op.create_table(
        "acknowledged",
        sa.Column("account_id", _Number, primary_key=True, autoincrement=False),
        sa.Column("resource", sa.Text, primary_key=True),
        sa.Column("sequence", _Number, nullable=False),
    )
