"""Which bookmarks an account does not follow."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column; of accounts kept by an earlier version, nothing is known."""
    op.add_column("accounts", sa.Column("unfollowed", sa.Text))
