"""Pairs whose blocks are not complete yet, apart from those that are judged."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pair_parts",
        sa.Column("experiment_id", sa.String, nullable=False),
        sa.Column("analysis_id", sa.String, nullable=False),
        sa.Column("ends_us", sa.BigInteger, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", "analysis_id", "ends_us"),
    )
