"""Which instances have a lower CPU weight."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "instances",
        sa.Column("light", sa.Boolean, nullable=False, server_default=sa.false()),
    )
