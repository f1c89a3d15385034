"""Totals since an endpoint was made, for Prometheus; they begin with what is there."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KEY = ("endpoint_id", "variant_id", "name")


def upgrade() -> None:
    op.create_table(
        "metric_totals",
        *(sa.Column(column, sa.String, nullable=False) for column in _KEY),
        sa.Column("value", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint(*_KEY),
    )
    op.create_table(
        "histogram_totals",
        *(sa.Column(column, sa.String, nullable=False) for column in _KEY),
        sa.Column("counts", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint(*_KEY),
    )
    op.execute(
        "INSERT INTO metric_totals (endpoint_id, variant_id, name, value) "
        "SELECT endpoint_id, variant_id, name, sum(value) FROM metric_counts "
        "GROUP BY endpoint_id, variant_id, name"
    )
