"""An account that goes to another process of a cluster takes its sessions along (`storage.handed_accounts`)."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the table; a row is there from when one process lets an account go until another one has taken it."""
    op.create_table(
        "handed",
        sa.Column("bare", sa.Text, primary_key=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
