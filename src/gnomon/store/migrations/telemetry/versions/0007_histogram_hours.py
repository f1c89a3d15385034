"""Sums of histograms over whole hours; the collector fills them from what is there."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_KEY = ("endpoint_id", "name", "variant_id", "minute")


def upgrade() -> None:
    op.create_table(
        "histogram_hours",
        sa.Column("endpoint_id", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("variant_id", sa.String, nullable=False),
        sa.Column("minute", sa.Integer, nullable=False),
        sa.Column("counts", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint(*_KEY),
    )
    op.create_index("histogram_hours_by_minute", "histogram_hours", ["minute"])
    rolled_up = op.create_table(
        "rolled_up",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("before_minute", sa.Integer, nullable=False),
    )
    op.bulk_insert(rolled_up, [{"id": 1, "before_minute": 0}])
