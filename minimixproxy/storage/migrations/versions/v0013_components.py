"""In a cluster one process connects a domain of client_proxy (see `minimixproxy.storage.domain_leases`)."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the table of domains, and of who has them."""
    op.create_table(
        "components",
        sa.Column("domain", sa.Text, primary_key=True),
        sa.Column("holder", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
    )
