"""From where on messages of a room are missing."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns; of rooms kept by an earlier version, nothing is known to be missing."""
    op.add_column("rooms", sa.Column("missing_id", sa.Text))
    op.add_column("rooms", sa.Column("missing_time", sa.Float(53)))
