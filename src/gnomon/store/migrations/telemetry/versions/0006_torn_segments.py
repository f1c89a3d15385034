"""Which segments ended in a frame that is not whole, so that reports can say so."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "torn_segments",
        sa.Column("incarnation_id", sa.String, nullable=False),
        sa.Column("segment", sa.Integer, nullable=False),
        sa.Column("at_s", sa.Float, nullable=False),
        sa.Column("torn_bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("incarnation_id", "segment"),
    )
