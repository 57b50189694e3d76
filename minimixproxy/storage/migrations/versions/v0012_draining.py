"""A process of a cluster may be drained: others take its accounts, and it takes none (`minimixproxy.cluster`)."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the column; no process is drained yet."""
    with op.batch_alter_table("holders") as table:
        table.add_column(sa.Column("draining", sa.Boolean, nullable=False, server_default=sa.false()))
