"""Pairs are kept as what was counted of them, in bounded space, instead of one by one."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_KEY = ("experiment_id", "analysis_id")


def upgrade() -> None:
    # Single pairs held no bodies, and so not what a comparison would need.
    op.drop_table("pairs")
    op.create_table(
        "pair_states",
        *(sa.Column(column, sa.String, nullable=False) for column in _KEY),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint(*_KEY),
    )
    op.create_table(
        "pair_progress",
        *(sa.Column(column, sa.String, nullable=False) for column in _KEY),
        sa.Column("at_s", sa.Float, nullable=False),
        sa.Column("pairs", sa.BigInteger, nullable=False),
        sa.Column("blocks", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint(*_KEY, "at_s"),
    )
